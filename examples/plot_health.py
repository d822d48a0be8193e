"""
What ails a network
===================

Columns of very different sizes saturate a network before it learns anything; `health` says so,
names the layer and gives the remedy.
"""

import numpy as np

import gpubp

random = np.random.default_rng(0)
x = random.normal(size=(1000, 4)) * [1, 10, 1e3, 1e4]
y = (x[:, 0] > 0).astype(int)

net = gpubp.Network([4, 32, 32, 2], activation="tanh", output="softmax", seed=0)
print(net.health(x, y, optimizer=gpubp.Adam(1e-3)))

# %%
# The same data, each column divided by its standard deviation:
print(net.health(x / x.std(axis=0), y, optimizer=gpubp.Adam(1e-3)))
