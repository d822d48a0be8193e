"""Networks with every kind of layer and of training step, for tests of how steps are done."""

from __future__ import annotations

import numpy as np

import gpubp

RANDOM = np.random.default_rng(0)
ROWS = 90
X = RANDOM.standard_normal((ROWS, 21))
CLASSES = RANDOM.integers(0, 5, ROWS)
VALUES = RANDOM.standard_normal((ROWS, 5))
WEIGHTS = RANDOM.uniform(0.1, 3, ROWS)
BINS = [[-2.0, -0.5, 0.0, 1.0], [-1.0, 1.0], *[[]] * 17, [-3.0, 0.0, 3.0], []]
COUNTS = [0, 4, *[0] * 18, 3]
PENALTIES = gpubp.Regularization(
    l1=1e-3, l2=1e-2, clip_value=0.5, clip_norm=0.3, max_norm=1.0, alpha=1e-2
)
# name: settings of the network, and of the training
CASES = {
    "plain": ({}, {}),
    "dropout": ({"dropout": 0.3}, {}),
    "layer norm": ({"normalization": "layer", "dropout": 0.1}, {}),
    "batch norm": ({"normalization": "batch", "dropout": 0.1}, {}),
    "both norms": ({"normalization": ["batch", "layer"]}, {}),
    "kept sums": ({"activation": "gelu"}, {}),
    "softmax within": ({"activation": ["softmax", "tanh"]}, {}),
    "weights": ({}, {"sample_weight": WEIGHTS}),
    "values": ({"output": "identity"}, {"loss": "huber"}),
    "softmax and values": ({"output": "softmax"}, {"loss": "squared_error"}),
    "penalties": ({}, {"regularization": PENALTIES}),
    "alpha": ({}, {"regularization": gpubp.Regularization(alpha=0.1), "sample_weight": WEIGHTS}),
    "gathered": ({"dropout": 0.2}, {"accumulate": 3}),
    "average": ({"normalization": "batch"}, {"average": 0.9}),
    "bins": ({"bins": BINS, "embedding": 5}, {"regularization": PENALTIES}),
    "categories": (
        {"categories": COUNTS, "category_width": 18, "bins": [*[[]] * 19, [-3.0, 0.0, 3.0], []]},
        {},
    ),
    "residual": ({"widths": (21, 40, 40, 40, 5), "residual": True, "dropout": 0.1}, {}),
    "mixing": ({"mixing": True, "normalization": ["batch", None]}, {}),
    "mixing of kept sums": ({"mixing": (False, True), "activation": "gelu"}, {}),
    "ntk": ({"weights": "ntk", "dropout": 0.1}, {}),
    "pbld": ({"periodic": gpubp.Periodic(), "input_factors": True}, {}),
    "plr": ({"periodic": gpubp.Periodic("plr", 7, 5, 0.3), "categories": COUNTS}, {}),
    "in order": ({"input_scale": 0.5}, {"shuffle": False}),
}


def inputs(case):
    """The data, with codes where a case has categories."""
    x = X.copy()
    for column, count in enumerate(CASES[case][0].get("categories", ())):
        if count:
            x[:, column] = np.random.default_rng(column).integers(-1, count, ROWS)
    return x


def trained(
    backend,
    case,
    dtype="float64",
    widths=(21, 40, 33, 5),
    optimizer=None,
    epochs=3,
    batch=16,
    times=1,
):
    """Return a network trained on the rows, each so many times."""
    net_settings, fit_settings = CASES[case]
    given = {"activation": "tanh", "output": "softmax"} | net_settings
    widths = given.pop("widths", widths)
    y = VALUES if given["output"] == "identity" else CLASSES
    net = gpubp.Network(list(widths), backend=backend, dtype=dtype, **given)
    how = {"batch_size": batch, "optimizer": optimizer or gpubp.AdamW(0.01), "epochs": epochs}
    if "sample_weight" in fit_settings:
        fit_settings = fit_settings | {"sample_weight": np.repeat(WEIGHTS, times)}
    x, y = (np.repeat(each, times, axis=0) for each in (inputs(case)[:, : widths[0]], y))
    net.fit(x, y, **how | fit_settings)
    return net
