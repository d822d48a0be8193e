"""
Intervals and quantiles
=======================

A number alone does not say how sure it is. `TabularRegressor` also gives an interval that holds the
truth as often as you ask for.
"""

import matplotlib.pyplot as plt
import numpy as np

from gpubp import TabularRegressor

random = np.random.default_rng(1)
x = random.uniform(-3, 3, (2500, 1))
y = np.sin(2 * x[:, 0]) + random.normal(size=2500) * (0.1 + 0.15 * np.abs(x[:, 0]))

model = TabularRegressor(preset="fast", random_state=0)
model.fit(x[:2000], y[:2000])
interval = model.predict_interval(x[2000:], 0.9)
inside = (interval[:, 0] <= y[2000:]) & (y[2000:] <= interval[:, 1])
print(f"{inside.mean():.3f} of the new rows lie in their interval of 0.9")

# %%
grid = np.linspace(-3, 3, 300)[:, None]
low, high = model.predict_interval(grid, 0.9).T
figure, axes = plt.subplots(figsize=(7, 3.5))
axes.scatter(x[2000:, 0], y[2000:], s=6, color="0.6", label="new rows")
axes.fill_between(grid[:, 0], low, high, alpha=0.3, label="interval, 0.9")
axes.plot(grid[:, 0], model.predict(grid), label="answer")
axes.legend()
figure.tight_layout()
