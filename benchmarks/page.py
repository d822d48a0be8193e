"""Measure how soon the page of a large network is on the screen of a browser, and its size.

The page of one step of a 784-128-10 network is opened several times, each in a new context, and
the time is taken from the start of the navigation until every neuron is drawn. Playwright
and a Chromium are needed.

    python benchmarks/page.py
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import gpubp

SIZES = [784, 128, 10]
DRAWN = 3 * 7  # neurons, of each layer the largest


def opening(browser: Any, path: Path) -> float:
    """Return the seconds until the page has drawn its network."""
    context = browser.new_context()
    page = context.new_page()
    begin = time.perf_counter()
    page.goto(path.as_uri())
    page.wait_for_function(f"document.querySelectorAll('.neuron').length === {DRAWN}")
    seconds = time.perf_counter() - begin
    context.close()
    return seconds


def main() -> None:
    """Write the page, open it, and print what was measured."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--browser", default="chromium", help="name or path of a Chromium")
    options.add_argument("--rounds", type=int, default=9)
    arguments = options.parse_args()
    program = shutil.which(arguments.browser)
    if program is None:
        sys.exit(f"{arguments.browser!r} is not installed; --browser PATH names another Chromium")
    from playwright.sync_api import sync_playwright

    net = gpubp.Network(SIZES, output="softmax", backend="cpu")
    x = np.random.default_rng(0).uniform(size=(1, SIZES[0]))
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        path = Path(folder) / "page.html"
        net.trace(x, [3]).to_html(path)
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        opening(browser, path)  # the first is the browser's own start
        times = [opening(browser, path) for _ in range(arguments.rounds)]
        browser.close()
        size = path.stat().st_size / 1e6
    print(f"page of {' -> '.join(map(str, SIZES))}: {size:.2f} MB")
    print(f"opened in {statistics.median(times):.2f} s, the median of {len(times)} times")
    print(f"(from {min(times):.2f} to {max(times):.2f} s)")


if __name__ == "__main__":
    main()
