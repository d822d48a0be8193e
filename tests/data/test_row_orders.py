"""The order in which rows of a data set are read."""

from __future__ import annotations

import functools
import operator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gpubp
import gpubp.data
from data_building import numbered, read_rows
from gpubp.data.blocks import shard_rows, windows
from gpubp.data.protocol import Reading
from gpubp.data.shards import Shards, shards_of


@given(
    rows=st.integers(1, 200),
    block=st.integers(1, 60),
    window=st.integers(1, 5),
    batch=st.integers(1, 80),
    count=st.integers(1, 9),
    size=st.integers(1, 9),
    shuffle=st.booleans(),
    epoch=st.integers(0, 3),
)
def test_every_row_comes_once_an_epoch(rows, block, window, batch, count, size, shuffle, epoch):
    size = min(size, count)
    data = numbered(rows, block, window)
    batch = min(batch, rows)
    by_rank = [
        read_rows(data, Reading(batch, 3, shuffle, shards_of(rank, size, count)), epoch)
        for rank in range(size)
    ]
    batches = [functools.reduce(operator.iadd, parts, []) for parts in zip(*by_rank, strict=True)]
    assert [len(each) for each in batches] == [
        min(batch, rows - start) for start in range(0, rows, batch)
    ]
    assert sorted(functools.reduce(operator.iadd, batches, [])) == list(range(rows))
    alone = read_rows(data, Reading(batch, 3, shuffle, Shards(count, 0, count)), epoch)
    assert alone == batches  # however many processes share the shards out


@pytest.mark.parametrize("start", [1, 2, 6])
def test_reading_can_begin_anywhere_in_an_epoch(start):
    data, reading = numbered(100, 7, 2), Reading(15, 1, shards=Shards(3, 1, 3))
    assert read_rows(data, reading, 5, start) == read_rows(data, reading, 5)[start:]


def test_epochs_and_seeds_have_orders_of_their_own():
    data = numbered(64, 8, 2)
    orders = {str(read_rows(data, Reading(64, seed), epoch)) for seed in (0, 1) for epoch in (0, 1)}
    assert len(orders) == 4
    assert read_rows(data, Reading(64, shuffle=False)) == [list(range(64))]


def test_rows_are_mixed_within_windows_of_blocks_dealt_at_random():
    sizes, reading = [10] * 12, Reading(10, 4)
    found = list(windows(sizes, 3, reading, 0, 0))
    assert [len(window.pieces) for window in found] == [3, 3, 3, 3]
    blocks = [piece.block for window in found for piece in window.pieces]
    assert sorted(blocks) == list(range(12)) != blocks
    assert all(sorted(window.order) == list(range(30)) for window in found)
    assert not all((window.order == found[0].order).all() for window in found)


def test_a_shard_has_its_part_of_every_batch():
    reading = Reading(10, shards=Shards(4, 0, 4))
    # whole batches of 2, 3, 2, 3 rows; the last of 7 rows gives 1, 2, 2, 2
    assert [shard_rows(reading, 27, shard) for shard in range(4)] == [5, 8, 6, 8]


def test_the_default_window_holds_128_mib(monkeypatch):
    x = np.zeros((2_000_000, 8), np.float32)
    data = gpubp.data.ArrayDataset(x, np.zeros(len(x)))
    assert data.window == 16  # blocks of 2 MiB: no more than 16
    big = gpubp.data.ArrayDataset(x, np.zeros(len(x)), block=1_000_000)
    assert big.window == 4  # blocks of 32 MB
