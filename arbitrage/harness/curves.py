"""Routing methods swept over escalation rates: one curve each, and what can be read off between them.

Between two neighbouring rates a curve is a straight line: solving each problem at one of the two rates by the toss of a
coin gives the points on it. All quantities of one resample of the problems are computed together, so that what two
curves share (the same problems, the same machine) cancels in their difference. Intervals are 95 %.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import pairwise
from math import isfinite
from typing import Literal, final

import numpy as np
from numpy.typing import NDArray

from arbitrage.harness.comparison import BASELINE, BOUNDS, Comparison
from arbitrage.harness.results import BenchmarkResult
from arbitrage.harness.rows import Row
from arbitrage.harness.statistics import Counts, Estimate, bootstrap
from arbitrage.types import StepRecord

Floats = NDArray[np.float64]

BELOW = (0.0, 0.01, 0.02, 0.05)
"""Accuracies at which latencies are compared: target-only's, less these."""
ACCEPTANCES = (0.5, 0.6, 0.7, 0.8, 0.9)
"""Acceptance rates at which accuracies are compared."""
_GRID = np.linspace(0, 1, 101)
_UNREACHED = 0.05
"""Share of resamples that may miss an accuracy before its interval is withheld."""


@dataclass(frozen=True, slots=True)
class Point:
    """One method at one escalation rate."""

    label: str
    rate: float
    """The rate that was asked for."""
    escalation_rate: float | None
    """The rate that came out."""
    acceptance_rate: float | None
    accuracy: Estimate
    latency_s: Estimate
    """Mean over problems."""
    wasted_share: float | None
    """Escalated steps whose target version was rewarded no better, over those with both rewards known."""


@dataclass(frozen=True, slots=True)
class Curve:
    """One method at all its rates, in their order."""

    name: str
    points: tuple[Point, ...]


Unit = Literal["times", "points", "share"]
Kind = Literal["latency", "machine"]
"""Seconds from a row's start to its end, or those that fall to it where several are in work at once."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One quantity that two curves, or a curve and a point, differ in."""

    quantity: str
    """What was read, in words."""
    at: str
    """Where."""
    curve: str
    reference: str
    unit: Unit
    """A ratio, a difference of accuracies as shares of 1, or a share."""
    estimate: Estimate


