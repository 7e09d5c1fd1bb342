"""How commands show a comparison: the table, and where its files lie."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from arbitrage.harness.comparison import Comparison

_LOG_WIDTH = 240
"""Columns of the table where there is no terminal to measure."""


def print_result(comparison: Comparison, folder: Path) -> None:
    """The table, and where everything lies."""
    from rich.console import Console
    from rich.text import Text

    from arbitrage.harness.report import CHART

    console = Console(highlight=False, soft_wrap=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = _LOG_WIDTH
    console.print(comparison.table())
    console.print(Text(f"rows, manifest, table: {folder}"), soft_wrap=True)
    if (folder / CHART).is_file():
        console.print(Text(f"picture: {folder / CHART}"), soft_wrap=True)
    elif comparison.complete:
        console.print(
            Text("no picture; install matplotlib with: pip install 'arbitrage-decoding[report]'"), soft_wrap=True
        )
