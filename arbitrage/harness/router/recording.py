"""One solution under a roll-in, with both models' version of every step, and what a PRM says of them.

The step loop is that of inference, so tokens, budgets and stalls are the same. Steps that are forced on the target (two
empty ones came before) leave nothing to choose and make no pair.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

import numpy as np

from arbitrage.harness.router.pairs import HistoryStep, StepPair, checked_rewards
from arbitrage.harness.router.roll_in import RollIn
from arbitrage.harness.router.scoring import Reader, Version
from arbitrage.interfaces import Models
from arbitrage.strategies.loop import write_steps
from arbitrage.strategies.oracle import ArbitrageOracle
from arbitrage.strategies.policy import Decision, Policy, StepContext, WrittenStep
from arbitrage.types import Author, Generation, Problem, Role


@dataclass(frozen=True, slots=True)
class Fork:
    """A prefix from which both models wrote on."""

    pair: StepPair
    drafted: WrittenStep
    targeted: WrittenStep
    """The first sample, which an escalation commits."""
    left: int
    """Tokens that the solution could still have before this step, each step counted in its author's tokenizer."""


@dataclass(frozen=True, slots=True)
class Recording:
    """One solution and its forks."""

    forks: tuple[Fork, ...]
    generation: Generation


def record(problem: Problem, models: Models, rng: np.random.Generator, roll_in: RollIn, samples: int = 1) -> Recording:
    """Solve `problem` under `roll_in` and record a pair at every step.

    Args:
        problem: what to solve.
        models: draft, target and PRM, and the router if it decides.
        rng: randomness of this problem.
        roll_in: who decides which step is committed.
        samples: target steps at each prefix; s_t is their mean reward, the first one is what may be committed.
    """
    recorder = _Recorder(problem, models, rng, roll_in, samples)
    generation = write_steps(problem, models, rng, recorder, Role.DRAFT, Role.TARGET)
    return Recording(tuple(recorder.forks), generation)


@final
class _Recorder(Policy):
    """Has both steps written and scored, and then lets the roll-in decide."""

    def __init__(
        self, problem: Problem, models: Models, rng: np.random.Generator, roll_in: RollIn, samples: int
    ) -> None:
        strategy = roll_in.strategy
        self.forks: list[Fork] = []
        self._problem, self._samples, self._name = problem, samples, roll_in.label(models)
        self._temperature = models.settings.sampling.temperature
        self._history: tuple[HistoryStep, ...] = ()
        self._threshold = strategy.threshold if isinstance(strategy, ArbitrageOracle) else None
        """The oracle decides by the very rewards that are recorded; nothing is scored twice."""
        self._inner = None if self._threshold is not None else strategy.policy(problem, models, rng)
        self._prm = Reader(models.scorer(Role.PRM), problem.problem)

    def decide(self, context: StepContext) -> Decision:
        drafted = context.drafted
        targets = [context.target_step(k) for k in range(self._samples)]
        versions: list[Version] = [(drafted.text, "draft"), *((step.text, "target") for step in targets)]
        rewards = checked_rewards(self._prm.scores(versions))
        pair = StepPair(
            problem_id=self._problem.id,
            statement=self._problem.problem,
            source=self._problem.subject or "",
            index=context.index,
            history=self._history,
            draft=drafted.text,
            targets=tuple(step.text for step in targets),
            draft_reward=rewards[0],
            target_rewards=tuple(rewards[1:]),
            draft_ids=drafted.ids,
            draft_logprobs=drafted.continuation.logprobs,
            target_tokens=tuple(len(step.ids) for step in targets),
            prefix_ids=context.prefix,
            committed="draft",
            roll_in=self._name,
            temperature=self._temperature,
        )
        decision = self._decision(pair, context)
        committed: Author = "draft" if decision.accept else "target"
        self.forks.append(Fork(replace(pair, committed=committed), drafted, targets[0], context.left))
        return decision

    def _decision(self, pair: StepPair, context: StepContext) -> Decision:
        if self._inner is not None:
            return self._inner.decide(context)
        assert self._threshold is not None
        return Decision(pair.advantage <= self._threshold)

    def committed(self, step: str, author: Author) -> None:
        self._history = (*self._history, HistoryStep(step, author))
        self._prm.committed(step, author)
        if self._inner is not None:
            self._inner.committed(step, author)

    def close(self) -> None:
        self._prm.close()
        if self._inner is not None:
            self._inner.close()
