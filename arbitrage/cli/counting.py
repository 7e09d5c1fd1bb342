"""A bar on standard error for work that counts rows."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

SILENT_S = 300.0
"""After so many seconds without a line there is one, however little was done."""


class Count(Protocol):
    """Watches the work."""

    def __call__(self, done: int, total: int, more: str = "", /) -> None:
        """So many are done, of so many, and `more` stands beside them."""


@contextmanager
def counting(words: str, lines: bool = False) -> Iterator[Count]:
    """Show a bar.

    Args:
        words: stand beside the bar.
        lines: where there is no terminal, print a line for every twentieth part and every five minutes; else nothing.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task, shown, last = bar.add_task(words, total=None), -1, 0.0

        def count(done: int, total: int, more: str = "", /) -> None:
            nonlocal shown, last
            said = f"{words}: {more}" if more else words
            bar.update(task, completed=done, total=total, description=said)
            part = 20 * done // total if total else 0
            now = time.monotonic()
            if lines and not console.is_terminal and (part != shown or now - last >= SILENT_S):
                shown, last = part, now
                console.print(f"{done}/{total}  {said}", markup=False, highlight=False, soft_wrap=True)

        yield count
