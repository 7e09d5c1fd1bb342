"""Intervals and tests for paired comparisons: plain arithmetic on arrays; knows no rows and no strategies.

The unit of chance is the problem. Repeats of one problem are drawn together, so three greedy repeats of a hundred
problems are a hundred observations and not three hundred.

What compares two strategies is honest where the two are the same: if swapping them within problems changes nothing
about the chances, a 95 % interval excludes "no difference" in at most 5 % of runs, however few the problems and however
heavy the tails (`benchmarks/aa.py` counts it). With fewer than six problems there is no such interval, and none is
given: five problems all point the same way in 2 / 2**5 = 6 % of such runs.
"""

from __future__ import annotations

import functools
import importlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Counts = NDArray[np.int32]
"""How often each problem was drawn, shape (resamples, problems)."""
Statistic = Callable[[Counts], Floats]
"""Takes counts of shape (k, problems), gives k values."""
Statistics = Callable[[Counts], Floats]
"""Takes counts of shape (k, problems), gives values of shape (k, statistics)."""
Centre = Literal["mean", "median", "geometric"]

CONFIDENCE = 0.95
RESAMPLES = 5000
_CHUNK = 250
_ENUMERATED = 12
"""Up to so many problems all 2**n subsets are used; of more problems, random ones."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its confidence interval; both ends are None when there is too little data for one."""

    value: float
    low: float | None
    high: float | None

    def shown(self, form: str = ".3g", scale: float = 1.0) -> str:
        """The value, and its interval in brackets where there is one; each times `scale`, formatted by `form`."""
        value = f"{scale * self.value:{form}}"
        if self.low is None or self.high is None:
            return value
        return f"{value} [{scale * self.low:{form}}, {scale * self.high:{form}}]"

    def covers(self, value: float) -> bool:
        """Whether the interval contains `value`; an absent end excludes nothing."""
        return (self.low is None or self.low <= value) and (self.high is None or value <= self.high)


def wilson(share: float, n: int, confidence: float = CONFIDENCE) -> Estimate:
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
    z2 = _z(confidence) ** 2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = math.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    return Estimate(share, max(0.0, centre - half), min(1.0, centre + half))


def bootstrap(
    statistic: Statistic, problems: int, *, resamples: int = RESAMPLES, seed: int = 0, confidence: float = CONFIDENCE
) -> Estimate:
    """Expanded percentile bootstrap over problems (Hesterberg, The American Statistician 69 (2015) 371-386).

    The percentiles are moved out until the interval of a mean is as wide as Student's; plain ones are too optimistic
    with few problems. For any statistic; where two strategies are compared, `ratio` and `mean_difference` promise more.

    Args:
        statistic: computes its value from how often each problem counts; NaN where it is undefined. Every line of
            counts sums to the number of problems.
        problems: number of problems; too few (under six for 95 %) give no interval.
        resamples: bootstrap draws.
        seed: fixes the draws, so tables can be made again.
        confidence: two-sided.
    """
    (estimate,) = bootstrap_each(
        lambda counts: statistic(counts)[:, None], problems, resamples=resamples, seed=seed, confidence=confidence
    )
    return estimate


def bootstrap_each(
    statistics: Statistics, problems: int, *, resamples: int = RESAMPLES, seed: int = 0, confidence: float = CONFIDENCE
) -> list[Estimate]:
    """`bootstrap` of several statistics on the same draws: a difference of two may be one of them.

    Args:
        statistics: computes all values from how often each problem counts; NaN where one is undefined.
        problems: number of problems.
        resamples: bootstrap draws.
        seed: fixes the draws.
        confidence: two-sided.
    """
    observed = statistics(np.ones((1, problems), dtype=np.int32))[0]
    tail = (1 - confidence) / 2
    if 2.0**-problems > tail:
        return [Estimate(float(value), None, None) for value in observed]
    stats = _scipy("stats")
    expanded = float(stats.norm.cdf(math.sqrt(problems / (problems - 1)) * stats.t.ppf(tail, problems - 1)))
    columns = _evaluated(statistics, _draws(problems, resamples, seed)).T
    found = []
    for value, values in zip(observed.tolist(), columns, strict=True):
        finite = values[np.isfinite(values)]
        if not math.isfinite(value) or not len(finite):
            found.append(Estimate(value, None, None))
            continue
        low, high = np.quantile(finite, [expanded, 1 - expanded])
        found.append(Estimate(value, float(low), float(high)))
    return found


