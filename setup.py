"""The compiled CPU kernels: one module for each instruction set, none of them required.

Where there is no compiler, or it fails, the install goes on without them: gpubp then computes in
plain NumPy, and `gpubp doctor` says so. Everything else about the package is in pyproject.toml.
"""

import platform
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

# The modules define the same names and are loaded together: none may see another's.
HIDDEN = "-fvisibility=hidden"
WIDE_VECTORS = "-mprefer-vector-width=512"
# instruction set -> flags of GCC and Clang, flags of MSVC
INSTRUCTIONS = {
    "baseline": ([], []),
    "avx2": (["-mavx2", "-mfma"], ["/arch:AVX2"]),
    "avx512": (
        ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mfma", WIDE_VECTORS],
        ["/arch:AVX512"],
    ),
}
# No -ffast-math: NaN and infinity must stay visible. These two only let comparisons and square
# roots become vector instructions.
UNIX_FLAGS = ["-std=c++14", "-O3", "-g0", "-fno-math-errno", "-fno-trapping-math", HIDDEN]
MSVC_FLAGS = ["/std:c++14", "/O2", "/EHsc"]
IS_X86 = platform.machine().lower() in ("x86_64", "amd64")


class BuildKernels(build_ext):
    """Choose the flags once the compiler is known."""

    def build_extension(self, ext: Extension) -> None:
        """Build the module of one instruction set."""
        msvc = self.compiler.compiler_type == "msvc"
        own = INSTRUCTIONS[ext.name.rpartition("_")[2]][msvc]
        ext.extra_compile_args = [*(MSVC_FLAGS if msvc else UNIX_FLAGS), *own]
        super().build_extension(ext)


setup(
    ext_modules=[
        Extension(
            f"gpubp.backends.cpu._host_{name}",
            sources=[f"kernels/host/{name}.cpp"],
            depends=[str(path) for path in sorted(Path("kernels").rglob("*.*h"))],
            py_limited_api=True,
            optional=True,
        )
        for name in INSTRUCTIONS
        if name == "baseline" or IS_X86
    ],
    cmdclass={"build_ext": BuildKernels},
    options={"bdist_wheel": {"py_limited_api": "cp311"}, "build_ext": {"parallel": True}},
)
