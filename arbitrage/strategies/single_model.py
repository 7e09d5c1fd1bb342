"""One model alone: the target's solution (the reference of every comparison) and the draft's."""

from __future__ import annotations

from typing import final

import numpy as np

from arbitrage.interfaces import Models, Strategy
from arbitrage.strategies.loop import write_steps
from arbitrage.strategies.policy import Decision, Policy, StepContext
from arbitrage.strategies.writer import LanguageRole
from arbitrage.types import Generation, Problem, Role


@final
class _AcceptAll(Policy):
    def decide(self, context: StepContext) -> Decision:
        return Decision(accept=True)


def write_alone(problem: Problem, models: Models, rng: np.random.Generator, role: LanguageRole) -> Generation:
    """The solution that the model in `role` writes without anybody's help."""
    return write_steps(problem, models, rng, _AcceptAll(), writer=role, fallback=None)


class TargetOnly(Strategy):
    """Every token by the target, one after the other."""

    name = "target-only"
    requires = frozenset({Role.TARGET})

    def solve(self, problem: Problem, models: Models, rng: np.random.Generator) -> Generation:
        """Write the target's solution."""
        return write_alone(problem, models, rng, Role.TARGET)


class DraftOnly(Strategy):
    """Every token by the draft."""

    name = "draft-only"
    requires = frozenset({Role.DRAFT})

    def solve(self, problem: Problem, models: Models, rng: np.random.Generator) -> Generation:
        """Write the draft's solution."""
        return write_alone(problem, models, rng, Role.DRAFT)