def mean_estimate(values: ArrayLike, groups: ArrayLike, *, seed: int = 0) -> Estimate:
    """Mean of `values`, resampling problems (`bootstrap`).

    Args:
        values: one number a row, shape (rows,).
        groups: index of the row's problem, shape (rows,), from 0 without gaps.
        seed: fixes the draws.
    """
    values, groups = _checked(values, groups)
    return bootstrap(functools.partial(_mean, _Grouped.of(values, groups)), int(groups.max()) + 1, seed=seed)


def mean_difference(ours: ArrayLike, theirs: ArrayLike, groups: ArrayLike, *, seed: int = 0) -> Estimate:
    """Mean of `ours - theirs` over paired rows, by subsets of problems as `ratio`; shapes as `mean_estimate`.

    Every problem counts the same, however many repeats it has. For right and wrong answers: `accuracy_difference`.
    """
    differences = _differences(ours, theirs, groups)
    grouped = _Grouped(differences, np.ones(len(differences)))
    return _typical(functools.partial(_mean, grouped), len(differences), seed)


def accuracy_difference(ours: ArrayLike, theirs: ArrayLike, groups: ArrayLike) -> Estimate:
    """Accuracy of one strategy minus that of another on the same problems: Tango's score interval, with the test.

    Tango, Statistics in Medicine 17 (1998) 891-908: good with few or no discordant problems too. Where `mcnemar` beside
    it has p >= 0.05 the interval is widened to contain 0. So it excludes 0 only where that exact test does, and equal
    strategies are told apart in at most 5 % of runs.

    With repeats a problem's difference d is a fraction, and every problem counts the same. Fractions are then measured
    in their own typical size u = sum d^2 / sum |d|: b = sum d+ / u and c = sum d- / u stand for the problems gained and
    lost, and the ends are multiplied by u. That keeps mean and variance; without fractions u is 1.

    Args:
        ours: right (1) or not (0), shape (rows,).
        theirs: the same for the other strategy, rows paired.
        groups: index of the row's problem, shape (rows,), from 0 without gaps; a single problem gives no interval.
    """
    differences = _differences(ours, theirs, groups)
    problems, value = len(differences), float(differences.mean())
    if problems < 2:
        return Estimate(value, None, None)
    size = float(np.abs(differences).sum())
    unit = float((differences**2).sum()) / size if size else 1.0
    gained, lost = (float(side.clip(0).sum()) / unit for side in (differences, -differences))
    contained = (value, 0.0) if mcnemar(ours, theirs, groups) >= 1 - CONFIDENCE else (value,)
    low = min(-unit * _tango_upper(lost, gained, problems), *contained)
    high = max(unit * _tango_upper(gained, lost, problems), *contained)
    return Estimate(value, low, high)


