"""How long did it take? Knows clocks, devices and the garbage collector; knows no grading and no models.

One latency is one interval: device synchronised, clock read, work, device synchronised, clock read. The collector runs
before the interval, never inside it. Where several things are timed at once, both happen before the first of them
begins: `SharedStopwatch` says why.
"""

from __future__ import annotations

import contextlib
import gc
import sys
import threading
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
    """From its own start to its own end."""
    share_s: float | None = None
    """Its share of the seconds in which something was measured; None where it was alone, so that these are the same."""


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

    @contextlib.contextmanager
    def stretch(self) -> Iterator[None]:
        """Blocks that belong together; each is prepared by itself."""
        yield

    def _read(self) -> float:
        self.synchronise()
        return self.clock()


@final
class SharedClock:
    """Divides the time of a machine among what is in work on it: each moment by their number at that moment.

    A quantity grows by 1 / n a second while n things are in work. What it grows by from the beginning of one to its end
    is that one's share, and all shares add up to the seconds in which anything was in work, whatever overlaps.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._in_work = 0
        self._now = self._grown = 0.0

    @contextlib.contextmanager
    def measure(self) -> Iterator[Elapsed]:
        """Measure the block, from any thread; an exception passes through with its time taken."""
        elapsed = Elapsed()
        started, grown = self._read(entering=1)
        try:
            yield elapsed
        finally:
            ended, grown_since = self._read(entering=-1)
            elapsed.seconds, elapsed.share_s = ended - started, grown_since - grown

    def _read(self, entering: int) -> tuple[float, float]:
        """The time, and the quantity up to now; `entering` changes how many are in work from now on."""
        with self._lock:  # the clock is read inside, so that no two readings change places
            now = self._clock()
            if self._in_work:
                self._grown += (now - self._now) / self._in_work
            self._now = now
            self._in_work += entering
            return self._now, self._grown


@final
class SharedStopwatch:
    """Measures blocks of code that run at once, in several threads.

    Devices are synchronised and garbage is collected once for a whole stretch of blocks, before the first. To wait for
    a device at the end of one block is to wait for the others' work on it, and a collection stops all threads. Nothing
    is lost: a block is over when its last token is in host memory, so nothing of it is still queued on a device.
    """

    def __init__(self, clock: Clock = time.perf_counter, synchronise: Synchronise = synchronise_devices) -> None:
        self._shared, self._synchronise = SharedClock(clock), synchronise

    def measure(self) -> contextlib.AbstractContextManager[Elapsed]:
        """Measure the block, which runs inside of a stretch; an exception passes through with its time taken."""
        return self._shared.measure()

    @contextlib.contextmanager
    def stretch(self) -> Iterator[None]:
        """Blocks that run at once: no collection until all have ended, and devices idle before the first."""
        with _collector_paused():
            self._synchronise()
            yield


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
