"""Choosing a backend, and saying why a GPU cannot be used."""

from __future__ import annotations

import os
import re
from typing import Any

from gpubp.backends.cpu.compiled_backend import cpu_backend
from gpubp.backends.protocol import Backend
from gpubp.errors import BackendUnavailableError, ConfigurationError, UnknownNameError, brief

VARIABLES = (
    "OMPI_COMM_WORLD_LOCAL_RANK",
    "MPI_LOCALRANKID",
    "PALS_LOCAL_RANKID",
    "SLURM_LOCALID",
)


def local_rank() -> int | None:
    """Return its number among those on this machine; None where no launcher says one."""
    values = (os.environ.get(name, "") for name in VARIABLES)
    return next((int(value) for value in values if value.isdigit()), None)


NAMES = ("auto", "cpu", "gpu", "gpu:0", "gpu:1")  # and so on, as many as there are
ENVIRONMENT_VARIABLE = "GPUBP_BACKEND"

_INSTALL = "pip install 'gpubp[cuda13]' (driver 580 or newer) or 'gpubp[cuda12]'"


def get_backend(name: str | Backend = "auto") -> Backend:
    """Return the backend of this name.

    Parameters
    ----------
    name : {"auto", "cpu", "gpu", "gpu:1", ...} or Backend
        ``"gpu"`` is the current device, or one's own among processes that a launcher started;
        ``"gpu:1"`` the second of several. ``"auto"`` takes the
        GPU when it works, until `fit` has timed both, else the CPU, and keeps the reason in
        ``backend.reason``; the environment variable ``GPUBP_BACKEND`` (``cpu``, ``gpu``, ``gpu:1``)
        decides for it. A backend object is returned as it is.

    Raises
    ------
    BackendUnavailableError
        When ``"gpu"`` is asked for and cannot work; names what is missing and the fix.
    UnknownNameError, ConfigurationError
        When there is no such backend, or it is no name.
    """
    if not isinstance(name, str):
        if not hasattr(name, "for_precision"):
            raise ConfigurationError(f"backend is {brief(name)}; a name such as 'cpu' is needed")
        return name
    if not _is_known(name):
        raise UnknownNameError("backend", name, NAMES)
    if name == "cpu":
        return cpu_backend()
    return _automatic() if name == "auto" else _gpu("asked for", name)


def available_backends() -> dict[str, str]:
    """Return each backend's name with "" when it works here, else why it does not."""
    try:
        _gpu("probe")
    except BackendUnavailableError as error:
        return {"cpu": "", "gpu": str(error)}
    return {"cpu": "", "gpu": ""}


def _automatic() -> Backend:
    wanted = os.environ.get(ENVIRONMENT_VARIABLE, "").strip().lower() or "auto"
    if wanted == "cpu":
        return cpu_backend(reason=f"{ENVIRONMENT_VARIABLE}=cpu")
    note, name = "", "gpu"
    named = wanted != "auto" and _is_known(wanted)
    if named:
        note, name = f"{ENVIRONMENT_VARIABLE}={wanted}; ", wanted
    elif wanted != "auto":
        note = f"{ENVIRONMENT_VARIABLE}={wanted} is unknown (known: {', '.join(NAMES)}); "
    try:
        found = _gpu(f"{note}a GPU works", name)
    except BackendUnavailableError as error:
        return cpu_backend(reason=f"{note}no GPU: {error}")
    if not named:
        found.alternative = cpu_backend(found.reason)
        found.alternative.alternative = found
    return found


def _is_known(name: str) -> bool:
    return name in ("auto", "cpu") or re.fullmatch(r"gpu(:\d+)?", name) is not None


def _gpu(reason: str, name: str = "gpu") -> Backend:
    """Return the GPU backend after a launch, a copy and a product have worked."""
    try:
        import cupy
        from cupy.cuda import runtime  # noqa: F401  a folder called cupy beside a script has none
    except Exception as error:  # CuPy raises more than ImportError, and "auto" must never fail
        raise _import_failure(error) from error
    from gpubp.backends.gpu.cupy_backend import CupyBackend

    index, device = _device(cupy, name.partition(":")[2])
    try:
        with cupy.cuda.Device(index):
            backend = CupyBackend(cupy, index, device, reason)
            _probe(backend)
    except Exception as error:
        raise _launch_failure(error, device) from error
    return backend


