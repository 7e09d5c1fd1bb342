"""`arbitrage router collect`: both models' version of every step, scored, for a router to learn from."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from arbitrage.cli import completion, options
from arbitrage.cli.counting import counting
from arbitrage.cli.router.stats import StatisticsAsJson, print_statistics
from arbitrage.text import one_line

if TYPE_CHECKING:
    from arbitrage.harness.router.collect import Collection, Standing


class OutcomePolicy(enum.StrEnum):
    """Models that can finish a solution."""

    DRAFT = "draft"
    TARGET = "target"


def collect(
    out: Annotated[Path, typer.Option(help="Folder for the pairs; the same command goes on where it stopped.")],
    dataset: Annotated[
        str,
        typer.Option(
            help="A name (see `arbitrage ls datasets`) or the path of a JSONL file. Never one that you measure on.",
            autocompletion=completion.datasets,
        ),
    ] = "bundled-train",
    data: options.Data = None,
    limit: options.Limit = None,
    sample: Annotated[
        int | None,
        typer.Option(min=1, help="Sample N problems, stratified by source. Default: all; 30000 of numina."),
    ] = None,
    decontaminate: Annotated[
        str | None,
        typer.Option(
            help="Leave out problems of these evaluation sets: names or JSONL files with commas between them, or none. "
            "Default: math500, olympiadbench, gsm8k and bundled, as far as they are here."
        ),
    ] = None,
    words: Annotated[
        int,
        typer.Option(min=0, help="Leave out what shares so many words in a row with them; 0: only the same text."),
    ] = 13,
    roll_in: Annotated[
        str,
        typer.Option(
            "--roll-in",
            help="Who decides how solutions go on: oracle, draft, target, or a step strategy such as "
            "arbitrage-router:rate=0.3 (with --router) or random-route:rate=0.5.",
        ),
    ] = "oracle",
    samples: Annotated[
        int, typer.Option(min=1, help="Target steps at each prefix, whose rewards are averaged; needs a temperature.")
    ] = 1,
    outcomes: Annotated[
        int,
        typer.Option(
            min=0, help="Finish each solution N times from both versions of a step, and grade the answers; 0: never."
        ),
    ] = 0,
    outcome_policy: Annotated[
        OutcomePolicy, typer.Option("--outcome-policy", help="Who finishes them.")
    ] = OutcomePolicy.DRAFT,
    draft: options.DraftSpec = None,
    target: options.TargetSpec = None,
    prm: options.PrmSpec = None,
    prm_family: options.PrmFamily = None,
    prm_separator: options.PrmSeparator = None,
    router: options.RouterSpec = None,
    backend: options.BackendName = "hf",
    concurrency: options.Concurrency = 1,
    seed: options.Seed = 0,
    max_tokens: options.MaxTokens = 4096,
    max_steps: options.MaxSteps = 100,
    temperature: options.Temperature = 0.0,
    top_k: options.TopK = 0,
    top_p: options.TopP = 1.0,
    answer_stop: options.AnswerStop = False,
    instruction: options.Instruction = None,
    system: options.System = "",
    threads: options.Threads = None,
    dtype: options.DtypeName = None,
    context: options.Context = None,
    as_json: StatisticsAsJson = False,
) -> None:
    """Collect step pairs: at every prefix both models' next step and their rewards by the PRM.

    The exit code is 1 when every problem failed.
    """
    from arbitrage.harness.router.collect import collect_pairs

    asked = options.settings(
        max_tokens,
        max_steps,
        temperature,
        top_k,
        top_p,
        answer_stop=answer_stop,
        instruction=instruction,
        system=system,
    )
    try:
        with counting("collecting", lines=True) as count:
            collection = collect_pairs(
                out,
                backend,
                dataset=dataset,
                dataset_path=data,
                limit=limit,
                sample=sample,
                decontaminate=None if decontaminate is None else _listed(decontaminate),
                words=words,
                roll_in=roll_in,
                outcomes=outcomes,
                outcome_policy=outcome_policy.value,
                samples=samples,
                seed=seed,
                concurrency=concurrency,
                settings=asked,
                progress=lambda standing: count(standing.done, standing.problems, _words(standing)),
                note=lambda told: typer.echo(one_line(f"note: {told}"), err=True),
                draft=draft,
                target=target,
                prm=prm,
                prm_family=prm_family,
                prm_separator=prm_separator,
                router=router,
                threads=options.thread_count(threads),
                dtype=dtype.value if dtype else None,
                context=context,
            )
    except KeyboardInterrupt:
        typer.echo(f"stopped; finished problems are in {out}; the same command goes on", err=True)
        raise typer.Exit(130) from None
    print_statistics(collection.statistics, as_json)
    _print_failures(collection)
    if collection.failed and not collection.problems:
        raise typer.Exit(1)


def _listed(names: str) -> list[str]:
    """Names with commas between them; `none` is no name."""
    listed = [name.strip() for name in names.split(",") if name.strip()]
    return [] if listed == ["none"] else listed


def _words(standing: Standing) -> str:
    share = f", label 1 {standing.positive / standing.pairs:.0%}" if standing.pairs else ""
    failed = f", {standing.failed} failed" if standing.failed else ""
    return f"{standing.steps} steps, {standing.pairs} pairs stored{share}{failed}"


def _print_failures(collection: Collection) -> None:
    from arbitrage.harness.router.store import FAILED

    if collection.failed:
        first, reason = next(iter(collection.failed.items()))
        count = f"{len(collection.failed)} problems failed, the first of them {first}: {reason}"
        typer.echo(one_line(f"{count}; see {collection.folder / FAILED}, or try again with the same command"), err=True)
