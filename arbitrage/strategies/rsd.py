"""Reward-guided speculative decoding (RSD, arXiv:2501.19324): keep a drafted step whose reward reaches a threshold."""

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

DEFAULT_THRESHOLD = 0.7


@final
class RSD(StepStrategy):
    """Accept iff the PRM gives the drafted step at least `threshold`; blind to whether the target would do better."""

    name = "rsd"
    requires = StepStrategy.requires | {Role.PRM}

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
            threshold: smallest reward that is accepted (0.7 as published when neither argument is given).
            rate: instead of a threshold, the share of steps to escalate, by the PRM's calibration table.
            reuse: whether the target, on escalation, first checks how far the draft's step agrees with its own.
            pipeline: whether the draft goes on writing while a step is judged.
            catch_up: whether the target reads accepted steps while the draft writes.
        """
        super().__init__(reuse, pipeline, catch_up)
        self.cutoff = Cutoff(threshold, rate, DEFAULT_THRESHOLD)

    def policy(self, problem: Problem, models: Models, rng: np.random.Generator) -> Policy:
        """The PRM with the threshold of this run."""
        prm = models.scorer(Role.PRM)
        threshold = self.cutoff.resolve(prm, never=-math.inf, always=math.inf)
        return ScoredPolicy(prm, Role.PRM, problem, lambda score: score >= threshold)

    def describe(self) -> dict[str, object]:
        """Name and parameters."""
        return {"name": self.name, **self.cutoff.describe(), **self.switches()}

    @property
    def label(self) -> str:
        """Name and threshold or rate."""
        return self.labelled(self.cutoff.label)
