"""The networks of a table, dealt to ranks, here threads."""

from __future__ import annotations

import numpy as np
import pytest

from gpubp.tables.model import TabularModel
from gpubp.tables.prepared import prepare
from gpubp.tables.recipe import Recipe
from gpubp.tables.table import Table
from thread_ranks import run_ranks

RECIPE = Recipe(hidden=(16,), epochs=5, batch_size=32, bins=8, members=3, refit=True)
RANDOM = np.random.default_rng(0)
SIZE = RANDOM.uniform(0, 10, 200)
TABLE = Table("things", {"size": SIZE, "price": SIZE**2 + RANDOM.normal(size=200)})
PREPARED = prepare(TABLE, "price", "auto", 0.2, 0.2, 0, several=True)


def trained(processes, **options):
    model = TabularModel.create(PREPARED, RECIPE, backend="cpu")
    model.train(PREPARED, RECIPE, distributed=processes, **options)
    return model


@pytest.mark.parametrize("size", [1, 2, 3])
def test_networks_dealt_to_ranks_are_those_of_one_process(size):
    one = trained(False)
    for model in run_ranks(size, trained):
        for net, other in zip(model.nets, one.nets, strict=True):
            np.testing.assert_array_equal(net.parameters, other.parameters)
            assert net.history.validation_loss == other.history.validation_loss
        outputs = one.outputs(PREPARED.x)
        quantiles = [each.quantiles(outputs, 0.9) for each in (model, one)]
        np.testing.assert_array_equal(*quantiles)  # of what every network held out


@pytest.mark.parametrize(("size", "options"), [(4, {}), (2, {"deterministic": True})])
def test_else_all_ranks_train_each_network_together(size, options):
    together = []

    def work(processes):
        model = trained(processes, **options)
        together.append(processes.sums > 0)
        return model

    one, *others = run_ranks(size, work)
    assert together == [True] * size
    for model in others:
        for net, other in zip(model.nets, one.nets, strict=True):
            np.testing.assert_array_equal(net.parameters, other.parameters)
