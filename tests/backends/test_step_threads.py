"""How many threads do a step is found by its time: on a simulated machine, whose clock is ours.

A step takes 100 us by two threads and 160 by one, and beside another program 300 and 200.
"""

from __future__ import annotations

import ctypes

import pytest

from kernel_compilation import host_compiler, load_host_header

pytestmark = pytest.mark.skipif(host_compiler() is None, reason="needs a C++ compiler")

CODE = """typedef double (*Run)(int members, long long steps);
extern "C" void do_steps(unsigned long long kind, int parts, long long count, Run run) {
  gpubp::threads_of(kind)->share_out(parts, count, run);
}
"""
RUN = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_int, ctypes.c_longlong)
QUIET, BUSY = {1: 160e-6, 2: 100e-6}, {1: 200e-6, 2: 300e-6}  # seconds of a step by such threads


class Machine:
    """Does steps of one kind; another program runs from `busy[0]` to `busy[1]` seconds."""

    kinds = iter(range(1_000_000, 2_000_000))

    def __init__(self, busy: tuple[float, float] = (0, 0), slowness: float = 1) -> None:
        self.library = load_host_header(CODE, "threads.h", "../math.cuh")
        self.busy, self.slowness, self.kind = busy, slowness, next(Machine.kinds)
        self.now, self.done = 0.0, list[tuple[float, int, int]]()

    def run(self, members: int, steps: int) -> float:
        self.done.append((self.now, members, steps))
        seconds = (BUSY if self.busy[0] <= self.now < self.busy[1] else QUIET)[members]
        taken = steps * seconds * self.slowness
        self.now += taken
        return taken

    def do(self, until: float, at_once: int = 1_000_000, parts: int = 2) -> None:
        at_once = max(1, int(at_once / self.slowness))
        while self.now < until:
            kind = ctypes.c_ulonglong(self.kind)
            self.library.do_steps(kind, parts, ctypes.c_longlong(at_once), RUN(self.run))

    def share_by_one(self, begin: float, end: float) -> float:
        """Return which share of the steps that began in this time one thread did."""
        steps = {1: 0, 2: 0}
        for start, members, count in self.done:
            steps[members] += count if begin <= start < end else 0
        return steps[1] / sum(steps.values())


def test_on_a_quiet_machine_all_threads_do_the_steps() -> None:
    machine = Machine()
    machine.do(until=10)
    assert 0 < machine.share_by_one(0, 10) < 0.02


def test_beside_another_program_one_thread_does_them_and_afterwards_all() -> None:
    machine = Machine(busy=(5, 30))
    machine.do(until=40)
    assert machine.share_by_one(0, 5) < 0.02
    assert machine.share_by_one(5, 5.2) > 0.5  # slower steps are noticed at once
    assert machine.share_by_one(5.2, 30) > 0.98
    assert machine.share_by_one(32.5, 40) < 0.02  # and that the other program has ended


def test_short_trainings_of_one_kind_learn_from_those_before() -> None:
    machine = Machine(busy=(0, 100))
    machine.do(until=3, at_once=100)  # each ends within a few hundredths of a second
    assert machine.share_by_one(1, 3) > 0.9
    other = Machine(busy=(0, 100))
    other.do(until=0.01)
    assert other.done[0][1] == 2


def test_a_trial_of_long_steps_is_seldom() -> None:
    machine = Machine(slowness=500)  # 0.05 s a step by two threads
    machine.do(until=100)
    assert 0 < machine.share_by_one(0, 100) < 0.03


def test_steps_much_longer_than_slices_of_time_are_not_tried() -> None:
    machine = Machine(busy=(50, 100), slowness=1500)  # 0.15 s a step by two threads
    machine.do(until=100)
    assert machine.share_by_one(0, 100) == 0


def test_one_thread_that_has_become_slow_is_left_again() -> None:
    machine = Machine(busy=(5, 40), slowness=320)
    machine.do(until=30, at_once=3200)
    assert machine.share_by_one(10, 30) > 0.9
    machine.slowness = 800  # one thread takes 0.13 s a step, when the other program has ended
    machine.do(until=200, at_once=8000)
    assert machine.share_by_one(150, 200) < 0.1


def test_what_is_not_cut_into_parts_is_done_at_once() -> None:
    machine = Machine()
    machine.do(until=1, at_once=7_000, parts=1)
    assert machine.done[0][1:] == (1, 7_000)
