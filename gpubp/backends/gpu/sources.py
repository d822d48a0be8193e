"""The text of the CUDA headers, read from the installed package."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

from gpubp.backends.gpu.elementwise import HEADERS

_INCLUDE = re.compile(r'^#include "(\w+\.cuh)"$', re.MULTILINE)


@cache
def preamble(headers: tuple[str, ...] = HEADERS) -> str:
    """Return headers as one text, each once, its includes before it.

    CuPy caches compiled kernels by their text, so the text itself and not a path to it is what
    a kernel must hold.
    """
    done: set[str] = set()
    return "".join(_expand(name, done) for name in headers)


def _expand(name: str, done: set[str]) -> str:
    if name in done:
        return ""
    done.add(name)
    text = files("gpubp.kernels").joinpath(name).read_text(encoding="utf-8")
    text = text.replace("#pragma once\n", "")
    return _INCLUDE.sub(lambda include: _expand(include[1], done), text)