@final
class Sweep:
    """The curves of one run."""

    def __init__(self, comparison: Comparison) -> None:
        """Find the methods that were run at two or more rates."""
        self._comparison = comparison
        self._labels = [label for label, result in comparison.items() if any(not row.failed for row in result.rows)]
        groups: dict[tuple[str, str], dict[float, str]] = {}
        for label in self._labels:
            result = comparison[label]
            rate = result.description.get("rate")
            if isinstance(rate, int | float):
                rest = {key: value for key, value in result.description.items() if key not in ("rate", "threshold")}
                # Labels of one rate are the same point: the first stands for them.
                groups.setdefault((result.name, repr(sorted(rest.items()))), {}).setdefault(float(rate), label)
        kept = [(name, dict(sorted(points.items()))) for (name, _), points in groups.items() if len(points) > 1]
        names = [name for name, _ in kept]
        self._members = {
            name if names.count(name) == 1 else f"{name} #{names[:place].count(name) + 1}": list(points.values())
            for place, (name, points) in enumerate(kept)
        }

    def __bool__(self) -> bool:
        return bool(self._members)

    @cached_property
    def _world(self) -> _World:
        return _World([self._comparison[label] for label in self._labels])

    @cached_property
    def curves(self) -> tuple[Curve, ...]:
        """One for each method, with every point's intervals."""
        return tuple(Curve(name, tuple(map(self._point, labels))) for name, labels in self._members.items())

    @cached_property
    def readings(self) -> tuple[Reading, ...]:
        """Everything that the table shows, in its order; empty without curves."""
        found = [*self._speed_ups(), *self._accuracies(), *self._mean_gaps(), *self._recovered()] if self else []
        return tuple(reading for reading in found if isfinite(reading.estimate.value))

    def _rate(self, label: str) -> float:
        rate = self._comparison[label].description["rate"]
        assert isinstance(rate, int | float)
        return float(rate)

    def _point(self, label: str) -> Point:
        result, index = self._comparison[label], self._index(label)
        accuracy, latency = result.accuracy_interval, self._estimate(lambda seen: seen.latency[:, index])
        assert accuracy is not None
        return Point(
            label,
            self._rate(label),
            result.escalation_rate,
            result.acceptance_rate,
            accuracy,
            latency,
            result.wasted_share,
        )

    def _index(self, label: str) -> int:
        return self._labels.index(label)

    def _named(self, name: str) -> int | None:
        """Place of a strategy that was run once."""
        return next((k for k, label in enumerate(self._labels) if self._comparison[label].name == name), None)

    def _pairs(self) -> list[tuple[str, str]]:
        """Each curve against those of simpler methods: what was named later is compared with what was named before."""
        names = list(self._members)
        order = sorted(names, key=lambda name: (name == "random-route", -names.index(name)))
        return [(one, other) for place, one in enumerate(order) for other in order[place + 1 :]]

    def _places(self, name: str) -> list[int]:
        """Places of a curve's points."""
        return [self._index(label) for label in self._members[name]]

    def _speed_ups(self) -> list[Reading]:
        """Seconds of the reference over the curve's where both are as accurate: of latency, then of the machine."""
        swept = {label for labels in self._members.values() for label in labels}
        beside = (*BOUNDS, "draft-only")
        singles = [
            (label, [k])
            for k, label in enumerate(self._labels)
            if label not in swept and self._comparison[label].name not in beside
        ]
        pairs = [(name, other, self._places(name), self._places(other)) for name, other in self._pairs()]
        pairs += [(name, label, self._places(name), single) for name in self._members for label, single in singles]
        kinds: list[tuple[str, Kind]] = [("speed-up at matched accuracy", "latency")]
        if self._comparison.concurrency > 1:
            kinds.append(("throughput ratio at matched accuracy", "machine"))
        found = []
        for quantity, kind in kinds:
            for name, other, ours, theirs in pairs:
                for words, level in self._levels(ours, theirs):
                    estimate = self._speed_up(ours, theirs, level, kind)
                    found.append(Reading(quantity, words, name, other, "times", estimate))
        return found

    def _levels(self, ours: list[int], theirs: list[int]) -> list[tuple[str, Level]]:
        """Accuracies to compare at, each a function of what a resample shows."""

        def highest(seen: _Seen) -> Floats:
            both: Floats = np.minimum(seen.accuracy[:, ours].max(axis=1), seen.accuracy[:, theirs].max(axis=1))
            return both

        target = self._named(BASELINE)
        levels: list[tuple[str, Level]] = [("the highest that both reach", highest)]
        if target is not None:
            for below in BELOW:
                words = f"{100 * below:g} points below target-only" if below else "target-only's accuracy"
                levels.append((words, partial(_less, target, below)))
        return levels

    def _speed_up(self, ours: list[int], theirs: list[int], level: Level, kind: Kind) -> Estimate:
        def ratio(seen: _Seen) -> Floats:
            wanted = level(seen)
            return seen.seconds_at(wanted, theirs, kind) / seen.seconds_at(wanted, ours, kind)

        return self._estimate(ratio)

    def _accuracies(self) -> list[Reading]:
        """Accuracy of the curve minus the reference's where both accept as many steps."""
        return [
            Reading(
                "accuracy difference at matched acceptance",
                f"acceptance {rate:.0%}",
                name,
                other,
                "points",
                self._estimate(partial(_gap, self._places(name), self._places(other), rate)),
            )
            for name, other in self._pairs()
            for rate in ACCEPTANCES
        ]

    def _mean_gaps(self) -> list[Reading]:
        """Mean of that difference over all acceptance rates that both curves have."""
        return [
            Reading(
                "mean accuracy gap",
                "all common acceptance rates",
                name,
                other,
                "points",
                self._estimate(partial(_mean_gap, self._places(name), self._places(other))),
            )
            for name, other in self._pairs()
        ]

    def _recovered(self) -> list[Reading]:
        """Share of the oracle's gain over the draft that a curve has at the oracle's acceptance rate."""
        oracle, draft = self._named("arbitrage-oracle"), self._named("draft-only")
        if oracle is None or draft is None:
            return []
        return [
            Reading(
                "share of the oracle's gain over draft-only",
                "the oracle's acceptance rate",
                name,
                self._labels[oracle],
                "share",
                self._estimate(partial(_recovered, self._places(name), oracle, draft)),
            )
            for name in self._members
        ]

    def _estimate(self, of: Callable[[_Seen], Floats]) -> Estimate:
        missed: list[Floats] = []

        def statistic(counts: Counts) -> Floats:
            values = of(self._world.seen(counts))
            missed.append(~np.isfinite(values))
            return values

        estimate = bootstrap(statistic, self._world.problems)
        if estimate.low is None or estimate.low == estimate.high:  # no width: too few problems tell the two apart
            return Estimate(estimate.value, None, None)
        if float(np.concatenate(missed[1:]).mean()) > _UNREACHED:
            return Estimate(estimate.value, None, None)
        return estimate


