"""Small tables for the tests of preprocessing."""

import math

import numpy as np

from gpubp.tables.preprocessing import Preprocessing
from gpubp.tables.table import Table

NAN = math.nan


def table(name="data.csv", **columns):
    """Return a table; lists that hold text become columns of text."""
    made = {}
    for key, values in columns.items():
        is_text = any(isinstance(value, str) for value in values)
        made[key] = np.array(values, dtype=object) if is_text else np.array(values)
    return Table(name, made)


CLASSES = ["a", "b", "a", "b"]
MIXED = table(
    size=[1.0, 2.0, NAN, 6.0, 100.0, NAN],
    colour=["red", "blue", "red", None, "green", None],
    flag=[True, False, True, True, False, True],
    y=["a", "b", "a", "b", "a", "b"],
)
MIXED_TRAINING = np.array([0, 1, 2, 3])


def fitted_mixed():
    return Preprocessing.fit(MIXED, "y", rows=MIXED_TRAINING)


def people(rows=300, seed=0):
    """Columns of every kind, some values missing, and a target that depends on all of them."""
    draw = np.random.default_rng(seed)
    age = draw.uniform(18, 80, rows)
    town = draw.choice(["Rome", "Oslo", "Bern"], rows).astype(object)
    member = draw.random(rows) < 0.5
    since = np.datetime64("2020-01-01") + draw.integers(0, 1000, rows).astype("timedelta64[D]")
    income = age * 10 + np.where(town == "Oslo", 300, 0) + 200 * member
    age[::17], town[::19] = np.nan, None
    return {"age": age, "town": town, "member": member, "since": since}, income
