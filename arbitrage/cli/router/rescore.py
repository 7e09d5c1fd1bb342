"""`arbitrage router rescore`: step pairs that are there already, with the rewards of another PRM."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from arbitrage.cli import options
from arbitrage.cli.counting import counting
from arbitrage.cli.router.choices import Workers
from arbitrage.cli.router.stats import StatisticsAsJson, print_statistics


def rescore(
    pairs: Annotated[list[Path], typer.Argument(help="Folders of step pairs.")],
    out: Annotated[Path, typer.Option(help="New folder for them; the same command goes on where it stopped.")],
    prm: Annotated[str, typer.Option(help="The process reward model, as for `bench --prm`.")],
    prm_family: options.PrmFamily = None,
    prm_separator: options.PrmSeparator = None,
    backend: options.BackendName = "hf",
    concurrency: Workers = 1,
    threads: options.Threads = None,
    dtype: options.DtypeName = None,
    as_json: StatisticsAsJson = False,
) -> None:
    """Reward step pairs by another PRM: texts and prefixes stay, advantages and labels are new."""
    from arbitrage.harness.router.rescore import rescore_pairs

    try:
        with counting("scoring", lines=True) as progress:
            found = rescore_pairs(
                pairs,
                out,
                prm,
                backend=backend,
                concurrency=concurrency,
                progress=progress,
                threads=options.thread_count(threads),
                dtype=dtype.value if dtype else None,
                prm_family=prm_family,
                prm_separator=prm_separator,
            )
    except KeyboardInterrupt:
        typer.echo(f"stopped; what is scored is in {out}; the same command goes on", err=True)
        raise typer.Exit(130) from None
    print_statistics(found.statistics, as_json)
    if found.left_out:
        typer.echo(f"{found.left_out} pairs are left out: they hold a step that is too long for the PRM", err=True)
