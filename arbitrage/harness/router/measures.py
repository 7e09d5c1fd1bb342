"""How good a score of steps is: does it rise with the advantage of the target's version?

Everything is computed for many weightings of the problems at once, so that a bootstrap is one call; counts of shape
(k, problems) say how often each problem counts in each of k weightings. Steps with equal scores are never told apart:
where only some of them can be escalated, the expectation over their order is taken. Knows arrays; knows no pairs, no
models and no files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from arbitrage.harness.statistics import Counts, Floats

RATES = tuple(round(0.05 * k, 2) for k in range(1, 20))
"""Escalation rates of a model card."""
CURVE = (0.01, *RATES, 0.99)
"""Escalation rates of an evaluation and of a calibration table."""
BINS = 10
"""Of the reliability diagram and the expected calibration error."""
RANKING = ("spearman", "pearson", "auc", "captured_area")
"""Measures that any score has."""
PROBABILITY = ("accuracy_label_0", "accuracy_label_1", "calibration_error", "brier", "escalated", "waste")
"""Measures of a score that claims to be Pr(Δ > 0)."""
THRESHOLD = 0.5
"""Where labels are told apart, as in the paper."""


@final
class Ranking:
    """Steps in the order of a score, highest first; monotone changes of the score leave it as it is."""

    def __init__(self, scores: ArrayLike, advantages: ArrayLike, groups: ArrayLike | None = None) -> None:
        """Sort the steps once.

        Args:
            scores: higher means rather escalate, shape (steps,).
            advantages: Δ of each step, shape (steps,).
            groups: index of the step's problem, from 0 without gaps; None: every step is a problem of its own.
        """
        score, gain = np.asarray(scores, dtype=np.float64), np.asarray(advantages, dtype=np.float64)
        group = np.arange(len(score)) if groups is None else np.asarray(groups, dtype=np.intp)
        order = np.argsort(-score, kind="stable")
        self.problems = int(group.max()) + 1
        self.groups, self.scores, self.advantages = group[order], score[order], gain[order]
        self.by_score, self.by_advantage = _Ties.of(-self.scores), _Ties.of(self.advantages)

    def under(self, counts: Counts | None = None) -> Reading:
        """What the order says when problems count as often as this; None: each of them once, as one weighting."""
        return Reading(self, np.ones((1, self.problems), dtype=np.int32) if counts is None else counts)


@final
class Reading:
    """What can be read off a ranking under some weightings of the problems."""

    def __init__(self, ranking: Ranking, counts: Counts) -> None:
        """Gather the steps by score."""
        self._ranking = ranking
        self._weights = counts[:, ranking.groups].astype(np.float64)  # (k, steps)
        by_score = ranking.by_score
        self._sizes = by_score.sums(self._weights)  # (k, different scores)
        self._positive = by_score.sums(self._weights * (ranking.advantages > 0))
        self._weighted_gains = self._weights * np.maximum(ranking.advantages, 0)
        self._gains = by_score.sums(self._weighted_gains)

    def spearman(self) -> Floats:
        """Rank correlation of score and advantage, ties at their mean rank; NaN where one of them is constant."""
        by_score, by_advantage = self._ranking.by_score, self._ranking.by_advantage
        theirs = by_advantage.ranks(by_advantage.sums(self._weights))
        return _correlation(-by_score.ranks(self._sizes), theirs, self._weights)

    def pearson(self) -> Floats:
        """Linear correlation of score and advantage."""
        return _correlation(self._ranking.scores, self._ranking.advantages, self._weights)

    def auc(self) -> Floats:
        """Chance that a step with Δ > 0 is scored above one without; equal scores count half."""
        negative = self._sizes - self._positive
        below = negative.sum(1, keepdims=True) - negative.cumsum(1) + negative / 2
        return _ratio((self._positive * below).sum(1), self._positive.sum(1) * negative.sum(1))

    def captured_area(self) -> Floats:
        """Area under the captured advantage over the rate, so that chance has 0 and the oracle 1."""
        best = self._ranking.by_advantage
        most = _area(best.sums(self._weights)[:, ::-1], best.sums(self._weighted_gains)[:, ::-1])
        return _ratio(_area(self._sizes, self._gains) - 0.5, most - 0.5)

    def captured(self, rates: Sequence[float] = RATES) -> Floats:
        """Share of all positive advantage that is escalated at each rate, highest scores first, shape (k, rates)."""
        upto, escalated = self._upto(self._gains, rates)
        return _ratio(upto, np.broadcast_to(self._gains.sum(1, keepdims=True), escalated.shape))

    def wasted(self, rates: Sequence[float] = RATES) -> Floats:
        """Share of the escalated steps in which the target is not better, at each rate, shape (k, rates)."""
        return _ratio(*self._upto(self._sizes - self._positive, rates))

    def _upto(self, amounts: Floats, rates: Sequence[float]) -> tuple[Floats, Floats]:
        """What the first whole steps at each rate hold of `amounts`, and how many steps these are: both (k, rates)."""
        sizes = np.pad(self._sizes.cumsum(1), ((0, 0), (1, 0)))
        sums = np.pad(amounts.cumsum(1), ((0, 0), (1, 0)))
        escalated = np.rint(np.asarray(rates) * sizes[:, -1:])
        read = [np.interp(*line) for line in zip(escalated, sizes, sums, strict=True)]
        return np.array(read), escalated


@final
class Claims:
    """A score that is read as Pr(Δ > 0), held against what came."""

    def __init__(self, scores: ArrayLike, advantages: ArrayLike, groups: ArrayLike | None = None) -> None:
        """Add up every problem once; arguments as `Ranking`."""
        score, better = np.asarray(scores, dtype=np.float64), np.asarray(advantages, dtype=np.float64) > 0
        group = np.arange(len(score)) if groups is None else np.asarray(groups, dtype=np.intp)
        high = score > THRESHOLD
        bin_of = equally_filled(score)
        self.bin_count = int(bin_of.max()) + 1
        inside = bin_of[:, None] == np.arange(self.bin_count)  # (steps, bins)
        parts = [better, ~better, better & high, ~better & ~high, (score - better) ** 2, high, high & ~better]
        steps = np.column_stack([*parts, inside, inside * score[:, None], inside * better[:, None]]).astype(np.float64)
        self._sums = np.zeros((int(group.max()) + 1, steps.shape[1]))
        np.add.at(self._sums, group, steps)

    @property
    def everything(self) -> Counts:
        """Each problem once."""
        return np.ones((1, len(self._sums)), dtype=np.int32)

    def measure(self, counts: Counts) -> dict[str, Floats]:
        """Every one of `PROBABILITY`, each of shape (k,).

        Accuracies, `escalated` (share of steps) and `waste` (share of these with Δ ≤ 0) at τ = 0.5.
        """
        one, zero, right_one, right_zero, squared, high, wasted = self._totals(counts).T[:7]
        steps, told, came = self._binned(counts)
        return {
            "accuracy_label_0": _ratio(right_zero, zero),
            "accuracy_label_1": _ratio(right_one, one),
            "calibration_error": np.abs(told - came).sum(1) / steps.sum(1),
            "brier": squared / (one + zero),
            "escalated": high / (one + zero),
            "waste": _ratio(wasted, high),
        }

    def bins(self, counts: Counts) -> tuple[Floats, Floats, Floats]:
        """Steps, mean score and share of Δ > 0 of each bin of the score, each of shape (k, bins)."""
        steps, told, came = self._binned(counts)
        return steps, _ratio(told, steps), _ratio(came, steps)

    def _binned(self, counts: Counts) -> tuple[Floats, Floats, Floats]:
        steps, told, came = np.split(self._totals(counts)[:, 7:], 3, axis=1)
        return steps, told, came

    def _totals(self, counts: Counts) -> Floats:
        return counts.astype(np.float64) @ self._sums


def equally_filled(scores: ArrayLike, bins: int = BINS) -> NDArray[np.intp]:
    """Bin of each score, from 0 without gaps: equally many in each, but equal scores always together."""
    score = np.asarray(scores, dtype=np.float64)
    order = np.argsort(score, kind="stable")
    places = np.repeat(np.arange(bins), [len(part) for part in np.array_split(order, bins)])
    first = np.searchsorted(score[order], score, side="left")
    _, bin_of = np.unique(places[first], return_inverse=True)
    return np.asarray(bin_of, dtype=np.intp)


def auc(scores: ArrayLike, labels: ArrayLike) -> float:
    """Chance that a positive is scored above a negative (ties count half)."""
    return float(Ranking(scores, np.asarray(labels, dtype=np.float64)).under().auc()[0])


def router_report(scores: ArrayLike, advantages: ArrayLike) -> dict[str, object]:
    """What a score says that should be Pr(Δ > 0), rounded for a model card."""
    claims = Claims(scores, advantages)
    told = {name: _rounded(value) for name, value in claims.measure(claims.everything).items()}
    ranking = ranking_report(scores, advantages)
    captured = ranking.pop("captured_advantage")
    kept = {name: told[name] for name in ("accuracy_label_0", "accuracy_label_1", "calibration_error")}
    return {**ranking, **kept, "waste_at_0.5": told["waste"], "captured_advantage": captured}


def ranking_report(scores: ArrayLike, advantages: ArrayLike) -> dict[str, object]:
    """The measures that need no probability: for baselines such as −s_d and draft confidence."""
    reading = Ranking(scores, advantages).under()
    return {
        "spearman": _rounded(reading.spearman()),
        "auc": _rounded(reading.auc()),
        "captured_advantage": {
            str(rate): _rounded(share) for rate, share in zip(RATES, reading.captured().T, strict=True)
        },
    }


def _rounded(value: Floats) -> float | None:
    """None where it is not defined, as the waste of no escalation."""
    return None if np.isnan(value[0]) else round(float(value[0]), 4)


@dataclass(frozen=True, slots=True)
class _Ties:
    """Equal values among sorted or unsorted ones: steps gathered by value, in rising order."""

    order: NDArray[np.intp] | None
    """Places of the steps in rising order; None where they stand in it."""
    starts: NDArray[np.intp]
    """Where each value begins in that order."""
    place: NDArray[np.intp]
    """Which value each step has."""

    @classmethod
    def of(cls, values: Floats) -> _Ties:
        order = np.argsort(values, kind="stable")
        ordered = values[order]
        new = np.concatenate([[True], ordered[1:] != ordered[:-1]])
        place = np.empty(len(values), dtype=np.intp)
        place[order] = np.cumsum(new) - 1
        return cls(None if np.all(order[1:] > order[:-1]) else order, np.flatnonzero(new), place)

    def sums(self, amounts: Floats) -> Floats:
        """Sum of the steps of each value, shape (k, values)."""
        ordered = amounts if self.order is None else amounts[:, self.order]
        if len(self.starts) == ordered.shape[1]:  # every value stands alone
            return ordered
        return np.asarray(np.add.reduceat(ordered, self.starts, axis=1), dtype=np.float64)

    def ranks(self, sizes: Floats) -> Floats:
        """Mean rank of each step, shape (k, steps); `sizes` are the summed weights of each value."""
        middle = sizes.cumsum(1) - (sizes - 1) / 2
        return np.asarray(middle[:, self.place])


def _area(sizes: Floats, gains: Floats) -> Floats:
    """Area under the share of gains over the share of steps, straight between blocks."""
    heights = gains.cumsum(1) - gains / 2
    return _ratio((sizes * heights).sum(1), sizes.sum(1) * gains.sum(1))


def _correlation(x: Floats, y: Floats, weights: Floats) -> Floats:
    total = weights.sum(1, keepdims=True)
    dx = x - (weights * x).sum(1, keepdims=True) / total
    dy = y - (weights * y).sum(1, keepdims=True) / total
    weighted = weights * dx
    together = np.einsum("ij,ij->i", weighted, dy)
    spread = np.einsum("ij,ij->i", weighted, dx), np.einsum("ij,ij,ij->i", weights, dy, dy)
    # What rounding leaves of a constant is no spread.
    real = [part > 1e-28 * total[:, 0] * np.abs(one).max() ** 2 for part, one in zip(spread, (x, y), strict=True)]
    both: Floats = np.where(real[0] & real[1], np.sqrt(spread[0] * spread[1]), 0.0)
    return _ratio(together, both)


def _ratio(above: Floats, below: Floats) -> Floats:
    """NaN where there is nothing to divide by."""
    found: Floats = np.divide(above, below, out=np.full(np.shape(below), np.nan), where=np.asarray(below) > 0)
    return found
