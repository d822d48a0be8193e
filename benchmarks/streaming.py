"""Measure training on a Parquet data set beside the same batches from memory; memory; kill, resume.

    python benchmarks/streaming.py --gigabytes 10 --folder /tmp/gpubp-streaming

The data are generated in FOLDER, unless they are there, and stay. Each run is a process of its own.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from markdown import circumstances, number, table

import gpubp
import gpubp.data
from gpubp.cli.openblas import use_best_kernels

COLUMNS = 100
GROUP = 65_536  # rows
GROUPS_A_FILE = 16
BATCH = 4096
SIZES = [COLUMNS, 256, 128, 2]
SEED = 7
FILES_IN_MEMORY = 2


def generate(folder: Path, gigabytes: float) -> int:
    """Write files of row groups until they hold so many GB of numbers; return how many files."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    files = max(1, round(gigabytes * 1e9 / (GROUP * GROUPS_A_FILE * COLUMNS * 4)))
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"x{column}" for column in range(COLUMNS)]
    for index in range(files):
        path = folder / f"{index:05}.parquet"
        if path.exists():
            continue
        rng = np.random.default_rng([SEED, index])
        part = path.with_suffix(".part")
        writer = None
        for _ in range(GROUPS_A_FILE):
            x = rng.standard_normal((GROUP, COLUMNS), np.float32)
            y = (x[:, :3].sum(axis=1) + 0.3 * rng.standard_normal(GROUP) > 0).astype(np.int64)
            rows = pa.table([*np.ascontiguousarray(x.T), y], names=[*names, "y"])
            writer = writer or pq.ParquetWriter(part, rows.schema, use_dictionary=["y"])
            writer.write_table(rows)
        assert writer is not None
        writer.close()
        part.rename(path)
    return files


def train(options: argparse.Namespace) -> None:
    """Train for an epoch as one of the runs, and print what was measured as JSON."""
    folder = Path(options.folder)
    files = [folder / f"{index:05}.parquet" for index in range(options.files)]
    net = gpubp.Network(SIZES, output="softmax", backend="cpu")
    data = gpubp.data.parquet(files, "y")
    if options.train == "memory":
        parts = [data.read(block) for block in range(len(data.sizes))]
        x, y = (np.concatenate(each) for each in list(zip(*parts, strict=True))[:2])
        data = gpubp.data.ArrayDataset(x, y)
        del parts
    checkpoint = {"checkpoint": options.checkpoint, "every": 500} if options.checkpoint else {}
    start = time.perf_counter()
    net.fit(
        data, epochs=options.epochs, batch_size=BATCH, resume=bool(options.checkpoint), **checkpoint
    )
    seconds = time.perf_counter() - start
    found = {
        "rate": len(data) * options.epochs / seconds,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "weights": hashlib.sha256(net.parameters.tobytes()).hexdigest()[:16],
    }
    print(json.dumps(found))


def run(
    options: argparse.Namespace, kind: str, files: int, epochs: int = 1, checkpoint: str = ""
) -> dict:  # type: ignore[type-arg]
    """Run one kind of training in a process and return what it measured."""
    done = subprocess.run(
        command(options, kind, files, epochs, checkpoint), stdout=subprocess.PIPE, check=True
    )
    found: dict = json.loads(done.stdout)  # type: ignore[type-arg]
    print(kind, files, found, file=sys.stderr)
    return found


def command(
    options: argparse.Namespace, kind: str, files: int, epochs: int, checkpoint: str
) -> list[str]:
    """Return the command of a run."""
    words = [sys.executable, __file__, "--folder", options.folder, "--train", kind]
    words += ["--files", str(files), "--epochs", str(epochs)]
    return [*words, "--checkpoint", checkpoint]


def killed_and_resumed(
    options: argparse.Namespace, files: int, seconds: float
) -> tuple[str, float]:
    """Kill a run in its middle and let another go on; return its weights and when it was killed."""
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(command(options, "parquet", files, 1, folder))
        when = seconds * random.uniform(0.4, 0.6)
        time.sleep(when)
        process.send_signal(signal.SIGKILL)
        process.wait()
        return run(options, "parquet", files, 1, folder)["weights"], when / seconds


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=10)
    parser.add_argument("--folder", default=str(Path(tempfile.gettempdir()) / "gpubp-streaming"))
    parser.add_argument("--rounds", type=int, default=3)
    for name in ("--train", "--checkpoint"):
        parser.add_argument(name, default="", help="for the runs themselves")
    for name in ("--files", "--epochs"):
        parser.add_argument(name, type=int, default=0, help="for the runs themselves")
    options = parser.parse_args()
    if options.train:
        train(options)
        return
    use_best_kernels()
    files = generate(Path(options.folder), options.gigabytes)
    few = min(files, FILES_IN_MEMORY)
    kinds = {
        "memory": (few, round(files / few)),
        "parquet, the same rows": (few, round(files / few)),
        "parquet": (files, 1),
    }
    found: dict = {kind: [] for kind in kinds}  # type: ignore[type-arg]
    for _ in range(options.rounds):
        for kind, (count, epochs) in kinds.items():
            found[kind].append(run(options, kind.split(",")[0], count, epochs))
    rows = files * GROUPS_A_FILE * GROUP
    whole = found["parquet"][-1]
    weights, share = killed_and_resumed(options, files, rows / whole["rate"])
    print_results(options, kinds, found, weights == whole["weights"], share)


def print_results(options, kinds, found, same, share) -> None:  # type: ignore[no-untyped-def]
    """Print all that was measured."""
    import pyarrow

    print("# Training on Parquet files, on the CPU\n")
    print(circumstances(f"pyarrow {pyarrow.__version__}"))
    print(
        f"{'-'.join(map(str, SIZES))}, Adam, batches of {BATCH} rows, {COLUMNS} float32 columns,"
        f" row groups of {GROUP:,} rows, shuffled\n"
    )
    head = ["batches from", "GB", "epochs", "rows/s", "peak MB", "beside memory", "weights"]
    lines = [line(kind, *kinds[kind], found[kind], found["memory"]) for kind in kinds]
    print(table(head, lines))
    print(
        f"\nMedians over {options.rounds} rounds, in turn, each run as many batches in a process of"
        " its own; ratios within a round. Peak: the resident memory of the process at most. Killed"
        f" after {share:.0%} of the last line's time and resumed from its checkpoint (every 500"
        f" steps), the weights at the end were {'the same' if same else 'DIFFERENT'} to the bit."
    )


def line(kind, files, epochs, each, memory) -> list[str]:  # type: ignore[no-untyped-def]
    """Return a line of the table."""
    ratios = [one["rate"] / other["rate"] for one, other in zip(each, memory, strict=True)]
    return [
        kind,
        f"{files * GROUPS_A_FILE * GROUP * COLUMNS * 4 / 1e9:.1f}",
        str(epochs),
        number(statistics.median(one["rate"] for one in each)),
        f"{statistics.median(one['peak'] for one in each) / 1e6:.0f}",
        number(statistics.median(ratios)),
        each[0]["weights"],
    ]


if __name__ == "__main__":
    main()
