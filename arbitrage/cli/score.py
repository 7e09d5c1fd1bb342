"""`arbitrage score`: let a PRM and a router read the steps of a finished run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from arbitrage.cli import options
from arbitrage.cli.counting import counting
from arbitrage.cli.results import JsonWanted, named_models, print_result

if TYPE_CHECKING:
    from arbitrage.harness.comparison import Comparison


def score(
    run: Annotated[Path, typer.Argument(help="Folder of a run, as written by `arbitrage bench --out`.")],
    prm: options.PrmSpec = None,
    prm_family: options.PrmFamily = None,
    prm_separator: options.PrmSeparator = None,
    router: options.RouterSpec = None,
    backend: options.BackendName = "hf",
    threads: options.Threads = None,
    dtype: options.DtypeName = None,
    as_json: JsonWanted = False,
) -> None:
    """Score both versions of every step of a run by PRM and router, outside of the clock: tables then show waste.

    Without --prm and --router the run's own are taken.
    """
    from arbitrage.backends.loading import load_models
    from arbitrage.types import Role

    named = {Role.PRM: prm, Role.ROUTER: router}
    if not (prm or router) and (threads or dtype):
        raise typer.BadParameter(
            "--threads and --dtype go with --prm or --router; the run's own models are loaded as then"
        )
    if not prm and (prm_family or prm_separator):
        raise typer.BadParameter("--prm-family and --prm-separator go with --prm")
    models = None
    if prm or router:
        models = load_models(
            backend,
            roles=[role for role, spec in named.items() if spec],
            prm=prm,
            router=router,
            threads=options.thread_count(threads),
            dtype=dtype.value if dtype else None,
            prm_family=prm_family,
            prm_separator=prm_separator,
        )
    from arbitrage.harness.scoring import score_run

    if models is None:
        named_models(run)
    with counting("scoring") as progress:
        comparison = score_run(run, models, progress=progress)
    print_result(comparison, run, as_json)


def scored(comparison: Comparison, folder: Path) -> Comparison:
    """The run just made, scored by its own models; as it is when it had neither PRM nor router."""
    from arbitrage.harness.scoring import can_score, score_run

    if not can_score(folder):
        typer.echo(f"not scored: no PRM and no router; name them with: arbitrage score {folder} --prm …", err=True)
        return comparison
    try:
        with counting("scoring") as progress:
            return score_run(folder, progress=progress)
    except KeyboardInterrupt:
        typer.echo(f"scoring stopped; continue with: arbitrage score {folder}", err=True)
        return comparison
