"""`arbitrage bench`: compare strategies on a data set, problem by problem, and write everything down."""

from __future__ import annotations

from typing import Annotated

import typer

from arbitrage.cli import options
from arbitrage.cli.results import print_result


def bench(
    context: typer.Context,
    strategy: Annotated[str, typer.Option(help=options.STRATEGY_HELP)] = "target-only,draft-only,arbitrage-router",
    backend: options.BackendName = "hf",
    dataset: options.Dataset = "bundled",
    data: options.Data = None,
    limit: options.Limit = None,
    out: options.Out = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in the folder --out.")] = False,
    seed: options.Seed = 0,
    repeats: options.Repeats = 1,
    warmup: options.WarmUp = 2,
    max_tokens: options.MaxTokens = 4096,
    max_steps: options.MaxSteps = 100,
    temperature: options.Temperature = 0.0,
    top_k: options.TopK = 0,
    top_p: options.TopP = 1.0,
    answer_stop: options.AnswerStop = False,
    draft: options.DraftSpec = None,
    target: options.TargetSpec = None,
    prm: options.PrmSpec = None,
    router: options.RouterSpec = None,
    threads: options.Threads = None,
    dtype: options.DtypeName = None,
    config: options.Config = None,
) -> None:
    """Compare strategies: accuracy, latency, acceptance; with rows, table and plot in a folder."""
    from arbitrage.errors import RunError
    from arbitrage.harness.runner import BenchmarkInterrupted, run_comparison

    chosen = options.resolved(context, config)
    if resume and chosen["out"] is None:
        raise RunError("--resume continues the run in a folder; name it with --out")
    folder = options.folder(chosen)
    try:
        comparison = run_comparison(
            options.strategies(chosen["strategy"]), out=folder, resume=resume, **options.run_arguments(chosen)
        )
    except BenchmarkInterrupted as stopped:
        print_result(stopped.partial, folder)
        typer.echo(f"stopped; continue with the same command and: --resume --out {folder}", err=True)
        raise typer.Exit(130) from stopped
    print_result(comparison, folder)
