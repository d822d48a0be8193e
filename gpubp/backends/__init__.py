"""Backends: NumPy on the CPU, CuPy on an NVIDIA GPU, chosen at run time."""

from gpubp.backends.protocol import Backend, Lockstep
from gpubp.backends.scratch import Array, Scratch
from gpubp.backends.selection import available_backends, get_backend

__all__ = ["Array", "Backend", "Lockstep", "Scratch", "available_backends", "get_backend"]
