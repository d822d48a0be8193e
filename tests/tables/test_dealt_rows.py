"""Rows known again by their hashes, in a model file of bounded size."""

import json
from dataclasses import replace

import numpy as np
import pytest

from gpubp.errors import ConfigurationError, ModelFileError
from gpubp.tables import dealt_rows
from gpubp.tables.dealt_rows import DealtRows
from gpubp.tables.evaluated_rows import rows_of_part, seen_in_training
from gpubp.tables.preprocessing import Preprocessing
from table_building import table

pytest.importorskip("sklearn")
COLUMNS = ["y", "x", "c"]


def made(rows=1000, seed=0):
    random = np.random.default_rng(seed)
    return table(
        x=random.standard_normal(rows).round(6).tolist(),
        c=random.choice(["a", "b"], rows).tolist(),
        y=random.standard_normal(rows).tolist(),
    )


def prepared(found):
    from gpubp.tables.prepared import prepare

    return prepare(found, "y", "auto", 0.2, 0.1, 3)


def test_parts_are_those_of_the_split():
    found = made()
    ready = prepared(found)
    dealt = DealtRows.from_dict(json.loads(json.dumps(ready.preprocessing.dealt.to_dict())))
    for order in (np.arange(1000), np.random.default_rng(1).permutation(1000)):
        parts = dealt.parts_of(found.take(order), COLUMNS, None)
        for number, rows in enumerate(ready.split):
            assert set(order[parts == number]) == set(rows.tolist())
    assert (dealt.parts_of(made(seed=9), COLUMNS, None) == 2).all()


def test_equal_rows_in_several_parts_are_dealt_as_they_were():
    found = table(x=[1.0] * 50, c=["a", "b"] * 25, y=[2.0, 3.0] * 25)
    ready = prepared(found)
    parts = ready.preprocessing.dealt.parts_of(found, COLUMNS, found.column("y"))
    for number, rows in enumerate(ready.split):
        np.testing.assert_array_equal(np.flatnonzero(parts == number), rows)


def test_a_large_table_keeps_few_hashes(monkeypatch):
    """Its own parts are exact; of another order the share trained on is estimated, or refused."""
    monkeypatch.setattr(dealt_rows, "MOST_HASHES", 200)
    found = made()
    ready = prepared(found)
    dealt = ready.preprocessing.dealt
    assert len(dealt.train) + len(dealt.held) == 200
    assert rows_of_part(ready.preprocessing, found, "test").rows == 200
    assert seen_in_training(ready.preprocessing, found).startswith("800 of 1000 rows")
    turned = found.take(np.arange(1000)[::-1])
    with pytest.raises(ConfigurationError, match="not, row by row, the large table"):
        rows_of_part(ready.preprocessing, turned, "test")
    line = seen_in_training(ready.preprocessing, turned)
    assert line.startswith("about ")
    assert int(line.split()[1]) == pytest.approx(800, abs=60)


def test_models_of_before_say_nothing_and_refuse_parts():
    found = made(100)
    old = replace(prepared(found).preprocessing, dealt=None)
    old = Preprocessing.from_dict(old.to_dict())
    assert "dealt" not in old.to_dict()
    assert seen_in_training(old, found) == ""
    with pytest.raises(ConfigurationError, match="does not say which rows"):
        rows_of_part(old, found, "test")


@pytest.mark.parametrize(
    ("name", "value"),
    [("seed", 1.5), ("seed", -1), ("test", 1), ("limit", 2**64), ("digest", 3),
     ("train_hashes", "AAA"), ("train_hashes", "!"), ("validation", 0.9)],
)  # fmt: skip
def test_what_no_file_can_hold_is_refused(name, value):
    described = prepared(made(50)).preprocessing.dealt.to_dict()
    with pytest.raises(ModelFileError):
        DealtRows.from_dict(described | {name: value})
