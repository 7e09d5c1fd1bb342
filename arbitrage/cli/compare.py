"""`arbitrage compare`: two runs, or the strategies of one, paired by problem."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from arbitrage.text import printable

if TYPE_CHECKING:
    from arbitrage.harness.contrast import Contrast

_SHOWN = 20


def compare(
    runs: Annotated[list[Path], typer.Argument(help="Run folders; the later ones are compared with the first.")],
    against: Annotated[
        str | None, typer.Option(help="With one run: the strategy that the others are compared with [target-only].")
    ] = None,
    fail_if: Annotated[
        list[str] | None,
        typer.Option(
            help="Exit with 1 if the whole interval shows this: 'latency_ratio>1.05', 'accuracy_difference<-0.02'."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare runs, or the strategies of one run: accuracy, latency, throughput, texts, flips, with intervals."""
    from arbitrage.harness.contrast import Condition, compare_runs

    try:
        conditions = [Condition.parse(text) for text in fail_if or ()]
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--fail-if") from error
    contrasts = compare_runs(runs, against)
    failed = [
        f"{contrast.second} against {contrast.first}: {condition.text}"
        for contrast in contrasts
        for condition in conditions
        if condition.holds(contrast)
    ]
    if as_json:
        typer.echo(json.dumps([dataclasses.asdict(contrast) for contrast in contrasts], indent=2))
    else:
        for contrast in contrasts:
            _show(contrast)
    for line in failed:
        typer.echo(f"failed: {line}", err=True)
    if failed:
        raise typer.Exit(1)


def _show(contrast: Contrast) -> None:
    gained = sum(flip.gained for flip in contrast.flips)
    typer.echo(printable(f"{contrast.second} against {contrast.first}, {contrast.problems} problems"))
    typer.echo(
        f"  accuracy: {contrast.accuracy_difference.shown('+.1f', 100)} points, McNemar p={contrast.mcnemar_p:.2g}"
    )
    if contrast.latency_ratio is not None:
        typer.echo(f"  latency: {contrast.latency_ratio.shown('.3f')} times as long")
    if contrast.throughput_ratio is not None:
        typer.echo(f"  throughput: {contrast.throughput_ratio.shown('.3f')} times as many problems per second")
    if contrast.same_text is not None:
        parted = (
            ""
            if contrast.first_divergence is None
            else f"; the others part at token {contrast.first_divergence:g} (median)"
        )
        typer.echo(f"  same text: {contrast.same_text:.0%}{parted}")
    typer.echo(f"  flipped: {gained} gained, {len(contrast.flips) - gained} lost")
    for flip in contrast.flips[:_SHOWN]:
        sign = "+" if flip.gained else "-"
        typer.echo(printable(f"    {sign} {flip.problem_id}: {flip.first_answer!r} → {flip.second_answer!r}"))
    if len(contrast.flips) > _SHOWN:
        typer.echo(f"    … and {len(contrast.flips) - _SHOWN} more (--json)")
    for note in contrast.notes:
        typer.echo(f"  note: {note}")
