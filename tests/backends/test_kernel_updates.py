"""Optimizer steps and random numbers, on every backend, against papers and `numpy.random`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from gpubp.backends import Backend, Scratch
from gpubp.backends.gpu.kernel_table import UPDATE
from gpubp.nn import optimizers
from gpubp.nn.optimizer import Optimizer
from tolerances import assert_close

SIZE = 70_001  # more than one of the CPU backend's blocks, and no multiple of anything
STEPS = 5
Numbers = np.ndarray


def sgd(p: Numbers, gradients: list[Numbers]) -> Numbers:
    for g in gradients:
        p = p - 0.1 * g
    return p


def momentum(p: Numbers, gradients: list[Numbers]) -> Numbers:
    """Torch.optim.SGD: b = mu b + g; p = p - lr b."""
    b = 0
    for g in gradients:
        b = 0.9 * b + g
        p = p - 0.1 * b
    return p


def nesterov(p: Numbers, gradients: list[Numbers]) -> Numbers:
    """Torch.optim.SGD(nesterov=True): b = mu b + g; p = p - lr (g + mu b)."""
    b = 0
    for g in gradients:
        b = 0.9 * b + g
        p = p - 0.1 * (g + 0.9 * b)
    return p


def rmsprop(p: Numbers, gradients: list[Numbers]) -> Numbers:
    """Lecture 6.5: mean square = 0.99 mean square + 0.01 g^2."""
    mean_square = 0
    for g in gradients:
        mean_square = 0.99 * mean_square + 0.01 * g**2
        p = p - 0.01 * g / (np.sqrt(mean_square) + 1e-7)
    return p


def adam(p: Numbers, gradients: list[Numbers], weight_decay: float = 0.0) -> Numbers:
    """Algorithm 1 of Kingma and Ba; with weight decay, algorithm 2 of Loshchilov and Hutter."""
    m = v = 0
    for t, g in enumerate(gradients, 1):
        m = 0.9 * m + 0.1 * g
        v = 0.999 * v + 0.001 * g**2
        m_hat, v_hat = m / (1 - 0.9**t), v / (1 - 0.999**t)
        p = p - 0.01 * (m_hat / (np.sqrt(v_hat) + 1e-8) + weight_decay * p)
    return p


def adagrad(p: Numbers, gradients: list[Numbers]) -> Numbers:
    """Duchi et al.: the sum of all squares."""
    total = 0
    for g in gradients:
        total = total + g**2
        p = p - 0.1 * g / (np.sqrt(total) + 1e-10)
    return p


def lion(p: Numbers, gradients: list[Numbers]) -> Numbers:
    """Chen et al., algorithm 2."""
    m = 0
    for g in gradients:
        p = p - 0.01 * (np.sign(0.9 * m + 0.1 * g) + 0.1 * p)
        m = 0.99 * m + 0.01 * g
    return p


def nadam(p: Numbers, gradients: list[Numbers]) -> Numbers:
    """PyTorch's NAdam, from its documentation: psi = 0.004."""
    m = v = 0
    product = 1.0
    for t, g in enumerate(gradients, 1):
        mu, ahead = (0.9 * (1 - 0.5 * 0.96 ** (n * 0.004)) for n in (t, t + 1))
        product *= mu
        m = 0.9 * m + 0.1 * g
        v = 0.999 * v + 0.001 * g**2
        m_hat = ahead * m / (1 - product * ahead) + (1 - mu) * g / (1 - product)
        p = p - 0.01 * m_hat / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    return p


CASES: dict[str, tuple[Optimizer, Callable[..., Numbers]]] = {
    "sgd": (optimizers.SGD(0.1), sgd),
    "momentum": (optimizers.SGD(0.1, momentum=0.9), momentum),
    "nesterov": (optimizers.SGD(0.1, momentum=0.9, nesterov=True), nesterov),
    "rmsprop": (optimizers.RMSProp(0.01, decay=0.99), rmsprop),
    "adagrad": (optimizers.Adagrad(0.1), adagrad),
    "lion": (optimizers.Lion(0.01, weight_decay=0.1), lion),
    "nadam": (optimizers.Nadam(0.01), nadam),
    "adam": (optimizers.Adam(0.01), adam),
    "adamw": (
        optimizers.AdamW(0.01, weight_decay=0.1),
        lambda p, gradients: adam(p, gradients, weight_decay=0.1),
    ),
}


def test_every_update_is_tested() -> None:
    assert {optimizer.kernel for optimizer, _ in CASES.values()} == set(UPDATE)


@pytest.mark.parametrize("name", CASES)
def test_five_steps(backend: Backend, scratch: Scratch, dtype: np.dtype, name: str) -> None:
    optimizer, reference = CASES[name]
    rng = np.random.default_rng(4)
    start = rng.standard_normal(SIZE).astype(dtype)
    gradients = [rng.standard_normal(SIZE).astype(dtype) for _ in range(STEPS)]
    parameters = backend.asarray(start.copy())
    state = tuple(backend.xp.zeros(SIZE, dtype) for _ in optimizer.state)
    for step, gradient in enumerate(gradients, 1):
        given = backend.asarray(gradient)
        backend.update_now(
            optimizer.kernel, given, parameters, state, optimizer.scalars(step), scratch
        )
        np.testing.assert_array_equal(backend.to_numpy(given), gradient)
    exact = reference(start.astype(np.float64), [g.astype(np.float64) for g in gradients])
    # the change is what an error would show in; the parameter itself is rounded at each step
    change = backend.to_numpy(parameters).astype(np.float64) - start
    eps = float(np.finfo(dtype).eps)
    np.testing.assert_allclose(
        change, exact - start, rtol=16 * eps, atol=STEPS * eps * float(abs(start).max())
    )


