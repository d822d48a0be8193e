"""The default networks of the benchmark are the same in gpubp, PyTorch and JAX."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gpubp.tables.recipe import PRESETS

STEPS = 4
BENCHMARKS = Path(__file__).parent.parent.parent / "benchmarks"


@pytest.fixture(params=["mish", "relu"])
def case(request, monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return case_of(request.param)


def case_of(activation):
    from default_network import default_cases

    return next(each for each in default_cases() if each.activation == activation)


def batches(case, rows):
    return [rows[start : start + case.batch] for start in range(0, STEPS * case.batch, case.batch)]


@pytest.fixture
def truth(case):
    """Outputs of a batch without dropout; the losses of steps on others, and a mean of weights."""
    from default_network import PACE, default_rows
    from peers.gpubp_default import gpubp_default

    net, optimizer = gpubp_default(case)
    x, y = default_rows(case)
    outputs = net.predict(x[: case.batch])
    losses, mean = [], net.layers[-1].weight.copy()
    for batch in zip(batches(case, x), batches(case, y), strict=True):
        losses.append(net.train_step(*batch, optimizer=optimizer))
        mean += PACE * (net.layers[-1].weight - mean)
    # gpubp's squared error is half of the other libraries'
    return outputs, np.multiply(losses, 1 if case.sizes[-1] > 1 else 2), mean


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
    parameters = list(net.parameters())
    adamw = torch.optim.AdamW(parameters, RATE[case.activation], weight_decay=DECAY)
    optimizer = Scheduled(adamw, parameters)
    losses = []
    for batch in zip(batches(case, x), batches(case, y), strict=True):
        optimizer.zero_grad()
        loss = loss_of(net(batch[0]), batch[1])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    if case.activation == "relu":  # without dropout, which each library draws in its own way
        np.testing.assert_allclose(losses, truth[1], rtol=1e-4)
        np.testing.assert_allclose(optimizer.means[-2].T, truth[2], rtol=1e-4, atol=1e-6)


def test_jax(case, truth, tmp_path):
    """In a process of its own: JAX keeps threads, which are in the way of tests that fork."""
    if importlib.util.find_spec("jax") is None:
        pytest.skip("JAX is not installed")
    script = "import sys, test_default_networks as here; here.write_jax(*sys.argv[1:])"
    answers = tmp_path / "answers.npz"
    path = os.pathsep.join([str(BENCHMARKS), str(Path(__file__).parent)])
    subprocess.run(
        [sys.executable, "-c", script, case.activation, answers],
        env=os.environ | {"PYTHONPATH": path},
        check=True,
    )
    found = np.load(answers)
    np.testing.assert_allclose(found["outputs"], truth[0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found["embedded"], found["by_products"], rtol=1e-4, atol=1e-4)
    if case.activation == "relu":
        np.testing.assert_allclose(found["losses"], truth[1], rtol=1e-4)
        np.testing.assert_allclose(found["mean"], truth[2], rtol=1e-4, atol=1e-6)


def write_jax(activation: str, path: str) -> None:
    """Write what JAX's network answers for a batch, the losses of its steps, a mean of weights."""
    import jax
    from default_network import default_rows
    from peers import jax_default

    case = case_of(activation)
    x, y = default_rows(case)
    state = jax_default.start_of(case)
    outputs = jax_default.outputs_of(case)(state[0], jax.numpy.asarray(x[: case.batch]))
    found = {"outputs": outputs if case.sizes[-1] == 1 else jax.nn.softmax(outputs)}
    numbers = jax.numpy.asarray(x[:, 1:17])
    found["embedded"] = jax_default.embedded(state[0], numbers)
    found["by_products"] = jax_default.embedded_by_products(state[0], numbers)
    update, losses = jax.jit(jax_default.update_of(case)), []
    for batch in zip(batches(case, x), batches(case, y), strict=True):
        state, loss = update(state, *batch)
        losses.append(float(loss))
    np.savez(path, losses=losses, mean=state[4]["dense"][-1][0], **found)


def test_the_network_is_that_of_the_recipe(case, monkeypatch):
    from peers.gpubp_default import gpubp_default

    monkeypatch.setitem(PRESETS["default"], "weight_decay", 0.2)
    with pytest.raises(RuntimeError, match=r"the default weight_decay is 0\.2"):
        gpubp_default(case)
