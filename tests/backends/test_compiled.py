"""The compiled CPU kernels: chosen, checked, the same for any number of threads, and optional."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import gpubp
from conftest import compiled, needs_kernels
from gpubp.backends import Scratch
from gpubp.backends.cpu import blas
from gpubp.backends.cpu.compiled_backend import CompiledBackend
from gpubp.backends.cpu.host_kernels import LEVELS, host_kernels
from gpubp.backends.cpu.numpy_backend import NumpyBackend
from gpubp.backends.cpu.thread_count import thread_count
from gpubp.backends.cpu.threads import one_thread
from gpubp.backends.random import SHUFFLE, permutation


@pytest.fixture
def host():
    return compiled() and host_kernels()[0]


def in_child(code, **environment):
    """Run Python code in a new process and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


@needs_kernels
@pytest.mark.parametrize("level", LEVELS)
def test_a_level_can_be_chosen_up_to_that_of_the_processor(level):
    widest = host_kernels()[1]
    chosen = in_child(
        "import gpubp.backends.cpu.host_kernels as c; print(c.host_kernels()[1])",
        GPUBP_HOST_KERNELS=level,
    )
    assert chosen == min(level, widest, key=LEVELS.index)


def test_kernels_can_be_turned_off():
    code = "import gpubp; b = gpubp.get_backend('cpu'); print(type(b).__name__, b.device)"
    assert in_child(code, GPUBP_HOST_KERNELS="off") == "NumpyBackend CPU"


def test_without_the_modules_the_backend_is_plain_numpy():
    code = (
        "import sys; sys.modules['gpubp.backends.cpu._host_baseline'] = None\n"
        "import gpubp, gpubp.backends.cpu.host_kernels as c\n"
        "print(type(gpubp.get_backend('cpu')).__name__, c.host_kernels()[1])"
    )
    assert in_child(code).startswith("NumpyBackend not built when gpubp was installed")


