"""Ranks that are threads of this process, for tests without MPI, and what they train."""

from __future__ import annotations

import math
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np

import gpubp
from gpubp.distributed.communicator import Communicator


class Meeting:
    """Where ranks put what they say and read what all said."""

    def __init__(self, size):
        self.size = size
        self.barrier = threading.Barrier(size, timeout=30)
        self.said = [None] * size

    def exchange(self, rank, value):
        self.said[rank] = value
        self.barrier.wait()
        found = list(self.said)
        self.barrier.wait()
        return found


class ThreadCommunicator(Communicator):
    """Says to the other threads what `Communicator` says over MPI."""

    def __init__(self, meeting, rank):
        self.meeting, self.rank, self.size = meeting, rank, meeting.size
        self.local_rank, self.local_size = rank, meeting.size
        self.seconds, self.left_alone, self.sums = 0.0, False, 0
        self.watchdog = self
        self.step = 0

    @contextmanager
    def waiting(self, what, patient=False):
        yield

    def sum(self, array, what, patient=False):
        self.sums += 1
        found = self.meeting.exchange(self.rank, array.copy())
        total = found[0].copy()
        for other in found[1:]:
            total += other
        array[...] = total

    def begin_sum(self, array):
        self.sum(array, "")

    def finish(self, requests, what, patient=False):
        pass

    def largest(self, value, what, patient=False):
        found = self.meeting.exchange(self.rank, value if math.isfinite(value) else math.inf)
        return max(found)

    def broadcast(self, array, what):
        array[...] = self.meeting.exchange(self.rank, array.copy())[0]

    def share(self, value, what):
        return pickle.loads(self.meeting.exchange(self.rank, pickle.dumps(value))[0])

    def collect(self, value, what, patient=False):
        return [pickle.loads(one) for one in self.meeting.exchange(self.rank, pickle.dumps(value))]

    def wait_for_all(self):
        self.meeting.exchange(self.rank, None)

    def barrier(self, what):
        self.meeting.exchange(self.rank, None)


def run_ranks(size, work):
    """Call ``work(communicator)`` in so many threads and return what they return, by rank."""
    meeting = Meeting(size)

    def rank(number):
        try:
            with np.errstate(all="ignore"):
                return work(ThreadCommunicator(meeting, number))
        except BaseException:
            meeting.barrier.abort()
            raise

    with ThreadPoolExecutor(size) as pool:
        futures = [pool.submit(rank, number) for number in range(size)]
        errors = [future.exception() for future in futures]
    real = [error for error in errors if error and not _is_broken(error)]
    if any(errors):
        raise (real or errors)[0]
    return [future.result() for future in futures]


def _is_broken(error):
    return isinstance(error, threading.BrokenBarrierError)


SIZES = [6, 12, 3]


def arrays(rows=205, seed=0):
    generator = np.random.default_rng(seed)
    x = generator.standard_normal((rows, SIZES[0])).astype(np.float32)
    return x, generator.integers(0, SIZES[-1], rows)


def network(**given):
    return gpubp.Network(SIZES, output="softmax", backend="cpu", **given)


def trained(size, data=None, net=None, **given):
    """Train in so many ranks; return their parameters, by rank, and the first's history."""
    data = arrays() if data is None else data

    def work(talk):
        own = network(**(net or {}))
        fit = {"epochs": 2, "batch_size": 32, "distributed": talk} | given
        history = own.fit(*(data() if callable(data) else data), **fit)
        return own.parameters, history

    found = run_ranks(size, work)
    return [parameters for parameters, _ in found], found[0][1]


def alone(data=None, net=None, **given):
    own = network(**(net or {}))
    history = own.fit(
        *(arrays() if data is None else data), **{"epochs": 2, "batch_size": 32} | given
    )
    return own.parameters, history
