"""
A report of a model, and its pictures
=====================================

`model.report` writes one page: measures beside simple models, pictures, the rows the model is most
wrong about, the health of its network. `gpubp.plots` draws the same pictures.
"""

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
from sklearn.datasets import load_diabetes
from sklearn.model_selection import train_test_split

from gpubp import TabularRegressor, plots

frame, progression = load_diabetes(return_X_y=True, as_frame=True)
x_train, x_test, y_train, y_test = train_test_split(frame, progression, random_state=0)
model = TabularRegressor(preset="fast", random_state=0).fit(x_train, y_train)

with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "report.html"
    model.report(path, x_test, y_test)
    print(f"one file of {path.stat().st_size / 1e3:.0f} kB, which needs no other")

# %%
# Two of its pictures: answers beside the truth, and how much worse they are with a column shuffled.
figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.5))
plots.plot_predicted(y_test, model.predict(x_test), left)
plots.plot_importance(model.feature_importances(x_test, y_test), right)
figure.tight_layout()
