"""
What ails a network
===================

Columns of very different sizes saturate a network before it learns anything; `health` says so,
names the layer and gives the remedy.
"""

import matplotlib.pyplot as plt
import numpy as np

import gpubp

random = np.random.default_rng(0)
x = random.normal(size=(1000, 4)) * [1, 10, 1e3, 1e4]
y = (x[:, 0] > 0).astype(int)

net = gpubp.Network([4, 32, 32, 2], activation="tanh", output="softmax", seed=0)
raw = net.health(x, y, optimizer=gpubp.Adam(1e-3))
print(raw)

# %%
# The same data, each column divided by its standard deviation:
scaled = net.health(x / x.std(axis=0), y, optimizer=gpubp.Adam(1e-3))
print(scaled)

# %%
# Where the slope is nearly 0, no error gets through:
figure, axes = plt.subplots(figsize=(6, 2.5))
for shift, report, label in ((-0.2, raw, "as they are"), (0.2, scaled, "divided")):
    places = np.arange(1, 3) + shift
    axes.bar(places, [layer.saturated for layer in report.layers[:2]], 0.4, label=label)
axes.set_xticks([1, 2], ["hidden layer 1", "hidden layer 2"])
axes.set_ylabel("share saturated")
axes.legend()
figure.tight_layout()
