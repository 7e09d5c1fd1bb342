"""Intervals and tests for paired comparisons: plain arithmetic on arrays; knows no rows and no strategies.

The unit of chance is the problem. Repeats of one problem are drawn together, so three greedy repeats of a hundred
problems are a hundred observations and not three hundred.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Counts = NDArray[np.int32]
"""How often each problem was drawn, shape (resamples, problems); every line sums to the number of problems."""
Statistic = Callable[[Counts], Floats]
"""Takes counts of shape (k, problems), gives k values."""
Centre = Literal["mean", "median", "geometric"]

RESAMPLES = 5000
_CHUNK = 250


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its confidence interval; both ends are None when there is too little data for one."""

    value: float
    low: float | None
    high: float | None

    def covers(self, value: float) -> bool:
        """Whether the interval contains `value`; an absent end excludes nothing."""
        return (self.low is None or self.low <= value) and (self.high is None or value <= self.high)


def wilson(share: float, n: int, confidence: float = 0.95) -> Estimate:
    """Wilson's score interval for a share of `n` independent trials (Wilson, JASA 1927).

    Args:
        share: observed share in [0, 1]; need not be a multiple of 1/n (mean over repeats).
        n: trials, that is problems.
        confidence: two-sided.

    Raises:
        ValueError: `n` is negative or `share` is outside [0, 1].
    """
    if n < 0 or not 0 <= share <= 1:
        raise ValueError(f"need n >= 0 and a share in [0, 1], not n={n}, share={share}")
    if n == 0:
        return Estimate(share, None, None)
    z2 = NormalDist().inv_cdf((1 + confidence) / 2) ** 2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = math.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    return Estimate(share, max(0.0, centre - half), min(1.0, centre + half))


def bootstrap(
    statistic: Statistic, problems: int, *, resamples: int = RESAMPLES, seed: int = 0, confidence: float = 0.95
) -> Estimate:
    """Percentile bootstrap over problems (Efron and Tibshirani 1993, chapter 13).

    Args:
        statistic: computes its value from how often each problem counts; NaN where it is undefined.
        problems: number of problems; fewer than two give no interval.
        resamples: bootstrap draws.
        seed: fixes the draws, so tables can be made again.
        confidence: two-sided.
    """
    value = float(statistic(np.ones((1, problems), dtype=np.int32))[0])
    if problems < 2 or not math.isfinite(value):
        return Estimate(value, None, None)
    drawn = _draws(problems, resamples, seed)
    values = np.concatenate([statistic(drawn[start : start + _CHUNK]) for start in range(0, resamples, _CHUNK)])
    values = values[np.isfinite(values)]
    tail = (1 - confidence) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return Estimate(value, float(low), float(high))


@functools.lru_cache(maxsize=2)
def _draws(problems: int, resamples: int, seed: int) -> Counts:
    rng = np.random.default_rng(np.random.SeedSequence([seed, problems, resamples]))
    counts = rng.multinomial(problems, np.full(problems, 1 / problems), size=resamples).astype(np.int32)
    counts.flags.writeable = False
    return counts


def mean_estimate(values: ArrayLike, groups: ArrayLike, *, seed: int = 0) -> Estimate:
    """Mean of `values`, resampling problems.

    Args:
        values: one number a row, shape (rows,).
        groups: index of the row's problem, shape (rows,), from 0 without gaps.
        seed: fixes the draws.
    """
    values, groups = _checked(values, groups)
    return bootstrap(functools.partial(_mean, _Grouped.of(values, groups)), int(groups.max()) + 1, seed=seed)


def mean_difference(ours: ArrayLike, theirs: ArrayLike, groups: ArrayLike, *, seed: int = 0) -> Estimate:
    """Mean of `ours - theirs` over paired rows, resampling problems (paired bootstrap); shapes as `mean_estimate`.

    For accuracy every problem counts the same, however many repeats it has.
    """
    ours, groups = _checked(ours, groups)
    theirs, _ = _checked(theirs, groups)
    sizes = np.bincount(groups).astype(np.float64)
    differences: Floats = np.bincount(groups, weights=ours - theirs) / sizes
    grouped = _Grouped(differences, np.ones(len(differences)))
    return bootstrap(functools.partial(_mean, grouped), len(sizes), seed=seed)


