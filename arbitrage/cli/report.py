"""`arbitrage report`: show runs again, as tables, files for other programs, or one page to look at."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from arbitrage.cli.results import JsonWanted, print_result
from arbitrage.text import one_line, printable

if TYPE_CHECKING:
    from arbitrage.harness.comparison import Comparison


def report(
    runs: Annotated[list[Path], typer.Argument(help="Folders of runs, as written by `arbitrage bench --out`.")],
    html: Annotated[
        Path | None, typer.Option(help="Write one page with tables, charts and a step viewer; it needs no network.")
    ] = None,
    figures: Annotated[Path | None, typer.Option(help="Write the charts as PNG and SVG into this folder.")] = None,
    export: Annotated[
        list[Path] | None,
        typer.Option(
            help="Write a table for other programs, by suffix: .csv, .parquet, .md, .tex, .json. May be repeated."
        ),
    ] = None,
    what: Annotated[str, typer.Option(help="What --export writes: results, rows, steps or curves.")] = "results",
    as_json: JsonWanted = False,
) -> None:
    """Show runs again, finished or not: tables and pictures anew; as a page, figures or exported tables if wanted."""
    from arbitrage.errors import RunError
    from arbitrage.harness.comparison import load_comparison

    found = {_name(path, runs): load_comparison(path) for path in runs}
    if export:
        from arbitrage.harness.export import export_table, parse_subject

        subject = parse_subject(what)
        for file in export:
            _written(export_table(found, subject, file))
    if figures is not None:
        _figures(found, figures)
    if html is not None:
        from arbitrage.harness.html import write_html

        write_html(found, html)
        _written(html)
    if export or figures or html:
        return
    for path, comparison in zip(runs, found.values(), strict=True):
        try:
            comparison.save_report(path)
        except RunError as error:  # somebody else's folder, a read-only disk: it can be shown all the same
            typer.echo(one_line(f"its files are left as they are: {error}"), err=True)
        print_result(comparison, path, as_json)


def _figures(found: Mapping[str, Comparison], folder: Path) -> None:
    from arbitrage.harness.figures import save_figures

    for name, comparison in found.items():
        for file in save_figures(comparison, folder / name if len(found) > 1 else folder):
            _written(file)


def _name(path: Path, runs: list[Path]) -> str:
    """A run's name: its folder's, or the whole path where two folders have the same."""
    names = [one.resolve().name for one in runs]
    name = path.resolve().name
    return name if names.count(name) == 1 else str(path)


def _written(file: Path) -> None:
    typer.echo(f"{printable(str(file))}  {file.stat().st_size / 1e6:.2f} MB")
