"""A step strategy without a PRM: keep the draft's step when the draft itself was sure of it."""

from __future__ import annotations

import numpy as np

from arbitrage import Models, Problem, hookimpl
from arbitrage.hooks import Register
from arbitrage.strategies import Decision, Policy, StepContext, StepStrategy


@hookimpl
def register_strategies(register: Register) -> None:
    """Called once; the class is imported when somebody uses the strategy."""
    register("draft-doubt", "sums_strategy:DraftDoubt", summary="keep a step when the draft was sure of its tokens")


class Doubt(Policy):
    """Accepts a drafted step whose mean log-probability per token reaches a threshold."""

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold

    def decide(self, context: StepContext) -> Decision:
        """Look at the draft's own log-probabilities. The target is not run unless the step is rejected."""
        confidence = context.drafted.continuation.mean_logprob
        return Decision(accept=confidence >= self._threshold, score=confidence)


class DraftDoubt(StepStrategy):
    """Escalate where the draft doubts its own step."""

    name = "draft-doubt"

    def __init__(self, threshold: float = -0.1) -> None:
        """Set the smallest mean log-probability (natural, per token) that is accepted."""
        self.threshold = threshold

    def policy(self, problem: Problem, models: Models, rng: np.random.Generator) -> Policy:
        """A fresh policy for each problem; this one keeps no history."""
        return Doubt(self.threshold)

    def describe(self) -> dict[str, object]:
        """Name and every parameter, for the manifest. A stopped run is resumed from these."""
        return {"name": self.name, "threshold": self.threshold}

    @property
    def label(self) -> str:
        """What tables call it."""
        return f"{self.name} (τ={self.threshold:g})"
