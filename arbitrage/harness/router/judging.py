"""Several scores of the same steps, measured on the same bootstrap draws, so that their differences have intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, final

import numpy as np
from numpy.typing import NDArray

from arbitrage.harness.router.measures import CURVE, PROBABILITY, RANKING, Claims, Ranking
from arbitrage.harness.statistics import Counts, Estimate, Floats, bootstrap_each

COMPARED = ("spearman", "auc", "captured_area")
"""Measures of which differences are told, besides the captured advantage at each rate."""
ORACLE = "oracle"
"""Name of the advantage itself as a score: nothing can do better."""
RESAMPLES = 2000
Kind = Literal["router", "prm", "baseline", "bound"]
"""What a score is: a router's probability, a PRM's reward turned round, something known without either, or a limit."""


@dataclass(frozen=True, slots=True)
class Score:
    """One opinion of every step; higher means rather escalate."""

    name: str
    kind: Kind
    values: Floats
    """Shape (steps,)."""
    probability: bool = True
    """Whether a router's score is Pr(Δ > 0); else calibration error, Brier score and reliability say nothing of it."""


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Steps with scores close to each other."""

    steps: int
    score: float
    """Their mean score."""
    better: Estimate
    """Share of them in which the target is better."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How good one score is."""

    name: str
    kind: Kind
    measures: Mapping[str, Estimate]
    """By name; those of a probability for routers only. The calibration error has no interval: chance alone keeps it
    above 0, and resampling adds more of that, so a bootstrap interval lies too high."""
    captured: Mapping[float, Estimate]
    """Share of the positive advantage that is escalated, by escalation rate."""
    waste: Mapping[float, Estimate]
    """Share of the escalated steps in which the target is not better, by escalation rate."""
    bins: tuple[ReliabilityBin, ...] = ()
    """Reliability, for routers."""
    versus: Mapping[str, Mapping[str, Estimate]] = field(default_factory=dict)
    """Own measure minus that of another score, by the other's name; for routers and PRMs."""
    captured_versus: Mapping[str, Mapping[float, Estimate]] = field(default_factory=dict)
    """Own captured share minus that of another score, by its name and by rate."""


def judge(scores: Sequence[Score], advantages: Floats, groups: NDArray[np.intp]) -> list[Verdict]:
    """Measure every score, and every router and PRM against each of the others but the bounds.

    Args:
        scores: of the same steps.
        advantages: what they should rise with, shape (steps,).
        groups: index of each step's problem, from 0 without gaps.
    """
    judged = [_Judged(score, advantages, groups) for score in scores]
    contests = [
        (ours, theirs)
        for ours, score in enumerate(scores)
        for theirs, other in enumerate(scores)
        if score.kind in ("router", "prm") and other.kind != "bound" and ours != theirs
    ]
    first = len(COMPARED) + len(CURVE)

    def statistics(counts: Counts) -> Floats:
        found = [one.columns(counts) for one in judged]
        return np.hstack([*found, *(found[ours][:, :first] - found[theirs][:, :first] for ours, theirs in contests)])

    estimates = iter(bootstrap_each(statistics, int(groups.max()) + 1, resamples=RESAMPLES))
    verdicts = [one.verdict([next(estimates) for _ in range(one.width)]) for one in judged]
    for ours, theirs in contests:
        told = [next(estimates) for _ in range(first)]
        verdict, other = verdicts[ours], scores[theirs].name
        versus = {**verdict.versus, other: dict(zip(COMPARED, told, strict=False))}
        curve = {**verdict.captured_versus, other: dict(zip(CURVE, told[len(COMPARED) :], strict=True))}
        verdicts[ours] = replace(verdict, versus=versus, captured_versus=curve)
    return verdicts


def ranking_area(scores: Floats, advantages: Floats, groups: NDArray[np.intp]) -> Estimate:
    """The AUC that `judge` measures, alone; NaN where the target is better in all steps or in none.

    Args:
        scores: higher means rather escalate, shape (steps,).
        advantages: Δ of each step, shape (steps,).
        groups: index of each step's problem, from 0 without gaps.
    """
    ranking = Ranking(scores, advantages, groups)
    (found,) = bootstrap_each(
        lambda counts: ranking.under(counts).auc()[:, None], ranking.problems, resamples=RESAMPLES
    )
    return found


def direction_doubts(name: str, kind: Kind, auc: Estimate) -> tuple[str, ...]:
    """What to say of a router or PRM that is read the wrong way round: its whole interval is below chance."""
    if kind not in ("router", "prm") or auc.high is None or auc.high >= 0.5:
        return ()
    other = "a PRM? Then say --as prm" if kind == "router" else "a router? Then leave --as prm out"
    return (f"{name} ranks steps worse than chance (AUC {auc.shown('.3f')}); is it {other}",)


@final
class _Judged:
    """One score's measures as columns, those that are compared first."""

    def __init__(self, score: Score, advantages: Floats, groups: NDArray[np.intp]) -> None:
        self._score = score
        self._ranking = Ranking(score.values, advantages, groups)
        self._claims = Claims(score.values, advantages, groups) if score.kind == "router" else None
        self._rest = tuple(name for name in RANKING if name not in COMPARED)

    @property
    def width(self) -> int:
        """How many columns there are."""
        bins = 0 if self._claims is None else len(PROBABILITY) + self._claims.bin_count
        return len(COMPARED) + 2 * len(CURVE) + len(self._rest) + bins

    def columns(self, counts: Counts) -> Floats:
        """All measures, shape (k, width)."""
        reading = self._ranking.under(counts)
        parts = [getattr(reading, name)()[:, None] for name in COMPARED]
        parts += [reading.captured(CURVE), reading.wasted(CURVE)]
        parts += [getattr(reading, name)()[:, None] for name in self._rest]
        if self._claims is not None:
            parts += [value[:, None] for value in self._claims.measure(counts).values()]
            parts.append(self._claims.bins(counts)[2])
        return np.hstack(parts)

    def verdict(self, estimates: Sequence[Estimate]) -> Verdict:
        """The columns' estimates by their names."""
        told = iter(estimates)
        measures = {name: next(told) for name in COMPARED}
        captured = {rate: next(told) for rate in CURVE}
        waste = {rate: next(told) for rate in CURVE}
        measures |= {name: next(told) for name in self._rest}
        bins: tuple[ReliabilityBin, ...] = ()
        if self._claims is not None:
            measures |= {name: next(told) for name in PROBABILITY}
            measures["calibration_error"] = Estimate(measures["calibration_error"].value, None, None)
            steps, scores, _ = self._claims.bins(self._claims.everything)
            bins = tuple(ReliabilityBin(int(n), float(s), next(told)) for n, s in zip(steps[0], scores[0], strict=True))
        if not self._score.probability:
            measures = {name: one for name, one in measures.items() if name not in ("calibration_error", "brier")}
            bins = ()
        return Verdict(self._score.name, self._score.kind, measures, captured, waste, bins)
