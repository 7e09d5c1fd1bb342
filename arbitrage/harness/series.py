"""What the charts show, as plain data: for the page and for papers alike. Draws nothing.

Accuracies, latencies and rates are those of `BenchmarkResult`. A bound has no place on an axis of time, because its
latency is not a method's.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from arbitrage.harness.comparison import BASELINE, BOUNDS, Comparison
from arbitrage.harness.results import COMPONENTS, BenchmarkResult
from arbitrage.harness.rows import Row
from arbitrage.harness.statistics import Estimate, wilson
from arbitrage.types import StepRecord

AUTHOR_COLOURS = {"draft": "#0072B2", "target": "#D55E00"}
"""Who wrote a step. All colours are of Okabe and Ito (2008): distinct for colour-blind readers."""
NEUTRAL = "#8A8A8A"
COMPONENT_COLOURS = {**AUTHOR_COLOURS, "prm": "#009E73", "router": "#CC79A7", "overhead": NEUTRAL}
OVERHEAD = "overhead"
FEW = 5
"""A position in the solution that fewer problems reach is left out of its chart."""
BINS = 10

DRAFT_ONLY = "draft-only"
_BY_NAME = {BASELINE: AUTHOR_COLOURS["target"], DRAFT_ONLY: AUTHOR_COLOURS["draft"], **dict.fromkeys(BOUNDS, NEUTRAL)}
_OTHERS = ("#009E73", "#CC79A7", "#E69F00", "#56B4E9")

Attribute = Literal["level", "subject"]


@dataclass(frozen=True, slots=True)
class Style:
    """How a strategy is told from the others in every chart."""

    colour: str
    """The same for all strategies of one registered name."""
    variant: int
    """Which of those of this colour, from 0: a marker and a dash pattern."""


@dataclass(frozen=True, slots=True)
class LatencyPoint:
    """One method: accuracy over mean latency."""

    label: str
    latency_s: Estimate
    accuracy: Estimate
    on_frontier: bool
    """No other method is as accurate and faster, or as fast and more accurate."""


@dataclass(frozen=True, slots=True)
class AcceptancePoint:
    """One setting of a step strategy: accuracy over the share of steps that the draft wrote."""

    label: str
    acceptance: float
    accuracy: Estimate


@dataclass(frozen=True, slots=True)
class PositionPoint:
    """Acceptance at one position in the solution."""

    index: int
    accepted: Estimate
    problems: int


@dataclass(frozen=True, slots=True)
class GroupPoint:
    """One strategy on the problems of one level or subject."""

    group: str
    accuracy: Estimate
    acceptance: float | None
    problems: int


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """Steps with similar router scores."""

    score: float
    """Mean router score."""
    better: Estimate
    """Share of the steps whose target version was rewarded higher; the interval takes steps as independent."""
    steps: int


@dataclass(frozen=True, slots=True)
class Calibration:
    """The router of one strategy against what the rewards say."""

    label: str
    bins: tuple[CalibrationBin, ...]
    ece: float
    """Expected calibration error: mean distance of score and share, each bin weighted by its steps."""
    steps: int


def styles(comparison: Comparison) -> dict[str, Style]:
    """Colour and variant by label: target-only and draft-only have their author's colour, bounds none."""
    names = [result.name for result in comparison.values()]
    others = list(dict.fromkeys(name for name in names if name not in _BY_NAME))
    by_name = _BY_NAME | {name: _OTHERS[index % len(_OTHERS)] for index, name in enumerate(others)}
    colours = [by_name[name] for name in names]
    return {
        label: Style(colour, colours[:index].count(colour))
        for index, (label, colour) in enumerate(zip(comparison, colours, strict=True))
    }


def latency_points(comparison: Comparison) -> list[LatencyPoint]:
    """Every method that has a latency, in the order of the table."""
    timed = [
        (result.strategy, latency, accuracy)
        for result in _methods(comparison)
        if (latency := result.latency_interval) is not None and (accuracy := result.accuracy_interval) is not None
    ]
    return [
        LatencyPoint(
            label,
            latency,
            accuracy,
            not any(_dominates(other, (latency.value, accuracy.value)) for other in _places(timed)),
        )
        for label, latency, accuracy in timed
    ]


def bounds(comparison: Comparison) -> dict[str, float]:
    """Accuracy of the bounds, by label."""
    return {
        label: result.accuracy
        for label, result in comparison.items()
        if result.name in BOUNDS and result.accuracy is not None
    }


def acceptance_curves(comparison: Comparison) -> dict[str, list[AcceptancePoint]]:
    """The settings of each step strategy by registered name, ordered by acceptance."""
    curves: dict[str, list[AcceptancePoint]] = {}
    for label, result in _routed(comparison):
        rate, accuracy = result.acceptance_rate, result.accuracy_interval
        if rate is not None and accuracy is not None:
            curves.setdefault(result.name, []).append(AcceptancePoint(label, rate, accuracy))
    return {name: sorted(points, key=lambda point: point.acceptance) for name, points in curves.items()}