@dataclass(frozen=True, slots=True)
class _Seen:
    """What some resamples of the problems show, each array of shape (resamples, strategies)."""

    accuracy: Floats
    latency: Floats
    """Mean seconds."""
    machine: Floats
    """Mean seconds of the machine: the same unless several problems were solved at once."""
    acceptance: Floats

    def seconds_at(self, accuracy: Floats, members: list[int], kind: Kind) -> Floats:
        """Seconds of the curve through `members` at the lowest rate that is this accurate; NaN where none is.

        The place is found by accuracy alone: the least seconds of all places that are accurate enough would be those of
        the luckiest of many noisy rates.
        """
        accuracies, seconds = (
            self.accuracy[:, members],
            (self.latency if kind == "latency" else self.machine)[:, members],
        )
        reached = accuracies >= accuracy[:, None] - 1e-12
        first = reached.argmax(axis=1)
        lines, before = np.arange(len(first)), np.maximum(first - 1, 0)
        low, high = accuracies[lines, before], accuracies[lines, first]
        with np.errstate(divide="ignore", invalid="ignore"):
            part = np.where(first > 0, np.clip((accuracy - low) / (high - low), 0, 1), 1.0)
        found = seconds[lines, before] + part * (seconds[lines, first] - seconds[lines, before])
        return np.where(reached.any(axis=1), found, np.nan)

    def accuracy_at(self, acceptance: Floats, members: list[int]) -> Floats:
        """Accuracy of the curve through `members` at this acceptance rate; NaN outside of its rates."""
        found: Floats = np.full(len(acceptance), np.nan)
        for left, right in pairwise(members):
            one, other = self.acceptance[:, left], self.acceptance[:, right]
            inside = (np.minimum(one, other) <= acceptance) & (acceptance <= np.maximum(one, other))
            with np.errstate(divide="ignore", invalid="ignore"):
                part = np.where(one == other, 0.5, (acceptance - one) / (other - one))
            between = self.accuracy[:, left] + part * (self.accuracy[:, right] - self.accuracy[:, left])
            found = np.where(inside & np.isnan(found), between, found)
        return found


Level = Callable[[_Seen], Floats]
"""An accuracy for each resample."""


def _less(strategy: int, below: float, seen: _Seen) -> Floats:
    return seen.accuracy[:, strategy] - below


def _gap(ours: list[int], theirs: list[int], rate: float, seen: _Seen) -> Floats:
    at: Floats = np.full(len(seen.accuracy), rate)
    return seen.accuracy_at(at, ours) - seen.accuracy_at(at, theirs)


def _mean_gap(ours: list[int], theirs: list[int], seen: _Seen) -> Floats:
    gaps = np.stack([_gap(ours, theirs, float(rate), seen) for rate in _GRID])
    known = np.isfinite(gaps)
    count = known.sum(axis=0)
    total = np.where(known, gaps, 0.0).sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _recovered(members: list[int], oracle: int, draft: int, seen: _Seen) -> Floats:
    floor = seen.accuracy[:, draft]
    gain = seen.accuracy[:, oracle] - floor
    with np.errstate(divide="ignore", invalid="ignore"):
        share = (seen.accuracy_at(seen.acceptance[:, oracle], members) - floor) / gain
    return np.where(gain > 0, share, np.nan)


class _World:
    """Accuracy, seconds and accepted steps of every strategy on every problem.

    Seconds count only on problems that every strategy solved, so that failing on slow ones makes nobody fast.
    """

    def __init__(self, results: Sequence[BenchmarkResult]) -> None:
        ids = dict.fromkeys(row.problem_id for result in results for row in result.rows)
        places = {problem: place for place, problem in enumerate(ids)}
        self.problems = len(places)
        empty: Floats = np.zeros((7, len(results), len(places)))
        self._right, self._seconds, self._machine, self._accepted, self._rows, self._solved, self._steps = empty
        for k, result in enumerate(results):
            for row in result.rows:
                at = k, places[row.problem_id]
                self._right[at] += row.correct
                self._rows[at] += 1
                if not row.failed:
                    self._seconds[at] += row.latency_s
                    self._machine[at] += row.machine_s
                    self._solved[at] += 1
                accepted, steps = _accepted(row)
                self._accepted[at] += accepted
                self._steps[at] += steps
        self._solved *= (self._solved > 0).all(axis=0)  # seconds are compared where all have some
        self._seconds *= self._solved > 0
        self._machine *= self._solved > 0
        with np.errstate(divide="ignore", invalid="ignore"):
            self._right = np.where(self._rows > 0, self._right / self._rows, 0.0)
        self._known = (self._rows > 0).astype(np.float64)

    def seen(self, counts: Counts) -> _Seen:
        weights = counts.astype(np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            return _Seen(
                accuracy=(weights @ self._right.T) / (weights @ self._known.T),
                latency=(weights @ self._seconds.T) / (weights @ self._solved.T),
                machine=(weights @ self._machine.T) / (weights @ self._solved.T),
                acceptance=(weights @ self._accepted.T) / (weights @ self._steps.T),
            )


def _accepted(row: Row) -> tuple[int, int]:
    steps: Sequence[StepRecord] = row.steps
    return sum(step.author == "draft" for step in steps), len(steps)
