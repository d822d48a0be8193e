"""Attacks on gpubp: files changed at random, odd arrays and settings; each may fail in one way.

A case passes when it works or raises an exception of `gpubp.errors` in one line, within 10 s and
2 GB. Every case follows from its number alone.
"""

from __future__ import annotations

import json
import math
import random
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import gpubp
from gpubp import errors, tensor_files
from gpubp.model_files import HISTORIES, read
from gpubp.tables.model import TabularModel
from gpubp.tables.prepared import prepare
from gpubp.tables.recipe import Recipe
from gpubp.tables.streamed import prepare_stream
from gpubp.tables.table import Table, read_table
from gpubp.training import checkpoint_files

Attack = Callable[[int], None]
HUGE = (2**31, 2**63, 10**400, 10**5000)  # Python does not write out the last one
ODD: list[Any] = [
    *(None, True, False, 0, -1, 1, 1.5, -0.0, math.nan, math.inf, 1e308),
    *(2**31, 2**63, 10**400),
    *(
        "",
        "x",
        "\x1b[31m",
        "0",
        "float32",
        "a" * 5000,
        [],
        {},
        [[]],
        [1],
        {"a": 1},
        [None],
        [1e400],
    ),
]


def _odd_json(random_: random.Random, value: Any, depth: int = 0) -> Any:
    """Return plain data with one place changed."""
    inside = isinstance(value, dict | list) and value and random_.random() < 0.9
    if not inside or depth > 12:
        return random_.choice(ODD)
    if isinstance(value, list):
        place = random_.randrange(len(value))
        if random_.random() < 0.1:
            return value[:place] + value[place + 1 :]
        return [_odd_json(random_, v, depth + 1) if i == place else v for i, v in enumerate(value)]
    name = random_.choice([*value])
    if random_.random() < 0.1:
        return {key: each for key, each in value.items() if key != name}
    return value | {name: _odd_json(random_, value[name], depth + 1)}


def _odd_bytes(random_: random.Random, content: bytes) -> bytes:
    """Return bytes of which some are others, lacking, twice or exchanged."""
    changed = bytearray(content)
    for _ in range(random_.choice([1, 1, 2, 5, 20])):
        place = random_.randrange(len(changed)) if changed else 0
        length = random_.choice([1, 1, 2, 8, 40])
        kind = random_.randrange(5)
        if kind == 0:
            changed[place : place + length] = random_.randbytes(length)
        elif kind == 1:
            del changed[place : place + length]
        elif kind == 2:
            changed[place:place] = changed[place : place + length]
        elif kind == 3:
            changed[place:place] = random_.choice(
                [b"\0", b"\xff", b"\n", b",", b'"', b"[" * 300, b"9" * 50, b"\xed\xa0\x80", b"NaN"]
            )
        else:
            del changed[place:]
    return bytes(changed)


def _columns(rows: int = 60) -> dict[str, Any]:
    generator = np.random.default_rng(0)
    number = generator.standard_normal(rows)
    return {
        "number": np.where(number > 1.5, np.nan, number),
        "name": np.array(["red", "green", None], object)[generator.integers(0, 3, rows)],
        "time": (np.arange(rows) * 86_400 + 1_500_000_000).astype("datetime64[s]"),
        "label": np.array(["yes", "no"], object)[(number > 0).astype(int)],
        "value": number * 3 + 1,
    }


def model_files(folder: Path) -> Attack:
    """Return the attack on `TabularModel.load`, `Network.load` and `predict`."""
    table = Table("t", _columns())
    wholes = []
    for target in ("label", "value"):
        recipe = Recipe.of("fast", 40, "regression", {"epochs": 1, "hidden": (6,), "members": 2})
        prepared = prepare(table, target, "auto", 0.0, 0.3, 0, True)
        model = TabularModel.create(prepared, recipe, backend="cpu")
        model.train(prepared, recipe)
        model.save(folder / "whole")
        parameters, network, histories = read(folder / "whole")
        kept = [history.to_dict() for history in histories]
        wholes.append(((folder / "whole").read_bytes(), parameters, network, kept))

    def attack(number: int) -> None:
        random_ = random.Random(number)
        content, parameters, network, histories = random_.choice(wholes)
        if random_.random() < 0.3:
            content = _odd_bytes(random_, content)
        else:
            described = _odd_json(random_, network)
            if random_.random() < 0.2:
                described = _odd_json(random_, described)
            if random_.random() < 0.1:
                parameters = [np.append(parameters[0], random_.choice([0, np.nan]))]
            tensors = {
                f"parameters.{n}" if n else "parameters": p for n, p in enumerate(parameters)
            }
            text = json.dumps(described)
            metadata = {"format": "gpubp", "version": "1", "network": text}
            if random_.random() < 0.2:
                metadata[HISTORIES] = json.dumps(_odd_json(random_, histories))
            if random_.random() < 0.05:
                metadata = _odd_json(random_, metadata)
                metadata = (
                    {key: str(value) for key, value in metadata.items()}
                    if isinstance(metadata, dict)
                    else {}
                )
            content = tensor_files.encode(tensors, metadata)
        path = folder / "model"
        path.write_bytes(content)
        try:
            TabularModel.load(path, "cpu").predict(table)
        except errors.ModelFileError:
            for net in gpubp.Network.load_all(path, "cpu"):
                net.predict(np.zeros((2, net.sizes[0]), np.float32))

    return attack


