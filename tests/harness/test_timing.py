"""The clock: what is inside an interval, and what is not."""

from __future__ import annotations

import contextlib
import gc
import itertools
import sys
import threading
import time
import types

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbitrage.harness.timing import SharedClock, SharedStopwatch, Stopwatch, settled_heap, synchronise_devices


class Ticks:
    """A clock that only moves when told to, and a diary of who did what."""

    def __init__(self) -> None:
        self.time = 100.0
        self.diary: list[str] = []

    def clock(self) -> float:
        self.diary.append("clock")
        return self.time

    def synchronise(self) -> None:
        self.diary.append("synchronise")
        self.time += 10


def test_the_device_is_synchronised_before_both_readings() -> None:
    """Waiting for the device before the start is not counted; waiting for it at the end is."""
    ticks = Ticks()
    with Stopwatch(ticks.clock, ticks.synchronise).measure() as elapsed:
        ticks.diary.append("work")
        ticks.time += 3
    assert ticks.diary == ["synchronise", "clock", "work", "synchronise", "clock"]
    assert elapsed.seconds == 13


def test_a_failing_block_is_timed_too() -> None:
    """The exception passes through and the time until it is known."""
    ticks = Ticks()
    measured = Stopwatch(ticks.clock, lambda: None).measure()
    elapsed = measured.__enter__()
    ticks.time += 2
    error = ZeroDivisionError()
    assert not measured.__exit__(ZeroDivisionError, error, None)
    assert elapsed.seconds == 2


def test_garbage_is_collected_before_the_interval_and_never_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    """The collector is off while the clock runs and comes back as it was, also after an exception."""
    collected: list[str] = []
    monkeypatch.setattr(gc, "collect", lambda *_: collected.append("collect") or 0)
    ticks = Ticks()
    watch = Stopwatch(ticks.clock, lambda: collected.append("reading"))
    with watch.measure():
        assert not gc.isenabled()
    assert gc.isenabled()
    assert collected == ["collect", "reading", "reading"]
    gc.disable()
    try:
        with pytest.raises(KeyError), watch.measure():
            raise KeyError
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_a_settled_heap_is_given_back() -> None:
    """Objects are frozen for the run only."""
    before = gc.get_freeze_count()
    with settled_heap():
        assert gc.get_freeze_count() > before
    assert gc.get_freeze_count() == 0


def fake_torch(reserved: list[int], synchronised: list[int], initialised: bool = True) -> types.ModuleType:
    torch = types.ModuleType("torch")
    torch.cuda = types.SimpleNamespace(  # type: ignore[attr-defined]
        is_available=lambda: True,
        is_initialized=lambda: initialised,
        device_count=lambda: len(reserved),
        memory_reserved=lambda device: reserved[device],
        synchronize=synchronised.append,
    )
    return torch


def test_every_device_in_use_is_waited_for_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Devices without memory of this process are left alone: touching them would create a context there."""
    synchronised: list[int] = []
    monkeypatch.setitem(sys.modules, "torch", fake_torch([5, 0, 7], synchronised))
    synchronise_devices()
    assert synchronised == [0, 2]


def test_torch_is_never_imported_nor_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without torch in the process there is nothing to wait for; an idle CUDA is not woken."""
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    synchronise_devices()
    assert "torch" not in sys.modules
    synchronised: list[int] = []
    monkeypatch.setitem(sys.modules, "torch", fake_torch([5], synchronised, initialised=False))
    synchronise_devices()
    assert not synchronised


def test_each_moment_is_divided_by_what_is_in_work() -> None:
    """By hand: a is in work from 0 to 4, b from 1 to 3, c from 3 to 4, and after two idle seconds d from 6 to 7."""
    ticks = Ticks()
    shared = SharedClock(lambda: ticks.time)
    a, b, c, d = (shared.measure() for _ in range(4))
    first = a.__enter__()
    ticks.time += 1
    second = b.__enter__()
    ticks.time += 2
    b.__exit__(None, None, None)
    third = c.__enter__()
    ticks.time += 1
    a.__exit__(None, None, None)
    c.__exit__(None, None, None)
    ticks.time += 2
    with d as fourth:
        ticks.time += 1
    assert [one.seconds for one in (first, second, third, fourth)] == [4, 2, 1, 1]
    assert [one.share_s for one in (first, second, third, fourth)] == [2.5, 1, 0.5, 1]


@given(st.lists(st.tuples(st.integers(0, 5), st.floats(0, 100)), max_size=60))
def test_shares_add_up_to_the_time_in_which_anything_was_in_work(told: list[tuple[int, float]]) -> None:
    """Each event begins or ends one of six pieces of work after some time; no share exceeds its own latency."""
    ticks = Ticks()
    shared = SharedClock(lambda: ticks.time)
    busy, done, working = 0.0, [], {}
    for which, seconds in told:
        busy += seconds if working else 0.0
        ticks.time += seconds
        if which in working:
            working.pop(which).close()
        else:
            working[which] = contextlib.ExitStack()
            done.append(working[which].enter_context(shared.measure()))
    for which in list(working):
        working.pop(which).close()
    assert sum(one.share_s for one in done) == pytest.approx(busy)
    assert all(0 <= one.share_s <= one.seconds * (1 + 1e-9) + 1e-9 for one in done)


def test_shares_add_up_from_many_threads() -> None:
    """A piece of work around all the others is in work all the time, so its latency is what all shares add up to.

    Readings exclude each other: two that changed places would count a time twice.
    """
    numbers, reading, together = itertools.count(), threading.Lock(), []

    def clock() -> float:
        alone = reading.acquire(blocking=False)
        together.extend([] if alone else [threading.get_ident()])
        time.sleep(0)  # others may try to come in between
        if alone:
            reading.release()
        return float(next(numbers))

    shared, done = SharedClock(clock), []

    def work() -> None:
        for _ in range(100):
            with shared.measure() as elapsed:
                pass
            done.append(elapsed)

    with shared.measure() as around:
        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(done) == 800
    assert not together
    assert around.share_s is not None
    assert around.share_s + sum(one.share_s for one in done) == pytest.approx(around.seconds)


def test_a_stretch_is_prepared_once_and_its_blocks_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks that overlap wait for no device and no collector; both had their turn before the first one."""
    collected: list[str] = []
    monkeypatch.setattr(gc, "collect", lambda *_: collected.append("collect") or 0)
    ticks = Ticks()
    watch = SharedStopwatch(ticks.clock, ticks.synchronise)
    with watch.stretch():
        assert ticks.diary == ["synchronise"]
        with watch.measure() as one, contextlib.suppress(KeyError), watch.measure() as other:
            assert not gc.isenabled()
            ticks.time += 3
            raise KeyError
        assert not gc.isenabled()
    assert gc.isenabled()
    assert collected == ["collect"]
    assert ticks.diary.count("synchronise") == 1
    assert (one.seconds, other.seconds, one.share_s, other.share_s) == (3, 3, 1.5, 1.5)
