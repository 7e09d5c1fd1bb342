"""`arbitrage router calibrate`: which threshold leads to which escalation rate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from arbitrage.cli import options
from arbitrage.cli.counting import counting
from arbitrage.cli.router.choices import (
    All,
    CalibratedAs,
    HeldOut,
    PairsFolder,
    Workers,
    check_prm_options,
    check_share,
)
from arbitrage.cli.text import print_json, table_console


def calibrate(
    router: Annotated[
        str, typer.Argument(help="Router (or PRM or draft, see --as): a folder, or a spec as for --router.")
    ],
    pairs: PairsFolder,
    judge_as: Annotated[
        CalibratedAs,
        typer.Option(
            "--as",
            help="prm: low rewards escalate (rsd). draft: the table is for the draft's own confidence "
            "(draft-confidence), and no model is run.",
        ),
    ] = CalibratedAs.ROUTER,
    held_out: HeldOut = None,
    everything: All = False,
    out: Annotated[
        Path | None, typer.Option(help="New folder: store the table in a copy, not in the original.")
    ] = None,
    prm_family: options.PrmFamily = None,
    prm_separator: options.PrmSeparator = None,
    backend: options.BackendName = "hf",
    concurrency: Workers = 1,
    threads: options.Threads = None,
    dtype: options.DtypeName = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON: what the sidecar is told.")] = False,
) -> None:
    """Store a table of thresholds beside a model's weights, for `rate=` in strategies."""
    check_share(held_out, everything)
    check_prm_options(judge_as is CalibratedAs.PRM, prm_family, prm_separator)
    from arbitrage.harness.report import rich_lines
    from arbitrage.harness.router.calibrate import calibrate_draft, calibrate_router
    from arbitrage.harness.router.evaluation_report import threshold_rows
    from arbitrage.harness.run_folder import to_json

    if judge_as is CalibratedAs.DRAFT:
        calibration = calibrate_draft(router, pairs, out=out, held_out=held_out, backend=backend)
    else:
        with counting("scoring") as progress:
            calibration = calibrate_router(
                router,
                pairs,
                judge_as="prm" if judge_as is CalibratedAs.PRM else "router",
                out=out,
                held_out=held_out,
                everything=everything,
                backend=backend,
                concurrency=concurrency,
                progress=progress,
                threads=options.thread_count(threads),
                dtype=dtype.value if dtype else None,
                prm_family=prm_family,
                prm_separator=prm_separator,
            )
    if as_json:
        print_json(json.loads(to_json(calibration.entries())))
        for warning in calibration.warnings:
            typer.echo(f"warning: {warning}", err=True)
        return
    facts = calibration.selection.facts
    notes = [
        *(f"warning: {warning}" for warning in calibration.warnings),
        f"{facts['steps']} steps of {facts['problems']} problems; brackets: 95 % bootstrap intervals over problems",
    ]
    console = table_console()
    titles, cells = threshold_rows(calibration.points)
    console.print(rich_lines(f"thresholds of {calibration.scorer}", titles, cells, notes))
    console.print(f"stored in {out or router}", soft_wrap=True, markup=False)