def ratio(
    numerator: ArrayLike, denominator: ArrayLike, groups: ArrayLike, *, of: Centre = "mean", seed: int = 0
) -> Estimate:
    """Ratio of latencies of paired rows, resampling problems (paired bootstrap).

    Args:
        numerator: positive seconds, shape (rows,).
        denominator: positive seconds of the same problems and repeats, shape (rows,).
        groups: index of the row's problem, shape (rows,), from 0 without gaps.
        of: `mean` or `median`: the ratio of the two means or medians; `geometric`: the geometric mean of the rows'
            own ratios.
        seed: fixes the draws.

    Raises:
        ValueError: shapes differ, there are no rows, or a number is not positive.
    """
    above, groups = _checked(numerator, groups)
    below, _ = _checked(denominator, groups)
    if not (np.all(above > 0) and np.all(below > 0)):
        raise ValueError("latencies must be positive to have a ratio")
    problems = int(groups.max()) + 1
    if of == "geometric":
        logs = _Grouped.of(np.log(above) - np.log(below), groups)
        return bootstrap(lambda counts: np.exp(_mean(logs, counts)), problems, seed=seed)
    if of == "mean":
        one, other = _Grouped.of(above, groups), _Grouped.of(below, groups)
        return bootstrap(lambda counts: _mean(one, counts) / _mean(other, counts), problems, seed=seed)
    first, second = _Sorted.of(above, groups), _Sorted.of(below, groups)
    return bootstrap(lambda counts: _median(first, counts) / _median(second, counts), problems, seed=seed)


def sign_test(wins: int, losses: int) -> float:
    """Two-sided exact p-value of `wins` against `losses` under a fair coin.

    On problems that one strategy solves and the other does not this is the exact McNemar test.

    Raises:
        ValueError: a count is negative.
    """
    if wins < 0 or losses < 0:
        raise ValueError(f"counts must not be negative: {wins}, {losses}")
    n = wins + losses
    tail = sum(math.comb(n, k) for k in range(min(wins, losses) + 1))
    return float(min(1.0, 2 * tail / (1 << n)))


def mcnemar(ours: ArrayLike, theirs: ArrayLike, groups: ArrayLike) -> float:
    """Exact McNemar test: p-value for both strategies being equally often right.

    With repeats a problem counts for the strategy that was right in more of them (sign test over problems).

    Args:
        ours: right (1) or not (0), shape (rows,).
        theirs: the same for the other strategy, rows paired.
        groups: index of the row's problem, shape (rows,), from 0 without gaps.
    """
    ours, groups = _checked(ours, groups)
    theirs, _ = _checked(theirs, groups)
    balance = np.bincount(groups, weights=ours - theirs)
    return sign_test(int(np.sum(balance > 0.5)), int(np.sum(balance < -0.5)))


def break_even_escalation(
    draft_s_per_token: float, target_s_per_token: float, router_s_per_step: float, tokens_per_step: float
) -> float:
    """Escalation rate below which step routing beats target-only: 1 - d/t - r/(L t).

    Args:
        draft_s_per_token: d.
        target_s_per_token: t.
        router_s_per_step: r, the time one decision takes.
        tokens_per_step: L.

    Returns:
        At most 1; negative when routing cannot pay at any rate.

    Raises:
        ValueError: a time is negative, or t or L is not positive.
    """
    if draft_s_per_token < 0 or router_s_per_step < 0 or target_s_per_token <= 0 or tokens_per_step <= 0:
        raise ValueError("times must not be negative; target time and step length must be positive")
    return 1 - draft_s_per_token / target_s_per_token - router_s_per_step / (tokens_per_step * target_s_per_token)


@dataclass(frozen=True, slots=True)
class _Grouped:
    sums: Floats
    sizes: Floats

    @classmethod
    def of(cls, values: Floats, groups: NDArray[np.intp]) -> _Grouped:
        sums: Floats = np.bincount(groups, weights=values).astype(np.float64)
        return cls(sums, np.bincount(groups).astype(np.float64))


@dataclass(frozen=True, slots=True)
class _Sorted:
    values: Floats
    groups: NDArray[np.intp]

    @classmethod
    def of(cls, values: Floats, groups: NDArray[np.intp]) -> _Sorted:
        order = np.argsort(values, kind="stable")
        return cls(values[order], groups[order])


def _mean(grouped: _Grouped, counts: Counts) -> Floats:
    weights = counts.astype(np.float64)
    return np.asarray((weights @ grouped.sums) / (weights @ grouped.sizes), dtype=np.float64)


def _median(ordered: _Sorted, counts: Counts) -> Floats:
    """Median of the rows, each as often as its problem was drawn."""
    upto = np.cumsum(counts[:, ordered.groups], axis=1)  # (k, rows)
    total = upto[:, -1:]
    lower = (upto <= (total - 1) // 2).sum(axis=1)
    upper = (upto <= total // 2).sum(axis=1)
    return np.asarray((ordered.values[lower] + ordered.values[upper]) / 2, dtype=np.float64)


def _checked(values: ArrayLike, groups: ArrayLike) -> tuple[Floats, NDArray[np.intp]]:
    numbers = np.asarray(values, dtype=np.float64)
    indices = np.asarray(groups, dtype=np.intp)
    if numbers.ndim != 1 or numbers.shape != indices.shape or not len(numbers):
        raise ValueError(f"need as many values as groups and at least one, not {numbers.shape} and {indices.shape}")
    return numbers, indices
