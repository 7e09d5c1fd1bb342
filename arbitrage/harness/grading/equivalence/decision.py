"""What one decider of the chain has to say, and what all of them are given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from arbitrage.harness.grading.equivalence.shape import Shape

UNREADABLE = "unreadable"
"""Method of a decision that is negative because one side cannot be read at all."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether two answers are equal, and why."""

    equal: bool
    method: str
    reason: str


@dataclass(frozen=True, slots=True)
class Context:
    """The rules of the comparison and the way to compare parts."""

    compare: Callable[[Shape, Shape, Context], Decision]
    """The whole chain, for the parts of an answer."""
    tolerance: Fraction | None = None
    """Absolute tolerance; None compares exactly."""
    in_list: bool = False
    """Whether parts of a list are compared, where names such as f and g tell the parts apart."""

    def equal(self, gold: Shape, pred: Shape) -> bool:
        """Whether two parts are equal."""
        return self.compare(gold, pred, self).equal


def all_equal(gold: tuple[Shape, ...], pred: tuple[Shape, ...], context: Context) -> bool:
    """Whether two sequences have the same length and equal parts, in order."""
    return len(gold) == len(pred) and all(context.equal(a, b) for a, b in zip(gold, pred, strict=True))
