"""How commands show a comparison: the table, and where its files lie."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from arbitrage.cli.text import print_json, table_console
from arbitrage.text import one_line

if TYPE_CHECKING:
    from arbitrage.harness.comparison import Comparison

JsonWanted = Annotated[bool, typer.Option("--json", help="Print JSON: the numbers of results.json.")]


def named_models(folder: Path) -> None:
    """Say on standard error which models a run's folder names, before they are loaded: it may be somebody else's."""
    from arbitrage.harness.run_folder import read_manifest

    options = read_manifest(folder).get("request", {}).get("model_options", {})
    named = [f"{role} {options[role]}" for role in ("draft", "target", "prm", "router") if options.get(role)]
    if named:
        typer.echo(one_line(f"models named by {folder}: {', '.join(named)}"), err=True)


def print_result(comparison: Comparison, folder: Path, as_json: bool = False) -> None:
    """The table, and where everything lies; or the numbers as JSON."""
    if as_json:
        from arbitrage.harness.run_folder import to_json

        print_json(json.loads(to_json(comparison.summary())))
        return
    from rich.text import Text

    from arbitrage.harness.report import CHART

    console = table_console()
    console.print(comparison.table())
    console.print(Text(f"rows, manifest, table: {folder}"), soft_wrap=True)
    if (folder / CHART).is_file():
        console.print(Text(f"picture: {folder / CHART}"), soft_wrap=True)
    elif comparison.complete:
        console.print(
            Text("no picture; install matplotlib with: pip install 'arbitrage-decoding[report]'"), soft_wrap=True
        )
