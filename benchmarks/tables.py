"""Predictions on tables beside other libraries, and what each part of the default is worth.

    python benchmarks/tables.py --tables FOLDER --peer-python PATH
    python benchmarks/tables.py --tables FOLDER --parts
    python benchmarks/tables.py --tables FOLDER --peer-python PATH --turns --names compas,winered

FOLDER holds NAME.train.csv and NAME.test.csv of the tables named below. The first command fits
every library on the training file and measures on the test file. The second never reads a test
file: it holds a fifth of the training file out, another one for each seed, and changes one setting
at a time. The third lets the default, RealMLP and the same network in PyTorch take turns, for
ratios of their times that do not depend on what else the machine did on a day. Each fit is a
process of its own, one after the other. What was measured is kept in
benchmarks/results/tables.json; runs that are there are not done again unless --again is given, so
that libraries that take long can be run once. The report is benchmarks/results/tables.md.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

from footprint import installed
from markdown import circumstances, processor, table

HERE = Path(__file__).parent
PEER = HERE / "peers" / "tables_peer.py"
TABLES = {
    "housing": ("median_house_value", "regression"),
    "adult": ("income", "classification"),
    "winered": ("quality", "regression"),
    "german": ("credit", "classification"),
    "compas": ("two_year_recid", "classification"),
}
OWN = {
    "gpubp fast": ["preset=fast"],
    "gpubp default": [],
    "gpubp best": ["preset=best"],
    "gpubp default, one network": ["members=1"],
}
PEERS = ("sklearn-mlp", "hgb", "lightgbm", "catboost", "torch-same")
SLOW = ("realmlp", "tabm")
TURNS = {"gpubp default": "gpubp", "realmlp": "realmlp", "torch-same": "torch-same"}
MEASURES = {"classification": "log loss", "regression": "r2"}
BUSY = 4.0  # load average from which on seconds say nothing of a fit
PARTS: dict[str, list[str]] = {
    "the default, two networks": [],
    "numbers not embedded": ["bins=0"],
    "bins of 5 rows at least": ["leaf=5"],
    "bins of 16 rows at least": ["leaf=16"],
    "one network": ["members=1"],
    "eight networks": ["members=8"],
    "constant learning rate": ["schedule=constant"],
    "no running mean": ["average=0"],
    "no dropout": ["dropout=0"],
    "dropout 0.2": ["dropout=0.2"],
    "weight decay 0.01": ["weight_decay=0.01"],
    "label smoothing 0.1": ["label_smoothing=0.1"],
    "trained factors of the inputs": ["input_factors=true"],
    "trained mixing factors": ["mixing=true"],
    "trained again on all rows": ["refit=true"],
    "relu": ["activation=relu"],
    "mish": ["activation=mish"],
}


def run(python: str, library: str, files: list[str], *words: str) -> Any:
    """Return what one fit measured; the last line of the error where it failed."""
    words = (python, str(PEER), library, *files, *words)
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        return {"error": (done.stderr.strip().splitlines() or ["no message"])[-1][:200]}
    return json.loads(done.stdout.strip().splitlines()[-1])


def files_of(options: argparse.Namespace, name: str) -> list[str]:
    """Return a table's training file and its test file."""
    return [f"{options.tables}/{name}.{part}.csv" for part in ("train", "test")]


def with_peers(
    options: argparse.Namespace,
    kept: dict[str, Any],
    own: dict[str, list[str]] = OWN,
    peers: Sequence[str] = PEERS,
) -> None:
    """Fit every library on every table."""
    for name in options.names:
        files = files_of(options, name)
        for seed in range(options.seeds):
            runs = [(label, "gpubp", sys.executable, more) for label, more in own.items()]
            runs += [(peer, peer, options.peer_python, []) for peer in (*peers, *options.slow)]
            for label, library, python, more in runs:
                if seed >= 1 and library in SLOW:
                    continue
                if not any(label.startswith(each) for each in options.libraries):
                    continue
                measure(options, kept, f"peers/{name}/{label}/{seed}", python, library, files, more)


def with_parts(options: argparse.Namespace, kept: dict[str, Any]) -> None:
    """Change one setting of the default at a time, on rows of the training files alone."""
    import pandas as pd

    for seed in range(options.seeds):
        for name in options.names:
            with tempfile.TemporaryDirectory() as folder:
                rows = pd.read_csv(f"{options.tables}/{name}.train.csv")
                rows = rows.sample(frac=1, random_state=seed)
                files = [f"{folder}/{part}.csv" for part in ("train", "held")]
                held = len(rows) // 5
                rows.iloc[held:].to_csv(files[0], index=False)
                rows.iloc[:held].to_csv(files[1], index=False)
                for part, more in PARTS.items():
                    if "label_smoothing=0.1" in more and TABLES[name][1] == "regression":
                        continue
                    more = more if "members" in str(more) else [*more, "members=2"]
                    key = f"parts/{name}/{part}/{seed}"
                    measure(options, kept, key, sys.executable, "gpubp", files, more)


