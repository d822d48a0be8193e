"""Bins of the numbers of a table: in which rows they are found, and how small they are."""

from __future__ import annotations

import numpy as np
import pytest

from gpubp.nn.layers.piecewise_linear import PiecewiseLinear
from gpubp.tables.model import TabularModel
from gpubp.tables.prepared import Prepared, prepare
from gpubp.tables.recipe import Recipe
from gpubp.tables.table import Table

SETTINGS = {"members": 3, "hidden": (4,), "bins": 64}


def prepared_for(task: str) -> Prepared:
    draw = np.random.default_rng(0)
    x = draw.normal(size=400)
    y = np.sin(9 * x) + 0.1 * draw.normal(size=400)
    expected = y if task == "regression" else np.where(y > 0, "up", "down").astype(object)
    return prepare(Table("t", {"x": x, "y": expected}), "y", task, 0.0, 0.2, 0, several=True)


def recipe_for(task: str) -> Recipe:
    return Recipe.of("default", 320, task, SETTINGS)


def edges_of(net) -> np.ndarray:
    layer = next(layer for layer in net.layers if isinstance(layer, PiecewiseLinear))
    return np.asarray(layer.edges[0], np.float32)


@pytest.mark.parametrize("task", ["regression", "classification"])
def test_each_member_finds_bins_in_its_own_training_rows(task):
    prepared = prepared_for(task)
    model = TabularModel.create(prepared, recipe_for(task), backend="cpu")
    for member, net in enumerate(model.nets):
        own = prepared.x[prepared.member_rows(member)[0], 0]
        edges = edges_of(net)
        assert (edges[0], edges[-1]) == (own.min(), own.max())
        held = prepared.x[prepared.member_rows(member)[1], 0]
        assert len(held) == 80
        between = np.unique(np.concatenate([own, edges[1:-1]]))
        for edge in edges[1:-1]:  # half-way between two of its own values
            place = np.searchsorted(between, edge)
            assert edge == pytest.approx((between[place - 1] + between[place + 1]) / 2, abs=1e-6)
    assert len({edges_of(net).tobytes() for net in model.nets}) == 3


def test_bins_of_numbers_hold_five_rows_and_those_of_classes_sixteen():
    """What pays was measured: benchmarks/results/tables_tried.md."""
    fewest = {}
    for task in ("regression", "classification"):
        prepared = prepared_for(task)
        net = TabularModel.create(prepared, recipe_for(task), backend="cpu").nets[1]
        own = prepared.x[prepared.member_rows(1)[0], 0]
        fewest[task] = np.histogram(own, edges_of(net))[0].min()
    assert 5 <= fewest["regression"] < 16 <= fewest["classification"]
