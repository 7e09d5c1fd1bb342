"""Arbitrage Oracle (arXiv:2512.05033, Alg. 1): the better of both steps by reward. A bound on routing, not a method."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean
from typing import final

import numpy as np

from arbitrage.interfaces import Models, StepScorer, Usage
from arbitrage.strategies.loop import StepStrategy
from arbitrage.strategies.policy import Decision, Policy, StepContext
from arbitrage.types import Author, Problem, Role


@final
class _BetterOfTwo(Policy):
    def __init__(self, prm: StepScorer, problem: Problem, threshold: float, samples: int) -> None:
        self._session = prm.open(problem.problem)
        self._threshold, self._samples = threshold, samples
        self._candidate: tuple[str, Author] | None = None

    def decide(self, context: StepContext) -> Decision:
        drafted = context.drafted.text
        s_d = self._score(drafted, "draft")
        targets = [context.target_step(k).text for k in range(self._samples)]
        # The very same text has the very same reward.
        rewards = [s_d if step == drafted else self._score(step, "target") for step in targets]
        advantage = fmean(s_t - s_d for s_t in rewards)  # exactly 0 for equal rewards; their mean may be rounded
        return Decision(advantage <= self._threshold, score=advantage, draft_reward=s_d, target_reward=fmean(rewards))

    def _score(self, step: str, author: Author) -> float:
        self._candidate = step, author
        return self._session.score(step, author)

    def committed(self, step: str, author: Author) -> None:
        if self._candidate == (step, author):
            self._session.commit()
        else:
            self._session.append(step, author)
        self._candidate = None

    def usage(self) -> Mapping[Role, Usage]:
        return {Role.PRM: self._session.usage}

    def close(self) -> None:
        self._session.close()


@final
class ArbitrageOracle(StepStrategy):
    """Generate and score both steps; escalate iff the advantage s_t - s_d exceeds `threshold` (ties keep the draft)."""

    name = "arbitrage-oracle"
    requires = StepStrategy.requires | {Role.PRM}

    def __init__(
        self,
        threshold: float = 0.0,
        samples: int = 1,
        reuse: bool = True,
        pipeline: bool = False,
        catch_up: bool = False,
    ) -> None:
        """Set the bound.

        Args:
            threshold: advantage above which the target's step is committed.
            samples: target steps drawn; s_t is their mean reward and the first one's text is committed. Greedy targets
                write the same step every time, so there one is drawn.
            reuse: whether the target first checks how far the draft's step agrees with its own.
            pipeline: whether the draft goes on writing while a step is judged.
            catch_up: whether the target reads accepted steps while the draft writes.
        """
        super().__init__(reuse, pipeline, catch_up)
        if samples < 1:
            raise ValueError(f"samples must be at least 1, not {samples}")
        self.threshold, self.samples = threshold, samples

    def policy(self, problem: Problem, models: Models, rng: np.random.Generator) -> Policy:
        """The PRM on both steps."""
        samples = 1 if models.settings.sampling.greedy else self.samples
        return _BetterOfTwo(models.scorer(Role.PRM), problem, self.threshold, samples)

    def describe(self) -> dict[str, object]:
        """Name and parameters."""
        return {"name": self.name, "threshold": self.threshold, "samples": self.samples, **self.switches()}

    @property
    def label(self) -> str:
        """Name, with what differs from the default."""
        parts = [f"τ={self.threshold:g}"] if self.threshold else []
        parts += [f"m={self.samples}"] if self.samples > 1 else []
        return self.labelled(*parts)
