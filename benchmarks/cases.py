"""What is measured, and the data for it: the same numbers for every peer."""

from __future__ import annotations

import gzip
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

CLASSES = 10
BATCHES = 4  # different batches that the steps of a case go round


@dataclass(frozen=True)
class Case:
    """One row of the results.

    Attributes
    ----------
    kind : str
        "step" (one training step on a given batch, its loss fetched), "epoch" (all rows once, in
        a new order), "default" (an epoch of gpubp's default network for tables, of 64 steps; see
        default_network.py), "accuracy" (training until the test accuracy is reached) or "predict".
    sizes : tuple of int
        Inputs, hidden layers, outputs.
    batch : int
        Rows a step, or rows to predict.
    file : str
        A file of the rows, for so many that every peer reads them from one place.
    """

    kind: str
    sizes: tuple[int, ...]
    batch: int
    activation: str = "relu"
    rows: int = 60_000
    target: float = 0.975
    mnist: str = ""
    precision: str = "float32"
    file: str = ""

    @property
    def name(self) -> str:
        """Name the case in one word."""
        name = f"{self.kind}/{'-'.join(map(str, self.sizes))}/{self.batch}/{self.activation}"
        return name if self.precision == "float32" else f"{name}/{self.precision}"


TABLE = (30, 128, 64, CLASSES)
MANY = 10_000_000  # rows to predict, more than a copy of all activations has room for
CHUNKS = (1_000, 10_000, 100_000)  # rows at a time that are tried for so many
SMALL, MIDDLE, LARGE = (784, 128, 10), (784, 512, 512, 10), (1024, 2048, 2048, 2048, 10)
STEPS = ((SMALL, 32), (SMALL, 256), (MIDDLE, 128), (MIDDLE, 1024), (MIDDLE, 4096), (LARGE, 1024))


def cases(mnist: str) -> list[Case]:
    """Return all cases; that of the time to an accuracy only with a folder of MNIST files."""
    found = [
        Case("step", sizes, batch, activation)
        for activation in ("relu", "tanh", "sigmoid")
        for sizes, batch in STEPS
    ]
    found += [Case("epoch", SMALL, 128), Case("epoch", MIDDLE, 512)]
    found += [Case("predict", MIDDLE, 60_000)]
    found += [Case("predict", TABLE, rows, rows=rows) for rows in (1, 1000, MANY)]
    if mnist:
        found.append(Case("accuracy", (784, 256, 10), 128, mnist=mnist))
    return found


HUGE = (4096,) * 5
GPU_STEPS = ((SMALL, 128), (MIDDLE, 128), (MIDDLE, 4096))
GPU_LARGE = ((MIDDLE, 65536), (HUGE, 8192))


def gpu_cases() -> list[Case]:
    """Return the cases of a GPU, the most telling first: time may run out."""

    def steps(shapes: tuple[Any, ...], activation: str, *precisions: str) -> list[Case]:
        return [
            Case("step", sizes, batch, activation, precision=precision)
            for precision in precisions
            for sizes, batch in shapes
        ]

    return [
        *steps(GPU_STEPS, "relu", "float32", "bfloat16"),
        *steps(GPU_LARGE, "relu", "float32", "bfloat16"),
        *steps((*GPU_STEPS, *GPU_LARGE), "relu", "tf32"),
        Case("predict", MIDDLE, 10_000_000, rows=10_000_000),
        *steps((*GPU_STEPS, *GPU_LARGE), "sigmoid", "float32", "bfloat16", "tf32"),
    ]


def products_of(case: Case) -> list[tuple[int, int, int]]:
    """Return (m, n, k) of every matrix product of a step or a prediction."""
    pairs = list(zip(case.sizes, case.sizes[1:], strict=False))
    found = [(case.batch, outputs, inputs) for inputs, outputs in pairs]
    if case.kind == "step":
        found += [(inputs, outputs, case.batch) for inputs, outputs in pairs]
        found += [(case.batch, inputs, outputs) for inputs, outputs in pairs[1:]]
    return found


def step_batches(case: Case) -> list[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]:
    """Return the batches of a step case, float32 inputs and int64 classes."""
    random = np.random.default_rng(0)
    return [
        (
            random.random((case.batch, case.sizes[0]), dtype=np.float32),
            random.integers(0, CLASSES, case.batch),
        )
        for _ in range(BATCHES)
    ]


def all_rows(case: Case) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return data shaped as MNIST: bytes (rows, inputs), classes (rows,)."""
    random = np.random.default_rng(0)
    x = random.integers(0, 256, (case.rows, case.sizes[0]), dtype=np.uint8)
    return x, random.integers(0, CLASSES, case.rows)


def write_rows(case: Case, path: Path) -> None:
    """Write the rows of a case, float32 from 0 to 1, a part at a time."""
    random = np.random.default_rng(0)
    x = np.lib.format.open_memmap(path, "w+", np.float32, (case.rows, case.sizes[0]))
    for start in range(0, case.rows, CHUNKS[-1]):
        random.random(dtype=np.float32, out=x[start : start + CHUNKS[-1]])
    x.flush()


def rows_to_predict(case: Case) -> np.ndarray[Any, Any]:
    """Return the rows, (rows, inputs), float32; those of a file are read as they are asked for."""
    if case.file:
        return np.load(case.file, mmap_mode="c")  # "c": some libraries want to be able to write
    return scaled(all_rows(case)[0])


def in_chunks(
    predict: Callable[[np.ndarray[Any, Any]], Any],
    x: np.ndarray[Any, Any],
    outputs: int,
    chunks: Sequence[int] = CHUNKS,
) -> Callable[[int], int]:
    """Return what predicts all rows so often, in chunks of the size that is fastest on a part."""
    out = np.empty((len(x), outputs), np.float32)

    def pass_over(chunk: int, rows: int) -> None:
        for start in range(0, rows, chunk):
            out[start : start + chunk] = predict(x[start : start + chunk])

    def seconds(chunk: int) -> float:
        pass_over(chunk, chunk)
        start = time.perf_counter()
        pass_over(chunk, 2 * max(chunks))
        return time.perf_counter() - start

    best = min(chunks, key=seconds) if len(chunks) > 1 else chunks[0]

    def repeat(count: int) -> int:
        for _ in range(count):
            pass_over(best, len(x))
        return count

    return repeat


def scaled(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return bytes as float32 from 0 to 1."""
    return x.astype(np.float32) / np.float32(255)


def mnist(folder: str) -> tuple[np.ndarray[Any, Any], ...]:
    """Return training images (60000, 784) and classes, test images and classes, as bytes."""
    arrays = []
    for part in ("train", "t10k"):
        for name, header in (("images-idx3", 16), ("labels-idx1", 8)):
            with gzip.open(Path(folder, f"{part}-{name}-ubyte.gz")) as file:
                arrays.append(np.frombuffer(file.read()[header:], np.uint8))
    return (
        arrays[0].reshape(-1, 784),
        arrays[1].astype(np.int64),
        arrays[2].reshape(-1, 784),
        arrays[3].astype(np.int64),
    )
