"""A process reward model and a router made of rules. Both read one step after the other, as neural scorers do."""

from __future__ import annotations

import re
from abc import abstractmethod

from arbitrage import ScoreSession, StepScorer, Usage, hookimpl
from arbitrage.hooks import Register
from arbitrage.types import Author

_ADDITION = re.compile(r"(\d+) \+ (\d+) = (\d+)")


@hookimpl
def register_scorers(register: Register) -> None:
    """Offer both under names of their own."""
    register("sum-checker", "sums_scorer:SumChecker", summary="a PRM that checks additions")
    register("carry-router", "sums_scorer:CarryRouter", summary="a router that looks for carries")


class StepSession(ScoreSession):
    """One solution: the committed steps, and at most one candidate after them.

    A neural scorer keeps a cache of the committed steps and encodes the candidate after it. `discard` must leave the
    stream as if the candidate had never been scored.
    """

    def __init__(self, scorer: RuleScorer) -> None:
        self.usage = Usage()
        self.steps: list[tuple[str, Author]] = []
        self._scorer = scorer
        self._candidate: tuple[str, Author] | None = None

    def score(self, step: str, author: Author) -> float:
        """Score `step` as the next one; it becomes the candidate."""
        self._candidate = (step, author)
        self.usage.calls += 1
        return self._scorer.value(step)

    def commit(self) -> None:
        """Keep the candidate."""
        if self._candidate is None:
            raise RuntimeError("there is no candidate to commit")
        self.steps.append(self._candidate)
        self._candidate = None

    def discard(self) -> None:
        """Drop the candidate."""
        self._candidate = None

    def append(self, step: str, author: Author) -> None:
        """Keep a step that was not scored, such as the target's after an escalation."""
        self._candidate = None
        self.steps.append((step, author))

    def close(self) -> None:
        """Nothing to free."""


class RuleScorer(StepScorer):
    """A scorer whose opinion of a step is a function of its text."""

    def __init__(self, source: str = "", device: str | None = None, **options: object) -> None:
        """The arguments are those of every registered scorer; rules need none of them."""

    def open(self, problem: str) -> StepSession:
        """An empty solution."""
        return StepSession(self)

    @abstractmethod
    def value(self, step: str) -> float:
        """The score of one step, in [0, 1]."""


class SumChecker(RuleScorer):
    """A PRM: 1 when every addition of the step is right, 0 when one is wrong."""

    name = "sum-checker"

    def value(self, step: str) -> float:
        """The reward."""
        return float(all(int(a) + int(b) == int(total) for a, b, total in _ADDITION.findall(step)))


class CarryRouter(RuleScorer):
    """A router: how likely the target is to do better. High where an addition carries, right or not."""

    name = "carry-router"

    def value(self, step: str) -> float:
        """The predicted advantage of the target; it never looks at the result of the addition."""
        additions = _ADDITION.findall(step)
        return 0.9 if any(carries(int(a), int(b)) for a, b, _ in additions) else 0.1


def carries(a: int, b: int) -> bool:
    """Whether adding `a` and `b` carries anywhere."""
    return any(int(x) + int(y) > 9 for x, y in zip(str(a)[::-1], str(b)[::-1], strict=False))
