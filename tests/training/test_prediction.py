"""Outputs of many rows, whose chunks the processors share."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import gpubp
from gpubp.training import prediction

FORMS = {
    "plain": {},
    "layer norm": {"normalization": "layer"},
    "mixing": {"mixing": True, "activation": "gelu"},
    "bins": {"bins": [[-1.0, 0.0, 1.0], [], [], [], [], []]},
    "categories": {"categories": [0, 4, 0, 0, 0, 0]},
    "bfloat16": {"precision": "bfloat16"},
}


@pytest.mark.parametrize("form", FORMS)
def test_dealt_chunks_have_the_bits_of_chunks_in_turn(form, monkeypatch):
    monkeypatch.setattr(prediction, "thread_count", lambda: 3)
    settings = {"output": "softmax", "backend": "cpu", "seed": 1} | FORMS[form]
    net = gpubp.Network([6, 20, 3], **settings)
    x = np.random.default_rng(0).standard_normal((5 * 1024 + 7, 6)).astype(np.float32)
    x[:, 1] = np.abs(x[:, 1]).astype(int) % 4
    expected = net.predict(x)
    seen = set()
    forward = prediction.forward

    def watched(stack, rows):
        seen.add((threading.get_ident(), id(stack)))
        return forward(stack, rows)

    monkeypatch.setattr(prediction, "forward", watched)
    monkeypatch.setattr(prediction, "DEALT_ROWS", 5000)
    np.testing.assert_array_equal(net.predict(x), expected)
    assert len({stack for _, stack in seen}) == 3
    assert threading.get_ident() not in {thread for thread, _ in seen}
    seen.clear()
    np.testing.assert_array_equal(net.predict(x[:4999]), expected[:4999])
    assert {thread for thread, _ in seen} == {threading.get_ident()}
    net.parameters[...] *= 0.5  # they lie where they lay
    half = net.predict(x)
    monkeypatch.setattr(prediction, "DEALT_ROWS", 10**9)
    np.testing.assert_array_equal(half, net.predict(x))
