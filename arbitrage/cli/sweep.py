"""`arbitrage sweep`: routing methods over escalation rates, one curve each, in one interleaved run."""

from __future__ import annotations

from typing import Annotated

import typer

from arbitrage.cli import completion, options
from arbitrage.cli.bench import run_and_print
from arbitrage.cli.results import JsonWanted


def sweep(
    call: typer.Context,
    strategy: Annotated[
        str,
        typer.Option(
            help="Methods to sweep: names that take rate=, with commas between them.",
            autocompletion=completion.strategies,
        ),
    ] = "rsd,arbitrage-router,random-route",
    rates: Annotated[
        str, typer.Option(help="Escalation rates: '0,0.2,0.5', or with a step, '0,0.1,...,1'.")
    ] = "0,0.1,...,1",
    beside: Annotated[
        str,
        typer.Option(
            help="Strategies that are run once, beside the curves; target-only always is.",
            autocompletion=completion.strategies,
        ),
    ] = "draft-only,arbitrage-oracle",
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
    config: options.Config = None,
    as_json: JsonWanted = False,
) -> None:
    """Sweep routing methods over calibrated escalation rates: Pareto curves, speed-up at matched accuracy, waste."""
    from arbitrage.registry import registry
    from arbitrage.strategy_specs import parse_strategies, sweep_specs

    chosen = options.resolved(call, config)
    swept = sweep_specs(_names(chosen["strategy"]), options.rates(chosen["rates"]))
    strategies = parse_strategies(",".join([*_names(chosen["beside"]), *swept]), registry())
    run_and_print(strategies, chosen, score=True)


def _names(listed: str | list[str]) -> list[str]:
    words = listed.split(",") if isinstance(listed, str) else listed
    return [word.strip() for word in words if word.strip()]
