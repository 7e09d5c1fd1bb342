"""`arbitrage ls`: every registered name, what it is, and the plugin that brought it."""

from __future__ import annotations

from typing import Annotated

import typer


def ls(
    kind: Annotated[
        str | None,
        typer.Argument(help="Only these: strategies, backends, scorers or datasets.", show_default=False),
    ] = None,
) -> None:
    """List strategies, backends, scorers and data sets, and the plugins that brought them."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from arbitrage.errors import UnknownNameError
    from arbitrage.registry import Kind, registry

    kinds: dict[str, Kind] = {
        "strategies": "strategy",
        "backends": "backend",
        "scorers": "scorer",
        "datasets": "dataset",
    }
    if kind is not None and kind not in kinds:
        raise UnknownNameError.of("kind", kind, kinds)
    console = Console()
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("kind", "name", "what it is", "plugin"):
        table.add_column(heading, no_wrap=heading == "name", overflow="fold")
    names = registry()
    for title, chosen in kinds.items():
        if kind in (None, title):
            for entry in names.entries(chosen):
                table.add_row(title, entry.name, entry.summary or "-", entry.plugin)
            table.add_section()
    console.print(table)
