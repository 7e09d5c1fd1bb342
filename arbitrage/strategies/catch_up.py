"""The target reads what was committed in the background, while the draft goes on.

The target's session belongs to the background from `start()` until `finish()`.
"""

from __future__ import annotations

from concurrent.futures import Executor, Future, wait
from typing import final

from arbitrage.interfaces import Session


@final
class CatchUp:
    """One session that may be asked soon."""

    def __init__(self, executor: Executor, session: Session) -> None:
        self._executor, self._session = executor, session
        self._running: Future[None] | None = None
        self._failed = False

    def start(self) -> None:
        """Have whatever waits in the session encoded."""
        if not self._failed:
            self._running = self._executor.submit(self._session.catch_up)

    def finish(self) -> None:
        """Wait until the session is free.

        What went wrong is not told here: without a pass ahead of time nobody would know it yet, and it may never
        matter. Whoever asks the session next has it encode what still waits, and is told then.
        """
        running, self._running = self._running, None
        if running is not None:
            wait([running])
            self._failed = running.exception() is not None