def test_adam_keeps_its_moments(backend: Backend, scratch: Scratch, dtype: np.dtype) -> None:
    """1 - beta2 must not be rounded to the type of the parameters: it is 1e-5 off in float32."""
    gradient = np.linspace(-2, 2, 101).astype(dtype)
    state = tuple(backend.xp.zeros(101, dtype) for _ in range(2))
    parameters = backend.xp.zeros(101, dtype)
    scalars = optimizers.Adam(0.01).scalars(1)
    backend.update_now("adam", backend.asarray(gradient), parameters, state, scalars, scratch)
    wide = gradient.astype(np.longdouble)
    eps = np.finfo(dtype).eps
    for moment, exact in zip(state, ((1 - 0.9) * wide, (1 - 0.999) * wide**2), strict=True):
        np.testing.assert_allclose(
            backend.to_numpy(moment), exact.astype(float), rtol=float(2 * eps)
        )


def test_roots_of_all_sizes(backend: Backend, scratch: Scratch, dtype: np.dtype) -> None:
    """From nothing to infinity: 1, as so many times a tiny gradient, is divided by each of them."""
    rng = np.random.default_rng(6)
    exponents = np.concatenate([rng.uniform(-126, 127.99, 1000), [-126.0, 127.0]])
    squares = np.concatenate([2**exponents, [0.0, np.finfo(np.float32).max, np.inf]]).astype(dtype)
    gradient, epsilon = 2.0**-75, 1e-30
    parameters, state = backend.xp.zeros(len(squares), dtype), backend.asarray(squares.copy())
    given = backend.asarray(np.full(len(squares), gradient, dtype))
    backend.update_now("adagrad", given, parameters, (state,), (1 / gradient, epsilon), scratch)
    exact = -1 / (np.sqrt(squares.astype(np.float64) + gradient**2) + epsilon)
    held = squares > gradient**2  # below, the square itself is lost in float32
    found = backend.to_numpy(parameters)
    np.testing.assert_allclose(found[held], exact[held], rtol=float(3 * np.finfo(dtype).eps))
    assert (found[~held] <= -1e22).all()


SEEDS = [(0, 0, 0), (12345, 1 << 33, 7), (2**64 - 1, 2**64 - 2, 2**63 + 5)]


def numpy_philox(numbers: tuple[int, int, int]) -> np.random.Philox:
    seed, stream, step = numbers
    # a list of numbers on both sides of 2**63 would become one of float64
    key, counter = np.array([seed, stream], np.uint64), np.array([0, step, 0, 0], np.uint64)
    return np.random.Philox(key=key, counter=counter)


def kernel(backend: Backend, output: str, operation: str):
    """Make a kernel of one function of `random.cuh`."""
    from gpubp.backends.gpu.sources import preamble

    if backend.name == "cpu":
        pytest.skip("the CPU backend draws by numpy.random itself")
    return backend.xp.ElementwiseKernel(
        "uint64 seed, uint64 stream, uint64 step",
        f"raw {output} unused, {output} y",
        operation,
        "gpubp_test_random",
        preamble=preamble(),
    )


@pytest.mark.parametrize("key", SEEDS)
def test_philox_words(backend: Backend, key: tuple[int, int, int]) -> None:
    words = kernel(
        backend,
        "uint64",
        "unused[0] = 0; y = gpubp::philox(seed, stream, i / 4 + 1, step, int(i % 4))",
    )
    result = backend.xp.empty(1003, np.uint64)
    words(*map(np.uint64, key), backend.xp.empty(1, np.uint64), result)
    np.testing.assert_array_equal(
        backend.to_numpy(result), numpy_philox(key).random_raw(1003), strict=True
    )


@pytest.mark.parametrize("key", SEEDS)
def test_uniform_numbers(backend: Backend, key: tuple[int, int, int]) -> None:
    uniform = kernel(backend, "float32", "unused[0] = 0; y = gpubp::uniform(seed, stream, step, i)")
    result = backend.xp.empty(1003, np.float32)
    uniform(*map(np.uint64, key), backend.xp.empty(1, np.float32), result)
    exact = np.random.Generator(numpy_philox(key)).random(1003, dtype=np.float32)
    np.testing.assert_array_equal(backend.to_numpy(result), exact, strict=True)


@pytest.mark.parametrize("key", SEEDS)
@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("in_place", [False, True], ids=["apart", "in-place"])
def test_dropout(
    backend: Backend,
    scratch: Scratch,
    dtype: np.dtype,
    rate: float,
    key: tuple[int, int, int],
    in_place: bool,
) -> None:
    x = np.random.default_rng(5).standard_normal((211, 37)).astype(dtype)
    given = backend.asarray(x.copy())
    y = given if in_place else backend.xp.empty_like(given)
    backend.dropout(given, y, rate, key, scratch)
    numbers = np.random.Generator(numpy_philox(key)).random(x.shape, dtype=np.float32)
    dropped = numbers < np.float32(rate)
    kept_share = 1 - np.longdouble(np.float32(rate))
    result = backend.to_numpy(y)
    np.testing.assert_array_equal(result == 0, dropped)
    assert_close(result, np.where(dropped, 0, x / kept_share))
    assert abs(dropped.mean() - rate) < 0.02
