"""
A model for other programs
==========================

The same network as an ONNX file, for any program with an ONNX runtime, and as one Python file that
needs NumPy alone.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import onnxruntime
from sklearn.datasets import load_iris

import gpubp
from gpubp import exchange

x, y = load_iris(return_X_y=True)
net = gpubp.Network([4, 16, 3], output="softmax", seed=0)
net.fit(x, y, optimizer=gpubp.Adam(0.01), epochs=60)

with tempfile.TemporaryDirectory() as folder:
    path = Path(folder)
    exchange.write_onnx(net, path / "iris.onnx")
    session = onnxruntime.InferenceSession(path / "iris.onnx")
    name = session.get_inputs()[0].name
    there = session.run(None, {name: x.astype(np.float32)})[-1]
    print("largest difference to onnxruntime", np.abs(there - net.predict(x)).max())

    exchange.write_numpy_predictor(net, path / "iris.py")
    np.savetxt(path / "rows.csv", x[:3], delimiter=",")
    command = [sys.executable, str(path / "iris.py"), str(path / "rows.csv")]
    print(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

# %%
# Every probability of every flower, here and there:
figure, axes = plt.subplots(figsize=(4, 4))
axes.plot(net.predict(x).ravel(), there.ravel(), ".", alpha=0.4)
axes.plot([0, 1], [0, 1], color="gray", linewidth=0.8)
axes.set_xlabel("gpubp")
axes.set_ylabel("onnxruntime")
figure.tight_layout()
