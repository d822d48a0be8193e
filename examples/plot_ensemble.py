"""
Several networks know more than one
===================================

Eight networks that differ in their seed alone: the mean of their probabilities is better than
nearly every one of them, and their spread says where they do not know.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_moons
from sklearn.metrics import log_loss

import gpubp

x, y = make_moons(600, noise=0.25, random_state=0)
x_train, y_train, x_test, y_test = x[:200], y[:200], x[200:], y[200:]

networks = []
for seed in range(8):
    net = gpubp.Network([2, 64, 64, 2], activation="relu", output="softmax", seed=seed)
    net.fit(x_train, y_train, optimizer=gpubp.Adam(3e-3), epochs=150, batch_size=32)
    networks.append(net)
each = np.array([net.predict(x_test) for net in networks])
print("log loss of each", [round(log_loss(y_test, one), 3) for one in each])
print("log loss of their mean", round(log_loss(y_test, each.mean(axis=0)), 3))

# %%
side = np.linspace(-2, 3, 120)
grid = np.array([(a, b) for b in side for a in side])
spread = np.array([net.predict(grid)[:, 1] for net in networks]).std(axis=0)
figure, axes = plt.subplots(figsize=(5, 4))
shown = axes.pcolormesh(side, side, spread.reshape(120, 120), cmap="magma", shading="auto")
axes.scatter(*x_train.T, c=y_train, s=10, cmap="coolwarm", edgecolors="w", linewidths=0.3)
figure.colorbar(shown, label="standard deviation of eight networks")
figure.tight_layout()
