"""Steps that C++ does in one call, against the same operations walked in plain NumPy."""

from __future__ import annotations

import contextlib
import itertools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import gpubp
from conftest import compiled
from gpubp.backends.cpu import compiled_backend, planned_steps
from gpubp.backends.cpu import threads as thread_module
from gpubp.backends.cpu.numpy_backend import NumpyBackend
from gpubp.backends.cpu.planned_steps import PlannedSteps
from gpubp.cli.openblas import cpuinfo
from gpubp.training import epoch_steps
from step_cases import CASES, CLASSES, RANDOM, X, trained


@pytest.fixture
def parts(monkeypatch):
    """Have steps cut into so many parts, however small they are."""

    def set_parts(count):
        monkeypatch.setattr(thread_module, "thread_count", lambda: count)
        monkeypatch.setattr(compiled_backend, "PRODUCT_A_THREAD", 1)

    return set_parts


# In steps of so few rows parts have units of the layers each, in steps of more they have rows.
FEW, MANY = 16, 37


@pytest.mark.parametrize(("count", "batch"), [(1, FEW), (2, FEW), (3, FEW), (2, MANY), (3, MANY)])
@pytest.mark.parametrize("case", CASES)
def test_a_step_in_one_call_is_the_walked_step(parts, prepared, case, count, batch):
    parts(count)
    net, walked = (trained(each, case, batch=batch) for each in (compiled(), NumpyBackend()))
    whole, *_ = prepared()
    assert isinstance(whole, PlannedSteps), "the step was walked"
    np.testing.assert_allclose(net.history.loss, walked.history.loss, rtol=1e-9)
    np.testing.assert_allclose(net.gradients, walked.gradients, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(net.parameters, walked.parameters, rtol=1e-6, atol=1e-8)
    if net._state.average is not None:
        np.testing.assert_allclose(net._state.average, walked._state.average, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("case", CASES)
def test_float32_keeps_its_digits(parts, case):
    parts(2)
    net, exact = trained(compiled(), case, "float32"), trained(NumpyBackend(), case)
    np.testing.assert_allclose(net.history.loss, exact.history.loss, rtol=2e-5)


@pytest.mark.parametrize("name", ["sgd", "rmsprop", "adagrad", "adam", "nadam", "lion"])
def test_every_update(parts, name):
    parts(2)
    nets = [trained(each, "plain", optimizer=name) for each in (compiled(), NumpyBackend())]
    np.testing.assert_allclose(nets[0].parameters, nets[1].parameters, rtol=1e-7, atol=1e-9)


@given(
    widths=st.lists(st.integers(1, 70), min_size=0, max_size=3),
    rows=st.integers(1, 40),
    count=st.integers(1, 4),
    kind=st.sampled_from([None, "layer", "batch"]),
    dropout=st.sampled_from([0.0, 0.4]),
)
def test_any_shape(widths, rows, count, kind, dropout):
    # batch normalisation refuses batches of one row, such as the last of an odd number of rows
    assume(kind != "batch" or (rows >= 4 and rows % 2 == 0))
    x, y = RANDOM.standard_normal((rows, 7)), RANDOM.integers(0, 3, rows)
    found = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(thread_module, "thread_count", lambda: count)
        patch.setattr(compiled_backend, "PRODUCT_A_THREAD", 1)
        for backend in (compiled(), NumpyBackend()):
            net = gpubp.Network(
                [7, *widths, 3],
                "sigmoid",
                "softmax",
                backend,
                "float64",
                normalization=kind,
                dropout=dropout,
            )
            net.fit(x, y, epochs=3, batch_size=max(1, rows // 2), optimizer=gpubp.SGD(0.1))
            found.append(net.parameters)
    np.testing.assert_allclose(found[0], found[1], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("batch", [FEW, MANY])
@pytest.mark.parametrize("case", ["plain", "dropout", "layer norm", "bins", "categories", "pbld"])
def test_the_number_of_threads_changes_no_bit(parts, case, batch):
    """Of steps in several Python threads at a time only one has the team; the others are alone."""
    parts(3)

    def bits(_):
        return trained(compiled(), case, "float32", epochs=20, batch=batch).parameters.tobytes()

    alone = bits(0)
    with ThreadPoolExecutor(3) as pool:
        assert set(pool.map(bits, range(6))) == {alone}


def test_steps_one_by_one_are_steps_in_one_call(monkeypatch):
    nets = []
    for one_by_one in (False, True):
        if one_by_one:
            monkeypatch.setattr(epoch_steps.EpochSteps, "_at_once", lambda *_: 1)
        nets.append(trained(compiled(), "dropout", "float32"))
    assert nets[0].parameters.tobytes() == nets[1].parameters.tobytes()
    assert nets[0].history.loss == nets[1].history.loss


def test_a_loss_that_is_not_finite_changes_nothing(parts):
    parts(2)
    for normalization in (None, "batch"):
        net = gpubp.Network([3, 40, 1], backend=compiled(), normalization=normalization)
        x = np.ones((8, 3))
        net.train_step(x, np.ones((8, 1)), optimizer="adam")
        kept = [array.copy() for array in (net.parameters, *net._state.moments)]
        with pytest.raises(gpubp.errors.DivergenceError):
            net.train_step(x, np.full((8, 1), 1e30), optimizer="adam")
        for array, before in zip((net.parameters, *net._state.moments), kept, strict=True):
            np.testing.assert_array_equal(array, before)


def test_what_cplusplus_lacks_is_walked(prepared, monkeypatch):
    monkeypatch.delitem(planned_steps._ROWS, "dropout")
    net, walked = trained(compiled(), "dropout"), trained(NumpyBackend(), "dropout")
    assert not any(isinstance(step, PlannedSteps) for step in prepared())
    np.testing.assert_allclose(net.parameters, walked.parameters, rtol=1e-7, atol=1e-9)


def test_steps_with_large_products_are_walked(prepared, monkeypatch):
    monkeypatch.setattr(compiled_backend, "WHOLE_STEP_PRODUCT", 10)
    trained(compiled(), "plain")
    assert not any(isinstance(step, PlannedSteps) for step in prepared())


@pytest.mark.parametrize(
    ("dtype", "threads", "largest", "tiles"),
    [
        ("float32", 2, 100, True),
        ("float32", 2, 10, False),
        ("float32", 3, 100, False),
        ("float64", 2, 100, False),
    ],
)
def test_larger_products_are_planned_where_tiles_do_them(
    prepared, monkeypatch, dtype, threads, largest, tiles
):
    """Those of the network have up to 21,120 multiplications."""
    backend = compiled()
    backend.products = backend.products._replace(squares=0)
    monkeypatch.setattr(thread_module, "thread_count", lambda: threads)
    monkeypatch.setattr(compiled_backend, "WHOLE_STEP_PRODUCT", largest)
    trained(backend, "plain", dtype)
    planned = {isinstance(step, PlannedSteps) for step in prepared()}
    assert planned == {tiles and backend._host.has_tiles()}


def test_products_of_any_size_are_planned_where_squares_do_them(prepared, monkeypatch):
    backend = compiled()
    if not backend.products.squares:
        pytest.skip("the processor has no AMX, or a set of instructions was asked for")
    monkeypatch.setattr(thread_module, "thread_count", lambda: 2)
    monkeypatch.setattr(compiled_backend, "WHOLE_STEP_PRODUCT", 100)
    trained(backend, "plain", "float32")
    assert all(isinstance(step, PlannedSteps) for step in prepared())


def test_whose_processor_it_is():
    vendor = cpuinfo("vendor_id")
    if not vendor:
        pytest.skip("/proc/cpuinfo names no vendor of a processor here")
    assert compiled()._host.is_of_amd() == (vendor == "AuthenticAMD")


def test_no_bit_depends_on_how_many_steps_a_call_does(monkeypatch):
    net = trained(compiled(), "plain")
    monkeypatch.setattr(planned_steps, "MULTIPLICATIONS_A_CALL", 50_000)  # two steps
    np.testing.assert_array_equal(trained(compiled(), "plain").parameters, net.parameters)


GRADIENTS, PARAMETERS = np.zeros(12, np.float32), np.zeros(12, np.float32)
CLOCK, SCALING = np.zeros(6, np.int64), np.array([1, 0, 0], np.float32)
MATRIX, WIDE = np.zeros((3, 4), np.float32), np.zeros((3, 4))
REFUSED = [
    "multiply",
    ("unknown", MATRIX),
    ("multiply", MATRIX, MATRIX, MATRIX, False, False, 1.0),
    ("multiply", MATRIX, WIDE.T.copy(), np.zeros((3, 3), np.float32), False, False, 1.0),
    ("multiply", MATRIX, MATRIX),
    ("activate", MATRIX, np.zeros(3, np.float32), MATRIX, 0, False),
    ("activate", MATRIX, np.zeros(4, np.float32), MATRIX, 999, False),
    ("activate", MATRIX, np.zeros(4, np.float32), "text", 0, False),
    ("dropout", MATRIX, MATRIX, np.zeros(2, np.int64), 0.5, 0, 0, 0),
    ("dropout", MATRIX, MATRIX, CLOCK, np.zeros(0), CLOCK, 0, 0),
    ("dropout", MATRIX, MATRIX, CLOCK, np.zeros(3), 0, 0, 0),
    ("loss", MATRIX, np.zeros(2, np.int64), MATRIX, np.zeros((), np.float32), 0.0, 0, 0),
    ("gather_batch", np.zeros((5, 3), np.float32), CLOCK, CLOCK, MATRIX, 3, 1.0),
    ("penalize", MATRIX, MATRIX, 0.0, 1.0, SCALING),
    ("update", GRADIENTS, PARAMETERS, np.zeros((1, 1)), CLOCK, SCALING, 999),
    ("update", GRADIENTS, PARAMETERS, np.zeros((1, 1)), CLOCK, CLOCK, 0),
    ("update", GRADIENTS, PARAMETERS, np.zeros((1, 7)), CLOCK, SCALING, 0),
    ("update", GRADIENTS, PARAMETERS, np.zeros((1, 1)), CLOCK, SCALING, 0, 0, 13),
    ("update", GRADIENTS, PARAMETERS, np.zeros((1, 1)), CLOCK, SCALING, 0, 5, 3),
    ("find_overflow", MATRIX, SCALING),
]


@pytest.mark.parametrize("row", REFUSED, ids=str)
def test_an_operation_that_does_not_fit_is_refused(row):
    host = compiled()._host
    with pytest.raises((TypeError, BufferError)):
        host.plan([row], 2, (1, 1, True, False, 0, 0), (GRADIENTS, PARAMETERS), False)
    for wrong in ([], ([], 0, (1, 1, True, False, 0, 0), (GRADIENTS, PARAMETERS), False)):
        with pytest.raises(TypeError):
            host.plan(*wrong)


def test_labels_that_were_spoilt_after_the_check_read_nothing_outside():
    """A row of them has a loss that is no number, so that training stops with a name."""

    class Spoil:
        def begin(self, net, epochs): ...
        def advance(self, history, share): ...
        def end(self, net, history): ...

        def epoch_end(self, net, history):
            labels[:] = 10**9
            return False

    labels = CLASSES.copy()
    net = gpubp.Network([21, 5], output="softmax", backend=compiled())
    with contextlib.suppress(gpubp.errors.DivergenceError):
        net.fit(X, labels, epochs=3, batch_size=16, callbacks=[Spoil()])
    assert np.isfinite(net.parameters).all()


def test_rows_of_an_order_stay_within_the_data():
    """An order that a caller spoils later may not make a step read elsewhere."""
    host = compiled()._host
    data, out = np.arange(6, dtype=np.float32).reshape(3, 2), np.zeros((2, 2), np.float32)
    flat = np.zeros(1, np.float32)
    for order, expected in (([0, 2], [0, 2]), ([-9, 99], [0, 2])):
        row = ("gather_batch", data, np.array(order, np.int64), CLOCK.copy(), out, 2, 1.0)
        host.run_plans(host.plan([row], 1, (1, 1, True, False, 0, 0), (flat, flat), False), 1)
        np.testing.assert_array_equal(out, data[expected])


@pytest.mark.parametrize(("first", "count"), [*itertools.product([0, 3, 8, 13], [1, 5, 8, 30])])
def test_masks_are_those_of_numpys_generator(first, count):
    """Any stretch of the numbers is the same as in one go: parts draw their own columns."""
    host = compiled()._host
    seed, stream, step, rate = 2**64 - 1, 7, 2**40 + 5, 0.37
    key = np.array([seed, stream], np.uint64)
    bits = np.random.Philox(key=key, counter=np.array([0, step, 0, 0], np.uint64))
    uniform = np.random.Generator(bits).random(first + count, dtype=np.float32)
    x, clock = np.ones((1, first + count), np.float32), np.array([step, 0, 0] * 2, np.int64)
    y, flat = np.empty_like(x), np.zeros(1, np.float32)
    row = ("dropout", x, y, clock, float(np.float32(rate)), 0, seed, stream)
    for parts in (1, 2):
        host.run_plans(host.plan([row], parts, (1, 1, True, False, 0, 0), (flat, flat), False), 1)
        np.testing.assert_array_equal(y[0] == 0, uniform < np.float32(rate))
