"""`arbitrage solve`: one problem, its steps shown as they come, coloured by the model that wrote them.

With `--json` one `Solution` instead, when it is finished.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from arbitrage.cli import completion, options
from arbitrage.cli.text import print_json
from arbitrage.text import printable

if TYPE_CHECKING:
    from rich.console import Console

    from arbitrage.interfaces import Models, Strategy
    from arbitrage.types import Problem, StepRecord

_STYLES = {"draft": "cyan", "target": "magenta"}


@dataclass(frozen=True, slots=True)
class Solution:
    """What `--json` prints. Times are wall-clock seconds; numbers that JSON lacks become null."""

    problem: str
    strategy: Mapping[str, object]
    """Its name and parameters."""
    seed: int
    text: str
    """The whole solution."""
    answer: str | None
    """The final answer as it stands in the text; null when there is none."""
    end_reason: str
    """eos, max_tokens, max_steps, stalled or answer."""
    tokens: int
    prompt_tokens: int
    seconds: float
    accepted_steps: int
    """Steps kept from the draft."""
    escalated_steps: int
    """Steps of the draft that were discarded for the target's."""
    steps: tuple[StepRecord, ...]
    """Every step: text, author, tokens, scores, what was discarded, seconds."""
    time_s: Mapping[str, float]
    """Seconds inside the models, by role; so are the next two."""
    calls: Mapping[str, int]
    forwarded_tokens: Mapping[str, int]
    models: Mapping[str, Mapping[str, object]]
    """What was loaded, by role."""


def solve(
    problem: Annotated[str, typer.Argument(help="The problem, as text.")],
    strategy: Annotated[
        str,
        typer.Option(
            help="A name, with parameters if you like: 'arbitrage-router:rate=0.3'.",
            autocompletion=completion.strategy,
        ),
    ] = "arbitrage-router",
    backend: options.BackendName = "hf",
    draft: options.DraftSpec = None,
    target: options.TargetSpec = None,
    prm: options.PrmSpec = None,
    prm_family: options.PrmFamily = None,
    prm_separator: options.PrmSeparator = None,
    router: options.RouterSpec = None,
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
    as_json: Annotated[bool, typer.Option("--json", help="Print the finished solution as JSON.")] = False,
) -> None:
    """Solve one problem and show each step in the colour of the model that wrote it."""
    from rich.console import Console

    from arbitrage.backends.loading import load_models
    from arbitrage.registry import registry
    from arbitrage.requirements import check_requirements
    from arbitrage.strategy_specs import parse_strategy
    from arbitrage.types import Problem, Role

    one = Problem(id="solve", problem=_statement(problem), answers=())
    if "," in strategy:
        raise typer.BadParameter("name one; `arbitrage bench` compares several", param_hint="--strategy")
    chosen = parse_strategy(strategy, registry())
    # Some libraries greet on standard output, where they would spoil the JSON.
    with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
        models = load_models(
            backend,
            roles=[need for need in chosen.requires if isinstance(need, Role)],
            draft=draft,
            target=target,
            prm=prm,
            router=router,
            settings=options.settings(
                max_tokens,
                max_steps,
                temperature,
                top_k,
                top_p,
                answer_stop=answer_stop,
                instruction=instruction,
                system=system,
            ),
            threads=options.thread_count(threads),
            dtype=dtype.value if dtype else None,
            context=context,
            prm_family=prm_family,
            prm_separator=prm_separator,
        )
        check_requirements(chosen, models)
        if as_json:
            solution = _solve(chosen, one, models, seed)
    if as_json:
        _print_json(solution)
    else:
        _solve_aloud(Console(highlight=False), chosen, one, models, seed)


def _statement(problem: str) -> str:
    """The problem as given, unless no model could read it."""
    if not problem.strip():
        raise typer.BadParameter("the problem is empty", param_hint="problem")
    try:
        return os.fsencode(problem).decode()  # in an ASCII locale Python could not read its letters
    except UnicodeError as error:
        raise typer.BadParameter("the problem is not text in UTF-8", param_hint="problem") from error


def _solve(strategy: Strategy, problem: Problem, models: Models, seed: int) -> Solution:
    from arbitrage.harness.grading import extract_answer
    from arbitrage.seeding import problem_rng

    started = time.perf_counter()
    made = strategy.solve(problem, models, problem_rng(seed, problem.id))
    seconds = time.perf_counter() - started
    loaded = {role.value: getattr(models, role.value).describe() for role in sorted(models.roles())}
    return Solution(
        problem=problem.problem,
        strategy=strategy.describe(),
        seed=seed,
        text=made.text,
        answer=extract_answer(made.text),
        end_reason=made.end_reason.value,
        tokens=made.tokens,
        prompt_tokens=made.prompt_tokens,
        seconds=seconds,
        accepted_steps=made.accepted_steps,
        escalated_steps=made.escalated_steps,
        steps=made.steps,
        time_s=dict(made.time_s),
        calls=dict(made.calls),
        forwarded_tokens=dict(made.forwarded_tokens),
        models=loaded,
    )


def _print_json(solution: Solution) -> None:
    from arbitrage.harness.run_folder import to_json

    print_json(json.loads(to_json(dataclasses.asdict(solution))))


def _solve_aloud(console: Console, strategy: Strategy, problem: Problem, models: Models, seed: int) -> None:
    from rich.text import Text

    settings = dataclasses.replace(models.settings, on_step=lambda _, step: _print_step(console, step))
    heading = ("   ", ("■ draft", _STYLES["draft"]), "  ", ("■ target", _STYLES["target"]), "  ")
    console.print(Text.assemble((strategy.label, "bold"), *heading, ("■ discarded", "dim strike"), "\n"))
    _print_summary(console, _solve(strategy, problem, models.with_settings(settings), seed))


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


def _print_summary(console: Console, solution: Solution) -> None:
    from rich.text import Text

    answer, steps, accepted = solution.answer, len(solution.steps), solution.accepted_steps
    console.print(Text.assemble(("answer: ", "bold"), printable(answer) if answer is not None else "none found"))
    rate = solution.tokens / max(solution.seconds, 1e-9)
    console.print(
        Text(
            f"{solution.tokens} tokens in {_duration(solution.seconds)} ({rate:.0f} tokens/s), "
            f"{steps} steps: {accepted} by the draft, {steps - accepted} by the target; "
            f"ended with {solution.end_reason}",
            "dim",
        )
    )
    if solution.time_s:
        parts = (f"{role} {_duration(spent)}" for role, spent in solution.time_s.items())
        console.print(Text(f"inside models: {', '.join(parts)}", "dim"))


def _duration(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1000 * seconds:.3g} ms"
