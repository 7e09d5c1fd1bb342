"""`arbitrage bench`: compare strategies on a data set, problem by problem, and write everything down."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from arbitrage.cli import options
from arbitrage.cli.results import print_result


def bench(
    strategy: Annotated[str, typer.Option(help=options.STRATEGY_HELP)] = "target-only,draft-only,arbitrage-router",
    backend: options.BackendName = "hf",
    dataset: Annotated[
        str, typer.Option(help="A name (see `arbitrage ls datasets`) or the path of a JSONL file.")
    ] = "bundled",
    data: Annotated[
        Path | None, typer.Option(help="File or folder to read a named data set from; default: $ARBITRAGE_DATA.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first N problems.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for rows, manifest, table and plot; default: runs/<time>.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in the folder --out.")] = False,
    seed: options.Seed = 0,
    repeats: Annotated[int, typer.Option(min=1, help="How often each problem is solved by each strategy.")] = 1,
    warmup: Annotated[int, typer.Option(min=0, help="Problems solved before the measured ones, by each strategy.")] = 2,
    max_tokens: options.MaxTokens = 4096,
    max_steps: options.MaxSteps = 100,
    temperature: options.Temperature = 0.0,
    top_k: options.TopK = 0,
    top_p: options.TopP = 1.0,
    draft: options.DraftSpec = None,
    target: options.TargetSpec = None,
    prm: options.PrmSpec = None,
    router: options.RouterSpec = None,
    threads: options.Threads = None,
    dtype: options.DtypeName = None,
) -> None:
    """Compare strategies: accuracy, latency, acceptance; with rows, table and plot in a folder."""
    from arbitrage.errors import RunError
    from arbitrage.harness.runner import BenchmarkInterrupted, run_comparison
    from arbitrage.registry import registry
    from arbitrage.strategy_specs import parse_strategies

    if resume and out is None:
        raise RunError("--resume continues the run in a folder; name it with --out")
    folder = out or Path("runs") / datetime.now().strftime("%Y%m%d-%H%M%S")
    try:
        comparison = run_comparison(
            parse_strategies(strategy, registry()),
            backend,
            dataset=dataset,
            dataset_path=data,
            limit=limit,
            seed=seed,
            repeats=repeats,
            warmup=warmup,
            out=folder,
            resume=resume,
            settings=options.settings(max_tokens, max_steps, temperature, top_k, top_p),
            draft=draft,
            target=target,
            prm=prm,
            router=router,
            threads=threads,
            dtype=dtype.value if dtype else None,
        )
    except BenchmarkInterrupted as stopped:
        print_result(stopped.partial, folder)
        typer.echo(f"stopped; continue with the same command and: --resume --out {folder}", err=True)
        raise typer.Exit(130) from stopped
    print_result(comparison, folder)
