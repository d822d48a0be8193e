"""gpubp's default network for tables, made from the numbers of `default_network`."""

from __future__ import annotations

from typing import Any

from cases import Case
from default_network import (
    CATEGORY_WIDTH,
    DECAY,
    DROPOUT,
    EMBEDDING,
    EPOCHS,
    HIDDEN,
    INPUTS,
    NAMES,
    PACE,
    PASSING,
    RATE,
    STEPS,
    edges,
    start,
)

import gpubp
from gpubp.tables.recipe import Recipe


def gpubp_default(case: Case) -> tuple[gpubp.Network, gpubp.AdamW]:
    """Return the network with the first parameters of all peers, and its optimizer.

    Raises
    ------
    RuntimeError
        When gpubp's own recipe has become another one.
    """
    _check_recipe(case)
    net = gpubp.Network(
        case.sizes,
        case.activation,
        "softmax" if case.sizes[-1] > 1 else "identity",
        backend="cpu",
        dropout=DROPOUT[case.activation],
        categories=[NAMES, *[0] * (INPUTS - 1)],
        category_width=CATEGORY_WIDTH,
        bins=[[], *edges().tolist(), *[[]] * PASSING],
        embedding=EMBEDDING,
    )
    first: dict[str, Any] = start(case)
    names, numbers, *dense = net.layers
    names.weight[...] = first["names"]
    for name in ("weight", "bias"):
        getattr(numbers, name)[...] = first[name]
    numbers.table[...] = first["table"].reshape(numbers.table.shape)
    for layer, (weight, bias) in zip(dense, first["dense"], strict=True):
        layer.weight[...], layer.bias[...] = weight, bias
    return net, gpubp.AdamW(
        gpubp.CosineDecay(RATE[case.activation], EPOCHS * STEPS), weight_decay=DECAY
    )


def _check_recipe(case: Case) -> None:
    task = "classification" if case.sizes[-1] > 1 else "regression"
    recipe = Recipe.of("default", case.rows, task, {})
    expected = {
        "hidden": HIDDEN,
        "activation": case.activation,
        "dropout": DROPOUT[case.activation],
        "embedding": EMBEDDING,
        "category_width": CATEGORY_WIDTH,
        "optimizer": "adamw",
        "learning_rate": RATE[case.activation],
        "weight_decay": DECAY,
        "schedule": "cosine",
        "average": PACE * STEPS / EPOCHS,
        "label_smoothing": 0.0,
        "input_factors": False,
        "mixing": False,
        "loss_name": "auto",
    }
    for name, value in expected.items():
        if getattr(recipe, name) != value:
            raise RuntimeError(
                f"the default {name} is {getattr(recipe, name)!r}, and default_network.py has"
                f" {value!r}"
            )
