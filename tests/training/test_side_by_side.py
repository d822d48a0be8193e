"""Trainings side by side that are interrupted while they are still being dealt out."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from gpubp.training.side_by_side import train_side_by_side


def test_ctrl_c_while_trainings_are_dealt_out_begins_no_more(monkeypatch):
    began, asked, submit = [], threading.Event(), ThreadPoolExecutor.submit

    def interrupted(self, work, number):
        if number == 5:
            asked.set()
            raise KeyboardInterrupt
        return submit(self, work, number)

    def train(number, watches):
        began.append(number)
        asked.wait(10)
        while not watches[0].is_asked:
            assert len(began) <= 2, "a training began after Ctrl-C"

    monkeypatch.setattr(ThreadPoolExecutor, "submit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train_side_by_side(10, train, 2)
    assert len(began) <= 2
