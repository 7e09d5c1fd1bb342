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

    def __init__(self, rate: float = 0.3) -> None:
        """Set the share of steps to escalate, in [0, 1]."""
        self.rate = check_rate(rate)

    def policy(self, problem: Problem, models: Models, rng: np.random.Generator) -> Policy:
        """A coin with the given rate."""
        return _Coin(self.rate)

    def describe(self) -> dict[str, object]:
        """Name and rate."""
        return {"name": self.name, "rate": self.rate}

    @property
    def label(self) -> str:
        """Name and rate."""
        return f"{self.name} (rate={self.rate:g})"
