"""The `backend` fixture: one test body for compiled kernels, NumPy, a simulated and a real GPU.

GPUBP_TEST_BACKEND=cpu leaves the real GPU out, GPUBP_TEST_BACKEND=gpu leaves only it.
GPUBP_REQUIRE_GPU=1 turns a GPU that cannot be used from a skipped test into a failed one.
`pytest --hypothesis-profile=thorough` looks at ten times as many examples as without.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import simulated.cupy
from gpubp.backends import Backend, Scratch, get_backend
from gpubp.backends.cpu.compiled_backend import CompiledBackend
from gpubp.backends.cpu.host_kernels import host_kernels
from gpubp.backends.cpu.numpy_backend import NumpyBackend
from gpubp.errors import BackendUnavailableError
from gpubp.training.epoch_steps import EpochSteps
from kernel_compilation import host_compiler

# Tests that start Python shall find the installed gpubp, not the sources in the folder they run in.
os.environ["PYTHONSAFEPATH"] = "1"

try:  # a bare machine with a GPU, which benchmarks/first_contact.py tests, may lack it
    import hypothesis
except ImportError:
    pass
else:  # no deadline: the first example may import or compile what it needs
    hypothesis.settings.register_profile("quick", max_examples=30, deadline=None)
    hypothesis.settings.register_profile("thorough", max_examples=300, deadline=None)
    hypothesis.settings.load_profile("quick")

BACKENDS = {
    "": ("cpu", "numpy", "simulated-gpu", "gpu"),
    "cpu": ("cpu", "numpy", "simulated-gpu"),
    "gpu": ("gpu",),
}[os.environ.get("GPUBP_TEST_BACKEND", "")]


# by the marker of its tests: `pytest -m gpu` runs those on the real GPU alone
MARKERS = {"gpu": [pytest.mark.gpu], "simulated-gpu": [pytest.mark.simulated_gpu]}


def params(*names: str) -> list[Any]:
    """Return names of backends as parameters of a fixture or a test, marked by what they need."""
    return [pytest.param(name, marks=MARKERS.get(name, [])) for name in names]


@pytest.fixture(params=params(*BACKENDS))
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Backend:
    """A backend, to be handed to `gpubp.Network` or called itself."""
    if request.param == "simulated-gpu":
        return simulated_gpu(monkeypatch)
    if request.param == "gpu":
        return real_gpu()
    return NumpyBackend() if request.param == "numpy" else compiled()


needs_kernels = pytest.mark.skipif(
    host_kernels()[0] is None, reason=f"no compiled kernels: {host_kernels()[1]}"
)


def compiled() -> Backend:
    """Return the CPU backend with compiled kernels, or skip the test: they were not built."""
    backend = get_backend("cpu")
    if not isinstance(backend, CompiledBackend):
        pytest.skip(f"no compiled kernels: {host_kernels()[1]}")
    return backend


def simulated_gpu(monkeypatch: pytest.MonkeyPatch) -> Backend:
    """Return the CuPy backend over the simulated CuPy, or skip the test."""
    if host_compiler() is None:
        pytest.skip("the simulated GPU needs a C++ compiler: g++ or clang++")
    simulated.cupy.install(monkeypatch)
    return get_backend("gpu")


def real_gpu() -> Backend:
    """Return the CuPy backend, or skip the test for the reason that it cannot be used."""
    try:
        return get_backend("gpu")
    except BackendUnavailableError as error:
        if os.environ.get("GPUBP_REQUIRE_GPU") == "1":
            pytest.fail(f"GPUBP_REQUIRE_GPU=1 and {error}")
        pytest.skip(str(error))


@pytest.fixture
def scratch(backend: Backend) -> Scratch:
    """Scratch memory on the backend."""
    return Scratch(backend.xp)


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[EpochSteps]:
    """The steps of every fit."""
    made = []
    before = EpochSteps.__init__

    def init(self: EpochSteps, *arguments: Any) -> None:
        before(self, *arguments)
        made.append(self)

    monkeypatch.setattr(EpochSteps, "__init__", init)
    return made


@pytest.fixture
def prepared(steps: list[EpochSteps]) -> Callable[[], list[Any]]:
    """The prepared steps of every fit, when called."""
    return lambda: [each for one in steps for each in one._prepared.values()]


@pytest.fixture(params=["float32", "float64"])
def dtype(request: pytest.FixtureRequest) -> np.dtype:
    """One of the two types a network computes in."""
    return np.dtype(request.param)
