"""
One step of backpropagation, number by number
=============================================

A network of two inputs, two hidden neurons and two outputs, with the numbers of a widely read
worked example: every weighted sum, output, slope, error and weight of one step.
"""

import matplotlib.pyplot as plt
import numpy as np

import gpubp

net = gpubp.Network(
    [2, 2, 2], activation="sigmoid", output="sigmoid", dtype="float64", backend="cpu"
)
net.layers[0].weight[...] = [[0.15, 0.25], [0.20, 0.30]]
net.layers[0].bias[...] = 0.35
net.layers[1].weight[...] = [[0.40, 0.50], [0.45, 0.55]]
net.layers[1].bias[...] = 0.60
x, expected = [[0.05, 0.10]], [[0.01, 0.99]]

trace = net.trace(x, expected, learning_rate=0.5, loss="squared_error")
print(trace)

# %%
# A thousand such steps bring the outputs to what is expected.
losses = [
    net.train_step(x, expected, optimizer=gpubp.SGD(0.5), loss="squared_error") for _ in range(1000)
]
print("outputs", np.round(net.predict(x), 4), "expected", expected)

figure, axes = plt.subplots(figsize=(6, 3))
axes.loglog(range(1, 1001), losses)
axes.set_xlabel("step")
axes.set_ylabel("loss")
figure.tight_layout()
