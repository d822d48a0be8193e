"""Parquet and CSV files as data sets: what they may hold, what is refused."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import gpubp
import gpubp.data
from data_building import INPUTS, arrays, network, write
from gpubp import errors
from gpubp.data.protocol import Reading


def test_narrow_inputs_stay_as_they_are(tmp_path):
    x = np.random.default_rng(0).integers(0, 255, (90, INPUTS)).astype(np.uint8)
    y = np.zeros(90, np.int64)
    data = gpubp.data.parquet(write(tmp_path, x, y), "y")
    assert data.schema.dtype == "uint8"
    assert next(iter(data.batches(Reading(10), 0))).x.dtype == np.uint8


def test_mixed_types_become_float32(tmp_path):
    x, y = arrays(50)
    whole = np.arange(50)
    data = gpubp.data.parquet(write(tmp_path, x, y, whole=whole, flag=whole > 9), "y")
    rows = data.read(0)
    assert rows.x.dtype == np.float32
    np.testing.assert_array_equal(rows.x[:, -2], whole)
    np.testing.assert_array_equal(rows.x[:, -1], whole > 9)
    assert data.schema.inputs == ("x0", "x1", "x2", "x3", "x4", "whole", "flag")


def test_missing_inputs_become_the_mean_and_a_mask(tmp_path):
    pa = pytest.importorskip("pyarrow")
    x, y = arrays(50)
    holes = pa.array([None if row % 7 == 3 else float(row) for row in range(50)])
    file = write(tmp_path, x, y, 20, holes=holes)
    with pytest.raises(
        errors.DataError, match=r"row group 0: column 'holes' has no value in row 4"
    ):
        gpubp.data.parquet(file, "y").read(0)
    data = gpubp.data.parquet(file, "y", missing="mean")
    assert data.schema.inputs[-2:] == ("holes", "holes is missing")
    rows = np.concatenate([data.read(block).x for block in range(3)])
    there = np.array([row for row in range(50) if row % 7 != 3])
    np.testing.assert_allclose(rows[np.arange(50) % 7 == 3, -2], there.mean(), rtol=1e-6)
    np.testing.assert_array_equal(rows[there, -2], there)
    np.testing.assert_array_equal(rows[:, -1], np.arange(50) % 7 == 3)


def test_a_folder_and_a_list_are_one_data_set(tmp_path):
    x, y = arrays()
    files = [write(tmp_path, x[s], y[s], 60, f"{n}.parquet") for n, s in
             (("b", slice(100, 300)), ("a", slice(0, 100)))]  # fmt: skip
    folder = gpubp.data.parquet(tmp_path, "y")
    named = gpubp.data.parquet(files[::-1], "y")
    for data in (folder, named):
        rows = [data.read(block) for block in range(len(data.sizes))]
        np.testing.assert_array_equal(np.concatenate([each.x for each in rows]), x)
    assert folder.fingerprint() == named.fingerprint()


def test_schemas_that_differ_are_found_before_training(tmp_path):
    x, y = arrays(50)
    write(tmp_path, x, y, name="a.parquet")
    write(tmp_path, x.astype(np.float64), y, name="b.parquet")
    with pytest.raises(
        errors.DataError, match=r"column 'x0' is double in .*b.parquet and float in"
    ):
        gpubp.data.parquet(tmp_path, "y")
    write(tmp_path, x[:, :3], y, name="b.parquet")
    with pytest.raises(errors.DataError, match=r"b.parquet lacks the column 'x3'"):
        gpubp.data.parquet(tmp_path, "y")


def test_it_warns_of_data_sorted_by_the_target(tmp_path):
    x, y = arrays()
    file = write(tmp_path, x, np.sort(y), 30)
    with pytest.warns(UserWarning, match="sorted by 'y' and has 10 row groups, of which 2 are"):
        gpubp.data.parquet(file, "y", window=2)
    gpubp.data.parquet(file, "y", window=10)  # all are mixed
    gpubp.data.parquet(write(tmp_path, x, y, 30), "y", window=2)


def test_a_number_that_is_not_finite_is_named(tmp_path):
    x, y = arrays()
    x[130, 2] = np.inf
    data = gpubp.data.parquet(write(tmp_path, x, y), "y")
    message = r"'t.parquet', row group 1: column 'x2' is inf in row 31"
    with pytest.raises(errors.NonFiniteError, match=message):
        network().fit(data, batch_size=32)  # raised by a thread, and here
    assert not [thread for thread in threading.enumerate() if thread.name == "gpubp prefetch"]


def test_a_file_that_is_cut_off_while_it_is_read(tmp_path):
    x, y = arrays()
    file = write(tmp_path, x, y, 30)
    data = gpubp.data.parquet(file, "y")
    content = file.read_bytes()
    file.write_bytes(content[:200] + b"\0" * (len(content) - 200))
    with pytest.raises(errors.DataError, match=r"'t.parquet', row group \d+ cannot be read"):
        network().fit(data, batch_size=32)


def test_a_csv_file_is_converted_once(tmp_path, capsys, monkeypatch):
    pytest.importorskip("pyarrow")
    from gpubp.data import csv_cache

    monkeypatch.setattr(csv_cache, "BLOCK_BYTES", 1000)
    monkeypatch.setattr(csv_cache, "ROWS", 64)
    x, y = arrays()
    # from row 150 on whole numbers get a point, and later letters: types are found anew
    late = [str(row) if row < 150 else f"{row}.5" for row in range(300)]
    lines = [f"{','.join(map(repr, x[row].tolist()))},{late[row]},{y[row]}" for row in range(300)]
    file = tmp_path / "t.csv"
    file.write_text("\n".join(["a,b,c,d,e,late,y", *lines]) + "\n")
    data = gpubp.data.csv(file, "y", cache=tmp_path / "cache")
    assert f"converting {file}" in capsys.readouterr().err
    assert data.sizes == [64, 64, 64, 64, 44]
    rows = [data.read(block) for block in range(5)]
    np.testing.assert_array_equal(np.concatenate([each.x for each in rows])[:, :5], x)
    np.testing.assert_array_equal(np.concatenate([each.x for each in rows])[:, 5], np.float32(late))
    np.testing.assert_array_equal(np.concatenate([each.y for each in rows]), y)
    gpubp.data.csv(file, "y", cache=tmp_path / "cache")
    assert capsys.readouterr().err == ""
    file.write_text("\n".join(["a,b,c,d,e,late,y", *lines[:200], "1,2,3,4,5,word,1"]) + "\n")
    with pytest.raises(errors.DataError, match=r"'late' .* holds string"):
        gpubp.data.csv(file, "y", cache=tmp_path / "cache")


def test_metadata_whose_names_are_torn(tmp_path):
    """Each row group names its columns too, where pyarrow looks late."""
    from gpubp.data.parquet_files import ParquetFiles

    x = np.zeros((90, INPUTS), np.float32)
    path = write(tmp_path, x, np.arange(90), group=30)
    named = b"\x19\x18\x01y"  # a list of one text, of one byte
    assert path.read_bytes().count(named) == 3
    path.write_bytes(path.read_bytes().replace(named, b"\x19\x18\x01\xf9"))
    with pytest.raises(errors.DataError, match="cannot be read as a Parquet file"):
        ParquetFiles(path).sorted_by("y", 1)


def test_a_csv_file_that_is_none(tmp_path):
    pytest.importorskip("pyarrow")
    file = tmp_path / "t.csv"
    file.write_text("a,b\n1,2\n3\n")
    with pytest.raises(errors.DataError, match="cannot be read as a CSV file"):
        gpubp.data.csv(file, "b", cache=tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())
    (tmp_path / "file").write_text("")
    file.write_text("a,b\n1,2\n")
    with pytest.raises(errors.OutputPathError, match="set XDG_CACHE_HOME"):
        gpubp.data.csv(file, "b", cache=tmp_path / "file")
