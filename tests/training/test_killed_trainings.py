"""Trainings that are killed, or meet a quota: what they leave can be gone on from."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from gpubp.training import checkpoint_files as checkpoints

pytest.importorskip("safetensors")


needs_sigkill = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
CHILD = """
    import hashlib
    import numpy as np
    import gpubp
    {trap}
    generator = np.random.default_rng(0)
    x, y = generator.standard_normal((50, 4)).astype(np.float32), generator.integers(0, 3, 50)
    net = gpubp.Network([4, 8, 3], "tanh", "softmax", "cpu", dropout=0.2)
    print("begun", flush=True)
    net.fit(x, y, epochs={epochs}, batch_size=10, checkpoint={folder!r}, every={every}, resume=True,
            optimizer="adam")
    print(hashlib.sha256(net.parameters.tobytes()).hexdigest(), net.history.loss[-1])
"""


EPOCHS = 60


def child(folder, every, trap="", epochs=EPOCHS):
    """Start a training in a process of its own, which goes on from where the last was killed."""
    code = textwrap.dedent(CHILD).format(
        folder=str(folder),
        every=every,
        trap=trap,
        epochs=epochs,
    )
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"GPUBP_BACKEND": "cpu"},
    )


def finished(process):
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return out.splitlines()[-1]


@needs_sigkill
def test_thirty_kills_at_random_moments(tmp_path):
    """However often it is killed, and wherever, a run ends with the bits of one left alone.

    On a busy machine it may be killed before its first step: every third time it has done one.
    """
    expected = finished(child(tmp_path / "alone", 1))
    generator, kills, runs = random.Random(0), 0, 0
    while kills < 30:
        folder = tmp_path / str(runs)
        before = newest_step(folder)
        process = child(folder, 1)
        assert process.stdout.readline() == "begun\n"
        while kills % 3 == 2 and process.poll() is None and newest_step(folder) == before:
            time.sleep(0.002)
        time.sleep(generator.uniform(0, 0.06))
        process.kill()
        out, _ = process.communicate()
        if process.returncode == -signal.SIGKILL:
            kills += 1
        else:  # it was done before
            assert out.splitlines()[-1] == expected
            runs += 1
    assert finished(child(tmp_path / str(runs), 1)) == expected


def newest_step(folder):
    found = checkpoints.CheckpointFolder(folder).files()
    return int(found[0].stem.removeprefix("step-")) if found else 0


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """What a training of six epochs ends with."""
    return finished(child(tmp_path_factory.mktemp("alone") / "run", 7, epochs=6))


@needs_sigkill
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("call", ["fsync", "replace", "mkstemp", "unlink", "fdopen"])
def test_kills_at_every_write_sync_and_rename(tmp_path, undisturbed, call, when):
    trap = textwrap.dedent(f"""
        import os, pathlib, signal, tempfile
        place = {{"mkstemp": tempfile, "unlink": pathlib.Path}}.get({call!r}, os)
        original, calls = getattr(place, {call!r}), []
        def trapped(*arguments, **options):
            calls.append(1)
            if len(calls) == 3 and {when!r} == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            result = original(*arguments, **options)
            if len(calls) == 3:
                os.kill(os.getpid(), signal.SIGKILL)
            return result
        setattr(place, {call!r}, trapped)
    """)
    process = child(tmp_path / "killed", 7, trap, epochs=6)
    process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL
    assert finished(child(tmp_path / "killed", 7, epochs=6)) == undisturbed


@pytest.mark.skipif(sys.platform == "win32", reason="no limits on file sizes there")
def test_a_quota_ends_the_training_with_one_line_and_no_part_of_a_file(tmp_path):
    """A real refusal of the system, in the middle of a write."""
    folder = tmp_path / "run"
    assert finished(child(folder, 7, epochs=2))
    before = {path: path.read_bytes() for path in folder.iterdir()}
    trap = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1500, 1500))"
    process = child(folder, 7, trap, epochs=4)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "OutputPathError: cannot write" in err.splitlines()[-1]
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    assert finished(child(folder, 7, epochs=4)) == finished(child(tmp_path / "alone", 7, epochs=4))
