"""Medians and ratios of the rounds, as Markdown for people and JSON with every number."""

from __future__ import annotations

import datetime
import json
import os
import platform
import statistics
from pathlib import Path
from typing import Any

from cases import CHUNKS, MANY
from default_network import BINS, HIDDEN, NAMES, NUMBERS, PASSING, STEPS
from markdown import Rounds, fastest, median, number, processor, ratio, table

TORCH, JAX = ("torch", "torch-compile"), ("jax", "jax-scan")
FORMS = {"-compile": " (compiled)", "-scan": " (scan)", "-fit": " (fit)"}  # in a peer's name


def write_report(result: dict[str, Any], folder: Path, name: str) -> str:
    """Write files of this name, .json and .md, into the folder and return the Markdown."""
    text = markdown(result)
    for ending, content in (("json", json.dumps(result, indent=1)), ("md", text)):
        (folder / f"{name}.{ending}").write_text(content + "\n", encoding="utf-8")
    return text


def markdown(result: dict[str, Any]) -> str:
    """Return the report."""
    of_kind: dict[str, list[dict[str, Any]]] = {}
    for found in result["cases"].values():
        of_kind.setdefault(found["case"]["kind"], []).append(found)
    parts = [_header(result)]
    steps = of_kind.get("step", [])
    if steps:
        parts.append("## Training steps, BLAS as the command sets it\n\n" + _steps(steps, "", 2.0))
        parts.append(
            'Where "at most" is below a goal, the products alone take longer than the goal allows.'
            " Where the time of the others goes: cpu-step-profile.md beside this file."
        )
        if result["same_kernels"]:
            parts.append(
                "NumPy's OpenBLAS chooses the same kernels by itself on this processor, so this is"
                " also the table for NumPy's default BLAS."
            )
        else:
            parts.append(
                "## Training steps, NumPy's default BLAS\n\n" + _steps(steps, "@default", 1.5)
            )
        parts += [
            f"## {title}\n\n{made(steps)}"
            for peer, title, made in (
                ("gpubp-numpy", "Without the compiled kernels", _plain),
                ("gpubp-bfloat16", "Products in bfloat16", _bfloat16),
            )
            if any(peer in found["rounds"] for found in steps)
        ]
    if "epoch" in of_kind:
        parts.append("## An epoch of 60,000 x 784\n\n" + _steps(of_kind["epoch"], "", None))
    if "default" in of_kind:
        parts.append("## The default networks for tables\n\n" + _defaults(of_kind["default"]))
    if "predict" in of_kind:
        parts.append("## Prediction\n\n" + _predictions(of_kind["predict"]))
    if "accuracy" in of_kind:
        parts.append(_accuracy(of_kind["accuracy"][0]))
    if "footprint" in result:
        parts.append("## Before training\n\n" + _footprint(result["footprint"]))
    problems = [
        f"- {name}, {peer}: {problem}"
        for name, found in result["cases"].items()
        for peer, problem in found.get("problems", {}).items()
    ] + [f"- {peer} is missing: {reason}" for peer, reason in result["missing"].items()]
    if problems:
        parts.append("## What could not be measured\n\n" + "\n".join(problems))
    return "\n\n".join(parts)


def _header(result: dict[str, Any]) -> str:
    versions: dict[str, str] = {}
    for found in result["versions"].values():
        versions |= found
    about = ", ".join(f"{name} {version}" for name, version in versions.items())
    return (
        f"# Speed on the CPU\n\n{datetime.date.today().isoformat()}, {processor()},"
        f" {os.cpu_count()} cores, {result['threads']} threads, {platform.system()}. {about}.\n\n"
        f"    {result['command']}\n\n"
        f"Processes that ran or waited to run: {_loads(result)}; a quiet machine begins at 0.\n\n"
        f"Milliseconds of {result['clock']} time are medians over the rounds. A ratio is the time"
        " of another library's best mode over that of gpubp's, the median of the ratios within a"
        " round; above 1 gpubp is faster. Of gpubp and JAX there are two modes: a step a call, and"
        ' many steps a call by "fit" or "scan". "floor" is the step\'s matrix products alone in'
        ' the same BLAS, and "at most" is the ratio of the other library to that: what no program'
        " that leaves its products to this BLAS can pass."
    )


def _loads(result: dict[str, Any]) -> str:
    before, after = result.get("load", (None, None))
    return "not known" if before is None else f"{before:.1f} at the start, {after:.1f} at the end"


