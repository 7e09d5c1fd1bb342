"""`arbitrage router stats`: what a folder of step pairs is like."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from arbitrage.cli.text import print_json, table_console

if TYPE_CHECKING:
    from rich.table import Table

    from arbitrage.harness.router.pair_statistics import Group, PairStatistics

StatisticsAsJson = Annotated[bool, typer.Option("--json", help="Print the statistics as JSON.")]
_BAR = 40
"""Columns of the longest bar."""


def stats(
    pairs: Annotated[
        list[Path], typer.Argument(help="Folders of step pairs, as written by `arbitrage router collect`.")
    ],
    as_json: StatisticsAsJson = False,
) -> None:
    """Show balance, ties, advantages and tokens of step pairs, by source and by position."""
    from itertools import chain

    from arbitrage.harness.router.pair_statistics import PairStatistics
    from arbitrage.harness.router.pairs import read_pairs

    print_statistics(PairStatistics.of(chain.from_iterable(map(read_pairs, pairs))), as_json)


def print_statistics(found: PairStatistics, as_json: bool) -> None:
    """The tables and the histogram, or all numbers as JSON."""
    if as_json:
        print_json(found.summary())
        return
    console = table_console()
    parts = [("all", found.everything), ("held out", found.kept_out)]
    console.print(_table("pairs", parts))
    if len(found.sources) > 1:
        ordered = sorted(found.sources.items(), key=lambda item: -item[1].steps)
        console.print(_table("source", [(name or "(none)", group) for name, group in ordered]))
    from arbitrage.harness.router.pair_statistics import LAST_POSITION

    places = [(f"{i}+" if i == LAST_POSITION else str(i), found.positions[i]) for i in sorted(found.positions)]
    console.print(_table("step", places))
    typer.echo("advantage (s_t - s_d) of pairs that are no tie:")
    typer.echo("\n".join(_histogram(found.histogram)))
    if found.outcomes.steps:
        summary = found.outcomes.summary()
        typer.echo("outcomes of roll-outs: " + ", ".join(f"{key} {_shown(value)}" for key, value in summary.items()))


def _table(first: str, groups: Iterable[tuple[str, Group]]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table()
    table.add_column(first)
    keys = {
        "problems": "problems",
        "steps": "steps",
        "label_1_share": "label 1",
        "tie_share": "ties",
        "same_text_share": "same text",
        "escalated_share": "escalated",
        "mean_draft_reward": "s_d",
        "mean_target_reward": "s_t",
        "mean_advantage": "advantage",
        "draft_tokens": "draft tokens",
        "target_tokens": "target tokens",
    }
    for heading in keys.values():
        table.add_column(heading, justify="right")
    for name, group in groups:
        summary = group.summary()
        table.add_row(Text(name), *(_shown(summary[key], key.endswith("_share")) for key in keys))
    return table


def _shown(value: object, share: bool = False) -> str:
    if isinstance(value, float):
        return f"{value:.1%}" if share else f"{value:.3f}"
    return "-" if value is None else f"{value}"


def _histogram(counts: list[int]) -> list[str]:
    """One line a bin, from the highest Δ to the lowest."""
    width, most = 2 / len(counts), max(counts) or 1
    lines = []
    for place in reversed(range(len(counts))):
        low = -1 + place * width
        bar = "#" * round(_BAR * counts[place] / most)
        lines.append(f"  {low:+.1f} .. {low + width:+.1f}  {counts[place]:>8}  {bar}".rstrip())
    return lines
