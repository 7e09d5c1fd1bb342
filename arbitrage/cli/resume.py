"""`arbitrage resume` and `arbitrage report`: go on with a stopped run, or show one again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from arbitrage.cli.results import print_result

Folder = Annotated[Path, typer.Argument(help="Folder of a run, as written by `arbitrage bench --out`.")]


def resume(run: Folder) -> None:
    """Continue a stopped run: only the rows that are missing, under the same settings."""
    from arbitrage.harness.runner import BenchmarkInterrupted, resume_run

    try:
        comparison = resume_run(run)
    except BenchmarkInterrupted as stopped:
        print_result(stopped.partial, run)
        typer.echo(f"stopped; continue with: arbitrage resume {run}", err=True)
        raise typer.Exit(130) from stopped
    print_result(comparison, run)


def report(run: Folder) -> None:
    """Show the table of a run again, finished or not, and write its table and picture anew."""
    from arbitrage.harness.runner import load_comparison

    comparison = load_comparison(run)
    comparison.save_report(run)
    print_result(comparison, run)
