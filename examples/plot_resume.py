"""
Go on after a kill
==================

A training that is stopped in the middle of an epoch goes on from its checkpoint, and ends with the
same bits as one that was never interrupted.
"""

import tempfile

import matplotlib.pyplot as plt
import numpy as np

import gpubp

random = np.random.default_rng(0)
x = random.normal(size=(2000, 10)).astype(np.float32)
y = (x[:, 0] * x[:, 1] > 0).astype(int)


def network():
    """Return the network of every run here."""
    return gpubp.Network([10, 32, 2], output="softmax", dropout=0.1, seed=0, backend="cpu")


class Kill:
    """A callback that ends the program in the second epoch, as a power cut would, if it is to."""

    def __init__(self, armed):
        self.armed = armed

    def begin(self, net, epochs):
        """Do nothing."""

    def advance(self, history, share):
        """Stop after half of the second epoch."""
        if self.armed and history.epochs == 1 and share >= 0.5:
            raise KeyboardInterrupt

    def epoch_end(self, net, history):
        """Go on."""

    def end(self, net, history):
        """Do nothing."""


whole = network()
whole.fit(x, y, epochs=4, batch_size=4)

with tempfile.TemporaryDirectory() as folder:
    settings = {"epochs": 4, "batch_size": 4, "checkpoint": folder, "every": 50}
    try:
        network().fit(x, y, callbacks=[Kill(True)], **settings)
    except KeyboardInterrupt:
        print("killed")
    resumed = network()
    resumed.fit(x, y, callbacks=[Kill(False)], resume=True, **settings)

same = np.array_equal(whole.parameters, resumed.parameters)
print("the same bits:", same)
if not same:
    raise SystemExit("the resumed run differs")

# %%
# The losses of both:
figure, axes = plt.subplots(figsize=(6, 2.5))
epochs = range(1, 5)
axes.plot(epochs, whole.history.loss, label="never interrupted")
axes.plot(epochs, resumed.history.loss, "o", label="killed in epoch 2, and resumed")
axes.set_xticks(epochs)
axes.set_xlabel("epoch")
axes.set_ylabel("loss")
axes.legend()
figure.tight_layout()
