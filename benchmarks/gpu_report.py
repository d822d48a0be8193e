"""The report of benchmarks/gpu.py, as Markdown for people and JSON with every number."""

from __future__ import annotations

import datetime
import json
import re
from pathlib import Path
from typing import Any

from markdown import fastest, median, number, ratio, table

from gpubp.files import write_atomically

OWN, PRODUCTS = "gpu-gpubp", "gpu-products"
TORCH = ("gpu-torch", "gpu-torch-compile", "gpu-torch-graph")
JAX = ("gpu-jax", "gpu-jax-scan")
GOALS = {128: 1.5, 4096: 1.2}  # by batch, over the best peer; else 1 and 90 % of the products
MODES = {"compile": "compiled", "graph": "graph", "scan": "scan"}


def write_report(result: dict[str, Any], folder: Path) -> str:
    """Write <device>.json and <device>.md into the folder and return the Markdown."""
    text = markdown(result)
    name = re.sub(r"[^a-z0-9]+", "-", result["device"].lower()).strip("-")
    for ending, content in (("json", json.dumps(result, indent=1)), ("md", text)):
        write_atomically(folder / f"{name}.{ending}", (content + "\n").encode())
    return text


def markdown(result: dict[str, Any]) -> str:
    """Return the report."""
    found = list(result["cases"].values())
    parts = [_header(result)]
    for kind, title in (("step", "Training steps"), ("predict", "Prediction of ten million rows")):
        rows = [_row(case) for case in found if case["case"]["kind"] == kind]
        if rows:
            parts.append(f"## {title}\n\n" + table(HEAD, rows))
    problems = [
        f"- {name}, {peer}: {problem}"
        for name, case in result["cases"].items()
        for peer, problem in case["problems"].items()
    ]
    problems += [f"- {peer} is missing: {reason}" for peer, reason in result["missing"].items()]
    missing = result["ceilings_missing"]
    problems += [f"- ceiling of {name}: {problem}" for name, problem in missing.items()]
    problems += [f"- {name}: no time was left" for name in result["left_out"]]
    problems += [f"- {note}" for note in result["notes"]]
    if problems:
        parts.append("## What could not be measured\n\n" + "\n".join(problems))
    return "\n\n".join(parts)


def _header(result: dict[str, Any]) -> str:
    about = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    rates = dict(result["ceilings"])
    copy = f"{rates.pop('copy') / 1e12:.2f} TB/s" if "copy" in rates else "not measured"
    products = ", ".join(f"{name} {rate / 1e12:.0f}" for name, rate in rates.items())
    return (
        f"# Speed on {result['device']}\n\n{datetime.date.today().isoformat()}. {about}.\n\n"
        f"    {result['command']}\n\n"
        f"Measured ceilings: copying {copy}; products of 8192 x 8192 in TFLOP/s:"
        f" {products or 'not measured'}.\n\n"
        "Microseconds are medians over the rounds, by device events (JAX: by the host's clock). A"
        " ratio is the time of another library's best mode over that of gpubp, the median of the"
        " ratios within a round (of large cases, where one peer is measured after the other, of"
        ' rounds of the same number); above 1 gpubp is faster. "products" is the step\'s products'
        ' alone, in the same library and replayed; "floor" is the larger of the step\'s operations'
        ' and of its bytes at the measured ceilings, and "reached" its share of the time taken.'
    )


HEAD = ["network", "batch", "activation", "precision", "gpubp us", "products us", "floor us"]
HEAD += ["reached", "PyTorch us", "ratio", "JAX us", "ratio", "short of"]


def _row(found: dict[str, Any]) -> list[str]:
    case, rounds = found["case"], found["rounds"]
    torch, jax = fastest(rounds, TORCH), fastest(rounds, JAX)
    own = median(rounds, OWN)
    row = ["-".join(map(str, case["sizes"])), str(case["batch"]), case["activation"]]
    row += [case["precision"], _us(own), _us(median(rounds, PRODUCTS)), _us(found["floor"])]
    known = own is not None and found["floor"] is not None
    row.append(f"{found['floor'] / own:.0%}" if known else "")
    for peer in (torch, jax):
        mode = next((word for end, word in MODES.items() if peer.endswith(end)), "")
        row.append(f"{_us(median(rounds, peer))}{f' ({mode})' if mode else ''}")
        row.append(number(ratio(rounds, peer, OWN)))
    return [*row, ", ".join(_short_of(case, rounds, torch, jax))]


def _short_of(case: dict[str, Any], rounds: dict[str, list[float]], *peers: str) -> list[str]:
    """Name the goals that a row does not reach."""
    goal = GOALS.get(case["batch"], 1.0)
    ratios = [found for peer in peers if (found := ratio(rounds, peer, OWN)) is not None]
    short = [f"best peer {goal}"] if ratios and min(ratios) < goal else []
    share = ratio(rounds, PRODUCTS, OWN)
    if case["batch"] not in GOALS and share is not None and share < 0.9:
        short.append("90 % of the products")
    return short


def _us(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds * 1e6:.4g}"