def ratio(
    numerator: ArrayLike, denominator: ArrayLike, groups: ArrayLike, *, of: Centre = "mean", seed: int = 0
) -> Estimate:
    """Ratio of latencies of paired rows, by subsets of problems (typical values: Hartigan, JASA 64 (1969) 1303-1317).

    The ends are order statistics of the same ratio on random subsets of the problems. For `mean` and `geometric` the
    interval consists of the ratios that the sign-flip test over problems does not reject: exact where the strategies
    are the same up to a factor, whatever the tails, and without tails as wide as Student's. For `median`, a ratio of
    two centres that pairing helps little, it is too wide rather than too narrow. Swapped sides give the reciprocals.

    Args:
        numerator: positive seconds, shape (rows,).
        denominator: positive seconds of the same problems and repeats, shape (rows,).
        groups: index of the row's problem, shape (rows,), from 0 without gaps; under six problems give no interval.
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
        return _typical(lambda counts: np.exp(_mean(logs, counts)), problems, seed)
    if of == "mean":
        one, other = _Grouped.of(above, groups), _Grouped.of(below, groups)
        return _typical(lambda counts: _mean(one, counts) / _mean(other, counts), problems, seed)
    first, second = _Sorted.of(above, groups), _Sorted.of(below, groups)
    return _typical(lambda counts: _median(first, counts) / _median(second, counts), problems, seed)


def sign_test(wins: int, losses: int) -> float:
    """Two-sided exact p-value of `wins` against `losses` under a fair coin.

    On problems that one strategy solves and the other does not this is the exact McNemar test.

    Raises:
        ValueError: a count is negative.
    """
    if wins < 0 or losses < 0:
        raise ValueError(f"counts must not be negative: {wins}, {losses}")
    if wins == losses:
        return 1.0
    return float(_scipy("stats").binomtest(wins, wins + losses).pvalue)


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


def _typical(statistic: Statistic, problems: int, seed: int) -> Estimate:
    """Value on all problems; the interval from its values on subsets.

    The sign-flip test of theta on the problems' terms e_i(theta) flips a subset S; the flipped sum is no smaller than
    the observed one exactly if sum_S e_i <= 0, that is if the statistic of S alone is at most theta. So the ends are
    order statistics of the subsets' values, the empty subset (the data as they are) counting against every theta.
    """
    value = float(statistic(np.ones((1, problems), dtype=np.int32))[0])
    subsets = _subsets(problems, seed)
    rank = math.floor((len(subsets) + 1) * (1 - CONFIDENCE) / 2)
    if rank < 1 or not math.isfinite(value):
        return Estimate(value, None, None)
    values = np.sort(_evaluated(statistic, subsets))
    return Estimate(value, float(values[rank - 1]), float(values[-rank]))


def _tango_upper(gained: float, lost: float, n: int) -> float:
    """Upper end of Tango's interval for (gained - lost) / n: where his score statistic is -z.

    The search starts a little above the observed difference: with nothing discordant the statistic is 0 / 0 there.
    """
    z = _z(CONFIDENCE)

    def excess(delta: float) -> float:
        linear = (2 * n - gained + lost) * delta - gained - lost
        rooted = math.sqrt(max(0.0, linear**2 + 8 * n * lost * delta * (1 - delta)))
        variance = (rooted - linear) / (2 * n) + delta * (1 - delta)
        return gained - lost - n * delta + z * math.sqrt(max(0.0, n * variance))

    observed = (gained - lost) / n
    if observed > 1 - 1e-9:
        return 1.0
    return float(_scipy("optimize").brentq(excess, observed + 1e-9 * (1 - observed), 1.0))


@functools.lru_cache(maxsize=2)
def _draws(problems: int, resamples: int, seed: int) -> Counts:
    rng = np.random.default_rng(np.random.SeedSequence([seed, problems, resamples]))
    counts = rng.multinomial(problems, np.full(problems, 1 / problems), size=resamples).astype(np.int32)
    counts.flags.writeable = False
    return counts


@functools.lru_cache(maxsize=2)
def _subsets(problems: int, seed: int) -> Counts:
    """Non-empty subsets of the problems, each problem in or out by a fair coin; all of them where they are few."""
    if problems <= _ENUMERATED:
        subsets = (np.arange(1, 2**problems)[:, None] >> np.arange(problems)) & 1
    else:
        rng = np.random.default_rng(np.random.SeedSequence([seed, problems]))
        drawn = rng.integers(0, 2, (RESAMPLES - 1, problems))
        subsets = drawn[drawn.any(axis=1)]
    counts: Counts = subsets.astype(np.int32)
    counts.flags.writeable = False
    return counts


def _evaluated(statistic: Statistic, counts: Counts) -> Floats:
    return np.concatenate([statistic(counts[start : start + _CHUNK]) for start in range(0, len(counts), _CHUNK)])


def _differences(ours: ArrayLike, theirs: ArrayLike, groups: ArrayLike) -> Floats:
    """Mean difference of each problem's rows, shape (problems,)."""
    ours, groups = _checked(ours, groups)
    theirs, _ = _checked(theirs, groups)
    return np.asarray(np.bincount(groups, weights=ours - theirs) / np.bincount(groups), dtype=np.float64)


def _z(confidence: float) -> float:
    return float(_scipy("stats").norm.ppf((1 + confidence) / 2))


def _scipy(module: str) -> Any:
    """A part of scipy, imported when something is to be computed: it costs a second."""
    return importlib.import_module(f"scipy.{module}")


def _checked(values: ArrayLike, groups: ArrayLike) -> tuple[Floats, NDArray[np.intp]]:
    numbers = np.asarray(values, dtype=np.float64)
    indices = np.asarray(groups, dtype=np.intp)
    if numbers.ndim != 1 or numbers.shape != indices.shape or not len(numbers):
        raise ValueError(f"need as many values as groups and at least one, not {numbers.shape} and {indices.shape}")
    return numbers, indices
