"""What a stranger wrote into a file cannot steer the terminal it is printed on."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from command_runs import gpubp, refused
from gpubp.errors import printable

pytest.importorskip("typer")
pytest.importorskip("pyarrow")


def test_control_characters_are_escaped_and_text_is_not():
    assert printable("a\x1b[2Jb\x07\x9b\u202e") == r"a\x1b[2Jb\x07\x9b\u202e"
    assert printable("häuser\n\t日本 😀") == "häuser\n\t日本 😀"


def test_names_of_columns_and_classes_do_not_reach_the_terminal(tmp_path):
    generator = np.random.default_rng(0)
    rows = "".join(
        f"{v:.3f},{'a' if v > 0 else chr(27) + '[31mb'},{'x' * (n % 3)}{chr(27)}{n}\n"
        for n, v in enumerate(generator.standard_normal(200))
    )
    (tmp_path / "d.csv").write_text(f"\x1b]0;owned\x07v,\x1b[2Jt,\x1b[5mnote\n{rows}")
    options = ("--target", "\x1b[2Jt", "--epochs", "1", "--preset", "fast")
    outputs = [gpubp("train", "d.csv", *options, cwd=tmp_path)]
    for word in ("explain", "evaluate"):
        outputs += [gpubp(word, "d.safetensors", "d.csv", cwd=tmp_path)]
    (tmp_path / "e.csv").write_text("a\n1\n")
    outputs.append(gpubp("predict", "d.safetensors", "e.csv", cwd=tmp_path))
    for done in outputs:
        assert "\x1b" not in done.stdout + done.stderr
        assert "Traceback" not in done.stderr
    assert [done.returncode for done in outputs] == [0, 0, 0, 2]
    assert r"\x1b[2Jt" in outputs[0].stdout


def test_a_disk_that_is_full_at_a_checkpoint_leaves_the_model(tmp_path):
    """A limit on the size of files stands for it: the model is small, its checkpoints are not."""
    pytest.importorskip("resource")
    program = (
        "import sys, gpubp.training.checkpoint_files as files\n"
        "before, calls = files.write_atomically, []\n"
        "def full(path, content):\n"
        "    calls.append(1)\n"
        "    if len(calls) > 2:\n"
        "        from gpubp.errors import OutputPathError\n"
        "        raise OutputPathError(f'cannot write {path}: No space left on device')\n"
        "    before(path, content)\n"
        "files.write_atomically = full\n"
        "sys.argv = ['gpubp', 'train', 'iris', '--epochs', '9', '--members', '1',"
        " '--checkpoint', 'run', '--out', 'm.safetensors']\n"
        "from gpubp.__main__ import main\nmain()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert b"No space left on device; the model so far is saved in m.safetensors" in done.stderr
    assert b"Traceback" not in done.stderr
    assert gpubp("evaluate", "m.safetensors", "iris", cwd=tmp_path).returncode == 0


@pytest.mark.parametrize("kind", ["header", "cell", "twice"])
@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_names_that_cannot_be_are_refused_while_streaming(tmp_path, monkeypatch, kind, ending):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    pa = pytest.importorskip("pyarrow")
    path = tmp_path / f"t.{ending}"
    if ending == "csv":
        head = {"header": b"a\xff,y", "cell": b"a,y", "twice": b"a,a,y"}[kind]
        line = {"header": b"1,2", "cell": b"\xff\xfe,2", "twice": b"1,1,2"}[kind]
        path.write_bytes(head + b"\n" + (line + b"\n") * 50)
    else:
        import pyarrow.parquet as pq

        names = {"header": ["aQQ", "y"], "cell": ["aQQ", "y"], "twice": ["a", "a", "y"]}[kind]
        table = pa.table([pa.array([1.0] * 50) for _ in names], names=names)
        pq.write_table(table, path)
        path.write_bytes(path.read_bytes().replace(b"aQQ", b"a\xff\xfe"))
    refused("train", path.name, "--target", "y", "--stream", cwd=tmp_path)
