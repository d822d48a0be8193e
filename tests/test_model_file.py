"""Model files: what is saved comes back, what is broken is refused, nothing is lost."""

import json
import os
import stat

import numpy as np
import pytest

import gpubp
from gpubp import errors, files

safetensors = pytest.importorskip("safetensors.numpy")
from safetensors import safe_open  # noqa: E402


@pytest.fixture
def net():
    return gpubp.Network([3, 4, 2], ["gelu"], "softmax", "cpu", "float64", 9, dropout=0.25)


def test_round_trip(net, backend, tmp_path):
    path = tmp_path / "model.safetensors"
    net.save(path, preprocessing={"mean": [1.5, 2.0]})
    loaded = gpubp.Network.load(path, backend=backend)
    np.testing.assert_array_equal(loaded.backend.to_numpy(loaded.parameters), net.parameters)
    assert loaded.preprocessing == {"mean": [1.5, 2.0]}
    assert repr(loaded.to("cpu")) == repr(net)
    x = np.random.default_rng(0).standard_normal((5, 3))
    np.testing.assert_array_equal(loaded.predict(x), net.predict(x))
    loaded.save(path)
    assert gpubp.Network.load(path, backend="cpu").preprocessing == {"mean": [1.5, 2.0]}


def test_the_file_is_plain_safetensors(net, tmp_path):
    path = tmp_path / "model"
    net.save(path)
    tensors = safetensors.load_file(path)
    assert set(tensors) == {"parameters"}
    np.testing.assert_array_equal(tensors["parameters"], net.parameters)


def test_every_truncation_is_refused(net, tmp_path):
    path = tmp_path / "model"
    net.save(path)
    content = path.read_bytes()
    for length in range(0, len(content), 7):
        path.write_bytes(content[:length])
        with pytest.raises(errors.ModelFileError, match="torn or no model file"):
            gpubp.Network.load(path, backend="cpu")


def write(path, metadata, tensors=None):
    tensors = {"parameters": np.zeros(3, "f4")} if tensors is None else tensors
    path.write_bytes(safetensors.save(tensors, metadata))


def described(**network):
    settings = {"sizes": [2, 1], "activation": [], "output": "identity", "dtype": "float32"}
    return {"format": "gpubp", "version": "1", "network": json.dumps(settings | network)}


BROKEN = [
    (None, "of another program"),
    ({"format": "pt"}, "of another program"),
    (described() | {"version": "2"}, "version 2 and this gpubp reads up to 1"),
    (described() | {"version": "x"}, "version 'x'"),
    ({"format": "gpubp", "version": "1"}, "lacks a readable description"),
    (described() | {"network": "[1"}, "lacks a readable description"),
    (described() | {"network": "[1]"}, "describes no network"),
    (described(sizes=[0]), "describes no network"),
    (described(surprise=1), "describes no network"),
    (described(sizes=[2, 5]), r"shape \(3,\); \(15,\) is needed for a network \[2, 5\]"),
    (described(dtype="float64"), "parameters of float32; its network needs float64"),
]


@pytest.mark.parametrize(("metadata", "message"), BROKEN)
def test_foreign_and_newer_files_are_refused(metadata, message, tmp_path):
    write(tmp_path / "model", metadata)
    with pytest.raises(errors.ModelFileError, match=message) as caught:
        gpubp.Network.load(tmp_path / "model", backend="cpu")
    assert "\n" not in str(caught.value)


def test_a_file_without_parameters_is_refused(tmp_path):
    write(tmp_path / "model", described(), {"weights": np.zeros(3, "f4")})
    with pytest.raises(errors.ModelFileError, match="no model file"):
        gpubp.Network.load(tmp_path / "model", backend="cpu")


@pytest.mark.parametrize("content", [b"", b"\x80\x04pickle", b"name,age\n1,2\n" * 50])
def test_files_of_another_kind_are_refused(content, tmp_path):
    (tmp_path / "model").write_bytes(content)
    with pytest.raises(errors.ModelFileError, match="torn or no model file"):
        gpubp.Network.load(tmp_path / "model", backend="cpu")


