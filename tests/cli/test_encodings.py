"""Tables that are not UTF-8: what encoding is taken, and that it is said."""

import json
import random
import subprocess
import sys

import pytest

from command_runs import good, gpubp, refused
from gpubp.cli.table_reading import TableOptions, read_to_train
from gpubp.errors import DataError
from gpubp.tables.table import read_table

pytest.importorskip("typer")
pytest.importorskip("pyarrow")

TOWNS = {"cp1252": ["Malmö", "Zürich", "10 €"], "cp1251": ["Москва", "Псков", "Томск"]}
QUICK = ("--target", "rich", "--preset", "fast", "--epochs", "2")


def text(encoding="cp1252", rows=60):
    draw, first = random.Random(0), "größe" if encoding == "cp1252" else "a"
    cells = (
        (f"{draw.uniform(0, 9):.2f}", TOWNS[encoding][n % 3], "ny"[n % 2]) for n in range(rows)
    )
    return "\n".join([f"{first},town,rich", *map(",".join, cells)])


def test_windows_1252_is_read_like_utf_8_and_said(tmp_path):
    """The same answers, from the exported file too; predict says it as well."""
    (tmp_path / "t.csv").write_bytes(text().encode("cp1252"))
    (tmp_path / "utf8.csv").write_text(text(), encoding="utf-8")
    done = gpubp("train", "t.csv", *QUICK, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    expected = "gpubp: 't.csv' is not UTF-8 and is read as Windows-1252, with words such as 'größe'"
    assert done.stderr.startswith(expected)
    assert "--encoding" in done.stderr
    predicted = gpubp("predict", "t.safetensors", "t.csv", cwd=tmp_path)
    assert predicted.stderr.startswith(expected)
    assert predicted.stdout == good("predict", "t.safetensors", "utf8.csv", cwd=tmp_path)
    good("export", "t.safetensors", "t.py", cwd=tmp_path)
    alone = [
        subprocess.run(
            [sys.executable, "t.py", name], cwd=tmp_path, capture_output=True, text=True, check=True
        ).stdout
        for name in ("t.csv", "utf8.csv")
    ]
    assert alone[0] == alone[1]
    assert alone[0].split() == [line.split(",")[0] for line in predicted.stdout.splitlines()[1:]]


def test_an_encoding_that_is_named(tmp_path):
    (tmp_path / "t.csv").write_bytes(text("cp1251").encode("cp1251"))
    done = gpubp("train", "t.csv", *QUICK, "--encoding", "windows-1251", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stderr == ""
    assert "gpubp evaluate t.safetensors t.csv --encoding cp1251 --part test" in done.stdout
    words = ("predict", "t.safetensors", "t.csv", "--encoding", "cp1251", "--keep", "town")
    rows = json.loads(good(*words, "--json", cwd=tmp_path))
    assert [row["town"] for row in rows[:3]] == TOWNS["cp1251"]
    line = refused("train", "t.csv", *QUICK, "--encoding", "utf-8", cwd=tmp_path)
    assert "'t.csv' is not utf-8" in line.lower()
    for name in ("windows", "base64"):
        line = refused("train", "t.csv", *QUICK, "--encoding", name, cwd=tmp_path)
        assert f"--encoding is '{name}'" in line


def test_a_large_table_is_converted_from_windows_1252(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    from gpubp.data import csv_cache

    (tmp_path / "t.csv").write_bytes(text().encode("cp1252"))
    found = read_table(csv_cache.converted(tmp_path / "t.csv"))
    assert found.column("town").tolist() == read_table(tmp_path / "t.csv").column("town").tolist()
    assert found.column("town")[0] == "Malmö"


@pytest.mark.parametrize("cut", [0, 1, 2])
def test_letters_across_blocks_are_utf_8(tmp_path, cut):
    """A letter of three bytes, of which one, two or three lie in the next block."""
    from gpubp.data.csv_files import BLOCK, encoding_of

    start = b"a,b\n" + b"x" * (BLOCK - 4 - cut)
    (tmp_path / "t.csv").write_bytes(start + "€,1\n".encode())
    assert encoding_of(tmp_path / "t.csv") == "utf8"
    (tmp_path / "t.csv").write_bytes(start + "€".encode()[:2])
    assert encoding_of(tmp_path / "t.csv") == "cp1252"


def test_bytes_that_are_no_text_are_refused(tmp_path):
    (tmp_path / "t.csv").write_bytes(b"a,b\n\x81,1\n")
    with pytest.raises(DataError, match="neither UTF-8 nor Windows-1252; --encoding"):
        read_to_train(str(tmp_path / "t.csv"), TableOptions())
