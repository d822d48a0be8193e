"""The default networks of the benchmark are the same in gpubp, PyTorch and JAX."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gpubp.tables.recipe import PRESETS

STEPS = 4


@pytest.fixture(params=["mish", "relu"])
def case(request, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent.parent.parent / "benchmarks"))
    from default_network import default_cases

    return next(each for each in default_cases() if each.activation == request.param)


def batches(case, rows):
    return [rows[start : start + case.batch] for start in range(0, STEPS * case.batch, case.batch)]


@pytest.fixture
def truth(case):
    """The outputs of a batch without dropout, and the losses of steps on others."""
    from default_network import default_rows
    from peers.gpubp_default import gpubp_default

    net, optimizer = gpubp_default(case)
    x, y = default_rows(case)
    outputs = net.predict(x[: case.batch])
    losses = [
        net.train_step(*batch, optimizer=optimizer)
        for batch in zip(batches(case, x), batches(case, y), strict=True)
    ]
    # gpubp's squared error is half of the other libraries'
    return outputs, np.multiply(losses, 1 if case.sizes[-1] > 1 else 2)


def test_torch(case, truth):
    torch = pytest.importorskip("torch")
    from default_network import DECAY, RATE, default_rows
    from peers.torch_default import DefaultNetwork, loss_of
    from peers.torch_peer import Scheduled

    x, y = map(torch.from_numpy, default_rows(case))
    net = DefaultNetwork(case)
    with torch.inference_mode():
        outputs = net.eval()(x[: case.batch])
        outputs = outputs if case.sizes[-1] == 1 else outputs.softmax(1)
    np.testing.assert_allclose(outputs, truth[0], rtol=1e-4, atol=1e-5)
    net.train()
    optimizer = Scheduled(torch.optim.AdamW(net.parameters(), RATE, weight_decay=DECAY))
    losses = []
    for batch in zip(batches(case, x), batches(case, y), strict=True):
        optimizer.zero_grad()
        loss = loss_of(net(batch[0]), batch[1])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    if case.activation == "relu":  # without dropout, which each library draws in its own way
        np.testing.assert_allclose(losses, truth[1], rtol=1e-4)


def test_jax(case, truth):
    jax = pytest.importorskip("jax")
    from default_network import default_rows
    from peers import jax_default

    x, y = default_rows(case)
    state = jax_default.start_of(case)
    outputs = jax_default.outputs_of(case)(state[0], jax.numpy.asarray(x[: case.batch]))
    outputs = outputs if case.sizes[-1] == 1 else jax.nn.softmax(outputs)
    np.testing.assert_allclose(outputs, truth[0], rtol=1e-4, atol=1e-5)
    embedded = [
        embed(state[0], jax.numpy.asarray(x[:, 1:17]))
        for embed in (jax_default.embedded, jax_default.embedded_by_products)
    ]
    np.testing.assert_allclose(*embedded, rtol=1e-4, atol=1e-4)
    update, losses = jax.jit(jax_default.update_of(case)), []
    for batch in zip(batches(case, x), batches(case, y), strict=True):
        state, loss = update(state, *batch)
        losses.append(float(loss))
    if case.activation == "relu":
        np.testing.assert_allclose(losses, truth[1], rtol=1e-4)


def test_the_network_is_that_of_the_recipe(case, monkeypatch):
    from peers.gpubp_default import gpubp_default

    monkeypatch.setitem(PRESETS["default"], "learning_rate", 0.002)
    with pytest.raises(RuntimeError, match=r"the default learning_rate is 0\.002"):
        gpubp_default(case)
