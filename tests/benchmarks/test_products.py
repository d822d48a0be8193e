"""The benchmark of products by BLAS, tiles and squares runs, and names what it timed."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpubp.backends.cpu import blas
from gpubp.backends.cpu.host_kernels import host_kernels

BENCHMARKS = Path(__file__).parent.parent.parent / "benchmarks"


@pytest.fixture
def products(monkeypatch):
    if host_kernels()[0] is None or blas.products() is None:
        pytest.skip("compiled kernels and NumPy's OpenBLAS are needed")
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import products

    monkeypatch.setattr(products, "NETWORKS", (((40, 24, 3), 8),))
    monkeypatch.setattr(products, "SECONDS", 1e-4)
    monkeypatch.setattr(products, "MULTIPLICATIONS", 1)
    return products


def test_products_are_those_of_a_part_of_a_step(products):
    lines = products.product_rows(rounds=1)
    assert [line[:3] for line in lines] == [
        ["40-24-3, 8", "x W, 40 to 24", "8 24 16"],
        ["40-24-3, 8", "x' dz, 40 to 24", "16 24 8"],
        ["40-24-3, 8", "x W, 24 to 3", "8 3 16"],
        ["40-24-3, 8", "x' dz, 24 to 3", "16 3 8"],
        ["40-24-3, 8", "dz W', 24 to 3", "8 16 3"],
    ]
    assert all(float(ratio) > 0 for *_, ratio in lines)


def test_steps_are_timed_each_way(products):
    ((title, *times, ratio),) = products.step_rows(threads=1, rounds=2)
    assert title == "40-24-3, 8"
    assert len(times) == len(products.ways()) >= 2
    assert all(float(each.replace(",", "")) > 0 for each in (*times, ratio))


def test_errors_are_told_for_each_way(products, monkeypatch):
    monkeypatch.setattr(products, "INNER", (40,))
    ((inner, *cells),) = products.error_rows()
    assert inner == "40"
    assert len(cells) == len(products.ways())
    for cell in cells:
        mean, most = map(float, cell.split(", "))
        assert 0 < mean < 1
        assert mean < most < 4
