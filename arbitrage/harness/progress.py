"""How a run tells that it is alive: a bar with live accuracy and latency, or plain lines where there is no terminal.

Knows finished rows; measures and stores nothing.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, TextIO, final

from arbitrage.harness.rows import Row

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID


class Progress(ABC):
    """Watches a run, from one thread: between problems, or while others are being solved where several are at once."""

    @abstractmethod
    def start(self, total: int, done: Sequence[Row]) -> None:
        """The run has `total` rows, of which `done` were there before."""

    @abstractmethod
    def note(self, message: str) -> None:
        """Something a person should know."""

    @abstractmethod
    def warming_up(self, done: int, total: int) -> None:
        """`done` of `total` warm-up solutions are made."""

    @abstractmethod
    def finished(self, row: Row) -> None:
        """One more row is stored."""

    @abstractmethod
    def close(self) -> None:
        """The run has ended, complete or not."""


def choose_progress(wanted: bool | Progress | None, stream: TextIO | None = None) -> Progress:
    """The progress to show: the given one, none at all for False, else what suits the stream (standard error)."""
    if isinstance(wanted, Progress):
        return wanted
    if wanted is False:
        return Silent()
    shown = sys.stderr if stream is None else stream
    return Bar(shown) if shown.isatty() else Lines(shown)


class Tally:
    """Running accuracy and mean latency of every strategy."""

    def __init__(self) -> None:
        self._sums: dict[str, tuple[int, int, int, float]] = {}

    def add(self, row: Row) -> None:
        """Count one row."""
        rows, correct, timed, seconds = self._sums.get(row.strategy, (0, 0, 0, 0.0))
        solved = not row.failed
        self._sums[row.strategy] = (
            rows + 1,
            correct + row.correct,
            timed + solved,
            seconds + (row.latency_s if solved else 0.0),
        )

    def line(self) -> str:
        """All strategies, e.g. `rsd 62% 0.41s · target-only 64% 0.80s`."""
        return " · ".join(
            f"{label} {correct / rows:.0%} {seconds / timed if timed else 0:.2f}s"
            for label, (rows, correct, timed, seconds) in self._sums.items()
        )


@final
class Silent(Progress):
    """Says nothing."""

    def start(self, total: int, done: Sequence[Row]) -> None:
        """Say nothing."""

    def note(self, message: str) -> None:
        """Say nothing."""

    def warming_up(self, done: int, total: int) -> None:
        """Say nothing."""

    def finished(self, row: Row) -> None:
        """Say nothing."""

    def close(self) -> None:
        """Say nothing."""


@final
class Lines(Progress):
    """A line for every twentieth part of the run: for logs."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._tally = Tally()
        self._total = self._done = self._shown = 0

    def start(self, total: int, done: Sequence[Row]) -> None:
        """Say where the run stands."""
        self._total, self._done = total, len(done)
        for row in done:
            self._tally.add(row)
        self._shown = self._part()
        if done:
            self._say(f"resumed with {len(done)} of {total} rows: {self._tally.line()}")

    def note(self, message: str) -> None:
        """Say it."""
        self._say(f"note: {message}")

    def warming_up(self, done: int, total: int) -> None:
        """Say when warming up is over."""
        if done == total:
            self._say(f"warmed up with {total} solutions")

    def finished(self, row: Row) -> None:
        """Say so when another part of the run is done."""
        self._tally.add(row)
        self._done += 1
        if self._part() > self._shown or self._done == self._total:
            self._shown = self._part()
            self._say(f"{self._done}/{self._total}  {self._tally.line()}")

    def close(self) -> None:
        """Nothing is left to say."""

    def _part(self) -> int:
        return 20 * self._done // self._total if self._total else 0

    def _say(self, text: str) -> None:
        print(text, file=self._stream, flush=True)


@final
class Bar(Progress):
    """A bar on a terminal."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._tally = Tally()
        self._bar: RichProgress | None = None
        self._task: TaskID | None = None

    def start(self, total: int, done: Sequence[Row]) -> None:
        """Draw the bar."""
        for row in done:
            self._tally.add(row)
        bar = self._open()
        self._task = bar.add_task(self._tally.line() or "starting", total=total, completed=len(done))

    def note(self, message: str) -> None:
        """Print above the bar."""
        self._open().console.print(f"note: {message}", style="yellow", markup=False)

    def warming_up(self, done: int, total: int) -> None:
        """Show it in the bar's text."""
        if self._task is not None:
            text = f"warming up {done}/{total}" if done < total else self._tally.line() or "starting"
            self._open().update(self._task, description=text)

    def finished(self, row: Row) -> None:
        """Move the bar."""
        self._tally.add(row)
        if self._task is not None:
            self._open().update(self._task, advance=1, description=self._tally.line())

    def close(self) -> None:
        """Leave the bar as it stands."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _open(self) -> RichProgress:
        if self._bar is None:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            self._bar = Progress(
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.description}", markup=False),
                console=Console(file=self._stream),
            )
            self._bar.start()
        return self._bar
