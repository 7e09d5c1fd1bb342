"""The clock: what is inside an interval, and what is not."""

from __future__ import annotations

import gc
import sys
import types

import pytest

from arbitrage.harness.timing import Stopwatch, settled_heap, synchronise_devices


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