def with_turns(options: argparse.Namespace, kept: dict[str, Any]) -> None:
    """Let the default, the slowest peer and the same network elsewhere take turns."""
    for seed in range(options.seeds):
        for name in options.names:
            files = files_of(options, name)
            for label, library in TURNS.items():
                python = sys.executable if library == "gpubp" else options.peer_python
                measure(options, kept, f"turns/{name}/{label}/{seed}", python, library, files, [])


def measure(
    options: argparse.Namespace,
    kept: dict[str, Any],
    key: str,
    python: str,
    library: str,
    files: list[str],
    more: list[str],
) -> None:
    """Do a run unless it is kept, and keep it."""
    if key in kept and not options.again and "error" not in kept[key]:
        return
    _, name, _, seed = key.split("/")
    load = os.getloadavg()[0]
    found = run(python, library, files, *options.known[name], seed, *more)
    about = {"load": round(load, 1), "date": str(datetime.date.today()), "processor": processor()}
    kept[key] = {**found, **about}
    print(key, json.dumps(kept[key]), flush=True)
    options.kept.write_text(json.dumps(kept, indent=1) + "\n")


def by_label(kept: dict[str, Any], kind: str, name: str) -> dict[str, list[dict[str, Any]]]:
    """Return the runs of a table, by library or part."""
    found: dict[str, list[dict[str, Any]]] = {}
    for key, result in kept.items():
        its_kind, its_name, label, _ = key.split("/")
        if (its_kind, its_name) == (kind, name) and "error" not in result:
            found.setdefault(label, []).append(result)
    return found


def shown(values: list[float], digits: int = 4) -> str:
    """Return a mean, and how far the seeds lie apart."""
    spread = f" ±{stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{mean(values):.{digits}f}{spread}"


def peers_report(kept: dict[str, Any]) -> list[str]:
    """Return a table of libraries for each table of data."""
    lines = []
    for name, (_, task) in TABLES.items():
        found = by_label(kept, "peers", name)
        if not found:
            continue
        main = MEASURES[task]
        others = ("accuracy", "calibration error", "coverage of 0.9")
        others = [key for key in others if any(key in runs[0] for runs in found.values())]
        ranked = sorted(found, key=lambda each: mean(r[main] for r in found[each]))
        if main == "r2":
            ranked.reverse()
        rows = []
        for label in ranked:
            runs = found[label]
            row = [label, shown([each[main] for each in runs])]
            row += [shown([r[key] for r in runs], 3) if key in runs[0] else "" for key in others]
            seconds = [each["seconds"] for each in runs if each["load"] < BUSY]
            row += [shown(seconds, 1) if seconds else "busy"]
            row += [str(max(each["peak MB"] for each in runs)), str(len(runs))]
            row += [max(each["date"] for each in runs)]
            rows.append(row)
        head = ["library", main, *others, "seconds of a fit", "peak MB", "seeds", "day"]
        lines += [f"### {name}", "", table(head, rows), ""]
    return lines


def parts_report(kept: dict[str, Any]) -> list[str]:
    """Return what each part is worth: the difference to the default, seed by seed."""
    names = [name for name in TABLES if by_label(kept, "parts", name)]
    if not names:
        return []
    rows = []
    measured = {name: by_label(kept, "parts", name) for name in names}
    for part in PARTS:
        if not any(part in found for found in measured.values()):
            continue
        row = [part]
        for name in names:
            found = measured[name]
            main = MEASURES[TABLES[name][1]]
            runs, base = found.get(part, []), found.get(next(iter(PARTS)), [])
            if not runs or len(runs) != len(base):
                row.append("")
            elif part == next(iter(PARTS)):
                row.append(
                    f"{shown([r[main] for r in base])}, {mean(r['seconds'] for r in base):.1f} s"
                )
            else:
                sign = -1 if main == "log loss" else 1
                better = [sign * (r[main] - b[main]) for r, b in zip(runs, base, strict=True)]
                spread = f" ±{stdev(better):.4f}" if len(better) > 1 else ""
                row.append(f"{mean(better):+.4f}{spread}")
        rows.append(row)
    heads = [f"{n} ({'log loss' if TABLES[n][1] == 'classification' else 'R2'})" for n in names]
    days = {run["date"] for found in measured.values() for runs in found.values() for run in runs}
    return [table(["part", *heads], rows), "", f"Measured on {', '.join(sorted(days))}.", ""]


