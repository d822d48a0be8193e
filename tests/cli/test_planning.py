"""The model of `gpubp plan`: formulas by hand, limits, what it says, and its command."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from command_runs import gpubp
from gpubp import errors
from gpubp.cli import calibration, planning
from gpubp.cli.planning import Constants
from thread_ranks import run_ranks

COUNTS = st.integers(2, 4096)
SIZES = st.floats(1e3, 1e11)


def messages_of_a_ring(devices, size):
    """Count the rounds and the bytes that one device sends: scatter-reduce, then all-gather."""
    rounds = sent = 0
    for _ in ("scatter-reduce", "all-gather"):
        for _ in range(devices - 1):  # each passes one of `devices` pieces to its neighbour
            rounds, sent = rounds + 1, sent + size / devices
    return rounds, sent


@pytest.mark.parametrize("devices", [2, 3, 8])
def test_a_ring_takes_the_time_of_its_messages(devices):
    rounds, sent = messages_of_a_ring(devices, 1e6)
    assert planning.ring(devices, 1e6, 1e-5, 1e9) == pytest.approx(rounds * 1e-5 + sent / 1e9)


def test_a_tree_takes_its_depth_twice():
    # 5 devices: 3 levels up, 3 down; all bytes up and down at once
    assert planning.tree(5, 1e6, 1e-5, 1e9) == pytest.approx(6e-5 + 2e-3)
    assert planning.tree(1, 1e6, 1e-5, 1e9) == planning.ring(1, 1e6, 1e-5, 1e9) == 0


@given(COUNTS, SIZES)
def test_the_fastest_way_is_taken(devices, size):
    known = Constants()
    time, name = planning.allreduce(devices, size, known)
    # over nodes nothing is faster than what each byte needs between two of them, or within one
    least = size / (known.bandwidth if devices <= known.node else known.node_bandwidth)
    assert time >= least
    assert name in ("ring", "tree", "two levels")
    if devices > known.node:
        far = (known.node_alpha, known.node_bandwidth)
        assert time <= planning.ring(devices, size, *far)
        assert time <= planning.tree(devices, size, *far)


def test_two_levels_are_a_ring_inside_and_one_between():
    # 16 devices in 2 nodes of 8, large: 1.75 n / inside + n / between
    known = Constants()
    time, name = planning.allreduce(16, 4e9, known)
    assert name == "two levels"
    assert time == pytest.approx(1.75 * 4e9 / 300e9 + 4e9 / 45e9, rel=0.01)
    assert planning.allreduce(1, 4e9, known) == (0, "-")


def test_a_step_is_computing_updating_and_what_of_the_sum_shows():
    known = Constants(flops=1e12, update=1e-11, alpha=1e-5, bandwidth=1e10)
    (one, two) = planning.plan(1e6, 1000, 2, known)
    assert one.compute == pytest.approx(6 * 1e6 * 1000 / 1e12)
    assert one.step == pytest.approx(6e-3 + 1e-5)
    # 4 MB are one bucket: all of the sum is waited for
    assert two.exposed == two.allreduce == pytest.approx(2e-5 + 4e6 / 1e10)
    assert two.step == pytest.approx(3e-3 + 1e-5 + 4.2e-4)
    assert two.speedup == pytest.approx(one.step / two.step)
    assert two.efficiency == two.speedup / 2
    # 400 MB go out by buckets while the backward pass, two thirds of computing, goes on
    last = planning.plan(1e8, 1000, 2, known)[-1]
    assert last.exposed == pytest.approx(last.allreduce * planning.BUCKET / 4e8)
    assert last.allreduce < last.compute * 2 / 3


@given(st.floats(1e3, 1e10), st.floats(1, 1e7), st.integers(1, 10000))
def test_every_plan_keeps_to_what_is_possible(parameters, batch, most):
    rows = planning.plan(parameters, batch, most, Constants())
    assert rows[0].devices == 1
    assert rows[-1].devices == min(most, planning.MOST_DEVICES)
    for row in rows:
        assert 0 < row.efficiency <= 1 + 1e-9
        assert 0 <= row.exposed <= row.allreduce
        assert row.step >= row.compute
    assert planning.verdict(rows)


def test_what_was_found_of_scale_before():
    """A million parameters at 8,192 rows stop paying near 8 devices; a thousand million do not."""
    small = planning.plan(1e6, 8192, 4096, Constants())
    assert max(small, key=lambda row: row.speedup).devices == 8
    assert "more than 8 do not help: there a step takes longer" in planning.verdict(small)
    large = planning.plan(1e9, 262144, 64, Constants())
    assert large[-1].efficiency > 0.98
    assert planning.verdict(large) == (
        "up to 64 devices are used at 80% or more (63.6 times one at most)"
    )
    middle = planning.verdict(planning.plan(1e8, 65536, 1024, Constants()))
    assert middle == (
        "up to 64 devices are used at 80% or more; more bring little: 1024 are 1.34 times as fast"
        " (69.5 times one at most)"
    )
    few = planning.verdict(planning.plan(1e8, 10, 4096, Constants()))
    assert few.startswith("only one device is used at 80% or more; more than 1 do not help")


def test_the_batch_that_pays_is_the_smallest():
    known = Constants()
    found = planning.paying_batch(1e8, 64, known)
    assert planning.plan(1e8, found, 64, known)[-1].efficiency >= 0.8
    assert planning.plan(1e8, found / 2, 64, known)[-1].efficiency < 0.8
    never = Constants(update=10.0)  # seconds a parameter: no batch up to 2^40 is large enough
    assert math.isinf(planning.paying_batch(10, 4096, never))


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ((0, 10, 4), "parameters is 0"),
        ((math.inf, 10, 4), "parameters is inf"),
        ((10, 0.5, 4), "batch is 0.5"),
        ((10, 10, 0), "gpus is 0"),
    ],
)
def test_numbers_out_of_range_are_refused(numbers, said):
    with pytest.raises(errors.ConfigurationError, match=said):
        planning.plan(*numbers, Constants())


@pytest.mark.parametrize("text", ["", "[]", '{"flops": 0}', '{"flop": 1}', '{"flops": "much"}'])
def test_a_file_without_constants_is_refused(tmp_path, text):
    path = tmp_path / "c.json"
    path.write_text(text)
    with pytest.raises(errors.ConfigurationError, match=r"number above 0|no constants could"):
        planning.read_constants(path)
    with pytest.raises(errors.ConfigurationError, match="No such file"):
        planning.read_constants(tmp_path / "none.json")


def test_calibration_finds_the_link_it_is_given(monkeypatch):
    """Sums that take a known time give back its latency and bandwidth."""
    alpha, bandwidth, ranks = 5e-5, 2e9, 4

    class Talk:
        size = ranks

        def share(self, value, what):
            return value

        def sum(self, array, what, patient):
            raise AssertionError("its time is made up")

    def seconds(talk, work):
        size = work.args[0].nbytes
        return planning.ring(ranks, size, alpha, bandwidth) * (1 + 0.05 * math.sin(size))

    monkeypatch.setattr(calibration, "_seconds", seconds)
    found = calibration._link(Talk())
    np.testing.assert_allclose(found, (alpha, bandwidth), rtol=0.1)


def test_calibration_of_ranks_that_are_threads():
    for found in run_ranks(2, lambda talk: calibration.calibrate(talk, "cpu")):
        assert found.node == 2
        assert found.source == "measured here on 2 ranks"
        assert 1e8 < found.flops < 1e15
        assert found.alpha == found.node_alpha


def command(*words):
    """Run `gpubp plan`."""
    pytest.importorskip("typer", reason="the command needs the extra cli")
    return gpubp("plan", *words, cwd=".")


def test_the_command_measures_and_uses_its_constants(tmp_path):
    path = tmp_path / "folder" / "c.json"
    done = command("--calibrate", "--backend", "cpu", "--constants", str(path))
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found == json.loads(path.read_text())
    done = command("--constants", str(path), "--gpus", "12", "--json", "--alpha", "1e-4")
    report = json.loads(done.stdout)
    assert report["constants"]["flops"] == found["flops"]
    assert report["constants"]["alpha"] == 1e-4
    assert report["constants"]["source"].startswith("alpha given; others computing measured here")
    assert [row["devices"] for row in report["rows"]] == [1, 2, 4, 8, 12]


def test_the_command_prints_a_table_that_fits():
    out = command("--parameters", "1e9").stdout
    assert "assumed, not measured" in out
    assert "two levels" in out
    assert "\N{HORIZONTAL ELLIPSIS}" not in out
    assert "4096 devices are used at 80% from a batch of" in out


@pytest.mark.parametrize(
    "words",
    [["--gpus", "0"], ["--flops", "-1"], ["--constants", "none.json"], ["--parameters", "0"]],
)
def test_bad_input_ends_with_2_and_one_line(words):
    done = command(*words)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert not done.stdout
