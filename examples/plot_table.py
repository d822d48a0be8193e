"""
A table with names, numbers and missing values
==============================================

`TabularClassifier` takes a data frame as it is: several networks with embedded numbers answer
together, and tell which columns they need.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.metrics import log_loss

from gpubp import TabularClassifier

random = np.random.default_rng(0)
rows = 3000
frame = pd.DataFrame(
    {
        "age": random.integers(18, 80, rows).astype(float),
        "hours": random.normal(38, 9, rows).round(),
        "town": random.choice(["Shiraz", "Oslo", "Lima", "Kyoto"], rows),
        "noise": random.normal(size=rows),
    }
)
score = 0.06 * (frame["age"] - 45) + 0.05 * (frame["hours"] - 38) + 1.5 * (frame["town"] == "Oslo")
frame.loc[random.random(rows) < 0.1, "hours"] = np.nan
target = np.where(random.random(rows) < 1 / (1 + np.exp(-score)), "yes", "no")

model = TabularClassifier(preset="fast", random_state=0)
model.fit(frame[:2400], target[:2400])
probabilities = model.predict_proba(frame[2400:])
print("log loss", round(log_loss(target[2400:], probabilities), 3))
print("log loss of the true probabilities", end=" ")
print(round(log_loss(target[2400:], 1 / (1 + np.exp(-score[2400:]))), 3))

# %%
# How much worse the answers are without each column:
importances = model.feature_importances(frame[2400:], target[2400:])
figure, axes = plt.subplots(figsize=(6, 2.5))
axes.barh(list(importances), list(importances.values()))
axes.set_xlabel("share of right answers lost")
figure.tight_layout()
