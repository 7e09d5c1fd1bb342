"""What a step strategy is made of: a small object that accepts or escalates each drafted step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import final

import numpy as np

from arbitrage.interfaces import Continuation, Usage
from arbitrage.seeding import step_rng
from arbitrage.types import Author, Problem, Role


@dataclass(frozen=True, slots=True)
class WrittenStep:
    """One step as a model wrote it."""

    text: str
    """Without the separator."""
    continuation: Continuation

    @property
    def ids(self) -> tuple[int, ...]:
        """Token ids, separator included."""
        return self.continuation.ids


@dataclass(frozen=True, slots=True)
class Decision:
    """Keep the draft's step or not, and why."""

    accept: bool
    score: float | None = None
    """What was compared with the threshold."""
    draft_reward: float | None = None
    target_reward: float | None = None
    router_score: float | None = None


@final
class StepContext:
    """What a policy may look at when it decides about one drafted step."""

    def __init__(
        self,
        problem: Problem,
        index: int,
        drafted: WrittenStep,
        rng: np.random.Generator,
        write_target: Callable[[int], WrittenStep],
        read_prefix: Callable[[], tuple[int, ...]],
        left: int,
    ) -> None:
        self.problem = problem
        self.index = index
        """Position of the step in the solution, from 0."""
        self.drafted = drafted
        self.left = left
        """Tokens that the solution could still have before this step."""
        self._rng = rng
        self._write_target = write_target
        self._read_prefix = read_prefix

    @property
    def prefix(self) -> tuple[int, ...]:
        """Prompt and committed steps as token ids, as the draft read them."""
        return self._read_prefix()

    def rng(self, role: Role) -> np.random.Generator:
        """Randomness of this step for `role`."""
        return step_rng(self._rng, self.index, role)

    def target_step(self, sample: int = 0) -> WrittenStep:
        """The target's step from the same prefix. Runs the target; a policy that does not ask costs no target work.

        Args:
            sample: which of several independent samples; sample 0 is what gets committed on escalation.
        """
        return self._write_target(sample)


class Policy(ABC):
    """Decides, for one problem, about one drafted step after the other."""

    @abstractmethod
    def decide(self, context: StepContext) -> Decision:
        """Accept or escalate the drafted step."""

    def committed(self, step: str, author: Author) -> None:  # noqa: B027 - most policies keep no history
        """Told of every step that became part of the solution, decided here or not."""

    def usage(self) -> Mapping[Role, Usage]:
        """Work done by scorers so far."""
        return {}

    def close(self) -> None:  # noqa: B027 - most policies hold nothing
        """Free what the policy holds."""