def checkpoints(folder: Path) -> Attack:
    """Return the attack on a run that goes on from a checkpoint with a right SHA-256."""
    x = np.random.default_rng(0).standard_normal((40, 4)).astype(np.float32)
    y = np.arange(40) % 3
    run = folder / "run"

    def fit(epochs: int, resume: bool) -> None:
        net = gpubp.Network([4, 6, 3], output="softmax", backend="cpu")
        watch = [gpubp.EarlyStopping(9), gpubp.ReduceOnPlateau()]
        settings = {"batch_size": 8, "checkpoint": run, "every": 3, "callbacks": watch}
        net.fit(x, y, epochs=epochs, resume=resume, validation=(x, y), **settings)

    fit(2, False)
    paths = checkpoint_files.CheckpointFolder(run).files()
    whole, content = checkpoint_files.decode(paths[0]), paths[0].read_bytes()

    def attack(number: int) -> None:
        random_ = random.Random(number)
        if random_.random() < 0.2:
            changed = _odd_bytes(random_, content)
        else:
            parts = {"run": whole.run, "state": whole.state}
            if random_.random() < 0.7:
                name = random_.choice([*parts, "state", "state"])
                parts[name] = _odd_json(random_, parts[name])
            arrays = dict(whole.arrays)
            if random_.random() < 0.4:
                name = random_.choice([*arrays])
                arrays[name] = _odd_array(random_, arrays[name])
            changed = checkpoint_files.encode(
                checkpoint_files.Checkpoint(parts["run"], parts["state"], arrays)
            )
        for path in run.iterdir():
            path.unlink()
        paths[0].write_bytes(changed)
        fit(3, True)

    return attack


def _odd_array(random_: random.Random, array: Any) -> Any:
    changes: list[Callable[[Any], Any]] = [
        lambda a: a[:-1],
        lambda a: np.append(a, a[:1]),
        lambda a: a.astype(np.float64),
        lambda a: a.astype(np.int64),
        lambda a: a[None],
        lambda a: np.full_like(a, np.nan),
        lambda a: a[:0],
        lambda a: a.sum(),
    ]
    return np.ascontiguousarray(random_.choice(changes)(array))


def csv_tables(folder: Path) -> Attack:
    """Return the attack on `read_table` and the preprocessing, and on a streamed CSV file."""
    names, columns = list(_columns()), _columns().values()
    rows = [[str(v) if v is not None and v == v else "" for v in row] for row in zip(*columns)]  # noqa: B905
    content = "\n".join(map(",".join, [names, *rows])).encode()

    def attack(number: int) -> None:
        from gpubp.data.csv_cache import converted

        random_ = random.Random(number)
        path = folder / "t.csv"
        path.write_bytes(_odd_bytes(random_, content))
        if number % 4:
            _prepared(read_table(path), random_)
        else:
            made = converted(path, folder / f"cache{number}")
            prepare_stream(made, random_.choice(["label", "value"]), "auto", 0.2, 0.2, 0)
            made.unlink()

    return attack


