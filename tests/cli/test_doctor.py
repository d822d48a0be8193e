"""The facts and the advice of doctor."""

import os
import subprocess
import sys

import pytest

from gpubp.cli import doctor

FACTS = {
    "backends": {"cpu": "", "gpu": ""},
    "notes": [],
    "compiled_kernels": "avx2",
    "compiled_kernels_reason": "",
    "blas": [{"library": "openblas", "version": "0.3", "kernels": "Haswell", "threads": 2}],
    "products": {"": 200.0, "SkylakeX": 410.0},
    "bfloat16": 0.0,
}
BEST = FACTS | {"products": {"": 400.0, "SkylakeX": 410.0}}


def test_faster_blas_kernels_are_advised_with_what_they_bring():
    (line,) = doctor.advice(FACTS)
    assert line.startswith("OPENBLAS_CORETYPE=SkylakeX")
    assert "from 200 to 410 GFLOP/s" in line
    assert doctor.advice(BEST) == []


def test_products_in_bfloat16_are_advised_where_they_are_faster_than_the_best_kernels():
    (line,) = doctor.advice(BEST | {"bfloat16": 800.0})
    assert line.startswith("precision='bfloat16' (--precision bfloat16) rounds")
    assert "from 410 to 800 GFLOP/s" in line
    assert doctor.advice(BEST | {"bfloat16": 420.0}) == []


def test_the_reason_why_the_gpu_is_idle_is_advice():
    facts = BEST | {"backends": {"cpu": "", "gpu": "CuPy is not installed: pip install ..."}}
    assert doctor.advice(facts) == ["GPU: CuPy is not installed: pip install ..."]


def test_what_is_slower_than_it_could_be_is_said():
    assert doctor.advice(BEST | {"notes": ["steps are not recorded"]}) == ["steps are not recorded"]


def test_missing_compiled_kernels():
    missing = {"compiled_kernels": "", "compiled_kernels_reason": "not built"}
    (line,) = doctor.advice(BEST | missing)
    assert "missing, not built: with a C++ compiler" in line


def test_no_threadpoolctl():
    assert "threadpoolctl" in doctor.advice(BEST | {"blas": None})[0]


def test_the_facts_of_this_machine(monkeypatch):
    monkeypatch.setenv("GPUBP_BACKEND", "cpu")
    facts = doctor.examine()
    assert facts["auto"] == "cpu"
    assert facts["auto_reason"] == "GPUBP_BACKEND=cpu"
    assert facts["cores"] >= 1
    assert facts["versions"]["numpy"]
    assert next(iter(facts["products"].values())) > 0
    assert (facts["bfloat16"] > 0) == (facts["bfloat16_reason"] == "")


@pytest.mark.parametrize(
    ("vendor", "flags", "before", "after"),
    [
        ("AuthenticAMD", "avx512f avx512cd avx512bw avx512dq avx512vl", "", "SkylakeX"),
        ("AuthenticAMD", "avx512f avx512cd avx512bw avx512dq avx512vl", "Haswell", "Haswell"),
        ("AuthenticAMD", "avx2 fma", "", ""),
        ("GenuineIntel", "avx512f avx512cd avx512bw avx512dq avx512vl", "", ""),
    ],
)
def test_the_command_chooses_blas_kernels_before_numpy_is_loaded(vendor, flags, before, after):
    code = (
        "import os, sys\n"
        "import gpubp.__main__\n"
        "from gpubp.cli import openblas as blas_kernels\n"
        f"blas_kernels.cpuinfo = {{'vendor_id': {vendor!r}, 'flags': {flags!r}}}.get\n"
        "assert 'numpy' not in sys.modules\n"
        "blas_kernels.use_best_kernels()\n"
        "print(os.environ.get('OPENBLAS_CORETYPE', ''))\n"
        "import gpubp.cli.app, numpy\n"
        "os.environ['OPENBLAS_CORETYPE'] = ''\n"
        "blas_kernels.use_best_kernels()\n"
        "assert not os.environ['OPENBLAS_CORETYPE'], 'set though NumPy is loaded'\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "OPENBLAS_CORETYPE": before},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == after