def _import_failure(error: Exception) -> BackendUnavailableError:
    if isinstance(error, ImportError) and error.name in ("cupy", "cupy.cuda"):
        return BackendUnavailableError(f"CuPy is not installed: {_INSTALL}")
    if not isinstance(error, ImportError):
        return BackendUnavailableError(
            f"CuPy cannot be imported ({type(error).__name__}: {_one_line(error)}): install it"
            f" anew, {_INSTALL}"
        )
    return BackendUnavailableError(
        f"CuPy is installed but its CUDA libraries were not found ({_one_line(error)}):"
        " pip install 'cupy-cuda13x[ctk]' or 'cupy-cuda12x[ctk]' brings them"
    )


def _device(cupy: Any, wanted: str) -> tuple[int, str]:
    """Return number and name of a device, the current one for ""; raise when there is none."""
    runtime = cupy.cuda.runtime
    try:
        count = runtime.getDeviceCount()
    except runtime.CUDARuntimeError as error:
        text = _one_line(error)
        if "NoDevice" in text:
            count = 0
        elif "InsufficientDriver" in text:
            raise BackendUnavailableError(
                f"no NVIDIA driver, or one too old for this CuPy ({text}): install a driver from"
                " nvidia.com, or the CuPy for your driver: 'gpubp[cuda12]' or 'gpubp[cuda13]'"
            ) from error
        else:
            raise BackendUnavailableError(
                f"the NVIDIA driver does not answer ({text}): check that nvidia-smi works"
            ) from error
    if count == 0:
        raise BackendUnavailableError(
            "no NVIDIA GPU is visible: check nvidia-smi and CUDA_VISIBLE_DEVICES"
        )
    number = local_rank()  # several processes on a machine take a device each
    index = int(cupy.cuda.Device().id) if number is None else number % count
    index = int(wanted) if wanted else index
    if index >= count:
        raise BackendUnavailableError(
            f"GPU {index} was asked for and there {'is one' if count == 1 else f'are {count}'}:"
            f" a number below {count} is needed"
        )
    name = runtime.getDeviceProperties(index)["name"]
    return index, name.decode() if isinstance(name, bytes) else str(name)


def _probe(backend: Backend) -> None:
    xp = backend.xp
    ones = xp.ones((2, 2), dtype=xp.float32)
    bias = xp.ones(2, dtype=xp.float32)
    product = xp.dot(ones, ones)
    from gpubp.backends.scratch import Scratch

    backend.activate("relu", product, bias, product, Scratch(xp))
    if backend.to_numpy(product).tolist() != [[3.0, 3.0], [3.0, 3.0]]:
        raise RuntimeError("a trial product gave a wrong result")


def _launch_failure(error: Exception, device: str) -> BackendUnavailableError:
    kind = type(error).__name__
    text = _one_line(error)
    if kind == "OutOfMemoryError" or "MemoryAllocation" in text:
        return BackendUnavailableError(
            f"the memory of {device} is exhausted ({text}): end other programs that use it, or"
            " choose another GPU with CUDA_VISIBLE_DEVICES"
        )
    if isinstance(error, ModuleNotFoundError) and str(error.name).startswith("gpubp"):
        return BackendUnavailableError(
            f"{error.name} was not found, the sources of the kernels: install gpubp, pip install ."
            " in its folder, and start Python elsewhere; a checkout alone has no such package"
        )
    if isinstance(error, ImportError | OSError) or _names_library(text):
        return BackendUnavailableError(
            f"a CUDA library was not found ({kind}: {text}): pip install 'cupy-cuda13x[ctk]' or"
            " 'cupy-cuda12x[ctk]' brings them"
        )
    return BackendUnavailableError(
        f"a trial launch on {device} failed ({kind}: {text}): check that driver and CuPy match"
    )


def _names_library(text: str) -> bool:
    return any(word in text.lower() for word in ("lib", "toolkit", "headers"))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
