"""Tables read while training: the same numbers as in memory, the same splits wherever they run."""

from __future__ import annotations

import json

import numpy as np
import pytest

from command_runs import good
from gpubp import errors
from gpubp.data.statistics import ColumnStatistics
from gpubp.tables.preprocessing import Preprocessing
from gpubp.tables.standardisation import Standardisation
from gpubp.tables.streamed import PARTS, Summary, TableFiles, prepare_stream
from gpubp.tables.table import Table

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
pytest.importorskip("sklearn")

ROWS = 700


def columns(seed=0):
    generator = np.random.default_rng(seed)
    number = generator.normal(1e3, 2.0, ROWS)
    text = np.array(["red", "green", "blue"], object)[generator.integers(0, 3, ROWS)]
    holes = np.where(generator.random(ROWS) < 0.1, None, text)
    gaps = np.where(generator.random(ROWS) < 0.1, np.nan, generator.normal(size=ROWS))
    label = np.where(number + gaps * (text == "red") > 1e3, "yes", "no").astype(object)
    lost = np.where(generator.random(ROWS) < 0.05, None, label)
    key = np.array([f"k{row}" for row in range(ROWS)], object)
    return {"number": number, "text": holes, "gaps": gaps, "key": key, "label": lost}


def write(folder, table, group=90, name="t.parquet"):
    arrow = {name: pa.array(values.tolist(), from_pandas=True) for name, values in table.items()}
    pq.write_table(pa.table(arrow), folder / name, row_group_size=group)
    return folder / name


def streamed(path, target="label", task="auto", test=0.2, validation=0.2, **more):
    return prepare_stream(path, target, task, test, validation, 0, **more)


def test_rows_in_the_order_of_the_target_are_noted(tmp_path):
    """20 row groups, more than a window of 16 can mix: text and numbers alike."""
    table = columns()
    order = np.argsort([str(label) for label in table["label"]], kind="stable")
    mixed = streamed(write(tmp_path, table, group=35))
    assert not any("is sorted by" in note for note in mixed.notes)
    table = {name: values[order] for name, values in table.items()}
    path = write(tmp_path, table | {"number": np.arange(ROWS)[::-1].astype(float)}, group=35)
    for target, answer in (("label", True), ("number", True), ("gaps", False)):
        notes = streamed(path, target).notes
        assert any(f"is sorted by '{target}' and has 20 row groups" in n for n in notes) == answer


@pytest.mark.parametrize("target", ["label", "number"])
def test_one_pass_finds_what_is_found_in_memory(tmp_path, target):
    table = columns()
    found = streamed(write(tmp_path, table), target)
    trained = np.concatenate([rows_of(found, "train")])
    here = Table("t", table)
    rows = np.flatnonzero(np.isin(np.arange(1, ROWS + 1), trained))
    expected = Preprocessing.fit(here.take(~here.missing(target)), target,
                                 rows=places(here, target, rows))  # fmt: skip
    mine, theirs = found.preprocessing.to_dict(), expected.to_dict()
    assert [column["name"] for column in mine["columns"]] == [
        column["name"] for column in theirs["columns"]
    ]
    for one, other in zip([mine, *mine["columns"]], [theirs, *theirs["columns"]], strict=True):
        for key in ("mean", "scale"):
            if key in one:
                assert one[key] == pytest.approx(other[key], rel=1e-12)
        same = {key for key in one if key not in ("mean", "scale", "columns", "notes")}
        assert {key: one[key] for key in same} == {key: other[key] for key in same}
    assert any("'key' is left out" in note for note in found.notes)


def rows_of(found, part):
    """Return the numbers of the rows of a part, from 1."""
    numbers = []
    for block in range(found.files.blocks):
        table = found.files.table(block)
        own = found.files.parts(table, block) == PARTS.index(part)
        numbers += table.row_numbers[own].tolist()
    return np.array(numbers)


def places(table, target, rows):
    """Return where rows are found once those without a target are gone."""
    kept = np.flatnonzero(~table.missing(target))
    return np.searchsorted(kept, rows)


def test_every_row_with_a_target_is_in_one_part(tmp_path):
    table = columns()
    found = streamed(write(tmp_path, table))
    parts = [rows_of(found, part).tolist() for part in PARTS]
    with_target = [row + 1 for row in range(ROWS) if table["label"][row] is not None]
    assert sorted(row for part in parts for row in part) == with_target
    assert [found.rows(part) for part in PARTS] == [len(part) for part in parts]
    assert 0.5 < len(parts[0]) / len(with_target) < 0.7
    assert f"{ROWS - len(with_target)} rows have no 'label' and are left out" in found.notes


