"""A recorded solution at another escalation rate: the work of its models, and the rate at which routing breaks even.

The texts stay as they were recorded. Each step is escalated with the same probability, whatever the others; the target
then writes the text that was committed. So this is the cost of a rate, and no statement about accuracy.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from arbitrage.harness.costs import WRITERS, Costs, Work, components, work
from arbitrage.harness.rows import Row


@dataclass(frozen=True, slots=True)
class Solution:
    """The lengths of one recorded solution, in tokens."""

    prompt: int
    drafted: tuple[float, ...]
    """Of the draft's version of each step."""
    committed: tuple[float, ...]
    """Of each step as it was committed."""
    scorers: tuple[str, ...]
    """Components that read every drafted step."""
    target_passes: float = 1.0
    """Passes of the target for a token that it writes; less than 1 where it checks several tokens in one pass."""
    reread: float = 1.0
    """Tokens that the draft reads of the target's step, as a share; less than 1 where both begin alike."""

    def routed(self, rate: float) -> Mapping[str, Work]:
        """Expected work of every component when each step is escalated with probability `rate`.

        A token that is written costs a pass, in which the one before it is read. What others wrote is read as further
        tokens of the next own pass.
        """
        last, accepted = len(self.committed) - 1, 1 - rate
        read = self.committed[:last]  # nobody goes on after the last step
        unread = sum(accepted * length * (1 - accepted ** (last - index)) for index, length in enumerate(read))
        begun = 1 - accepted ** len(self.committed)
        written = rate * sum(self.committed)
        passes = self.target_passes * written
        prompt = max(0, self.prompt - 1)
        replaced = rate * self.reread * sum(max(0.0, length - 1) for length in read)
        done = {
            "draft": _work(sum(self.drafted), prompt + replaced, len(self.drafted)),
            "target": _work(passes, written - passes + begun * prompt + unread, rate * len(self.committed)),
        }
        heard = self.prompt + sum(self.drafted) + rate * sum(read)
        return done | {scorer: Work(len(self.drafted), heard) for scorer in self.scorers}

    def by_target(self) -> Mapping[str, Work]:
        """Work of the target when it writes the same text alone."""
        return {"target": _work(sum(self.committed), max(0, self.prompt - 1), 1)}

    def seconds(self, done: Mapping[str, Work], costs: Costs) -> float:
        """Seconds of that work, with the overhead of a solution of this many steps."""
        models = sum(costs.models[component].seconds(one) for component, one in done.items())
        return models + costs.overhead.seconds(len(self.committed), sum(one.passes for one in done.values()))


def solutions(rows: Sequence[Row], stretch: float = 1.0) -> list[Solution]:
    """The lengths in `rows`, all of one strategy, each step made `stretch` times as long.

    How many passes the target takes for a token, and how much the draft reads again, is an average over the rows.
    """
    steps = [step for row in rows for step in row.steps]
    written, passes = sum(step.target_tokens for step in steps), sum(row.calls.get("target", 0) for row in rows)
    replaced = sum(max(0, step.tokens - 1) for row in rows for step in row.steps[:-1] if step.escalated)
    read = sum(work(row, "draft").further - max(0, row.prompt_tokens - 1) for row in rows)
    return [
        Solution(
            prompt=row.prompt_tokens,
            drafted=tuple(stretch * (step.draft_tokens or step.tokens) for step in row.steps),
            committed=tuple(stretch * step.tokens for step in row.steps),
            scorers=tuple(component for component in components(row) if component not in WRITERS),
            target_passes=min(1.0, passes / written) if written else 1.0,
            reread=min(1.0, max(0.0, read / replaced)) if replaced else 1.0,
        )
        for row in rows
        if row.steps
    ]


def _work(passes: float, further: float, turns: float) -> Work:
    return Work(passes, passes + further, turns)


def break_even_rate(solutions: Sequence[Solution], costs: Costs) -> float | None:
    """Escalation rate below which routing takes less time than the target alone for the same texts.

    Unlike the formula 1 - d/t - r/(L t) it counts what a model has to read of the other's steps, turns, and overhead.

    Returns:
        From 0 to 1; None when routing takes longer even without any escalation.
    """
    alone = sum(one.seconds(one.by_target(), costs) for one in solutions)

    def loss(rate: float) -> float:
        return sum(one.seconds(one.routed(rate), costs) for one in solutions) - alone

    if loss(0.0) >= 0:
        return None
    if loss(1.0) <= 0:
        return 1.0
    return float(importlib.import_module("scipy.optimize").brentq(loss, 0.0, 1.0, xtol=1e-6))
