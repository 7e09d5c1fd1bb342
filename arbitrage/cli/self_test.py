"""`arbitrage doctor --self-test`: a few problems, solved for real by every backend that is installed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from arbitrage.cli.findings import Finding, Status

if TYPE_CHECKING:
    from arbitrage.interfaces import Models
    from arbitrage.types import Generation, Problem

_PROBLEMS = 3
_SPECULATION = "token-sd:gamma=4"
"""A fixed number of drafted tokens: the adaptive rule may decide on a slow machine not to draft at all."""
_ANSWERS = (
    ("a right answer", "so it is \\boxed{\\frac{1}{2}}", "0.5", True),
    ("a wrong answer", "so it is \\boxed{3}", "2", False),
    ("a hostile answer", "\\boxed{__import__('os').abort()+9^{9^{9^{9^{9}}}}}", "2", False),
)
"""What it is, response, reference, whether they are equal."""

Outcome = tuple[Status, str]


def self_test() -> Iterator[Finding]:
    """Grade three answers, then load the bundled models by every backend and solve problems with three strategies."""
    from arbitrage.registry import registry

    for name, response, reference, correct in _ANSWERS:
        yield _timed(f"grading of {name}", partial(_graded, response, reference, correct))
    for name in registry().names("backend"):
        yield from _backend(name)


def _timed(name: str, check: Callable[[], Outcome]) -> Finding:
    from arbitrage.errors import MissingExtraError

    started = time.perf_counter()
    try:
        status, text = check()
    except MissingExtraError as error:
        return Finding("missing", name, str(error))
    except Exception as error:
        status, text = "fail", f"{type(error).__name__}: {error}"
    return Finding(status, name, text, time.perf_counter() - started)


def _graded(response: str, reference: str, correct: bool) -> Outcome:
    from arbitrage.harness.grading import grade

    verdict = grade(response, reference)
    as_it_should = verdict.correct is correct
    return ("ok" if as_it_should else "fail"), f"{verdict.status}: {verdict.reason}"


def _backend(name: str) -> Iterator[Finding]:
    """Load, then solve; what cannot be loaded is not asked to solve."""
    loaded: list[Models] = []
    finding = _timed(f"{name}: bundled models", lambda: _load(name, loaded))
    yield finding
    if not loaded:
        return
    models, problems = loaded[0], _problems()
    plain: list[Generation] = []
    yield _timed(f"{name}: target-only", lambda: _solved("target-only", models, problems, plain))
    if not plain:
        return
    yield _timed(f"{name}: {_SPECULATION}", lambda: _same_tokens(models, problems, plain))
    yield _timed(f"{name}: arbitrage-router", lambda: _routed(name, models, problems))


def _load(name: str, into: list[Models]) -> Outcome:
    from arbitrage.backends.loading import load_models
    from arbitrage.registry import registry
    from arbitrage.types import Role

    backend = registry().backend(name)
    if backend.facts is None or not backend.facts.bundled:
        return "missing", "it brings no bundled models"
    into.append(load_models(name, roles=(Role.DRAFT, Role.TARGET), **_options(name)))
    facts = into[0].language(Role.TARGET).describe()
    return "ok", f"{facts.get('dtype', 'unknown type')} on {facts.get('device', 'unknown device')}"


def _options(name: str) -> dict[str, Any]:
    """Of those that the backend understands: full precision, and one thread, the fastest for models of this size."""
    from arbitrage.registry import registry

    known = registry().backend(name).options
    return {key: value for key, value in {"dtype": "float32", "threads": 1}.items() if known is None or key in known}


def _problems() -> Sequence[Problem]:
    """Hard ones: in easy ones the draft is always right, so nothing is ever rejected or escalated."""
    from arbitrage.harness.datasets import load_dataset

    problems = load_dataset("bundled")
    return sorted(problems, key=lambda problem: -(problem.level or 0))[:_PROBLEMS]


def _solve(spec: str, models: Models, problems: Sequence[Problem]) -> list[Generation]:
    from arbitrage.registry import registry
    from arbitrage.seeding import problem_rng
    from arbitrage.strategy_specs import parse_strategy

    strategy = parse_strategy(spec, registry())
    return [strategy.solve(problem, models, problem_rng(0, problem.id)) for problem in problems]


def _solved(spec: str, models: Models, problems: Sequence[Problem], into: list[Generation]) -> Outcome:
    """Solve and grade. Models may err; all wrong means that something else does."""
    from arbitrage.harness.grading import grade

    solutions = _solve(spec, models, problems)
    into += solutions
    right = sum(grade(one.text, problem).correct for one, problem in zip(solutions, problems, strict=True))
    steps = sum(len(one.steps) for one in solutions)
    by_draft = sum(one.accepted_steps for one in solutions)
    text = f"{right} of {len(problems)} right, {steps} steps" + (f", {by_draft} by the draft" if by_draft else "")
    return ("ok" if right else "fail"), text


def _routed(name: str, models: Models, problems: Sequence[Problem]) -> Outcome:
    """Solve with a router, which may need another extra than draft and target."""
    from arbitrage.backends.loading import load_models
    from arbitrage.types import Role

    router = load_models(name, roles=(Role.ROUTER,), **_options(name)).router
    return _solved("arbitrage-router", replace(models, router=router), problems, [])


def _same_tokens(models: Models, problems: Sequence[Problem], plain: Sequence[Generation]) -> Outcome:
    """Greedy speculation in float32 must give the target's own tokens; in fewer bits near-ties may fall otherwise."""
    from arbitrage.types import Role

    speculated = _solve(_SPECULATION, models, problems)
    drafted = sum(step.drafted for one in speculated for step in one.steps)
    kept = sum(step.drafted_accepted for one in speculated for step in one.steps)
    facts = f"{kept} of {drafted} drafted tokens kept"
    if not drafted:
        return "fail", "nothing was drafted"
    for problem, one, other in zip(problems, speculated, plain, strict=True):
        if one.token_ids != other.token_ids:
            pairs = zip(one.token_ids, other.token_ids, strict=False)
            shorter = min(len(one.token_ids), len(other.token_ids))
            at = next((index for index, (a, b) in enumerate(pairs) if a != b), shorter)
            exact = models.language(Role.TARGET).describe().get("dtype") == "float32"
            return ("fail" if exact else "warn"), f"parts from target-only at token {at} of {problem.id}; {facts}"
    return "ok", f"the same tokens as target-only; {facts}"
