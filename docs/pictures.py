"""Take the pictures of README and of the site: pages of lessons in a browser.

Playwright and a Chromium are needed.

    python docs/pictures.py
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from gpubp.inspection.lessons import write_lessons

IMAGES = Path(__file__).parent / "images"
VIEW: dict[str, Any] = {
    "viewport": {"width": 1100, "height": 800},
    "device_scale_factor": 1.25,
    "reduced_motion": "reduce",
}


def take_step(page: Any, address: str) -> None:
    """Take the stage of the hidden errors in the worked example, one of them explained."""
    page.goto(f"{address}#lesson=worked_example&stage=8")
    page.locator('.neuron[data-id="error:1:0"]').click()
    page.locator("h1").hover()  # nothing is pointed at
    first = page.locator("main > .card").first.bounding_box()
    last = page.locator(".pair").first.bounding_box()
    clip = {"x": 0, "y": first["y"] - 12, "width": VIEW["viewport"]["width"]}
    clip["height"] = last["y"] + last["height"] - first["y"] + 4
    page.screenshot(path=IMAGES / "step.png", clip=clip, full_page=True)


def take_xor(page: Any, address: str) -> None:
    """Take the plane of exclusive or after 500 steps."""
    page.goto(f"{address}#lesson=xor")
    for _ in range(5):
        page.click("#hundred")
    page.locator("#surface").screenshot(path=IMAGES / "xor.png")


def main() -> None:
    """Write the lessons, open them, and take every picture."""
    program = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
    if program is None:
        sys.exit("no browser is installed; chromium or google-chrome is needed")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        path = Path(folder) / "page.html"
        write_lessons(path)
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        for take in (take_step, take_xor):
            take(browser.new_page(**VIEW), path.as_uri())
        browser.close()


if __name__ == "__main__":
    main()
