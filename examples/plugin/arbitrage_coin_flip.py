"""A complete plugin: one strategy that lets a coin decide who writes each step."""

from __future__ import annotations

import numpy as np

from arbitrage import Models, Problem, Role, hookimpl
from arbitrage.hooks import Register
from arbitrage.strategies import Decision, Policy, StepContext, StepStrategy


@hookimpl
def register_strategies(register: Register) -> None:
    """Called once by arbitrage; the class is imported only when somebody uses the strategy."""
    register("coin-flip", "arbitrage_coin_flip:CoinFlip", summary="heads: keep the draft's step, tails: ask the target")


class Coin(Policy):
    """Accepts a drafted step with a fixed probability."""

    def __init__(self, heads: float) -> None:
        self.heads = heads

    def decide(self, context: StepContext) -> Decision:
        """Flip the coin of this step: the same one however often the run is repeated or resumed."""
        u = context.rng(Role.ROUTER).random()
        return Decision(accept=u < self.heads, score=u)


class CoinFlip(StepStrategy):
    """Each step is the draft's with probability `heads`, else the target's."""

    name = "coin-flip"

    def __init__(self, heads: float = 0.5) -> None:
        if not 0 <= heads <= 1:
            raise ValueError(f"heads is a probability, not {heads}")
        self.heads = heads

    def policy(self, problem: Problem, models: Models, rng: np.random.Generator) -> Policy:
        """A fresh coin for each problem."""
        return Coin(self.heads)

    def describe(self) -> dict[str, object]:
        """What the manifest of a run says about it."""
        return {"name": self.name, "heads": self.heads}

    @property
    def label(self) -> str:
        """What tables call it."""
        return f"{self.name} (heads={self.heads:g})"
