"""Draft confidence: escalate the steps that the draft itself was unsure of. No router, no PRM, decisions cost nothing.

What every trained router has to beat in seconds, not only in judgement: a router that is right more often still costs a
pass on every step, and a needless escalation costs the target one (the draft's step is checked, `reuse`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import final

import numpy as np

from arbitrage.interfaces import Models
from arbitrage.strategies.cutoff import Cutoff
from arbitrage.strategies.loop import StepStrategy
from arbitrage.strategies.policy import Decision, Policy, StepContext
from arbitrage.types import Problem, Role

DEFAULT_THRESHOLD = 0.5


def confidence(logprobs: tuple[float, ...]) -> float:
    """The least probability that the draft gave a token of its step, in [0, 1]; 1 for a step without tokens.

    Args:
        logprobs: natural-log probabilities at temperature 1.
    """
    return math.exp(min(logprobs, default=0.0))


@final
class _LeastProbability(Policy):
    def __init__(self, accepts: Callable[[float], bool]) -> None:
        self._accepts = accepts

    def decide(self, context: StepContext) -> Decision:
        score = confidence(context.drafted.continuation.logprobs)
        return Decision(self._accepts(score), score=score)


@final
class DraftConfidence(StepStrategy):
    """Accept iff the draft gave every token of its step at least the probability `threshold`."""

    name = "draft-confidence"

    def __init__(
        self,
        threshold: float | None = None,
        rate: float | None = None,
        reuse: bool = True,
        pipeline: bool = False,
        catch_up: bool = False,
    ) -> None:
        """Choose when to escalate.

        Args:
            threshold: smallest probability that is accepted (0.5 when neither argument is given); 0 is draft-only.
            rate: instead of a threshold, the share of steps to escalate, by the draft's calibration table
                (`arbitrage router calibrate --as draft`).
            reuse: whether the target, on escalation, first checks how far the draft's step agrees with its own.
            pipeline: whether the draft goes on writing while a step is judged.
            catch_up: whether the target reads accepted steps while the draft writes.
        """
        super().__init__(reuse, pipeline, catch_up)
        self.cutoff = Cutoff(threshold, rate, DEFAULT_THRESHOLD)

    def policy(self, problem: Problem, models: Models, rng: np.random.Generator) -> Policy:
        """A bound on the least probability."""
        threshold = self.cutoff.resolve(models.language(Role.DRAFT), never=-math.inf, always=math.inf)
        return _LeastProbability(lambda score: score >= threshold)

    def describe(self) -> dict[str, object]:
        """Name and parameters."""
        return {"name": self.name, **self.cutoff.describe(), **self.switches()}

    @property
    def label(self) -> str:
        """Name and threshold or rate."""
        return self.labelled(self.cutoff.label)
