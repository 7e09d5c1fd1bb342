"""What commands print: tables that fit, JSON that every terminal takes."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

_LOG_WIDTH = 240
"""Columns of a table where there is no terminal to measure."""


def table_console(quiet: bool = False) -> Console:
    """Standard output for tables: as wide as the terminal; in a pipe wide enough that rows stay lines."""
    from rich.console import Console

    console = Console(file=sys.stdout, highlight=False, quiet=quiet)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = _LOG_WIDTH
    return console


def print_json(value: object) -> None:
    """Print `value` as JSON in ASCII: whatever the characters, every terminal and every reader takes it.

    Raises:
        ValueError: a number is infinite or not a number, which JSON cannot say.
    """
    import typer

    typer.echo(json.dumps(value, indent=2, allow_nan=False))
