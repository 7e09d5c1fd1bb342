"""`arbitrage solve`: one problem, its steps shown as they come, coloured by the model that wrote them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from arbitrage.cli import options
from arbitrage.cli.text import printable

if TYPE_CHECKING:
    from rich.console import Console

    from arbitrage.types import Generation, StepRecord

_STYLES = {"draft": "cyan", "target": "magenta"}


def solve(
    problem: Annotated[str, typer.Argument(help="The problem, as text.")],
    strategy: Annotated[
        str, typer.Option(help="A name, with parameters if you like: 'arbitrage-router:rate=0.3'.")
    ] = "arbitrage-router",
    backend: options.BackendName = "hf",
    draft: options.DraftSpec = None,
    target: options.TargetSpec = None,
    prm: options.PrmSpec = None,
    router: options.RouterSpec = None,
    seed: options.Seed = 0,
    max_tokens: options.MaxTokens = 4096,
    max_steps: options.MaxSteps = 100,
    temperature: options.Temperature = 0.0,
    top_k: options.TopK = 0,
    top_p: options.TopP = 1.0,
    threads: options.Threads = None,
    dtype: options.DtypeName = None,
) -> None:
    """Solve one problem and show each step in the colour of the model that wrote it."""
    from dataclasses import replace

    from rich.console import Console
    from rich.text import Text

    from arbitrage.backends.loading import load_models
    from arbitrage.registry import registry
    from arbitrage.requirements import check_requirements
    from arbitrage.seeding import problem_rng
    from arbitrage.strategy_specs import parse_strategy
    from arbitrage.types import Problem, Role

    console = Console(highlight=False)
    chosen = parse_strategy(strategy, registry())
    models = load_models(
        backend,
        roles=[need for need in chosen.requires if isinstance(need, Role)],
        draft=draft,
        target=target,
        prm=prm,
        router=router,
        settings=options.settings(max_tokens, max_steps, temperature, top_k, top_p),
        threads=threads,
        dtype=dtype.value if dtype else None,
    )
    check_requirements(chosen, models)
    models = models.with_settings(replace(models.settings, on_step=lambda _, step: _print_step(console, step)))
    console.print(
        Text.assemble(
            (chosen.label, "bold"),
            "   ",
            ("■ draft", _STYLES["draft"]),
            "  ",
            ("■ target", _STYLES["target"]),
            "  ",
            ("■ discarded", "dim strike"),
            "\n",
        )
    )
    one = Problem(id="solve", problem=problem, answers=())
    started = time.perf_counter()
    generation = chosen.solve(one, models, problem_rng(seed, one.id))
    _print_summary(console, generation, time.perf_counter() - started)


def _print_step(console: Console, step: StepRecord) -> None:
    from rich.text import Text

    if step.rejected_text is not None:
        console.print(Text(printable(step.rejected_text.strip()) or "(empty step)", "dim strike"))
    console.print(Text(printable(step.text.strip()) or "(empty step)", _STYLES[step.author]))
    facts = [f"{step.tokens} tokens", _duration(step.latency_s)]
    named = (("score", step.score), ("draft reward", step.draft_reward), ("target reward", step.target_reward))
    facts += [f"{name} {value:.2f}" for name, value in named if value is not None]
    if step.drafted:
        facts.append(f"{step.drafted_accepted} of {step.drafted} drafted tokens kept")
    console.print(Text(f"  {step.author}, {', '.join(facts)}\n", "dim"))


def _print_summary(console: Console, generation: Generation, seconds: float) -> None:
    from rich.text import Text

    from arbitrage.harness.grading import extract_answer

    answer = extract_answer(generation.text)
    console.print(Text.assemble(("answer: ", "bold"), printable(answer) if answer is not None else "none found"))
    steps, accepted = len(generation.steps), generation.accepted_steps
    rate = generation.tokens / max(seconds, 1e-9)
    console.print(
        Text(
            f"{generation.tokens} tokens in {_duration(seconds)} ({rate:.0f} tokens/s), "
            f"{steps} steps: {accepted} by the draft, {steps - accepted} by the target; "
            f"ended with {generation.end_reason}",
            "dim",
        )
    )
    if generation.time_s:
        parts = (f"{role} {_duration(spent)}" for role, spent in generation.time_s.items())
        console.print(Text(f"inside models: {', '.join(parts)}", "dim"))


def _duration(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1000 * seconds:.3g} ms"
