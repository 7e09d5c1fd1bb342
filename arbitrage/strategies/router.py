"""Arbitrage Router (arXiv:2512.05033, Alg. 2): a learned guess of the target's advantage, before the target runs."""

from __future__ import annotations

import math
from typing import final

import numpy as np

from arbitrage.interfaces import Models
from arbitrage.strategies.cutoff import Cutoff
from arbitrage.strategies.loop import StepStrategy
from arbitrage.strategies.policy import Policy
from arbitrage.strategies.scored import ScoredPolicy
from arbitrage.types import Problem, Role

DEFAULT_THRESHOLD = 0.5


@final
class ArbitrageRouter(StepStrategy):
    """Accept iff the router's score is at most `threshold`; no PRM, and no target work on accepted steps."""

    name = "arbitrage-router"
    requires = StepStrategy.requires | {Role.ROUTER}

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
            threshold: largest score that keeps the draft's step (0.5 when neither argument is given); 1 is draft-only,
                below 0 is target-only plus overhead.
            rate: instead of a threshold, the share of steps to escalate, by the router's calibration table.
            reuse: whether the target, on escalation, first checks how far the draft's step agrees with its own.
            pipeline: whether the draft goes on writing while a step is judged.
            catch_up: whether the target reads accepted steps while the draft writes.
        """
        super().__init__(reuse, pipeline, catch_up)
        self.cutoff = Cutoff(threshold, rate, DEFAULT_THRESHOLD)

    def policy(self, problem: Problem, models: Models, rng: np.random.Generator) -> Policy:
        """The router with the threshold of this run."""
        router = models.scorer(Role.ROUTER)
        threshold = self.cutoff.resolve(router, never=math.inf, always=-math.inf)
        return ScoredPolicy(router, Role.ROUTER, problem, lambda score: score <= threshold)

    def describe(self) -> dict[str, object]:
        """Name and parameters."""
        return {"name": self.name, **self.cutoff.describe(), **self.switches()}

    @property
    def label(self) -> str:
        """Name and threshold or rate."""
        return self.labelled(self.cutoff.label)
