"""Small trainings by the public API and hashes of their bits, to hold two versions of gpubp apart.

The installed gpubp is what trains. The old one writes, the new one compares, on one machine:

    python tests/recorded_trainings.py --write FILE
    python tests/recorded_trainings.py --compare FILE --allow "numpy/in_order,simulated/*"
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import os
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

import numpy as np

import gpubp
import gpubp.data

RANDOM = np.random.default_rng(7)
X = RANDOM.standard_normal((203, 20)).astype(np.float32)
Y = np.argmax(X[:, :3] + X[:, 3:6] * X[:, 6:9], axis=1)
WEIGHTS = RANDOM.uniform(0.5, 2, 203).astype(np.float32)
TARGETS = np.stack([X[:, 0] * X[:, 1], np.sin(X[:, 2]), X[:, 3]], axis=1)
HELD_OUT = {"validation": (X[:60], np.roll(Y[:60], 1))}
NETWORK = {"sizes": [20, 32, 16, 3], "output": "softmax", "seed": 3}
FIT = {"epochs": 3, "batch_size": 32}  # 21 steps, the last of an epoch on 11 rows
Training = Callable[[str], tuple[gpubp.Network, list[float]]]


def fitted(data: tuple = (X, Y), net: dict | None = None, **fit) -> Training:
    """Return the training, on a backend, of such a network by `fit` with such settings."""

    def train(backend):
        made = gpubp.Network(**NETWORK | (net or {}), backend=backend)
        history = made.fit(*data, **FIT | fit)
        losses = [*history.loss, *history.validation_loss]
        return made.averaged() if "average" in fit else made, losses

    return train


def resumed(backend):
    """Train for two epochs with checkpoints, and a new network from them up to four."""
    with tempfile.TemporaryDirectory() as folder:
        settings = {"net": DROPOUT, "every": 3, "checkpoint": folder, **HELD_OUT}
        fitted(epochs=2, **settings)(backend)
        return fitted(epochs=4, resume=True, **settings)(backend)


def by_hand(backend):
    """Train by calls of `train_step`, with weights of rows, and go on by `fit`."""
    net, optimizer = gpubp.Network(**NETWORK, backend=backend), gpubp.RMSProp(0.003)
    batches = np.split(np.arange(203), range(32, 203, 32))
    losses = [net.train_step(X[b], Y[b], optimizer, sample_weight=WEIGHTS[b]) for b in batches]
    return net, losses + net.fit(X, Y, optimizer=optimizer, epochs=2).loss


def from_parquet(backend):
    """Train from a Parquet file, read while training."""
    import pyarrow.parquet

    table = pyarrow.table({f"x{i:02}": X[:, i] for i in range(20)} | {"y": Y})
    with tempfile.TemporaryDirectory() as folder:
        pyarrow.parquet.write_table(table, f"{folder}/rows.parquet", row_group_size=50)
        return fitted((gpubp.data.parquet(folder, "y", window=2),))(backend)


PENALTIES = gpubp.Regularization(l1=1e-3, l2=1e-2, clip_norm=1.0, max_norm=1.5)
CALLBACKS = [gpubp.ReduceOnPlateau(1), gpubp.EarlyStopping(3)]
ADAM, ONE_CYCLE = gpubp.Adam(0.01), gpubp.Adam(gpubp.OneCycle(0.02, 21))
NESTEROV = gpubp.SGD(0.1, momentum=0.9, nesterov=True)
WARM_UP = gpubp.SGD(gpubp.WarmUp(5, gpubp.CosineDecay(0.5, 21)), momentum=0.5)
SIGMOID, EXP = {"activation": "tanh", "output": "sigmoid"}, {"activation": "elu", "output": "exp"}
SILU, GELU = ({"activation": name, "output": "identity"} for name in ("silu", "gelu"))
LAYER, BATCH, DROPOUT = {"normalization": "layer"}, {"normalization": "batch"}, {"dropout": 0.2}
ONE_PROCESS: dict[str, Training] = {
    "relu_adam": fitted(optimizer=ADAM, **HELD_OUT),
    "tanh_sigmoid_momentum": fitted(net=SIGMOID, loss="squared_error", optimizer=NESTEROV),
    "binary_cross_entropy": fitted((X, TARGETS > 0), net=SIGMOID, optimizer="rmsprop"),
    "dropout_adamw": fitted(net=DROPOUT, optimizer=gpubp.AdamW(0.01, weight_decay=0.1)),
    "layer_normalization": fitted(net=LAYER, **HELD_OUT),
    "batch_normalization": fitted(net=BATCH, **HELD_OUT),
    "dropout_batch_normalization": fitted(net=BATCH | {"dropout": [0.2, 0.0]}),
    "accumulate": fitted(net=DROPOUT, accumulate=3, optimizer=gpubp.Nadam(0.01)),
    "weights_of_rows": fitted(sample_weight=WEIGHTS, class_weight={0: 1, 1: 2, 2: 0.5}),
    "balanced_classes": fitted(class_weight="balanced", optimizer=gpubp.Adagrad(0.05)),
    "penalties_and_norms": fitted(optimizer=gpubp.SGD(0.1), regularization=PENALTIES),
    "alpha": fitted(regularization=gpubp.Regularization(alpha=0.1)),
    "average": fitted(average=0.99),
    "float64": fitted(net=DROPOUT | {"dtype": "float64"}, optimizer=ADAM),
    "bytes_scaled": fitted((np.abs(60 * X).astype(np.uint8), Y), net={"input_scale": 1 / 255}),
    "silu_huber": fitted((X, TARGETS), net=SILU, loss=gpubp.losses.huber(0.5)),
    "gelu_quantile": fitted((X, TARGETS), net=GELU, loss=gpubp.losses.quantile(0.9)),
    "elu_poisson_lion": fitted((X, np.abs(TARGETS)), net=EXP, optimizer=gpubp.Lion(0.001)),
    "focal_softmax_hidden": fitted(net={"activation": ["softmax", "relu"]}, loss="focal"),
    "label_smoothing": fitted(loss=gpubp.losses.cross_entropy(0.1)),
    "softmax_squared_error": fitted(loss="squared_error", optimizer=WARM_UP),
    "in_order": fitted(shuffle=False, regularization=gpubp.Regularization(clip_value=0.01)),
    "one_cycle": fitted(optimizer=ONE_CYCLE),
    "early_stopping": fitted(epochs=20, optimizer=ADAM, callbacks=CALLBACKS, **HELD_OUT),
    "resume": resumed,
    "train_step": by_hand,
    "stream_arrays": fitted((gpubp.data.ArrayDataset(X, Y, WEIGHTS, block=40, window=2),)),
    "stream_parquet": from_parquet,
}
ROUNDED = {p: fitted(net=DROPOUT | {"precision": p}) for p in ("tf32", "bfloat16", "float16")}
TWO_GPUS: dict[str, Training] = {
    "plain": fitted(distributed=True, optimizer=ADAM, **HELD_OUT),
    "stream": fitted((gpubp.data.ArrayDataset(X, Y, block=40),), net=LAYER, distributed=True),
}
TWO_PROCESSES = TWO_GPUS | {
    "deterministic": fitted(net=DROPOUT, distributed=True, deterministic=True),
    "accumulate": fitted(net=DROPOUT, distributed=True, accumulate=3),
    "weights_of_rows": fitted(distributed=True, sample_weight=WEIGHTS),
}


class Group(NamedTuple):
    """Trainings that run in processes of their own, and what code must run before they can."""

    trainings: dict[str, Training]
    backend: str = "cpu"
    kernels: str = ""
    processes: int = 1
    needs: str = ""


MPI = "from mpi4py import MPI"
COMPILER = "import shutil; assert shutil.which('g++') or shutil.which('clang++'), 'no C++ compiler'"
GROUPS = {
    "numpy": Group(ONE_PROCESS, kernels="off"),
    "compiled": Group(ONE_PROCESS),
    "simulated": Group(ONE_PROCESS | ROUNDED, "gpu", needs=COMPILER),
    "numpy_two": Group(TWO_PROCESSES, kernels="off", processes=2, needs=MPI),
    "compiled_two": Group(TWO_PROCESSES, processes=2, needs=MPI),
    "simulated_two": Group(TWO_GPUS, "gpu", processes=2, needs=f"{COMPILER}; {MPI}"),
}


def simulate(processes: int, talk) -> None:
    """Put the simulated CuPy in the place of the real one, and an NCCL that sums by MPI."""
    import pytest

    sys.path.append(str(Path(__file__).parent))  # which PYTHONSAFEPATH leaves out
    home = "simulated." if Path(__file__).with_name("simulated").is_dir() else "simulated_"
    patch = pytest.MonkeyPatch()
    cupy = importlib.import_module(f"{home}cupy").install(patch, count=processes)
    importlib.import_module(f"{home}nccl").install(patch, cupy.cuda, talk)


def record(net: gpubp.Network, losses: list[float]) -> dict:
    """Return what a training is compared by."""
    parameters = getattr(net.parameters, "get", lambda: net.parameters)()  # from a GPU, or here
    bits = {"parameters": parameters, "losses": np.array(losses), "outputs": net.predict(X[:50])}
    return {name: hashlib.sha256(array.tobytes()).hexdigest() for name, array in bits.items()} | {
        "last_loss": float(losses[-1]),
        "norm": float(np.linalg.norm(parameters.astype(np.float64))),
        "sample": parameters[:5].tolist(),
    }


def run_group(name: str, file: str) -> int:
    """Train all of a group in this process; write the records, an empty one for what failed."""
    group, records = GROUPS[name], {}
    talk = importlib.import_module("mpi4py.MPI").COMM_WORLD if group.processes > 1 else None
    if group.backend == "gpu":
        simulate(group.processes, talk)
    for title, training in group.trainings.items():
        try:
            records[f"{name}/{title}"] = record(*training(group.backend))
        except Exception:
            records[f"{name}/{title}"] = {}
            print(f"{name}/{title} failed", traceback.format_exc(), sep="\n", file=sys.stderr)
    if talk is None or talk.Get_rank() == 0:
        Path(file).write_text(json.dumps(records))
    return 0


def start_group(name: str, folder: str) -> dict[str, dict]:
    """Run a group in processes of its own; return its records, none where it lacks something."""
    group, file = GROUPS[name], Path(folder, name)
    asked = subprocess.run([sys.executable, "-c", group.needs], capture_output=True, text=True)
    if asked.returncode:
        print(f"{name} is left out:", asked.stderr.strip().rpartition("\n")[2])
        return {}
    environment = os.environ | {"PYTHONSAFEPATH": "1", "GPUBP_HOST_KERNELS": group.kernels}
    launch = ["-m", "gpubp", "launch", "-n", str(group.processes)] * (group.processes > 1)
    words = [sys.executable, *launch, str(Path(__file__).resolve()), "--group", name, str(file)]
    subprocess.run(words, env=environment, timeout=300)
    return json.loads(file.read_text()) if file.exists() else {f"{name}/*": {}}


def difference(old: dict, new: dict) -> str:
    """Return in words what differs between two records of a training; "" for nothing."""
    if old == new or not old or not new:
        return "" if old == new != {} else "was not trained by both"
    parts = [key for key in old if old[key] != new[key]]
    a, b = (np.array([*one["sample"], one["last_loss"]]) for one in (old, new))
    largest = np.max(np.abs(a - b) / np.maximum(np.maximum(np.abs(a), np.abs(b)), 1e-30))
    return f"differs in {', '.join(parts)}: by {largest:.1e} of sample and last loss at most"


def compare(old: dict, new: dict, allowed: list[str]) -> bool:
    """Print a line a training; return whether none differs but those that are allowed to."""
    differing = {name: difference(old.get(name, {}), new.get(name, {})) for name in old | new}
    for name, text in differing.items():
        print(f"{name:40}", text or "same bits")
    differ = [name for name, text in differing.items() if text]
    return all(any(fnmatchcase(name, pattern) for pattern in allowed) for name in differ)


def main() -> int:
    """Write or compare as the command line says; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    mode = parser.add_mutually_exclusive_group(required=True)
    mode.add_argument("--write", type=Path, metavar="FILE")
    mode.add_argument("--compare", type=Path, metavar="FILE")
    mode.add_argument("--group", nargs=2, metavar=("NAME", "FILE"), help=argparse.SUPPRESS)
    parser.add_argument("--allow", default="", metavar="NAME,NAME", help="names, or with *")
    given = parser.parse_args()
    if given.group:
        return run_group(*given.group)
    records = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in GROUPS:
            records |= start_group(name, folder)
    print(len(records), "trainings by", gpubp.__file__)
    well = all(records.values())
    if given.compare:
        old = json.loads(given.compare.read_text())
        return 0 if compare(old, records, given.allow.split(",")) and well else 1
    print(*(f"{name:40} {one.get('parameters')}" for name, one in records.items()), sep="\n")
    given.write.write_text(json.dumps(records, indent=1) + "\n")
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
