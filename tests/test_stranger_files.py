"""Model files that a stranger made to do harm: each is refused by one line, none is waited for."""

import json
import os

import numpy as np
import pytest

import gpubp
from gpubp import errors, files, tensor_files

safetensors = pytest.importorskip("safetensors.numpy")

DESCRIBED = {"sizes": [2, 1], "activation": [], "output": "identity", "dtype": "float32"}


def written(path, parameters=None, version="1", text=None, **network):
    network = {**DESCRIBED, **network}
    metadata = {"format": "gpubp", "version": version, "network": text or json.dumps(network)}
    tensors = {"parameters": np.zeros(3, np.float32) if parameters is None else parameters}
    path.write_bytes(safetensors.save(tensors, metadata))
    return path


def refused(path, message):
    with pytest.raises(errors.ModelFileError, match=message) as caught:
        gpubp.Network.load(path, "cpu")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("version", ["\u00b2", "9" * 5000, "\u0663", "-1", " 1", ""])
def test_a_version_is_a_short_whole_number(tmp_path, version):
    refused(written(tmp_path / "m", version=version), "whole number is needed")


DEEP = "[" * 100_000


@pytest.mark.parametrize(
    "text", [DEEP, DEEP + "]" * 100_000, '{"a":' * 100_000, "9" * 5000, '{"a": "\\ud800"}']
)
def test_json_that_python_cannot_read_is_no_description(tmp_path, text):
    refused(written(tmp_path / "m", text=text), "lacks a readable description")


@pytest.mark.parametrize(
    "network",
    [
        {"dtype": "(,)f4"},
        {"dtype": "f4, i8)"},
        {"dtype": ["float32"]},
        {"sizes": [10**400, 1]},
        {"sizes": 3},
        {"sizes": {"a": 1}},
        {"seed": 10**400},
        {"dropout": 10**400, "sizes": [2, 2, 1], "activation": ["relu"]},
        {"output": ["softmax"]},
        {"precision": {}},
        {"input_scale": "1"},
        {"bins": [[1, 10**400], []]},
        {"periodic": [1]},
        {"embedding": 10**18, "bins": [[0, 1], [0, 1]]},
        {"normalization": 3, "sizes": [2, 2, 1], "activation": ["relu"]},
    ],
)
def test_settings_of_any_kind_are_no_network(tmp_path, network):
    refused(written(tmp_path / "m", **network), "describes no network")


@pytest.mark.parametrize("kind", ["BF16", "F8_E4M3", "F8_E5M2", "I8", "BOOL"])
def test_tensors_that_numpy_does_not_have_are_refused(tmp_path, kind):
    path = written(tmp_path / "m")
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    size = 2 if kind == "BF16" else 1
    header["parameters"] |= {"dtype": kind, "shape": [3], "data_offsets": [0, 3 * size]}
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(3 * size))
    refused(path, f"is of {kind}")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_parameters_that_are_not_finite_are_refused(tmp_path, value):
    parameters = np.array([0, value, 0], np.float32)
    refused(written(tmp_path / "m", parameters), "as parameter 1; finite numbers are needed")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    refused(tmp_path / "pipe", "a folder, a pipe or a device")


@pytest.mark.parametrize("path", [3, None, "a\0b", "x" * 5000])
def test_what_is_no_path_is_refused(path):
    with pytest.raises(errors.ModelFileError):
        gpubp.Network.load(path, "cpu")


def test_the_same_network_is_the_same_bytes(tmp_path):
    net = gpubp.Network([3, 4, 2], backend="cpu")
    contents = set()
    for number in range(20):
        net.save(tmp_path / str(number), {"mean": [1.0], "name": "h\u00e4user \U0001f600"})
        contents.add((tmp_path / str(number)).read_bytes())
    assert len(contents) == 1
    found = gpubp.Network.load(tmp_path / "0", "cpu")
    assert found.preprocessing["name"] == "h\u00e4user \U0001f600"
    np.testing.assert_array_equal(found.parameters, net.parameters)
    np.testing.assert_array_equal(
        safetensors.load_file(tmp_path / "0")["parameters"], net.parameters
    )


def test_tensors_lie_where_other_programs_map_them():
    """The data begin at a multiple of 8 bytes, as safetensors itself writes them."""
    for length in range(20):
        content = tensor_files.encode({"a": np.ones(3)}, {"b": "x" * length})
        assert int.from_bytes(content[:8], "little") % 8 == 0
        np.testing.assert_array_equal(safetensors.load(content)["a"], np.ones(3))


@pytest.mark.parametrize("length", [1, 243, 250, 255])
def test_a_name_that_the_system_allows_is_enough(tmp_path, length):
    path = tmp_path / ("m" * length)
    files.check_writable(path)
    gpubp.Network([2, 1], backend="cpu").save(path)
    assert os.listdir(tmp_path) == [path.name]


def test_a_name_too_long_is_found_before_any_work(tmp_path):
    with pytest.raises(errors.OutputPathError, match="too long"):
        files.check_writable(tmp_path / ("m" * 256))
    with pytest.raises(errors.OutputPathError):
        files.check_writable("a\0b")
