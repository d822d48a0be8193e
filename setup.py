"""The compiled CPU kernels: one module for each instruction set, none of them required.

Where there is no compiler, or it fails, the install goes on without them: gpubp then computes in
plain NumPy, and `gpubp doctor` says so. Everything else about the package is in pyproject.toml.

Which functions they offer is read from the tables in gpubp/backends/formulas, as text: NumPy need
not be there when the package is built.
"""

import ast
import platform
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

# The modules define the same names and are loaded together: none may see another's.
HIDDEN = "-fvisibility=hidden"
AVX512 = [
    *("-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mfma"),
    "-mprefer-vector-width=512",
]
# instruction set -> flags of GCC and Clang, flags of MSVC; the longest to compile comes first
INSTRUCTIONS = {
    "avx512": (AVX512, ["/arch:AVX512"]),
    "avx2": (["-mavx2", "-mfma"], ["/arch:AVX2"]),
    "baseline": ([], []),
    "avx512bf16": ([*AVX512, "-mavx512bf16"], ["/arch:AVX512"]),
    "amx": ([*AVX512, "-mavx512bf16", "-mamx-tile", "-mamx-bf16"], []),
}
# No -ffast-math: NaN and infinity must stay visible. These two only let comparisons and square
# roots become vector instructions.
UNIX_FLAGS = ["-std=c++14", "-O3", "-g0", "-fno-math-errno", "-fno-trapping-math", HIDDEN]
MSVC_FLAGS = ["/std:c++14", "/O2", "/EHsc"]
FORMULAS = sorted(Path("gpubp/backends/formulas").glob("*.py"))
IS_X86 = platform.machine().lower() in ("x86_64", "amd64")
OF_LINUX = ("amx",)  # other systems give a process these registers by other ways, if at all

# The stable ABI is not that of Python without the global lock, where the kernels are left out: they
# count on it (module.h). gpubp is then plain NumPy.
FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))


def entries(kind: str) -> Iterator[dict[str, Any]]:
    """Yield every entry of this class in the tables: its name, and its settings as they stand."""
    for path in FORMULAS:
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call) and getattr(call.func, "id", "") == kind:
                settings = {word.arg: word.value for word in call.keywords}
                yield {"name": ast.literal_eval(call.args[0]), **settings}


def macro(name: str, items: list[str]) -> str:
    """Return a macro that calls X for every item."""
    return " \\\n  ".join([f"#define {name}(X)", *(f"X({item})" for item in items)]) + "\n"


def update_items() -> Iterator[tuple[int, str]]:
    """Yield of every update its number of scalars, and what GPUBP_UPDATES says of it."""
    for entry in entries("Update"):
        state, scalars = (ast.literal_eval(entry[key]) for key in ("state", "scalars"))
        double = ast.literal_eval(entry["in_double"]) if "in_double" in entry else ()
        numbers = [
            f"c[{place}]" if name in double else f"T(c[{place}])"
            for place, name in enumerate(scalars)
        ]
        counts = [str(len(state)), str(len(scalars))]
        arrays = ["s[i]", "t[i]"][: len(state)]
        yield len(scalars), ", ".join([entry["name"], *counts, *arrays, *numbers])


def function_lists() -> str:
    """Return the header of the lists that kernels/host/functions.h makes its tables from."""
    activations = [entry["name"] for entry in entries("Activation") if "whole_rows" not in entry]
    losses = list(entries("LossFunction"))
    classes = [f"class_{entry['name']}" for entry in losses if "of_classes" in entry]
    updates = list(update_items())
    return "".join(
        [
            "// Made by setup.py from the tables in gpubp/backends/formulas.\n#pragma once\n",
            macro("GPUBP_ACTIVATIONS", activations),
            macro("GPUBP_LOSSES", [entry["name"] for entry in losses]),
            macro("GPUBP_CLASS_LOSSES", classes),
            "// name, number of state arrays, number of scalars, the arguments after g and p\n",
            macro("GPUBP_UPDATES", [item for _, item in updates]),
            f"#define GPUBP_MOST_SCALARS {max(count for count, _ in updates)}\n",
        ]
    )


class BuildKernels(build_ext):
    """Write the lists of functions, and choose the flags once the compiler is known."""

    def build_extensions(self) -> None:
        """Build all modules."""
        lists = Path(self.build_temp, "function_lists.h")
        lists.parent.mkdir(parents=True, exist_ok=True)
        lists.write_text(function_lists(), encoding="utf-8")
        super().build_extensions()

    def build_extension(self, ext: Extension) -> None:
        """Build the module of one instruction set."""
        msvc = self.compiler.compiler_type == "msvc"
        own = INSTRUCTIONS[ext.name.rpartition("_")[2]][msvc]
        ext.include_dirs = [self.build_temp]
        ext.extra_compile_args = [*(MSVC_FLAGS if msvc else UNIX_FLAGS), *own]
        super().build_extension(ext)


setup(
    ext_modules=[
        Extension(
            f"gpubp.backends.cpu._host_{name}",
            sources=[f"kernels/host/{name}.cpp"],
            depends=[*map(str, [*sorted(Path("kernels").rglob("*.*h")), *FORMULAS])],
            py_limited_api=True,
            optional=True,
        )
        for name in INSTRUCTIONS
        if not FREE_THREADED and (name == "baseline" or IS_X86)
        if sys.platform == "linux" or name not in OF_LINUX
    ],
    cmdclass={"build_ext": BuildKernels},
    options={
        "bdist_wheel": {} if FREE_THREADED else {"py_limited_api": "cp311"},
        "build_ext": {"parallel": True},
    },
)