def test_its_data_set_holds_what_preprocessing_makes_of_the_rows(tmp_path):
    found = streamed(write(tmp_path, columns()))
    data = found.dataset("train")
    x = np.concatenate([data.read(block).x for block in range(len(data.sizes))])
    y = np.concatenate([data.read(block).y for block in range(len(data.sizes))])
    table = Table("t", columns())
    rows = rows_of(found, "train") - 1
    expected = found.preprocessing.transform(table.take(rows)).x
    np.testing.assert_array_equal(x, expected)
    np.testing.assert_array_equal(y, found.preprocessing.targets(table.take(rows)))
    assert len(data) == len(x)


def test_processes_that_share_the_pass_find_the_same(tmp_path):
    path = write(tmp_path, columns())
    alone = streamed(path)
    files = TableFiles(path, "label", 0.2, 0.2, 0)
    read = [
        [Summary.of(files, block) for block in range(rank, files.blocks, 3)] for rank in range(3)
    ]
    together = streamed(path, share=lambda own: [own, *read[1:]], own=(0, 3))
    assert together.preprocessing.to_dict() == alone.preprocessing.to_dict()
    np.testing.assert_array_equal(together.counts, alone.counts)


@pytest.mark.parametrize("parts", [1, 2, 7, 100])
def test_moments_merge_without_loss(parts):
    values = np.random.default_rng(1).normal(1e6, 1e-2, 1000)
    values[::11] = np.nan
    merged = ColumnStatistics()
    for part in np.array_split(values, parts):
        merged = merged.merged(ColumnStatistics.of(part))
    present = values[~np.isnan(values)]
    assert (merged.count, merged.missing) == (len(present), len(values) - len(present))
    assert merged.mean == pytest.approx(np.longdouble(present).mean(), rel=1e-14)
    exact = float(np.sqrt(((np.longdouble(present) - np.longdouble(present).mean()) ** 2).mean()))
    assert merged.deviation == pytest.approx(exact, rel=1e-6)
    assert (merged.least, merged.most) == (present.min(), present.max())


@pytest.mark.parametrize("size", [1e300, 1.7e308, 1e-300, 1e-160])
@pytest.mark.parametrize("parts", [1, 3])
def test_moments_of_huge_and_tiny_numbers_neither_overflow_nor_vanish(size, parts):
    """As `Standardisation.fit` finds them in memory."""
    values = np.random.default_rng(1).uniform(-1, 1, 100) * size
    merged = ColumnStatistics()
    for part in np.array_split(values, parts):
        merged = merged.merged(ColumnStatistics.of(part))
    scaled = values.astype(np.longdouble) / np.longdouble(size)  # holds neither extreme
    assert merged.mean / size == pytest.approx(float(scaled.mean()), rel=1e-12)
    assert merged.deviation / size == pytest.approx(float(scaled.std()), rel=1e-12)
    assert Standardisation.fit(values).scale == pytest.approx(merged.deviation, rel=1e-12)


@pytest.mark.parametrize(
    ("change", "target", "task", "message"),
    [
        ({}, "nothing", "auto", "unknown column 'nothing'"),
        ({}, "label", "regression", "is text"),
        ({}, "label", "other", "task is 'other'"),
        ({"label": np.full(ROWS, "a", object)}, "label", "auto", "one class only"),
        ({"label": np.full(ROWS, None)}, "label", "auto", "leaves the train part empty"),
        ({"number": np.full(ROWS, np.inf)}, "label", "auto", "column 'number', row 1: inf"),
    ],
)
def test_tables_that_cannot_be_trained_on_are_refused(tmp_path, change, target, task, message):
    path = write(tmp_path, columns() | change)
    with pytest.raises(errors.GpubpError, match=message):
        streamed(path, target, task)


@pytest.mark.parametrize("kind", ["file", "folder", "csv"])
def test_the_command_trains_on_what_it_does_not_load(tmp_path, monkeypatch, kind):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    table = columns()
    words = {"file": ["t.parquet", "--stream"], "folder": ["folder"], "csv": ["t.csv", "--stream"]}
    if kind == "csv":
        arrow = pq.read_table(write(tmp_path, table))
        pytest.importorskip("pyarrow.csv").write_csv(arrow, tmp_path / "t.csv")
    elif kind == "folder":
        (tmp_path / "folder").mkdir()
        for half, rows in (("a", slice(0, 360)), ("b", slice(360, ROWS))):
            part = {name: values[rows] for name, values in table.items()}
            write(tmp_path / "folder", part, name=f"{half}.parquet")
    else:
        write(tmp_path, table)
    words = (*words[kind], "--target", "label", "--epochs", "20", "--out", "m.safetensors")
    report = json.loads(good("train", *words, "--json", cwd=tmp_path))
    assert report["accuracy"] > 0.85
    assert sum(report[f"{part}_rows"] for part in PARTS) == sum(
        label is not None for label in table["label"]
    )
    name = {"file": "t.parquet", "folder": "folder/a.parquet", "csv": "t.csv"}[kind]
    measured = json.loads(good("evaluate", "m.safetensors", name, "--json", cwd=tmp_path))
    assert measured["accuracy"] > 0.85
