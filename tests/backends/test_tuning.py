"""The choice between ways: by time, once, and remembered."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from gpubp.backends.gpu.recording import WARM_UPS
from gpubp.backends.gpu.tuning import CALLS, ROUNDS, Tuner
from gpubp.backends.remembered import cache_file


class Clock:
    """A CuPy whose events read a clock that the ways themselves move."""

    def __init__(self):
        self.now, self.recording = 0.0, False
        clock = self

        class Event:
            def record(self, stream):
                self.time = clock.now

            def synchronize(self):
                pass

        class Stream:
            ptr = 1

            def __init__(self, non_blocking):
                pass

            def __enter__(self):
                return self

            def __exit__(self, *error):
                pass

            def begin_capture(self):
                self.start, clock.recording = clock.now, True

            def end_capture(self):
                taken, clock.now, clock.recording = clock.now - self.start, self.start, False
                return SimpleNamespace(launch=lambda: clock.move(taken))

        self.cuda = SimpleNamespace(
            Event=Event,
            Stream=Stream,
            get_current_stream=lambda: SimpleNamespace(ptr=0),
            get_elapsed_time=lambda start, end: end.time - start.time,
        )

    def move(self, time):
        self.now += time

    def way(self, *times, asking=0.0):
        """Return a way that takes these times, the last again and again, and is slow to ask for."""
        left = list(times)

        def run():
            self.now += left.pop(0) if len(left) > 1 else left[0]
            self.now += 0.0 if self.recording else asking

        return run


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.setenv("GPUBP_TUNING", str(tmp_path / "cache" / "tuning.json"))
    return tmp_path / "cache" / "tuning.json"


def test_the_fastest_is_chosen_and_remembered(path):
    clock = Clock()
    ways = {"slow": clock.way(3.0), "fast": clock.way(1.0), "middle": clock.way(2.0)}
    assert Tuner(clock, "device").choose("product", ways) == "fast"
    assert clock.now == pytest.approx(6.0 * (WARM_UPS + 1 + ROUNDS) * CALLS)
    assert json.loads(path.read_text()) == {"device": {"product": "fast"}}
    turned = {"slow": clock.way(1.0), "fast": clock.way(9.0)}
    assert Tuner(clock, "device").choose("product", turned) == "fast", "the same in every run"
    assert Tuner(clock, "another device").choose("product", turned) == "slow"
    assert set(json.loads(path.read_text())) == {"device", "another device"}


def test_the_first_call_only_warms_up(path):
    clock = Clock()
    compiled = clock.way(*[100.0] * CALLS, 1.0)
    assert Tuner(clock, "device").choose(
        "key", {"other": clock.way(2.0), "compiled": compiled}
    ) == ("compiled")


def test_the_time_to_ask_for_a_way_does_not_count(path):
    """A recorded step asks for nothing again."""
    clock = Clock()
    ways = {"asked quickly": clock.way(2.0), "asked slowly": clock.way(1.0, asking=10.0)}
    assert Tuner(clock, "device").choose("key", ways) == "asked slowly"


def test_a_way_that_fails_is_left_out(path):
    clock = Clock()

    def failing():
        raise RuntimeError("cublasLtMatmul failed (15)")

    ways = {"failing": failing, "works": clock.way(5.0)}
    assert Tuner(clock, "device").choose("key", ways) == "works"
    assert Tuner(clock, "device").choose("other", {"a": failing, "b": failing}) == "a"


def test_a_choice_that_is_no_longer_offered_is_made_anew(path):
    clock = Clock()
    Tuner(clock, "device").choose("key", {"old": clock.way(1.0), "other": clock.way(2.0)})
    assert (
        Tuner(clock, "device").choose("key", {"new": clock.way(1.0), "b": clock.way(3.0)}) == "new"
    )


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"device": 3}', "\x00"])
def test_a_file_that_is_torn_or_foreign_is_as_good_as_none(path, content):
    path.parent.mkdir()
    path.write_text(content)
    clock = Clock()
    assert Tuner(clock, "device").choose("key", {"a": clock.way(2.0), "b": clock.way(1.0)}) == "b"
    assert json.loads(path.read_text())["device"] == {"key": "b"}


def test_a_place_that_cannot_be_written_is_no_reason_to_stop(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GPUBP_TUNING", str(tmp_path / "file" / "tuning.json"))
    clock = Clock()
    tuner = Tuner(clock, "device")
    assert tuner.choose("key", {"a": clock.way(2.0), "b": clock.way(1.0)}) == "b"
    before = clock.now
    assert tuner.choose("key", {"a": clock.way(2.0), "b": clock.way(1.0)}) == "b"
    assert clock.now == before, "kept for this process"


def test_no_timing_where_there_is_no_choice_or_it_is_turned_off(path, monkeypatch):
    clock = Clock()
    assert Tuner(clock, "device").choose("key", {"only": clock.way(1.0)}) == "only"
    monkeypatch.setenv("GPUBP_TUNING", "off")
    ways = {"first": clock.way(9.0), "second": clock.way(1.0)}
    assert Tuner(clock, "device").choose("other", ways) == "first"
    assert clock.now == 0
    assert cache_file() is None


def test_the_file_lies_in_the_users_cache(monkeypatch, tmp_path):
    monkeypatch.delenv("GPUBP_TUNING", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    assert cache_file() == tmp_path / "gpubp" / "tuning.json"
