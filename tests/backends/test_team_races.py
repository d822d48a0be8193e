"""The team of threads under the compiler's check of races."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent / "team_races.cpp"
FLAGS = ("-std=c++14", "-O1", "-g", "-pthread", "-fsanitize=thread")


def built(compiler, source, program):
    words = [compiler, *FLAGS, str(source), "-o", str(program)]
    return subprocess.run(words, capture_output=True, text=True, check=False)


def test_no_two_threads_of_the_team_meet(tmp_path):
    compiler = shutil.which("g++") or shutil.which("clang++")
    (tmp_path / "empty.cpp").write_text("int main() {}")
    works = compiler and built(compiler, tmp_path / "empty.cpp", tmp_path / "empty")
    if not works or works.returncode or subprocess.run([tmp_path / "empty"]).returncode:
        pytest.skip("no compiler here builds and runs programs with -fsanitize=thread")
    made = built(compiler, SOURCE, tmp_path / "races")
    assert made.returncode == 0, made.stderr
    found = subprocess.run(
        [tmp_path / "races"], capture_output=True, text=True, timeout=120, check=False
    )
    assert found.stdout == "right\n", found.stderr[:4000]
    assert "ThreadSanitizer" not in found.stderr, found.stderr[:4000]
    assert found.returncode == 0
