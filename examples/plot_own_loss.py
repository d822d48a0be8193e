"""
A loss of your own
==================

`forward` returns outputs, `backward` takes the gradient of any loss by them and leaves that by
every parameter in ``net.gradients``; here the logarithm of a hyperbolic cosine, by plain gradient
descent.
"""

import matplotlib.pyplot as plt
import numpy as np

import gpubp

random = np.random.default_rng(0)
x = np.linspace(-1, 1, 200)[:, None]
y = x**3 - 0.5 * x + 0.05 * random.normal(size=x.shape)
y[::20] += 2  # a few rows that are far off

net = gpubp.Network([1, 32, 32, 1], activation="tanh", output="identity", seed=0, backend="cpu")
losses = []
for _ in range(3000):
    error = net.forward(x) - y
    losses.append(float(np.log(np.cosh(error)).mean()))
    net.backward(np.tanh(error) / len(x))  # the derivative of log cosh is tanh
    net.parameters -= 0.3 * net.gradients

# %%
# Squared error is pulled towards the rows that are far off:
squared = gpubp.Network([1, 32, 32, 1], activation="tanh", output="identity", seed=0)
squared.fit(x, y, optimizer=gpubp.SGD(0.1), epochs=3000, batch_size=200)

figure, axes = plt.subplots(figsize=(6, 3.5))
axes.scatter(x, y, s=8, color="0.6")
axes.plot(x, squared.predict(x), label="squared error")
axes.plot(x, net.predict(x), label="log cosh")
axes.legend()
figure.tight_layout()
print(f"log cosh fell from {losses[0]:.4f} to {losses[-1]:.4f}")
