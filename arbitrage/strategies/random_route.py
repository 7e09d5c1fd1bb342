"""Random routing: escalate a fixed share of steps without looking at them. What every router has to beat."""

from __future__ import annotations

from typing import final

import numpy as np

from arbitrage.interfaces import Models
from arbitrage.strategies.cutoff import check_rate
from arbitrage.strategies.loop import StepStrategy
from arbitrage.strategies.policy import Decision, Policy, StepContext
from arbitrage.types import Problem, Role


@final
class _Coin(Policy):
    def __init__(self, rate: float) -> None:
        self._rate = rate

    def decide(self, context: StepContext) -> Decision:
        u = float(context.rng(Role.ROUTER).random())
        return Decision(accept=u >= self._rate, score=u)


@final
class RandomRoute(StepStrategy):
    """Escalate each step with probability `rate`, independently."""

    name = "random-route"

    def __init__(self, rate: float = 0.3, reuse: bool = True, pipeline: bool = False, catch_up: bool = False) -> None:
        """Choose how often to escalate.

        Args:
            rate: share of steps to escalate, in [0, 1].
            reuse: whether the target, on escalation, first checks how far the draft's step agrees with its own.
            pipeline: whether the draft goes on writing while a step is judged.
            catch_up: whether the target reads accepted steps while the draft writes.
        """
        super().__init__(reuse, pipeline, catch_up)
        self.rate = check_rate(rate)

    def policy(self, problem: Problem, models: Models, rng: np.random.Generator) -> Policy:
        """A coin with the given rate."""
        return _Coin(self.rate)

    def describe(self) -> dict[str, object]:
        """Name and parameters."""
        return {"name": self.name, "rate": self.rate, **self.switches()}

    @property
    def label(self) -> str:
        """Name and rate."""
        return self.labelled(f"rate={self.rate:g}")
