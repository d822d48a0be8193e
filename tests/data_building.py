"""Data sets, and networks that are trained on them, which several tests of data use."""

from __future__ import annotations

import numpy as np
import pytest

import gpubp
import gpubp.data

INPUTS = 5


def arrays(rows=300, seed=0):
    generator = np.random.default_rng(seed)
    x = generator.standard_normal((rows, INPUTS)).astype(np.float32)
    return x, (x.sum(axis=1) > 0).astype(np.int64)


def network(backend="cpu", **given):
    return gpubp.Network([INPUTS, 8, 2], "tanh", "softmax", backend, **given)


def parameters(net):
    return net.backend.to_numpy(net.parameters)


def trained(backend, *data, **given):
    net = network(backend)
    net.fit(*data, **{"epochs": 2, "batch_size": 32} | given)
    return parameters(net)


def read_rows(data, reading, epoch=0, start=0):
    return [rows.x[:, 0].tolist() for rows in data.batches(reading, epoch, start)]


def numbered(rows, block, window=None):
    """Return a data set whose only input is the number of the row."""
    x = np.arange(rows, dtype=np.float64)[:, None]
    return gpubp.data.ArrayDataset(x, np.zeros(rows), block=block, window=window)


def write(folder, x, y, group=100, name="t.parquet", **more):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    columns = {f"x{column}": x[:, column] for column in range(x.shape[1])}
    pq.write_table(pa.table(columns | {"y": y} | more), folder / name, row_group_size=group)
    return folder / name
