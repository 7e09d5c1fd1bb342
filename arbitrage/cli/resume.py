"""`arbitrage resume`: go on with a stopped run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from arbitrage.cli.results import JsonWanted, named_models, print_result


def resume(
    run: Annotated[Path, typer.Argument(help="Folder of a run, as written by `arbitrage bench --out`.")],
    as_json: JsonWanted = False,
) -> None:
    """Continue a stopped run: only the rows that are missing, under the same settings."""
    from arbitrage.harness.runner import BenchmarkInterrupted, resume_run

    named_models(run)
    try:
        comparison = resume_run(run)
    except BenchmarkInterrupted as stopped:
        print_result(stopped.partial, run, as_json)
        typer.echo(f"stopped; continue with: arbitrage resume {run}", err=True)
        raise typer.Exit(130) from stopped
    print_result(comparison, run, as_json)
