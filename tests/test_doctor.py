"""The facts and the advice of doctor."""

from gpubp import doctor

FACTS = {
    "backends": {"cpu": "", "gpu": ""},
    "blas": [{"library": "openblas", "version": "0.3", "kernels": "Haswell", "threads": 2}],
}


def test_narrow_kernels_on_a_wide_processor():
    assert "OPENBLAS_CORETYPE=SkylakeX" in doctor.advice(FACTS, {"avx2", "avx512f"})[0]
    assert doctor.advice(FACTS, {"avx2"}) == []
    wide = [{"library": "openblas", "version": "0.3", "kernels": "SkylakeX", "threads": 2}]
    assert doctor.advice(FACTS | {"blas": wide}, {"avx512f"}) == []


def test_the_reason_why_the_gpu_is_idle_is_advice():
    facts = FACTS | {"backends": {"cpu": "", "gpu": "CuPy is not installed: pip install ..."}}
    assert doctor.advice(facts, set()) == ["GPU: CuPy is not installed: pip install ..."]


def test_no_threadpoolctl():
    assert "threadpoolctl" in doctor.advice(FACTS | {"blas": None}, set())[0]


def test_the_facts_of_this_machine(monkeypatch):
    monkeypatch.setenv("GPUBP_BACKEND", "cpu")
    facts = doctor.examine()
    assert facts["auto"] == "cpu"
    assert facts["auto_reason"] == "GPUBP_BACKEND=cpu"
    assert facts["cores"] >= 1
    assert facts["versions"]["numpy"]
