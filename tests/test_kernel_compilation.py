"""The simulated GPU's kernels are compiled once, however many processes of tests want them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kernel_compilation import host_compiler

pytestmark = pytest.mark.skipif(
    os.name != "posix" or host_compiler() is None, reason="needs a shell and a C++ compiler"
)

CODE = """
import kernel_compilation
library = kernel_compilation.load_host_library('extern "C" int answer() { return 42; }')
print(library.answer())
"""


def test_of_several_processes_one_compiles(tmp_path):
    calls, compiler = tmp_path / "calls", tmp_path / "compiler"
    compiler.write_text(
        f'#!/bin/sh\necho call >> "{calls}"\nsleep 0.3\nexec "{host_compiler()}" "$@"\n'
    )
    compiler.chmod(0o755)
    tests = str(Path(__file__).parent)
    environment = os.environ | {"CXX": str(compiler), "TMPDIR": str(tmp_path), "PYTHONPATH": tests}
    command = [sys.executable, "-c", CODE]
    running = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    assert [process.communicate()[0] for process in running] == ["42\n"] * 3
    assert calls.read_text() == "call\n"
