"""A network at a glance, and what notebooks show."""

from __future__ import annotations

import html
import re

import numpy as np
import pytest

import gpubp
from gpubp.text import size_text


def network(**settings):
    return gpubp.Network([4, 16, 3], "gelu", "softmax", backend="cpu", **settings)


def test_a_summary_names_layers_shapes_parameters_and_memory():
    net = network(normalization="layer", categories=[0, 0, 12, 5])
    summary = net.summary(batch_size=64, optimizer="sgd")
    assert [layer.parameters for layer in summary.layers] == [
        17 * 8, (2 + 2 * 8) * 16 + 16 + 16, 16 * 3 + 3
    ]  # fmt: skip
    assert summary.parameters == sum(layer.parameters for layer in summary.layers)
    assert summary.memory == net.memory_plan(64, "sgd")
    lines = str(summary).splitlines()
    assert lines[0].split() == [
        "layer", "kind", "inputs", "outputs", "activation", "shapes", "parameters"
    ]  # fmt: skip
    assert lines[2].split() == [
        "2", "dense,", "layer", "norm", "18", "16", "gelu", "18x16,", "16,", "16", "320"
    ]  # fmt: skip
    assert lines[4].startswith("507 parameters in float32, 2.0 KiB; training on 64 rows a step")
    assert net.backend.reason in lines[5]
    assert lines[6:] == net.backend.notes == []
    assert str(net) == str(net.summary())
    assert repr(summary) == str(summary)


def test_sizes_come_in_the_unit_that_suits_them():
    sizes = {512: "512 bytes", 2048: "2.0 KiB", 3 << 20: "3.0 MiB", 5 << 30: "5.0 GiB"}
    assert {size: size_text(size) for size in sizes} == sizes


def test_notebooks_show_what_print_does():
    x, y = np.ones((8, 4), np.float32), np.arange(8) % 3
    net = network()
    history = net.fit(x, y, epochs=1)
    shown = (net, net.summary(), history, net.health(x, y), net.trace(x, y), net.memory_plan(8))
    for each in shown:
        text = re.fullmatch("(?s)<pre>(.*)</pre>", each._repr_html_())[1]
        assert "<" not in text
        assert html.unescape(text) == str(each)
    assert "0 -&gt; 1" in net.trace(x, y)._repr_html_()


@pytest.mark.parametrize("name", ["MLPClassifier", "MLPRegressor", "TabularClassifier"])
def test_notebooks_show_estimators_escaped(name):
    pytest.importorskip("sklearn")
    shown = getattr(gpubp, name)(activation="<blink>")._repr_html_()
    assert name in shown
    assert "&lt;blink&gt;" in shown
    assert "<blink>" not in shown


def test_completion_offers_what_users_need():
    names = dir(gpubp)
    assert {"Network", "Adam", "load", "exchange", "data", "MLPClassifier"} <= set(names)
    assert not {"importlib", "Any", "annotations", "TYPE_CHECKING", "_HOMES"} & set(names)
    names = [name for name in dir(network()) if not name.startswith("_")]
    assert {"fit", "predict", "summary", "layers", "history"} <= set(names)
    assert "stack" not in names
    assert all(hasattr(gpubp.Network, name) or hasattr(network(), name) for name in names)
