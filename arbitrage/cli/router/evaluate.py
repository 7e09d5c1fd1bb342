"""`arbitrage router evaluate`: how good routers are on steps that they never saw."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from arbitrage.cli import options
from arbitrage.cli.counting import counting
from arbitrage.cli.router.choices import (
    All,
    As,
    HeldOut,
    JudgeName,
    PairsFolder,
    Workers,
    check_prm_options,
    check_share,
)
from arbitrage.cli.text import print_json, table_console


def evaluate(
    routers: Annotated[
        list[str], typer.Argument(help="Routers to put side by side: folders, or specs as for --router.")
    ],
    pairs: PairsFolder,
    judge_as: As = JudgeName.ROUTER,
    held_out: HeldOut = None,
    everything: All = False,
    out: Annotated[Path | None, typer.Option(help="Folder for evaluation.json, the tables and the pictures.")] = None,
    prm_family: options.PrmFamily = None,
    prm_separator: options.PrmSeparator = None,
    backend: options.BackendName = "hf",
    concurrency: Workers = 1,
    threads: options.Threads = None,
    dtype: options.DtypeName = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON: the numbers of evaluation.json.")] = False,
) -> None:
    """Measure routers on held-out step pairs, beside −s_d, the draft's doubt, chance and the oracle."""
    check_share(held_out, everything)
    check_prm_options(judge_as is JudgeName.PRM, prm_family, prm_separator)
    from arbitrage.harness.router.evaluate import evaluate_router
    from arbitrage.harness.router.evaluation_report import rich_report, save_evaluation
    from arbitrage.harness.run_folder import to_json

    with counting("scoring") as progress:
        evaluation = evaluate_router(
            routers,
            pairs,
            judge_as=judge_as.judge,
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
    files = [] if out is None else save_evaluation(evaluation, out)
    if as_json:
        print_json(json.loads(to_json(evaluation.as_json())))
        return
    console = table_console()
    console.print(rich_report(evaluation))
    if files:
        console.print(f"written to {out}: {', '.join(file.name for file in files)}", soft_wrap=True, markup=False)
        if not any(file.suffix == ".png" for file in files):
            typer.echo("no pictures; install matplotlib with: pip install 'arbitrage-decoding[router]'")
