"""Sums that no number of ranks changes a bit of."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpubp.data.shards import shards_of
from gpubp.distributed.host_sums import FixedPointSum
from thread_ranks import run_ranks


@given(
    values=st.lists(
        st.lists(
            st.floats(-(2.0**99), 2.0**99, width=32, allow_subnormal=False), min_size=5, max_size=5
        ),
        min_size=1,
        max_size=9,
    )
)
def test_sums_in_fixed_point_are_exact_to_the_largest_number(values):
    parts = [np.array(part, np.float32) for part in values]
    exact = [math.fsum(float(part[place]) for part in parts) for place in range(5)]
    largest = max(float(np.abs(part).max()) for part in parts)
    found = {}
    for size in (1, 2, len(parts)):

        def work(talk, size=size):
            own = shards_of(talk.rank, size, len(parts)).own
            out = np.empty(5, np.float64)
            FixedPointSum(talk, len(parts), 5)([parts[shard] for shard in own], out, "", False)
            return out

        found[size] = run_ranks(size, work)
    first = found[1][0]
    for outs in found.values():
        for out in outs:
            np.testing.assert_array_equal(out, first)
    np.testing.assert_allclose(first, exact, rtol=1e-12, atol=len(parts) * largest * 2.0**-54)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_sums_in_fixed_point_refuse_what_is_not_finite(wrong):
    def work(talk):
        part = np.ones(4, np.float32)
        part[2] = wrong if talk.rank == 1 else 1
        out = np.zeros(4)
        FixedPointSum(talk, 3, 4)([part], out, "", False)
        return out

    assert np.isnan(run_ranks(3, work)).all()
