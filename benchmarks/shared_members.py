"""Are members with shared weights better than separate networks? At equal processor time.

    python benchmarks/shared_members.py --tables FOLDER [--seconds 6] [--seeds 3]

TabM (Gorishniy et al. 2024, "TabM: advancing tabular deep learning with parameter-efficient
ensembling") has members that share each weight matrix and differ by factors of its inputs and
outputs, z = ((x * r) W) * s + b, with an output layer each. Both kinds are written in PyTorch, so
that neither gains by gpubp's kernels, and train on one thread for as many seconds of processor
time: the steps alone count. A fifth of the rows is held out of the training files
(FOLDER/adult.train.csv, housing.train.csv) and of scikit-learn's digits, a fifth of the others
tells when a network was best and which learning rate was better. No test file is read.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from markdown import circumstances, table
from sklearn.datasets import load_digits

RATES, BATCH = (1e-3, 4e-3), 128
TARGETS = {"housing": "median_house_value", "adult": "income"}
Part = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class Kind:
    """So many members with two hidden layers, separate ones or of shared weights."""

    shared: bool
    members: int
    width: int

    def __str__(self) -> str:
        return (
            f"{self.members} {'shared' if self.shared else 'separate'}, {self.width}-{self.width}"
        )


KINDS = (
    Kind(False, 8, 64),
    Kind(True, 8, 64),
    Kind(True, 16, 64),
    Kind(True, 32, 64),
    Kind(True, 8, 128),
)


class Layer(torch.nn.Module):
    """A dense layer of all members, (members, rows, inputs) to (members, rows, outputs)."""

    def __init__(self, kind: Kind, inputs: int, outputs: int, place: str) -> None:
        super().__init__()
        self.shared = kind.shared and place != "last"
        gain = 1.0 if place == "last" else 2.0
        each = () if self.shared else (kind.members,)
        weight = torch.randn(*each, inputs, outputs) * (gain / inputs) ** 0.5
        self.weight = torch.nn.Parameter(weight)
        self.bias = torch.nn.Parameter(torch.zeros(kind.members, 1, outputs))
        if self.shared:  # the first factors tell the members apart, as TabM's do
            factors = torch.ones(kind.members, 1, inputs)
            if place == "first":
                factors = torch.randint(0, 2, factors.shape) * 2.0 - 1.0
            self.of_inputs = torch.nn.Parameter(factors)
            self.of_outputs = torch.nn.Parameter(torch.ones(kind.members, 1, outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return what the layer sums up."""
        if self.shared:
            return (x * self.of_inputs) @ self.weight * self.of_outputs + self.bias
        return torch.baddbmm(self.bias, x.expand(len(self.bias), -1, -1), self.weight)


class Net(torch.nn.Module):
    """The members of one kind."""

    def __init__(self, kind: Kind, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = Layer(kind, inputs, kind.width, "first")
        self.second = Layer(kind, kind.width, kind.width, "second")
        self.last = Layer(kind, kind.width, outputs, "last")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the outputs of all members, (members, rows, outputs)."""
        return self.last(torch.relu(self.second(torch.relu(self.first(x)))))


def mean_loss(outputs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Return the mean loss of members, each by itself."""
    if y.is_floating_point():
        return torch.nn.functional.mse_loss(outputs[:, :, 0], y.expand(len(outputs), -1))
    return torch.nn.functional.cross_entropy(outputs.flatten(0, 1), y.repeat(len(outputs)))


@torch.no_grad()
def measure(net: Net, part: Part) -> float:
    """Return the log loss of the mean of the members, or the root of the mean squared error."""
    x, y = part
    outputs = torch.cat([net(rows) for rows in x.split(2048)], dim=1)
    if y.is_floating_point():
        return float(torch.nn.functional.mse_loss(outputs[:, :, 0].mean(0), y)) ** 0.5
    mean = outputs.softmax(-1).mean(0).clamp_min(1e-15)
    return float(torch.nn.functional.nll_loss(mean.log(), y))


def read(folder: Path, name: str, seed: int) -> tuple[Part, Part, Part, int]:
    """Return rows to train on, to choose by and to measure on, and the number of outputs."""
    if name == "digits":
        x, y = load_digits(return_X_y=True)
    else:
        rows = pd.read_csv(folder / f"{name}.train.csv")
        target = rows.pop(TARGETS[name])
        y = target.to_numpy(np.float64) if name == "housing" else pd.factorize(target, sort=True)[0]
        rows = rows.fillna(rows.median(numeric_only=True))
        x = pd.get_dummies(rows, dummy_na=True).to_numpy(np.float64)
    order = np.random.default_rng(seed).permutation(len(x))
    test, valid, train = np.split(order, [len(x) // 5, len(x) * 9 // 25])
    x = (x - x[train].mean(0)) / np.maximum(x[train].std(0), 0.1)
    outputs = 1 if y.dtype.kind == "f" else int(y.max()) + 1
    if outputs == 1:
        y = ((y - y[train].mean()) / y[train].std()).astype(np.float32)
    parts = [
        (torch.from_numpy(x[part].astype(np.float32)), torch.from_numpy(y[part]))
        for part in (train, valid, test)
    ]
    return (*parts, outputs)  # type: ignore[return-value]


def train(kind: Kind, data: Any, rate: float, seed: int, seconds: float) -> tuple[float, ...]:
    """Train for so many seconds; return the losses when it was best, its epoch and all epochs."""
    (x, y), valid, test, outputs = data
    torch.manual_seed(seed)
    net = Net(kind, x.shape[1], outputs)
    optimizer = torch.optim.Adam(net.parameters(), rate, fused=True)
    best, taken, epochs = (np.inf, np.inf, 0.0), 0.0, 0
    while taken < seconds:
        start = time.process_time()
        for rows in torch.randperm(len(x)).split(BATCH):
            optimizer.zero_grad(set_to_none=True)
            mean_loss(net(x[rows]), y[rows]).backward()
            optimizer.step()
        taken += time.process_time() - start
        epochs += 1
        best = min(best, (measure(net, valid), measure(net, test), float(epochs)))
    return (*best, float(epochs))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--tables", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--data", nargs="*", default=["digits", *TARGETS], choices=["digits", *TARGETS]
    )
    parser.add_argument(
        "--kinds", nargs="*", default=[*map(str, KINDS)], help="such as '8 shared, 64-64'"
    )
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for name in given.data:
        for kind in (kind for kind in KINDS if str(kind) in given.kinds):
            found = []
            for seed in range(given.seeds):
                data = read(given.tables, name, seed)
                runs = [(*train(kind, data, rate, seed, given.seconds), rate) for rate in RATES]
                found.append(min(runs))
            losses = [run[1] for run in found]
            said = [f"{statistics.mean(losses):.4f}", ", ".join(f"{loss:.4f}" for loss in losses)]
            best = [f"{run[2]:.0f} of {run[3]:.0f} at {run[4]:g}" for run in found]
            rows.append([name, str(kind), *said, ", ".join(best)])
            print(rows[-1], file=sys.stderr, flush=True)
    print("# Members with shared weights beside separate networks\n")
    print(circumstances(f"PyTorch {torch.__version__}"))
    head = ["data", "members", "loss of the mean", "each seed", "best epoch, learning rate"]
    print(table(head, rows))


if __name__ == "__main__":
    main()