def _steps(cases: list[dict[str, Any]], blas: str, torch_goal: float | None) -> str:
    head = ["network", "batch", "activation", "gpubp ms", "floor ms", "gpubp / floor"]
    for name in ("PyTorch", "JAX", "scikit-learn"):
        head += [f"{name} ms", "ratio", "at most"]
    head.append("short of")
    rows = []
    for found in cases:
        case, rounds = found["case"], found["rounds"]
        own = fastest(rounds, (f"gpubp{blas}", f"gpubp-fit{blas}"))
        sklearn = f"sklearn{blas}"
        torch, jax = fastest(rounds, TORCH), fastest(rounds, JAX)
        over_floor = ratio(rounds, own, f"floor{blas}")
        ratios = {name: ratio(rounds, name, own) for name in (torch, jax, sklearn)}
        goals = _goals(case, torch_goal, ratios[torch], ratios[jax], ratios[sklearn], over_floor)
        rows.append(
            [
                "-".join(map(str, case["sizes"])),
                str(case["batch"]),
                case["activation"],
                _own(rounds, own, f"gpubp{blas}"),
                _ms(median(rounds, f"floor{blas}")),
                number(over_floor),
                _timed(rounds, torch),
                number(ratios[torch]),
                number(ratio(rounds, torch, f"floor{blas}")),
                _timed(rounds, jax),
                number(ratios[jax]),
                number(ratio(rounds, jax, f"floor{blas}")),
                _ms(median(rounds, sklearn)),
                number(ratios[sklearn]),
                number(ratio(rounds, sklearn, f"floor{blas}")),
                ", ".join(goals),
            ]
        )
    return table(head, rows)


def _defaults(cases: list[dict[str, Any]]) -> str:
    """Return the milliseconds of a step of the default networks."""
    head = ["network", "batch", "gpubp ms", "PyTorch ms", "ratio", "JAX ms", "ratio", "short of"]
    rows = []
    for found in cases:
        case, rounds = found["case"], found["rounds"]
        torch, jax = fastest(rounds, TORCH), fastest(rounds, JAX)
        ratios = {peer: ratio(rounds, peer, "gpubp") for peer in (torch, jax)}
        goals = (("PyTorch", ratios[torch], 2.0), ("JAX", ratios[jax], 1.3))

        def a_step(peer: str, rounds: Rounds = rounds) -> str:
            seconds = median(rounds, peer)
            return _ms(None if seconds is None else seconds / STEPS)

        rows.append(
            [
                "of classes" if case["sizes"][-1] > 1 else "of numbers",
                str(case["batch"]),
                a_step("gpubp"),
                a_step(torch) + _form(torch),
                number(ratios[torch]),
                a_step(jax) + _form(jax),
                number(ratios[jax]),
                ", ".join(
                    f"{name} {goal}" for name, found, goal in goals if found and found < goal
                ),
            ]
        )
    said = (
        "One network of `gpubp train`, `TabularClassifier` (of classes) and `TabularRegressor` (of"
        f" numbers) with their defaults: {NUMBERS} columns of numbers with {BINS} bins, a column of"
        f" {NAMES} names and {PASSING} inputs that pass, three hidden layers of {HIDDEN[0]}; a step"
        f" of an epoch of {STEPS} with AdamW and a falling rate. In the other libraries it is the"
        " same network, from the same weights."
    )
    return said + "\n\n" + table(head, rows)


def _goals(
    case: dict[str, Any],
    torch_goal: float | None,
    torch: float | None,
    jax: float | None,
    sklearn: float | None,
    over_floor: float | None,
) -> list[str]:
    """Name the goals that a row does not reach."""
    if torch_goal is None:
        return []
    small = list(case["sizes"]) == [784, 128, 10]
    wanted = [("PyTorch", torch, torch_goal), ("JAX", jax, 1.5 if small else 1.1)]
    wanted.append(("scikit-learn", sklearn, 3.0))
    short = [f"{name} {goal}" for name, ratio, goal in wanted if ratio is not None and ratio < goal]
    if case["sizes"][0] >= 1024 and over_floor is not None and over_floor > 1.10:
        short.append("floor 1.10")
    return short


def _plain(cases: list[dict[str, Any]]) -> str:
    head = [
        "network",
        "batch",
        "activation",
        "plain NumPy ms",
        "/ compiled",
        "PyTorch / plain NumPy",
    ]
    rows = []
    for found in cases:
        case, rounds = found["case"], found["rounds"]
        rows.append(
            [
                "-".join(map(str, case["sizes"])),
                str(case["batch"]),
                case["activation"],
                _ms(median(rounds, "gpubp-numpy")),
                number(ratio(rounds, "gpubp-numpy", "gpubp")),
                number(ratio(rounds, fastest(rounds, TORCH), "gpubp-numpy")),
            ]
        )
    return table(head, rows)