@pytest.mark.parametrize("storage", ["uint8", "float16", "float32", "float64"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gather_reads_any_storage(backend, storage, dtype):
    random = np.random.default_rng(0)
    stored = (random.random((50, 37)) * 255).astype(storage)
    if storage == "float16":  # the kernel takes binary16 apart by hand: zeros, subnormals, largest
        stored[3, :6] = [0.0, -0.0, 6e-8, -6.1e-5, 65504.0, -1.5]
    rows, out = random.permutation(50)[:20], backend.xp.empty((20, 37), dtype)
    there, order = backend.asarray(stored), backend.asarray(rows)
    for scale in (1.0, 1 / 255):
        backend.gather(there, order, out, scale, Scratch(backend.xp))
        expected = stored[rows].astype(dtype) * np.dtype(dtype).type(scale)
        np.testing.assert_allclose(backend.to_numpy(out), expected, rtol=2e-7)


@pytest.mark.parametrize("rows", [1, 2, 3, 256, 257, 4096, 70_000, 140_000])
def test_rows_are_shuffled_as_numpy_sorts_the_keys(host, rows):
    order = np.empty(rows, np.int64)
    for seed, epoch in ((0, 0), (2**64 - 1, 3), (5, 2**40)):
        host.shuffle(seed, SHUFFLE, epoch, order)
        np.testing.assert_array_equal(order, permutation(seed, epoch, rows))


def test_what_cannot_hold_an_order_is_refused(host):
    for wrong in (np.empty(4, np.float64), np.empty(4, np.int32)):
        with pytest.raises(TypeError, match="whole numbers"):
            host.shuffle(0, SHUFFLE, 0, wrong)


def test_float16_storage_is_read_exactly(host):
    every = np.arange(65536, dtype=np.uint16).view(np.float16).reshape(256, 256)
    out = np.empty(every.shape, np.float32)
    host.gather(every, np.arange(256), out, 1.0)
    np.testing.assert_array_equal(out, every.astype(np.float32))


@pytest.mark.parametrize("threads", [2, 3, 7])
def test_any_number_of_threads_gives_the_same_bits(host, threads):
    def bits():
        random = np.random.default_rng(0)
        z, dy = random.standard_normal((2, 700, 517)).astype(np.float32)
        y, bias = np.empty_like(z), random.standard_normal(517).astype(np.float32)
        partial, dbias = np.empty((11, 517), np.float32), np.empty_like(bias)
        gelu, adam = host.ACTIVATIONS.index("gelu"), host.UPDATES.index("adam")
        host.activate(gelu, z, bias, y)
        host.backward(gelu, z, dy, dy, partial, dbias)
        p, m, v = (np.zeros(z.size, np.float32) for _ in range(3))
        host.update(adam, dy.reshape(-1), p, m, v, 0.1, 0.9, 0.999, 1e-8, 1.5, 1.0)
        rows, mean = np.empty(700, np.float32), np.empty((), np.float32)
        classes = host.LOSSES.index("class_cross_entropy")
        host.loss(classes, 0.0, z, np.arange(700) % 517, dy, rows, mean, None)
        return b"".join(array.tobytes() for array in (z, y, dy, dbias, p, m, v, mean))

    assert 700 * 517 > 131072, "too few elements to be shared out"
    try:
        host.set_threads(1)
        alone = bits()
        host.set_threads(threads)
        assert all(bits() == alone for _ in range(20))
    finally:
        host.set_threads(thread_count())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@needs_kernels
def test_a_forked_child_has_threads_of_its_own():
    code = (
        "import os, numpy as np, gpubp.backends.cpu.host_kernels as c\n"
        "host = c.host_kernels()[0]; host.set_threads(2)\n"
        "z, b = np.ones((1000, 1000), 'f4'), np.ones(1000, 'f4')\n"
        "host.activate(0, z, b, z)\n"
        "child = os.fork()\n"
        "host.activate(0, z, b, z)\n"
        "assert (z == 3).all()\n"
        "if child: print(os.waitpid(child, 0)[1])\n"
    )
    assert in_child(code) == "0"


WRONG = {
    "types differ": lambda host, z, b: host.activate(0, z, b.astype("f8"), z),
    "integers": lambda host, z, b: host.activate(0, z.astype("i4"), b.astype("i4"), z),
    "short bias": lambda host, z, b: host.activate(0, z, b[:-1].copy(), z),
    "short output": lambda host, z, b: host.activate(0, z, b, z[:1].copy()),
    "few arguments": lambda host, z, b: host.activate(0, z, b),
    "short partial sums": lambda host, z, b: host.backward(0, z, z, z, b[:2], b),
    "short moments": lambda host, z, b: host.update(1, z[0], z[1], b[:1], 0.1, 0.9),
    "float classes": lambda host, z, b: host.loss(
        host.LOSSES.index("class_cross_entropy"), 0.0, z, b, z, b, b[:1], None
    ),
    "few weights": lambda host, z, b: host.loss(0, 0.0, z, z, z, b, b[:1], b[:3].copy()),
    "weights of another type": lambda host, z, b: host.loss(0, 0.0, z, z, z, b, b[:1], np.ones(4)),
    "parameter no number": lambda host, z, b: host.loss(0, "1", z, z, z, b, b[:1], None),
    "row beyond the source": lambda host, z, b: host.gather(z, np.array([4]), z[:1], 1.0),
    "row below the source": lambda host, z, b: host.gather(z, np.array([-1]), z[:1], 1.0),
    "no such function": lambda host, z, b: host.activate(99, z, b, z),
    "negative place": lambda host, z, b: host.activate(-1, z, b, z),
    "no plan": lambda host, z, b: host.run_plans(z, 1),
    "no steps": lambda host, z, b: host.run_plans(z),
    "nothing to run": lambda host, z, b: host.run_plans(),
    "no type to read": lambda host, z, b: host.gather(z.astype("i2"), np.array([0]), z[:1], 1.0),
    "scale no number": lambda host, z, b: host.gather(z, np.array([0]), z[:1], "1"),
    "not contiguous": lambda host, z, b: host.activate(0, z[:, ::2], b[::2].copy(), z[:, ::2]),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_arrays_that_do_not_fit_are_refused(host, wrong):
    z, b = np.ones((4, 6), np.float32), np.ones(6, np.float32)
    with pytest.raises((TypeError, IndexError, ValueError)):
        WRONG[wrong](host, z, b)
    assert (z == 1).all()


def test_read_only_arrays_are_refused(host):
    z = np.ones((4, 6), np.float32)
    z.setflags(write=False)
    with pytest.raises(ValueError, match="read-only"):
        host.activate(0, z, np.ones(6, np.float32), z)


@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid", "gelu"])
def test_compiled_and_plain_numpy_train_alike(activation):
    random = np.random.default_rng(0)
    x, y = random.standard_normal((300, 12)), random.integers(0, 3, 300)
    found = []
    for backend in (compiled(), NumpyBackend()):
        net = gpubp.Network([12, 33, 20, 3], activation, "softmax", backend, "float64", dropout=0.1)
        history = net.fit(x, y, optimizer=gpubp.AdamW(1e-2), epochs=5, batch_size=64)
        found.append((net.parameters, history.loss))
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-7, atol=1e-10)
    np.testing.assert_allclose(found[0][1], found[1][1], rtol=1e-10)


def test_the_device_names_the_instruction_set():
    backend = compiled()
    assert isinstance(backend, CompiledBackend)
    by_amx = ", products by AMX" if backend.products.squares else ""
    assert backend.device == f"CPU, compiled kernels ({host_kernels()[1]}{by_amx})"


@needs_kernels
@pytest.mark.parametrize("level", LEVELS)
def test_modules_loaded_together_keep_to_their_own_instructions(level):
    """Fused multiply-adds show in the last bits: not if another module's functions are called."""
    if LEVELS.index(level) > LEVELS.index(host_kernels()[1]):
        pytest.skip(f"this processor has {host_kernels()[1]} at most")
    code = (
        "import sys, importlib, hashlib, numpy as np\n"
        "levels = sys.argv[1:]\n"
        "hosts = [importlib.import_module(f'gpubp.backends.cpu._host_{name}') for name in levels]\n"
        "z = np.random.default_rng(0).standard_normal((50, 70))\n"
        "hosts[-1].activate(hosts[-1].ACTIVATIONS.index('tanh'), z, np.ones(70), z)\n"
        "print(hashlib.sha256(z.tobytes()).hexdigest())"
    )
    others = [name for name in LEVELS if name != level]
    others = [name for name in others if LEVELS.index(name) <= LEVELS.index(host_kernels()[1])]
    found = {
        subprocess.run(
            [sys.executable, "-c", code, *loaded, level],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for loaded in ([], others)
    }
    assert len(found) == 1


def test_trainings_side_by_side_have_the_bits_of_trainings_by_turns():
    x = np.random.default_rng(0).normal(size=(600, 20)).astype(np.float32)

    def trained(seed):
        net = gpubp.Network([20, 512, 512, 1], seed=seed, dropout=0.1, backend=compiled())
        net.fit(x, x[:, :1], epochs=3, batch_size=128)
        return net.parameters.copy()

    def alone(seed):
        with one_thread():
            return trained(seed)

    with ThreadPoolExecutor(2) as threads:
        together = list(threads.map(alone, range(4)))
    for seed in range(4):
        np.testing.assert_array_equal(together[seed], trained(seed))


class WatchedKernels:
    """The compiled kernels, which note how many threads BLAS has whenever they multiply."""

    def __init__(self, host):
        self._host, self.seen = host, []

    def __getattr__(self, name):
        return getattr(self._host, name)

    def multiply(self, *arguments):
        self.seen.append(blas._thread_functions()[0]())
        self._host.multiply(*arguments)


@pytest.fixture
def watched(host):
    if blas.products() is None:
        pytest.skip("NumPy's BLAS is not OpenBLAS: its threads cannot be told")
    backend = CompiledBackend(WatchedKernels(host), host_kernels()[1])
    before = blas._thread_functions()[0]()
    blas.set_threads(3)
    yield backend
    assert blas._thread_functions()[0]() == 3, "BLAS was not given its threads back"
    blas.set_threads(before)
    host.set_threads(thread_count())


@pytest.mark.parametrize("columns", [10, 96])  # of BLAS, and of tiles where there are some
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("of_a", "of_b"), [(False, False), (True, False), (False, True)])
def test_a_product_outside_of_steps_wakes_no_thread_of_blas(
    host, watched, of_a, of_b, dtype, columns
):
    random = np.random.default_rng(0)
    rows, inner = 1100, 530
    a, b = random.standard_normal((rows, inner)), random.standard_normal((inner, columns))
    left = np.ascontiguousarray(a.T, dtype).T if of_a else a.astype(dtype)
    right = np.ascontiguousarray(b.T, dtype).T if of_b else b.astype(dtype)
    assert rows * inner * columns // 64 > 65536, "too little work to be shared out"
    found = []
    for threads in (1, 2, 5):
        host.set_threads(threads)
        out = np.full((rows, columns), np.nan, dtype)
        watched.multiply(left, right, out, 0.5)
        found.append(out)
    assert watched._host.seen == [1, 1, 1]
    exact = left.astype(np.float64) @ right.astype(np.float64) / 2
    bound = inner * np.finfo(dtype).eps * (np.abs(a) @ np.abs(b))
    assert (np.abs(found[0] - exact) <= bound).all()
    for out in found[1:]:
        np.testing.assert_array_equal(out, found[0])


def test_products_of_large_steps_are_left_to_blas(watched):
    watched.products = watched.products._replace(squares=0)
    a, out = np.ones((600, 600), np.float32), np.empty((600, 600), np.float32)
    with watched.threads_for(600**3):
        watched.multiply(a, a, out)
    assert watched._host.seen == []
    watched.multiply(a, a, out)
    assert watched._host.seen == [1]
    watched.multiply(a[:20], a, out[:20])
    few = np.ascontiguousarray(a[:20, :20])
    watched.multiply(few, a[:20], out[:20])  # too small for BLAS to take several threads
    assert watched._host.seen == [1, 1]
    assert (out[:20] == 20).all()
    assert (out[20:] == 600).all()
