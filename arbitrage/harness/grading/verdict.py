"""What grading one answer comes to. Knows no mathematics."""

from __future__ import annotations

import enum
from dataclasses import dataclass

GRADER = "arbitrage-1"
"""Name and version of the rules that decide; the number rises with every change that can alter a verdict."""


class Status(enum.StrEnum):
    """How grading ended. Wrong, unreadable, stopped and impossible are four different things."""

    CORRECT = "correct"
    """The answer says the same as the reference."""
    INCORRECT = "incorrect"
    """An answer was read and it says something else."""
    UNPARSED = "unparsed"
    """No answer was found in the text, or the answer cannot be read."""
    TIMEOUT = "timeout"
    """The comparison was stopped at its time or memory limit."""
    UNSCORED = "unscored"
    """The reference itself cannot be used, or the comparison could not be run at all."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The grade of one answer."""

    status: Status
    answer: str | None
    """Source text of the answer that was compared; None when there was none."""
    method: str
    """What decided: string, number, words, base, clock, ratio, set, interval, tuple, matrix, relation, family, unit,
    exact, numeric, structure, symbolic or kind. Where nothing was decided, why: extraction, reference, unreadable,
    limit, timeout, crash, fault or start. With the prefix `qwen ` in that mode."""
    reason: str
    """One line for a person to read."""

    @property
    def correct(self) -> bool:
        """Whether the answer counts as right; every status but `correct` does not."""
        return self.status is Status.CORRECT
