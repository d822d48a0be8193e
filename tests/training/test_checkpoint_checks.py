"""Checkpoints with a right SHA-256 that no run wrote; folders that two runs would share."""

from __future__ import annotations

import copy
import os

import numpy as np
import pytest

import gpubp
from gpubp import errors
from gpubp.training import checkpoint_files as checkpoints

pytest.importorskip("safetensors")

X = np.random.default_rng(0).standard_normal((40, 4)).astype(np.float32)
Y = np.random.default_rng(1).integers(0, 3, 40)


def fit(folder, epochs=2, seed=0, **settings):
    net = gpubp.Network([4, 8, 3], "tanh", "softmax", "cpu", seed=seed)
    given = {"batch_size": 8, "callbacks": [gpubp.EarlyStopping(9), gpubp.ReduceOnPlateau()]}
    net.fit(X, Y, checkpoint=folder, epochs=epochs, **given | settings)
    return net


def newest(folder):
    return checkpoints.CheckpointFolder(folder).files()[0]


@pytest.fixture
def whole(tmp_path):
    fit(tmp_path, every=3)
    return tmp_path


def set_in(where, *keys):
    def change(checkpoint, value):
        place = getattr(checkpoint, where)
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value

    return change


NONSENSE = ["x", None, -1, 1.5, [], {}, True, float("nan"), 10**30]
PLACES = [
    *((("state", name)) for name in ("step", "epoch", "updates", "first_epoch", "first_step")),
    ("state", "index"),
    ("state", "history"),
    ("state", "history", "loss"),
    ("state", "history", "seconds"),
    ("state", "callbacks"),
    ("state", "callbacks", 0),
    ("state", "callbacks", 1, "share"),
    ("state", "surprise"),
]


@pytest.mark.parametrize("place", PLACES, ids=lambda place: ".".join(map(str, place)))
def test_fields_of_any_kind_are_refused(whole, place):
    path = newest(whole)
    good = checkpoints.decode(path)
    for other in checkpoints.CheckpointFolder(whole).files()[1:]:
        other.unlink()
    for value in NONSENSE:
        forged = copy.deepcopy(good)
        set_in(*place)(forged, value)
        path.write_bytes(checkpoints.encode(forged))
        with pytest.raises(errors.CheckpointError) as caught:
            fit(whole, epochs=4, every=3, resume=True)
        assert "\n" not in str(caught.value)


ARRAYS = {
    "another shape": lambda a: a | {"parameters": a["parameters"][:-1]},
    "one number": lambda a: a | {"parameters": np.zeros(1, np.float32)},
    "another dtype": lambda a: a | {"parameters": a["parameters"].astype(np.float64)},
    "nan": lambda a: a | {"parameters": np.full_like(a["parameters"], np.nan)},
    "no parameters": lambda a: {k: v for k, v in a.items() if k != "parameters"},
    "no moments": lambda a: {k: v for k, v in a.items() if k != "state 0"},
    "more losses": lambda a: a | {"losses": np.ones(900, np.float32)},
    "strange": lambda a: a | {"strange": np.ones(3)},
    "best of another size": lambda a: a | {"callback 0 best": np.ones(3)},
}


@pytest.mark.parametrize("what", ARRAYS)
def test_arrays_of_another_network_are_refused(whole, what):
    path = newest(whole)
    good = checkpoints.decode(path)
    path.write_bytes(
        checkpoints.encode(checkpoints.Checkpoint(good.run, good.state, ARRAYS[what](good.arrays)))
    )
    net = gpubp.Network([4, 8, 3], "tanh", "softmax", "cpu")
    with pytest.raises(errors.CheckpointError):
        fit(whole, epochs=4, every=3, resume=True)
    assert np.isfinite(net.parameters).all()


@pytest.mark.parametrize("text", ["[" * 100_000, "[]", '{"version": 1}', '{"version": "1"}'])
def test_a_right_digest_of_nonsense_is_refused(tmp_path, text):
    from gpubp import tensor_files

    arrays = {"parameters": np.zeros(3, np.float32)}
    metadata = {"gpubp checkpoint": text, "sha256": checkpoints._digest(text, arrays)}
    path = tmp_path / "step-000000000001.safetensors"
    path.write_bytes(tensor_files.encode(arrays, metadata))
    with pytest.raises(errors.CheckpointError, match="is no checkpoint"):
        fit(tmp_path, resume=True)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_a_pipe_in_place_of_a_checkpoint_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "step-000000000001.safetensors")
    with pytest.raises(errors.CheckpointError, match="a pipe or a device"):
        fit(tmp_path, resume=True)


def test_a_new_run_does_not_write_into_the_folder_of_another(tmp_path):
    fit(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for seed in (0, 1):
        with pytest.raises(errors.CheckpointError, match="of an earlier run; resume"):
            fit(tmp_path, seed=seed)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_two_runs_at_one_time_do_not_share_a_folder(tmp_path):
    class OtherRun:
        """Begins another run in the same folder before the first has written anything."""

        def begin(self, net, epochs):
            fit(tmp_path, seed=1)

        def advance(self, history, share):
            pass

        def epoch_end(self, net, history):
            return False

        def end(self, net, history):
            pass

    with pytest.raises(errors.CheckpointError, match="another run uses the folder"):
        fit(tmp_path, callbacks=[OtherRun()])


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere"
)
def test_a_folder_that_may_not_be_written_to_is_called_that(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(errors.OutputPathError, match="Permission denied"):
            fit(tmp_path / "run")
    finally:
        tmp_path.chmod(0o700)


def test_why_a_folder_cannot_be_made_is_said(tmp_path, monkeypatch):
    def denied(*arguments, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.mkdir", denied)
    with pytest.raises(errors.OutputPathError, match="Permission denied"):
        fit(tmp_path / "run")


@pytest.mark.parametrize("folder", [3, "a\0b", b"x"])
def test_what_is_no_path_is_refused(folder):
    with pytest.raises((errors.ConfigurationError, errors.OutputPathError)):
        fit(folder)
