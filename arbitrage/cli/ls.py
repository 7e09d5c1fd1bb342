"""`arbitrage ls`: every name that can be typed, where it comes from, and the plugins that brought it.

With `--json` one object: for each kind a list of the records of `arbitrage.cli.inventory`, field by field.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from arbitrage.cli import completion, inventory
from arbitrage.cli.inventory import BundledModel, PluginRecord, Registered
from arbitrage.cli.text import print_json, table_console
from arbitrage.text import one_line

if TYPE_CHECKING:
    from rich.console import Console

LISTS = (*inventory.KINDS, "models", "plugins")
"""What can be listed."""
_ANY_WIDTH = 10_000


def ls(
    kind: Annotated[
        str | None,
        typer.Argument(
            help=f"Only these: {', '.join(LISTS[:-1])} or {LISTS[-1]}.",
            show_default=False,
            autocompletion=completion.lists,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List strategies, backends, scorers, data sets, bundled models and plugins, and where each comes from."""
    from arbitrage.errors import UnknownNameError

    if kind is not None and kind not in LISTS:
        raise UnknownNameError.of("kind", kind, LISTS)
    chosen = LISTS if kind is None else (kind,)
    if as_json:
        print_json({title: [dataclasses.asdict(record) for record in _records(title)] for title in chosen})
        return
    console = table_console()
    for title in chosen:
        _print(console, title, _records(title))


def _records(title: str) -> Sequence[Registered | BundledModel | PluginRecord]:
    if title == "models":
        return inventory.bundled_models()
    return inventory.plugins() if title == "plugins" else inventory.registered(inventory.KINDS[title])


def _print(console: Console, title: str, records: Sequence[Registered | BundledModel | PluginRecord]) -> None:
    """A table where it fits, a list with wrapped lines on narrower terminals."""
    from rich import box
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    console.print(Text(title, "bold"))
    rows = [
        {heading: "\n".join(map(one_line, cell.split("\n"))) for heading, cell in _row(record).items()}
        for record in records
    ]
    if not rows:
        console.print(" none; plugins can bring some")
    else:
        table = Table(*rows[0], box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
        for row in rows:
            table.add_row(*map(Text, row.values()))
        natural = console.measure(table, options=console.options.update(max_width=_ANY_WIDTH)).maximum
        if natural <= console.width:
            console.print(table)
        else:
            for name, *rest in (row.values() for row in rows):
                console.print(
                    Padding(Text(name), (0, 0, 0, 1)),
                    Padding(Text(", ".join(rest).replace("\n", "; ")), (0, 0, 0, 3)),
                    sep="",
                )
    if title == "models":
        console.print(Text(f" in {inventory.models_folder()}"), soft_wrap=True)
    console.print()


def _row(record: Registered | BundledModel | PluginRecord) -> dict[str, str]:
    """Headings and cells of one record. The plugin stands last: scripts cut it off the end of the line."""
    if isinstance(record, Registered):
        return {
            "name": record.name,
            "what it is": record.summary or "-",
            "loaded from": record.loaded_from.partition(":")[0],
            "version": record.version or "-",
            "plugin": record.plugin,
        }
    if isinstance(record, BundledModel):
        path = Path(record.path)
        return {
            "name": record.name,
            "role": record.role,
            "backend": record.backend,
            "precision": record.precision,
            "size": f"{record.bytes / 1e6:.1f} MB",
            "file": str(path.relative_to(inventory.models_folder())),
        }
    offered = "\n".join(f"{title}: {', '.join(names)}" for title, names in record.registered.items())
    return {
        "plugin": record.name,
        "version": record.version or "-",
        "loaded from": record.loaded_from,
        "registered": f"left out: {one_line(record.failure)}" if record.failure else offered or "-",
        "watches": ", ".join(record.watches) or "-",
    }