def time_split(comparison: Comparison) -> dict[str, dict[str, float]]:
    """Mean seconds per problem by component, of every method; they add up to its mean latency."""
    split = {}
    for result in _methods(comparison):
        mean, overhead = result.latency.mean_s, result.overhead_share
        if mean is None or overhead is None:
            continue
        seconds = {name: share * mean for name, share in result.time_shares.items()}
        split[result.strategy] = {**seconds, OVERHEAD: max(overhead, 0.0) * mean}
    return split


def components(split: Mapping[str, Mapping[str, float]]) -> list[str]:
    """The components that appear in a time split, in the order of the table."""
    found = {name for seconds in split.values() for name in seconds}
    return [*(name for name in COMPONENTS if name in found), *sorted(found - {*COMPONENTS, OVERHEAD}), OVERHEAD]


def acceptance_by_position(comparison: Comparison) -> dict[str, list[PositionPoint]]:
    """Share of accepted steps at each position in the solution, by label of the step strategies."""
    return {label: points for label, result in _routed(comparison) if (points := _positions(result.rows))}


def by_group(comparison: Comparison, attribute: Attribute) -> dict[str, list[GroupPoint]]:
    """Accuracy and acceptance by level or subject, by label; empty where the data set has fewer than two of them."""
    found = {label: _groups(result, attribute) for label, result in comparison.items()}
    seen = {point.group for points in found.values() for point in points}
    return found if len(seen) > 1 else {}


def calibrations(comparison: Comparison) -> list[Calibration]:
    """Reliability of the router, of every strategy with steps that have its score and both rewards."""
    return [
        found
        for label, result in comparison.items()
        if (found := _calibration(label, (step for row in result.rows for step in row.steps))) is not None
    ]


def _methods(comparison: Comparison) -> list[BenchmarkResult]:
    return [result for result in comparison.values() if result.name not in BOUNDS]


def _routed(comparison: Comparison) -> list[tuple[str, BenchmarkResult]]:
    """Strategies in which draft and target take turns by steps: those of one author have nothing to accept."""
    return [(label, result) for label, result in comparison.items() if _chooses(result)]


def _chooses(result: BenchmarkResult) -> bool:
    return result.step_routing and result.name != DRAFT_ONLY


def _places(timed: Sequence[tuple[str, Estimate, Estimate]]) -> list[tuple[float, float]]:
    return [(latency.value, accuracy.value) for _, latency, accuracy in timed]


def _dominates(other: tuple[float, float], one: tuple[float, float]) -> bool:
    return other != one and other[0] <= one[0] and other[1] >= one[1]


def _positions(rows: Iterable[Row]) -> list[PositionPoint]:
    reached: dict[int, list[tuple[str, bool]]] = {}
    for row in rows:
        for step in row.steps:
            reached.setdefault(step.index, []).append((row.problem_id, step.author == "draft"))
    points = []
    for index, seen in sorted(reached.items()):
        problems = len({problem for problem, _ in seen})
        points.append(PositionPoint(index, wilson(fmean(kept for _, kept in seen), problems), problems))
    enough = min(FEW, max((point.problems for point in points), default=0))
    return [point for point in points if point.problems >= enough]


def _groups(result: BenchmarkResult, attribute: Attribute) -> list[GroupPoint]:
    rows: dict[str, list[Row]] = {}
    for row in sorted(result.rows, key=lambda row: (getattr(row, attribute) is None, getattr(row, attribute))):
        if getattr(row, attribute) is not None:
            rows.setdefault(str(getattr(row, attribute)), []).append(row)
    points = []
    for group, its in rows.items():
        part = dataclasses.replace(result, rows=tuple(its))
        accuracy = part.accuracy_interval
        if accuracy is not None:
            acceptance = part.acceptance_rate if _chooses(result) else None
            points.append(GroupPoint(group, accuracy, acceptance, len({row.problem_id for row in its})))
    return points


def _calibration(label: str, steps: Iterable[StepRecord]) -> Calibration | None:
    binned: dict[int, list[tuple[float, bool]]] = {}
    for step in steps:
        score = step.router_score
        if score is None or step.draft_reward is None or step.target_reward is None or not 0 <= score <= 1:
            continue
        better = step.target_reward > step.draft_reward
        binned.setdefault(min(int(score * BINS), BINS - 1), []).append((score, better))
    if not binned:
        return None
    bins = []
    for _, found in sorted(binned.items()):
        share = fmean(better for _, better in found)
        bins.append(CalibrationBin(fmean(score for score, _ in found), wilson(share, len(found)), len(found)))
    total = sum(one.steps for one in bins)
    ece = sum(one.steps * abs(one.score - one.better.value) for one in bins) / total
    return Calibration(label, tuple(bins), ece, total)
