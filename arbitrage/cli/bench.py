"""`arbitrage bench`: compare strategies on a data set, problem by problem, and write everything down."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from arbitrage.cli import completion, options
from arbitrage.cli.results import JsonWanted, print_result
from arbitrage.cli.score import scored

if TYPE_CHECKING:
    from arbitrage.interfaces import Strategy


def bench(
    call: typer.Context,
    strategy: Annotated[
        str, typer.Option(help=options.STRATEGY_HELP, autocompletion=completion.strategies)
    ] = "target-only,draft-only,arbitrage-router",
    backend: options.BackendName = "hf",
    dataset: options.Dataset = "bundled",
    data: options.Data = None,
    limit: options.Limit = None,
    out: options.Out = None,
    resume: options.Resume = False,
    seed: options.Seed = 0,
    repeats: options.Repeats = 1,
    warmup: options.WarmUp = 2,
    concurrency: options.Concurrency = 1,
    max_tokens: options.MaxTokens = 4096,
    max_steps: options.MaxSteps = 100,
    temperature: options.Temperature = 0.0,
    top_k: options.TopK = 0,
    top_p: options.TopP = 1.0,
    answer_stop: options.AnswerStop = False,
    instruction: options.Instruction = None,
    system: options.System = "",
    draft: options.DraftSpec = None,
    target: options.TargetSpec = None,
    prm: options.PrmSpec = None,
    prm_family: options.PrmFamily = None,
    prm_separator: options.PrmSeparator = None,
    router: options.RouterSpec = None,
    threads: options.Threads = None,
    dtype: options.DtypeName = None,
    context: options.Context = None,
    score: Annotated[
        bool, typer.Option("--score", help="Then score all steps by PRM and router, as `arbitrage score` does.")
    ] = False,
    config: options.Config = None,
    as_json: JsonWanted = False,
) -> None:
    """Compare strategies: accuracy, latency, acceptance; with rows, table and plot in a folder."""
    chosen = options.resolved(call, config)
    run_and_print(options.strategies(chosen["strategy"]), chosen, score=score)


def run_and_print(strategies: list[Strategy] | dict[str, Strategy], values: Mapping[str, Any], *, score: bool) -> None:
    """Make a run into its folder, score its steps if wanted, and print what came out.

    Args:
        strategies: what to compare.
        values: the command's options, those of `bench`.
        score: let PRM and router read the steps afterwards.
    """
    from arbitrage.errors import RunError
    from arbitrage.harness.runner import BenchmarkInterrupted, run_comparison

    if values["resume"] and values["out"] is None:
        raise RunError("--resume continues the run in a folder; name it with --out")
    folder = options.folder(values)
    try:
        comparison = run_comparison(strategies, out=folder, resume=values["resume"], **options.run_arguments(values))
    except BenchmarkInterrupted as stopped:
        print_result(stopped.partial, folder, values["as_json"])
        typer.echo(f"stopped; continue with the same command and: --resume --out {folder}", err=True)
        raise typer.Exit(130) from stopped
    print_result(scored(comparison, folder) if score else comparison, folder, values["as_json"])