def parquet_tables(folder: Path) -> Attack:
    """Return the attack on Parquet files, read whole and streamed."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table({name: pa.array(list(v)) for name, v in _columns().items()})
    pq.write_table(table, folder / "whole", row_group_size=20)
    content = (folder / "whole").read_bytes()

    def attack(number: int) -> None:
        random_ = random.Random(number)
        path = folder / "t.parquet"
        path.write_bytes(_odd_bytes(random_, content))
        if number % 2:
            _prepared(read_table(path), random_)
        else:
            made = prepare_stream(path, random_.choice(["label", "value"]), "auto", 0.2, 0.2, 0)
            data = made.dataset("train")
            for block in range(len(data.sizes)):
                data.read(block)

    return attack


def _prepared(table: Table, random_: random.Random) -> None:
    target = random_.choice([*table.columns])
    prepare(table, target, "auto", 0.2, 0.2, 0, False)


KINDS = (
    "f4",
    "f8",
    "f2",
    ">f4",
    ">f8",
    "i1",
    "i8",
    "u1",
    ">u2",
    "?",
    "c8",
    "O",
    "U3",
    "M8[s]",
    "g",
)


def odd_array(random_: random.Random, shape: tuple[int, ...]) -> Any:
    """Return an array of any dtype, strides and class."""
    generator = np.random.default_rng(random_.randrange(2**32))
    kind = random_.choice(KINDS)
    values: Any = generator.integers(0, 3, shape)
    values = values.astype(str) if kind == "U3" else values.astype(kind)
    if random_.random() < 0.1 and values.dtype.kind == "f":
        values = np.where(values > 1, random_.choice([np.nan, np.inf]), values)
    forms: list[Callable[[Any], Any]] = [
        lambda a: a,
        lambda a: np.asfortranarray(a),
        lambda a: a[::-1],
        lambda a: np.repeat(a, 2, axis=0)[::2],
        lambda a: np.broadcast_to(a[:1], a.shape),
        lambda a: np.ma.masked_array(a, generator.random(a.shape) < 0.1),
        lambda a: a.tolist(),
        lambda a: a[:0],
        lambda a: (
            np.frombuffer(b"\0" + np.ascontiguousarray(a).tobytes(), a.dtype, offset=1).reshape(
                a.shape
            )
            if a.dtype.kind not in "O"
            else a
        ),
        lambda a: a[None],
        lambda a: a.T,
        lambda a: a[0],
        lambda a: a.reshape(-1),
        _sparse,
        lambda a: random_.choice(ODD),
    ]
    return random_.choice(forms)(values)


def _sparse(array: Any) -> Any:
    import scipy.sparse

    fits = array.ndim == 2 and array.dtype.kind in "fiubc" and array.dtype.isnative
    fits = fits and array.dtype.char not in "eg"
    return scipy.sparse.csr_matrix(array) if fits else array


def arrays(folder: Path) -> Attack:
    """Return the attack on `fit`, `predict` and the estimators with odd arrays and settings."""
    nets = [
        gpubp.Network([4, 5, 3], output="softmax", backend="cpu"),
        gpubp.Network([4, 5, 1], backend="cpu", dtype="float64"),
    ]
    names = [
        *("epochs", "batch_size", "optimizer", "loss", "validation", "callbacks"),
        *("regularization", "accumulate", "average", "groups", "dropout_factor", "shards"),
    ]
    settings: dict[str, list[Any]] = {name: [*ODD, *HUGE] for name in names}

    def attack(number: int) -> None:
        random_ = random.Random(number)
        net = random_.choice(nets).copy()
        x, y = odd_array(random_, (12, 4)), odd_array(random_, (12,))
        kind = number % 4
        if kind == 0:
            net.predict(x)
            net.forward(x)
        elif kind == 1:
            weight = odd_array(random_, (12,)) if random_.random() < 0.3 else None
            net.fit(x, y, epochs=1, batch_size=5, sample_weight=weight)
        elif kind == 2:
            name = random_.choice([*settings])
            good = np.ones((12, 4), np.float32)
            value = random_.choice(settings[name])
            given = {"epochs": 1} | {name: value}
            if name != "epochs" or value not in HUGE:  # as long as was asked for
                net.fit(good, np.zeros(12, int), **given)
        else:
            net.train_step(x, y)
            net.input_gradient(x)

    return attack


ATTACKS = {
    "model files": model_files,
    "checkpoints": checkpoints,
    "CSV tables": csv_tables,
    "Parquet tables": parquet_tables,
    "arrays and settings": arrays,
}


def failure(attack: Attack, number: int) -> str:
    """Return what is wrong with how a case ended; "" if nothing is."""
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            attack(number)
    except errors.GpubpError as error:
        return "an error of several lines" if "\n" in str(error) else ""
    except Exception as error:
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        where = f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else ""
        return f"{type(error).__name__} at {where}: {' '.join(str(error).split())[:150]}"
    return ""
