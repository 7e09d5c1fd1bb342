"""How long did it take? Knows clocks, devices and the garbage collector; knows no grading and no models.

One latency is one interval: device synchronised, clock read, work, device synchronised, clock read. The collector runs
before the interval, never inside it.
"""

from __future__ import annotations

import contextlib
import gc
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import final

Clock = Callable[[], float]
"""Monotonic seconds."""
Synchronise = Callable[[], None]
"""Returns once all work queued on the devices is done."""


def synchronise_devices() -> None:
    """Wait for every CUDA device that holds memory of this process. Without torch in the process there is none."""
    torch = sys.modules.get("torch")
    cuda = getattr(torch, "cuda", None)
    if cuda is None or not cuda.is_available() or not cuda.is_initialized():
        return
    for device in range(cuda.device_count()):
        if cuda.memory_reserved(device):
            cuda.synchronize(device)


@final
@dataclass(slots=True)
class Elapsed:
    """Filled in when the measured block ends, also when it raises."""

    seconds: float = 0.0


@final
@dataclass(frozen=True, slots=True)
class Stopwatch:
    """Measures blocks of code by wall clock."""

    clock: Clock = time.perf_counter
    synchronise: Synchronise = synchronise_devices

    @contextlib.contextmanager
    def measure(self) -> Iterator[Elapsed]:
        """Measure the block; an exception passes through with its time taken."""
        elapsed = Elapsed()
        with _collector_paused():
            started = self._read()
            try:
                yield elapsed
            finally:
                elapsed.seconds = self._read() - started

    def _read(self) -> float:
        self.synchronise()
        return self.clock()


@contextlib.contextmanager
def settled_heap() -> Iterator[None]:
    """Keep what already lives out of later collections, so that the one before each measurement is short."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@contextlib.contextmanager
def _collector_paused() -> Iterator[None]:
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
