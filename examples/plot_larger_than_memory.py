"""
Data larger than memory
=======================

Parquet files are read while the network is trained; an epoch mixes their rows as a training in
memory does, and the loss falls alike.
"""

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pyarrow as pa
import pyarrow.parquet

import gpubp
import gpubp.data

random = np.random.default_rng(0)
losses = {}
with tempfile.TemporaryDirectory() as folder:
    parts = []
    for number in range(4):
        x = random.normal(size=(5000, 8)).astype(np.float32)
        y = np.sin(x[:, 0]) + x[:, 1] * x[:, 2]
        columns = {f"x{place}": column for place, column in enumerate(x.T)}
        table = pa.table(columns | {"y": y})
        pyarrow.parquet.write_table(table, Path(folder) / f"{number}.parquet", row_group_size=1000)
        parts.append((x, y))
    data = gpubp.data.parquet(folder, target="y")
    memory = [np.concatenate(columns) for columns in zip(*parts, strict=True)]
    for name, given in (("files", (data,)), ("memory", memory)):
        net = gpubp.Network([8, 64, 64, 1], output="identity", seed=0)
        losses[name] = net.fit(*given, epochs=8, batch_size=256, optimizer=gpubp.Adam(2e-3)).loss

figure, axes = plt.subplots(figsize=(6, 3.5))
for name, values in losses.items():
    axes.semilogy(range(1, 9), values, marker="o", label=name)
axes.set_xlabel("epoch")
axes.set_ylabel("loss")
axes.legend()
figure.tight_layout()
