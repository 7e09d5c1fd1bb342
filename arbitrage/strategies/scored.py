"""Policies that compare a scorer's opinion of the drafted step with a threshold."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, final

from arbitrage.interfaces import StepScorer, Usage
from arbitrage.strategies.policy import Decision, Policy, StepContext
from arbitrage.types import Author, Problem, Role


@final
class ScoredPolicy(Policy):
    """Scores every drafted step once; the target is not run unless the step is rejected."""

    def __init__(
        self,
        scorer: StepScorer,
        role: Literal[Role.PRM, Role.ROUTER],
        problem: Problem,
        accepts: Callable[[float], bool],
    ) -> None:
        """Score with `scorer`, which plays `role`; `accepts` says whether a score keeps the draft's step."""
        self._session = scorer.open(problem.problem)
        self._role = role
        self._accepts = accepts
        self._candidate: str | None = None

    def decide(self, context: StepContext) -> Decision:
        """One forward pass over the drafted step."""
        self._candidate = context.drafted.text
        score = self._session.score(context.drafted.text, "draft")
        asked = {"draft_reward" if self._role is Role.PRM else "router_score": score}
        return Decision(self._accepts(score), score=score, **asked)

    def committed(self, step: str, author: Author) -> None:
        """Keep the scored candidate if it is what was committed; otherwise take the new step in unscored.

        The same text by another author is another step: a scorer may read who wrote it. One that does not has it
        encoded already and knows.
        """
        if self._candidate == step and author == "draft":
            self._session.commit()
        else:
            self._session.append(step, author)
        self._candidate = None

    def usage(self) -> Mapping[Role, Usage]:
        """Work of the scorer."""
        return {self._role: self._session.usage}

    def close(self) -> None:
        """Free the scorer's cache."""
        self._session.close()
