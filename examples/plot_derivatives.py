"""
The derivative of a physical law
================================

A network learns the period of a pendulum from its length and swing, and then gives the derivatives
by both, which are compared with the formula's.
"""

import matplotlib.pyplot as plt
import numpy as np

import gpubp

GRAVITY = 9.81


def period(length, swing):
    """Return seconds; to the fourth order in the swing, in radians."""
    series = 1 + swing**2 / 16 + 11 * swing**4 / 3072
    return 2 * np.pi * np.sqrt(length / GRAVITY) * series


random = np.random.default_rng(0)
x = random.uniform([0.2, 0.0], [2.0, 1.2], (4000, 2))
net = gpubp.Network([2, 64, 64, 1], activation="tanh", output="identity", dtype="float64", seed=0)
rate = gpubp.CosineDecay(5e-3, 300 * 63, 1e-5)
net.fit(x, period(*x.T), optimizer=gpubp.Adam(rate), epochs=300, batch_size=64)

length = np.linspace(0.3, 1.9, 100)
rows = np.column_stack([length, np.full(100, 0.6)])
found = net.input_gradient(rows)[:, 0, 0]
exact = period(length, 0.6) / (2 * length)
print("largest error of the derivative by the length:", f"{np.abs(found - exact).max():.1e} s/m")

# %%
figure, axes = plt.subplots(figsize=(6, 3.5))
axes.plot(length, exact, lw=4, alpha=0.4, label="formula")
axes.plot(length, found, label="network")
axes.set_xlabel("length, m")
axes.set_ylabel("d period / d length, s/m")
axes.legend()
figure.tight_layout()