def _predictions(cases: list[dict[str, Any]]) -> str:
    """Return the milliseconds of every peer and, in brackets, how many times gpubp's they are."""
    peers = list(dict.fromkeys(peer for found in cases for peer in found["rounds"]))
    rows = []
    for found in cases:
        case, rounds = found["case"], found["rounds"]
        cells = [
            f"{_ms(median(rounds, peer))} ({number(ratio(rounds, peer, 'gpubp'))})"
            for peer in peers
        ]
        rows.append(["-".join(map(str, case["sizes"])), f"{case['batch']:,}", *cells])
    said = (
        "Milliseconds, and in brackets how many times those of gpubp's `predict` they are."
        f" {MANY:,} rows are read from a file that all libraries map into memory; all but gpubp and"
        " its estimator, which are handed all of them, predict them in chunks of the fastest of"
        f" {CHUNKS[0]:,}, {CHUNKS[1]:,} and {CHUNKS[2]:,} rows."
    )
    return said + "\n\n" + table(["network", "rows", *peers], rows) + _memory(cases, peers)


def _memory(cases: list[dict[str, Any]], peers: list[str]) -> str:
    """Return by how much the prediction of very many rows makes each process grow."""
    rows = [
        [f"{found['case']['batch']:,}", *(_megabytes(found["memory"].get(peer)) for peer in peers)]
        for found in cases
        if found["case"]["rows"] >= MANY and found.get("memory")
    ]
    if not rows:
        return ""
    said = "MB that the process grows by at most, without the mapped rows, with the outputs."
    return f"\n\n{said}\n\n" + table(["rows", *peers], rows)


def _megabytes(size: int | None) -> str:
    return "" if size is None else f"{size / 1e6:,.0f}"


def _bfloat16(cases: list[dict[str, Any]]) -> str:
    head = ["network", "batch", "activation", "gpubp bfloat16 ms", "gpubp float32 / it"]
    head += ["fastest other float32", "ms", "/ gpubp bfloat16"]
    head += ["PyTorch bfloat16 ms", "/ gpubp bfloat16"]
    rows = []
    for found in cases:
        case, rounds = found["case"], found["rounds"]
        other = fastest(rounds, (*TORCH, *JAX, "sklearn"))
        rows.append(
            [
                "-".join(map(str, case["sizes"])),
                str(case["batch"]),
                case["activation"],
                _ms(median(rounds, "gpubp-bfloat16")),
                number(ratio(rounds, "gpubp", "gpubp-bfloat16")),
                other,
                _ms(median(rounds, other)),
                number(ratio(rounds, other, "gpubp-bfloat16")),
                _ms(median(rounds, "torch-bfloat16")),
                number(ratio(rounds, "torch-bfloat16", "gpubp-bfloat16")),
            ]
        )
    return table(head, rows)


def _accuracy(found: dict[str, Any]) -> str:
    case = found["case"]
    rows = []
    for peer, runs in found["runs"].items():
        good = [run for run in runs if "error" not in run]
        if good:
            rows.append(
                [
                    peer,
                    f"{statistics.median(run['seconds'] for run in good):.2f}",
                    f"{statistics.median(run['epochs'] for run in good):g}",
                    f"{statistics.median(run['accuracy'] for run in good):.4f}",
                    str(len(good)),
                ]
            )
        else:
            rows.append([peer, runs[0]["error"], "", "", "0"])
    sizes = "-".join(map(str, case["sizes"]))
    return (
        f"## MNIST to a test accuracy of {case['target']}\n\n{sizes} {case['activation']}, batch"
        f" {case['batch']}, Adam; time of training alone, compilation included, medians over seeds."
        "\n\n" + table(["library", "seconds", "epochs", "accuracy", "runs"], rows)
    )


def _footprint(found: dict[str, Any]) -> str:
    rows = [
        [
            name,
            "" if costs["import_seconds"] is None else f"{costs['import_seconds'] * 1000:.0f}",
            "" if costs["installed_bytes"] is None else f"{costs['installed_bytes'] / 1e6:.0f}",
            "" if costs["memory_bytes"] is None else f"{costs['memory_bytes'] / 1e6:.1f}",
            ""
            if costs["memory_bytes"] is None
            else f"{costs['memory_bytes'] / costs['parameter_bytes']:.1f}",
        ]
        for name, costs in found.items()
    ]
    head = ["library", "import ms", "installed MB, with what it requires"]
    head += ["training adds MB", "times the parameters"]
    return table(head, rows) + (
        "\n\nImport: median over that of `python -c pass`. Memory: growth of the peak resident set"
        " by training 784-512-512-10 at batch 1024 for 20 steps, after a small network's."
    )


def _own(rounds: Rounds, best: str, usual: str) -> str:
    """Return gpubp's milliseconds in its best mode, and in the usual one where that is another."""
    said = f", {_ms(median(rounds, usual))} by train_step" if best != usual else ""
    return _timed(rounds, best) + said


def _timed(rounds: Rounds, peer: str) -> str:
    return _ms(median(rounds, peer)) + _form(peer)


def _form(peer: str) -> str:
    return next((said for mark, said in FORMS.items() if mark in peer), "")


def _ms(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds * 1000:.3g}"
