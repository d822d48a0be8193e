"""
Numbers embedded by bins
========================

A plain network smooths a jagged function of one number; with the number embedded piecewise linearly
it follows every tooth.
"""

import matplotlib.pyplot as plt
import numpy as np

import gpubp

random = np.random.default_rng(0)
x = random.uniform(0, 1, (4000, 1))


def jagged(x):
    """Return a saw with a step."""
    return (7 * x) % 1 + (x > 0.5)


y = jagged(x[:, 0]) + 0.05 * random.normal(size=len(x))
grid = np.linspace(0, 1, 1000)[:, None]
figure, axes = plt.subplots(figsize=(7, 3.5))
axes.plot(grid, jagged(grid), color="0.7", lw=3, label="the function")
for name, bins in (("plain", None), ("embedded", gpubp.quantile_bins(x, 48))):
    net = gpubp.Network([1, 64, 64, 1], output="identity", bins=bins, seed=0)
    net.fit(x, y, optimizer=gpubp.Adam(2e-3), epochs=40, batch_size=64)
    axes.plot(grid, net.predict(grid), label=name)
    error = np.sqrt(np.mean((net.predict(grid)[:, 0] - jagged(grid[:, 0])) ** 2))
    print(f"{name}: root mean square error {error:.3f}")
axes.legend()
figure.tight_layout()
