"""Whether what a PRM prefers is what leads to right answers: PRM advantage against outcome advantage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from arbitrage.harness.router.judging import ORACLE, RESAMPLES, Score, Verdict, judge
from arbitrage.harness.router.measures import Ranking
from arbitrage.harness.router.pairs import StepPair
from arbitrage.harness.statistics import Counts, Estimate, Floats, bootstrap_each

SIGNS = ("−", "0", "+")


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Both advantages of the steps that were rolled out to their ends."""

    steps: int
    problems: int
    counts: Mapping[str, Mapping[str, int]]
    """Steps by sign of the PRM advantage, then by sign of the outcome advantage."""
    shares: Mapping[str, Mapping[str, Estimate]]
    """The same as shares of these steps."""
    disagree: Estimate
    """Share of steps in which the signs differ."""
    opposed: Estimate
    """Share of steps in which one is positive and the other negative."""
    spearman: Estimate
    """Rank correlation of the two advantages."""
    verdicts: tuple[Verdict, ...]
    """Every score against the outcome advantage; empty where it is never positive, or always."""


def outcome_advantages(pairs: Sequence[StepPair]) -> Floats:
    """Share of right answers behind the target's step minus that behind the draft's; NaN where nobody rolled out."""
    return np.array([np.nan if pair.outcome_advantage is None else pair.outcome_advantage for pair in pairs])


def compare_outcomes(
    outcomes: Floats, advantages: Floats, groups: NDArray[np.intp], scores: Sequence[Score]
) -> Outcomes | None:
    """Hold the PRM advantage and every score against the outcome advantage; None where no step has one.

    Args:
        outcomes: shape (steps,), NaN where unknown.
        advantages: Δ by the PRM, shape (steps,).
        groups: index of each step's problem, shape (steps,).
        scores: of all steps.
    """
    known = np.isfinite(outcomes)
    if not known.any():
        return None
    came, told = outcomes[known], advantages[known]
    _, group = np.unique(groups[known], return_inverse=True)
    cells = 3 * np.sign(told).astype(int) + np.sign(came).astype(int) + 4  # 0 … 8, PRM first
    signs = np.sign(told) - np.sign(came)
    ranking = Ranking(told, came, group)
    flags = np.column_stack([cells[:, None] == np.arange(9), signs != 0, np.abs(signs) == 2, np.ones(len(came))])
    sums = np.zeros((ranking.problems, flags.shape[1]))
    np.add.at(sums, group, flags)

    def statistics(counts: Counts) -> Floats:
        totals = counts @ sums
        return np.column_stack([totals[:, :-1] / totals[:, -1:], ranking.under(counts).spearman()])

    *shares, disagree, opposed, spearman = bootstrap_each(statistics, ranking.problems, resamples=RESAMPLES)
    numbers = np.bincount(cells, minlength=9).tolist()
    both = 0 < np.count_nonzero(came > 0) < len(came)
    kept = [replace(score, values=score.values[known]) for score in scores if score.name != ORACLE]
    return Outcomes(
        len(came),
        ranking.problems,
        {row: dict(zip(SIGNS, numbers[3 * i : 3 * i + 3], strict=True)) for i, row in enumerate(SIGNS)},
        {row: dict(zip(SIGNS, shares[3 * i : 3 * i + 3], strict=True)) for i, row in enumerate(SIGNS)},
        disagree,
        opposed,
        spearman,
        tuple(judge([*kept, Score("PRM advantage", "bound", told), Score(ORACLE, "bound", came)], came, group))
        if both
        else (),
    )