def test_a_missing_file_and_a_folder(tmp_path):
    with pytest.raises(errors.ModelFileError, match="does not exist"):
        gpubp.Network.load(tmp_path / "none", backend="cpu")
    with pytest.raises(errors.ModelFileError):
        gpubp.Network.load(tmp_path, backend="cpu")


@pytest.mark.parametrize("crash", ["write", "fsync", "replace"])
def test_a_failed_write_leaves_the_old_file(net, crash, tmp_path, monkeypatch):
    path = tmp_path / "model"
    net.save(path)
    old = path.read_bytes()
    net.parameters += 1

    def fail(*arguments):
        raise OSError(28, "No space left on device")

    if crash == "write":
        monkeypatch.setattr(os, "fdopen", lambda handle, mode: os.close(handle) or fail())
    else:
        monkeypatch.setattr(os, crash, fail)
    with pytest.raises(errors.OutputPathError, match="No space left on device"):
        net.save(path)
    monkeypatch.undo()
    assert path.read_bytes() == old
    assert os.listdir(tmp_path) == ["model"]


def test_an_unwritable_path_is_found_out_beforehand(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "none" / "model", tmp_path / "file" / "model", tmp_path):
        with pytest.raises(errors.OutputPathError, match="cannot write"):
            files.check_writable(path)
    files.check_writable(tmp_path / "model")
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.skipif(os.name == "nt", reason="permissions of POSIX")
def test_permissions_follow_the_umask_and_then_the_old_file(net, tmp_path):
    path = tmp_path / "model"
    old = os.umask(0o027)
    try:
        net.save(path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        path.chmod(0o600)
        net.save(path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    finally:
        os.umask(old)


def test_safetensors_missing(net, tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    with pytest.raises(errors.MissingExtraError, match=r"pip install 'gpubp\[files\]'"):
        net.save(tmp_path / "model")


def test_a_small_file_asks_for_no_large_network(tmp_path):
    """A description of 88 GiB with a tensor of a few numbers is refused before it is laid out."""
    import tracemalloc

    path = tmp_path / "model"
    gpubp.Network([2, 2], backend="cpu").save(path)
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    head = data[8 : 8 + length].replace(b"[2, 2]", b"[152000, 152000]")
    path.write_bytes(len(head).to_bytes(8, "little") + head + data[8 + length :])
    tracemalloc.start()
    with pytest.raises(errors.ModelFileError, match=r"\(6,\); \(23104152000,\) is needed"):
        gpubp.Network.load(path, "cpu")
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()


def test_the_history_is_kept_without_its_times(net, tmp_path):
    """So the same training writes the same things."""
    x, y = np.ones((20, 3)), np.arange(20) % 2
    written = []
    for path in (tmp_path / "one", tmp_path / "two"):
        twin = net.copy()
        twin.fit(x, y, epochs=3, validation=(x, y), metrics="accuracy")
        twin.save(path)
        with safe_open(path, framework="numpy") as file:
            written.append(file.metadata())
    assert written[0] == written[1]
    kept = gpubp.Network.load(path, backend="cpu").history
    assert kept.seconds == []
    assert kept.to_dict() | {"seconds": twin.history.seconds} == twin.history.to_dict()
    assert list(kept.columns()) == ["epoch", "loss", "validation_loss", "accuracy"]
    twin.save(path, history=False)
    assert gpubp.Network.load(path, backend="cpu").history == gpubp.History()
    with safe_open(path, framework="numpy") as file:
        assert set(file.metadata()) == {"format", "version", "network"}


def test_a_history_that_is_too_long_or_torn_does_no_harm(net, tmp_path):
    path = tmp_path / "model"
    net.history = gpubp.History([0.5] * 10_001)
    net.save(path)
    assert gpubp.Network.load(path, backend="cpu").history == gpubp.History()
    curves = '[{"loss": [1], "validation_loss": [1, 2]}]'
    others = ('[{"loss": 1}]', '[{"loss": ["a"]}]', '[{"x": []}]', '[{"metrics": []}]', curves)
    for torn in ("{}", "[3]", "[", "[{}, {}]", *others):
        write(path, described() | {"histories": torn})
        with pytest.raises(errors.ModelFileError, match=r"holds .*histor"):
            gpubp.Network.load(path, backend="cpu")
