"""
Handwritten digits
==================

1,797 images of 8 x 8 pixels in ten classes: train, test, and look at what is confused.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.metrics import ConfusionMatrixDisplay
from sklearn.model_selection import train_test_split

import gpubp

x, y = load_digits(return_X_y=True)
x_train, x_test, y_train, y_test = train_test_split(
    x.astype(np.float32) / 16, y, stratify=y, random_state=0
)

net = gpubp.Network([64, 128, 10], activation="relu", output="softmax", dropout=0.2, seed=0)
history = net.fit(
    x_train,
    y_train,
    optimizer=gpubp.Adam(2e-3),
    epochs=60,
    batch_size=64,
    validation=(x_test, y_test),
    callbacks=[gpubp.EarlyStopping(patience=10)],
)
print(net.evaluate(x_test, y_test))

# %%
# The losses by epoch:
history.plot()
plt.tight_layout()

# %%
# What is taken for what:
ConfusionMatrixDisplay.from_predictions(y_test, net.predict(x_test).argmax(axis=1), cmap="Blues")
plt.tight_layout()
