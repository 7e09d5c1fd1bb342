"""The library itself at batch 1: solved problems and processor time, strategies in turn on each problem."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import final

import numpy as np

from arbitrage.backends.loading import load_models
from arbitrage.harness.grading import grade
from arbitrage.interfaces import Models, Settings, Strategy
from arbitrage.seeding import problem_rng
from arbitrage.strategies import ArbitrageRouter, RandomRoute, TargetOnly, TokenSD
from arbitrage.strategies.loop import StepStrategy
from arbitrage.strategies.policy import Decision, Policy, StepContext
from arbitrage.types import Problem

_WARM_UP = 3


@final
class _Doubt(Policy):
    def __init__(self, least: float) -> None:
        self._least = least

    def decide(self, context: StepContext) -> Decision:
        confidence = context.drafted.continuation.mean_logprob
        return Decision(accept=confidence >= self._least, score=-confidence)


@final
class DraftConfidence(StepStrategy):
    """Escalate what the draft itself was unsure of: no router, no PRM, no target work on acceptance."""

    name = "draft-confidence"

    def __init__(self, least: float) -> None:
        """Accept steps whose mean log-probability per token is at least `least`."""
        super().__init__(reuse=True, pipeline=False, catch_up=False)
        self._least = least

    def policy(self, problem: Problem, models: Models, rng: np.random.Generator) -> Policy:
        """A bound on the mean log-probability."""
        return _Doubt(self._least)


def strategies(least: Mapping[float, float]) -> dict[str, Strategy]:
    """What is timed; `least` says which confidence leads to which escalation rate."""
    return {
        "target-only": TargetOnly(),
        "token-sd": TokenSD(),
        "random-route @ 0.3": RandomRoute(rate=0.3),
        **{f"arbitrage-router @ {rate}": ArbitrageRouter(rate=rate) for rate in (0.25, 0.3)},
        **{f"draft confidence @ {rate}": DraftConfidence(bound) for rate, bound in least.items()},
    }


def measure(problems: Sequence[Problem], least: Mapping[float, float], threads: int = 1) -> dict[str, object]:
    """Of each strategy and problem: solved or not, milliseconds of processor time, share of steps escalated."""
    models = load_models("hf", dtype="float32", threads=threads, settings=Settings(max_tokens=256))
    found: dict[str, list[dict[str, float]]] = {name: [] for name in strategies(least)}
    for number, problem in enumerate([*problems[:_WARM_UP], *problems]):
        order = list(strategies(least).items())
        for name, strategy in order[number % len(order) :] + order[: number % len(order)]:
            started = time.process_time()
            solved = strategy.solve(problem, models, problem_rng(0, problem.id))
            ms = 1000 * (time.process_time() - started)
            if number >= _WARM_UP:
                escalated = float(np.mean([step.escalated for step in solved.steps])) if solved.steps else 0.0
                found[name].append({"correct": grade(solved.text, problem).correct, "ms": ms, "escalated": escalated})
    return dict(found)