def turns_report(kept: dict[str, Any]) -> list[str]:
    """Return seconds of fits in turn, and how many times those of the default they are."""
    rows, machines = [], set()
    for name in TABLES:
        found = by_label(kept, "turns", name)
        if not found:
            continue
        machines |= {one.get("processor", "") for runs in found.values() for one in runs} - {""}
        own, *others = ([each["seconds"] for each in found[label]] for label in TURNS)
        row = [name, f"{median(own):.2f}"]
        for other in others:
            times = median(theirs / ours for theirs, ours in zip(other, own, strict=True))
            row.append(f"{median(other):.1f} ({times:.1f})")
        rows.append(row)
    if not rows:
        return []
    title = "Seconds of fits that took turns, and how many times those of the default"
    note = "Medians over the rounds. The default is several networks, torch-same one of them."
    if machines:
        note += f" On {', '.join(sorted(machines))}."
    return [f"## {title}", "", table(["table", *TURNS], rows), "", note, ""]


def installed_report(peer_python: str) -> list[str]:
    """Return what each library needs on disk, with all that it needs."""
    wanted = {
        "gpubp with its extra `sklearn`": (sys.executable, "gpubp", "scikit-learn"),
        "scikit-learn": (peer_python, "scikit-learn"),
        "LightGBM": (peer_python, "lightgbm"),
        "CatBoost": (peer_python, "catboost"),
        "PyTorch": (peer_python, "torch"),
        "pytabkit with PyTorch (RealMLP, TabM)": (peer_python, "pytabkit", "torch"),
    }
    sizes = {name: installed(*words) for name, words in wanted.items()}
    rows = [[name, f"{size / 1e6:,.0f}"] for name, size in sizes.items() if size is not None]
    return [table(["library", "MB installed"], rows), ""]


def report(kept: dict[str, Any], peer_python: str) -> str:
    """Return everything that is kept as Markdown."""
    lines = ["# Tables", "", circumstances(*versions_in(kept)), ""]
    lines += ["## Beside other libraries, on the test files", ""]
    lines += [
        "Means over the seeds, with their standard deviation. Best first. Fits ran one after the",
        "other, each in a process of its own. Seconds are those of fits at a load below"
        f" {BUSY:g}; busy: there were none.",
        "",
    ]
    lines += peers_report(kept) + turns_report(kept) + installed_report(peer_python)
    lines += ["## What each part is worth", ""]
    lines += [
        "On a fifth of the training files held out; no test file was read. First the default, then",
        "the difference when one part changes: above 0 is better than the default.",
        "",
    ]
    lines += parts_report(kept)
    failed = failures(kept)
    if failed:
        lines += ["## Failed", "", *failed, ""]
    return "\n".join(lines)


def failures(kept: dict[str, Any]) -> list[str]:
    """Return a line for each fit that failed."""
    return [f"- {key}: {each['error']}" for key, each in kept.items() if "error" in each]


def versions_in(kept: dict[str, Any]) -> list[str]:
    """Return the versions of all libraries that were measured."""
    return sorted({each["version"] for each in kept.values() if "version" in each})


def runs_parser(
    description: str, known: dict[str, tuple[str, str]], needs_tables: bool = True
) -> argparse.ArgumentParser:
    """Return a parser of what is fitted on which of the known tables."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument(
        "--tables", type=Path, required=needs_tables, help="folder of the CSV files"
    )
    parser.add_argument("--peer-python", default=sys.executable, help="has the other libraries")
    parser.add_argument("--names", type=lambda text: text.split(","), default=list(known))
    parser.add_argument("--libraries", type=lambda text: text.split(","), default=[""])
    parser.add_argument(
        "--slow", type=lambda text: text.split(","), default=[], help="realmlp,tabm"
    )
    parser.add_argument("--again", action="store_true", help="also what is kept")
    parser.set_defaults(known=known)
    return parser


def main() -> None:
    """Measure and write the results."""
    parser = runs_parser(__doc__, TABLES)
    parser.add_argument("--parts", action="store_true", help="what each part is worth")
    parser.add_argument("--turns", action="store_true", help="times of fits in turn")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--kept", type=Path, default=HERE / "results" / "tables.json")
    options = parser.parse_args()
    kept = json.loads(options.kept.read_text()) if options.kept.exists() else {}
    way = with_parts if options.parts else with_turns if options.turns else with_peers
    way(options, kept)
    text = report(kept, options.peer_python)
    options.kept.with_suffix(".md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
