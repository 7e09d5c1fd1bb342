"""The next step, written in the background while the newest one is being judged (pipelining).

The writer's session belongs to the background from `Ahead(...)` until `take()` or `drop()`.
"""

from __future__ import annotations

import threading
from concurrent.futures import Executor, wait
from dataclasses import replace
from typing import final

import numpy as np

from arbitrage.interfaces import Settings, Stop
from arbitrage.strategies.policy import WrittenStep
from arbitrage.strategies.writer import StepWriter


@final
class Ahead:
    """One step that may turn out not to be wanted."""

    def __init__(
        self, executor: Executor, writer: StepWriter, stop: Stop, settings: Settings, rng: np.random.Generator
    ) -> None:
        """Have `writer` write on behind whatever its session holds."""
        self.stop = stop
        self._writer, self._start = writer, len(writer.session.ids)
        self._unwanted = threading.Event()
        asking = replace(stop, cancelled=self._unwanted.is_set)
        self._step = executor.submit(writer.go_on, asking, settings, rng)

    def take(self) -> WrittenStep:
        """The step, once it is finished; it counts as written."""
        try:
            return self._writer.count(self._step.result())
        except BaseException:  # Ctrl-C, say: nobody waits for the rest of it
            self._unwanted.set()
            raise

    def drop(self) -> int:
        """Stop writing and take back what was written: nothing later depends on how far it came.

        What went wrong in a step that nobody wanted is nobody's concern.

        Returns:
            How many tokens were written in vain.
        """
        self._unwanted.set()
        wait([self._step])
        session = self._writer.session
        written = len(session.ids) - self._start
        session.rewind(self._start)
        return written
