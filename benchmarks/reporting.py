"""The table and the figures of one benchmark: shown at once, written to table.txt and results.json."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from arbitrage.harness import environment
from arbitrage.harness.statistics import Estimate


class Report:
    """One table, and the facts behind each of its lines."""

    def __init__(self, title: str, columns: Sequence[str], *, text_columns: int = 1, width: int = 140) -> None:
        """Start an empty table; the first `text_columns` columns are text, the others numbers."""
        self._table = Table(title=title, title_justify="left")
        for number, column in enumerate(columns):
            self._table.add_column(column, justify="left" if number < text_columns else "right")
        self._width = width
        self._rows: list[dict[str, object]] = []

    def add(self, cells: Sequence[str], **facts: object) -> None:
        """Add a line, and say it at once: a benchmark may run for long."""
        self._table.add_row(*cells)
        self._rows.append(facts)
        print(" | ".join(cells), flush=True)

    def finish(self, out: Path | None, name: str = "", **about: object) -> None:
        """Show the table; with `out`, write both files there, `name` in front of theirs, the machine beside them."""
        Console(width=self._width).print(self._table)
        if out is None:
            return
        out.mkdir(parents=True, exist_ok=True)
        content = {"rows": self._rows, **about, **environment.surroundings()}
        (out / f"{name}results.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        with (out / f"{name}table.txt").open("w", encoding="utf-8") as file:
            Console(file=file, width=self._width).print(self._table)


def interval(estimate: Estimate) -> list[float | None]:
    """Value, lower and upper end, as JSON holds them."""
    return [estimate.value, estimate.low, estimate.high]
