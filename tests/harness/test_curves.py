"""Curves over escalation rates: what is read off between them, with known answers, and how often it is wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from arbitrage.harness.comparison import Comparison
from arbitrage.harness.curves import Reading, Sweep
from arbitrage.harness.report import tables
from arbitrage.harness.rows import Row, RowStatus
from arbitrage.types import EndReason, StepRecord

PROBLEMS = 20


def rows(label: str, right: Callable[[int], bool], seconds: Callable[[int], float], accepted: int) -> list[Row]:
    """One row a problem, ten steps each, of which `accepted` are the draft's."""
    steps = [
        StepRecord(k, "s", "draft" if k < accepted else "target", 5, rejected_text=None if k < accepted else "d")
        for k in range(10)
    ]
    return [
        Row(
            strategy=label,
            problem_id=f"p{k}",
            repeat=0,
            status=RowStatus.CORRECT if right(k) else RowStatus.INCORRECT,
            reference="1",
            started_at="2026-01-01T00:00:00+00:00",
            latency_s=seconds(k),
            end_reason=EndReason.EOS,
            steps=tuple(steps),
        )
        for k in range(PROBLEMS)
    ]


def point(
    name: str, rate: float, share: float, seconds: float, accepted: int
) -> tuple[str, dict[str, object], list[Row]]:
    """A method at a rate that solves the first problems and takes the same time for all."""
    label = f"{name} (rate={rate:g})"
    made = rows(label, lambda k: k < share * PROBLEMS, lambda k: seconds, accepted)
    return label, {"name": name, "rate": rate}, made


def single(name: str, share: float, seconds: float, accepted: int = 0) -> tuple[str, dict[str, object], list[Row]]:
    return name, {"name": name}, rows(name, lambda k: k < share * PROBLEMS, lambda k: seconds, accepted)


def compared(*made: tuple[str, Mapping[str, object], list[Row]]) -> Comparison:
    manifest = {"identity": {"strategies": {label: description for label, description, _ in made}}}
    return Comparison.from_rows(manifest, [row for *_, group in made for row in group])


def reading(found: Sweep, quantity: str, at: str, curve: str, reference: str) -> Reading:
    matching = [
        one
        for one in found.readings
        if (one.quantity, one.at, one.curve, one.reference) == (quantity, at, curve, reference)
    ]
    assert len(matching) == 1
    return matching[0]


@pytest.fixture
def two_curves() -> Comparison:
    """Both methods go from 50 % to 100 %; the router in 1 to 3 seconds, RSD in 1 to 5 and with fewer accepted steps."""
    return compared(
        single("target-only", 1.0, 4.0),
        single("draft-only", 0.5, 0.5, accepted=10),
        single("arbitrage-oracle", 1.0, 9.0, accepted=5),
        point("rsd", 0.0, 0.5, 1.0, 10),
        point("rsd", 1.0, 1.0, 5.0, 0),
        point("arbitrage-router", 0.0, 0.5, 1.0, 10),
        point("arbitrage-router", 0.5, 1.0, 3.0, 5),
        point("arbitrage-router", 1.0, 1.0, 6.0, 0),
    )


@pytest.mark.parametrize(
    ("at", "reference", "expected"),
    [
        ("the highest that both reach", "rsd", 5 / 3),
        ("target-only's accuracy", "rsd", 5 / 3),
        ("5 points below target-only", "rsd", (1 + 4 * 0.9) / (1 + 2 * 0.9)),
        ("target-only's accuracy", "target-only", 4 / 3),
        ("5 points below target-only", "target-only", 4 / (1 + 2 * 0.9)),
    ],
)
def test_speed_up_at_matched_accuracy_is_read_off_straight_lines(
    two_curves: Comparison, at: str, reference: str, expected: float
) -> None:
    """Least seconds of the reference over least seconds of the curve, between the rates by straight lines."""
    found = reading(two_curves.sweep, "speed-up at matched accuracy", at, "arbitrage-router", reference)
    assert found.estimate.value == pytest.approx(expected)


def test_throughput_is_read_off_the_same_curves_where_several_problems_were_at_once(two_curves: Comparison) -> None:
    """RSD takes a fifth of its latency of the machine, all others half: 5 s against 3 s become 1 s against 1.5 s."""
    manifest = {"identity": {**two_curves.manifest["identity"], "concurrency": 5}}
    made = [
        replace(row, share_s=row.latency_s / (5 if result.name == "rsd" else 2))
        for result in two_curves.values()
        for row in result.rows
    ]
    sweep = Comparison.from_rows(manifest, made).sweep
    at = "target-only's accuracy"
    ratio = reading(sweep, "throughput ratio at matched accuracy", at, "arbitrage-router", "rsd")
    assert ratio.estimate.value == pytest.approx(1 / 1.5)
    speed_up = reading(sweep, "speed-up at matched accuracy", at, "arbitrage-router", "rsd")
    assert speed_up.estimate.value == pytest.approx(5 / 3)
    assert not any("throughput" in one.quantity for one in two_curves.sweep.readings)


def test_accuracy_is_compared_where_as_many_steps_are_accepted(two_curves: Comparison) -> None:
    """At 70 % acceptance the router is at 80 %, RSD at 65 %; the area is the mean of that gap over all rates."""
    sweep = two_curves.sweep
    quantity = "accuracy difference at matched acceptance"
    gap = reading(sweep, quantity, "acceptance 70%", "arbitrage-router", "rsd")
    assert gap.estimate.value == pytest.approx(0.15)
    area = reading(sweep, "mean accuracy gap", "all common acceptance rates", "arbitrage-router", "rsd")
    assert area.estimate.value == pytest.approx(0.125, abs=0.002)  # a triangle of height 25 points


def test_the_oracles_gain_is_shared_out_at_its_own_acceptance_rate(two_curves: Comparison) -> None:
    """The oracle accepts half of the steps: there the router has all of its 50 points, RSD half."""
    quantity, at = "share of the oracle's gain over draft-only", "the oracle's acceptance rate"
    for name, share in (("arbitrage-router", 1.0), ("rsd", 0.5)):
        found = reading(two_curves.sweep, quantity, at, name, "arbitrage-oracle")
        assert found.estimate.value == pytest.approx(share)


def test_an_accuracy_that_is_not_reached_has_no_speed_up() -> None:
    """Random routing that stays at 60 % is not compared at the target's accuracy, and a bound has no latency at all."""
    sweep = compared(
        single("target-only", 1.0, 4.0),
        single("arbitrage-oracle", 1.0, 9.0, accepted=5),
        point("random-route", 0.0, 0.5, 1.0, 10),
        point("random-route", 0.5, 0.6, 2.0, 5),
    ).sweep
    found = {(one.at, one.reference) for one in sweep.readings}
    assert ("the highest that both reach", "target-only") in found
    assert ("target-only's accuracy", "target-only") not in found
    assert not [one for one in sweep.readings if one.reference == "arbitrage-oracle"]


def test_a_run_without_rates_has_no_curves() -> None:
    """One rate is a point; the table then has its two halves and no third."""
    comparison = compared(single("target-only", 1.0, 4.0), point("rsd", 0.3, 0.9, 2.0, 7))
    assert not comparison.sweep
    assert comparison.sweep.curves == ()
    assert comparison.sweep.readings == ()
    assert len(tables(comparison)) == 2


def test_an_unfinished_sweep_is_read_as_far_as_it_came() -> None:
    """A rate without rows is left out; problems that only some strategies have do not upset the others."""
    label, description, _ = point("rsd", 0.5, 1, 1, 5)
    first = point("rsd", 0.0, 0.5, 1.0, 10)
    last = point("rsd", 1.0, 1.0, 5.0, 0)
    comparison = compared(single("target-only", 1.0, 4.0), first, (label, description, []), (*last[:2], last[2][:7]))
    (curve,) = comparison.sweep.curves
    assert [one.rate for one in curve.points] == [0.0, 1.0]
    assert all(np.isfinite(one.estimate.value) for one in comparison.sweep.readings)


def test_the_luckiest_of_many_rates_is_no_gain() -> None:
    """Eleven rates with exactly target-only's law and texts are called faster in few of 60 sweeps.

    The least seconds of the eleven were called a gain in 15 of 40. At a true rate of 2.5 % on this side, more than 6
    have a chance of 0.1 %.
    """
    rng = np.random.default_rng(3)
    claims = 0
    for _ in range(60):
        base, right = rng.lognormal(0, 0.5, PROBLEMS), rng.random(PROBLEMS) < 0.8
        made = []
        for label, rate in [("target-only", None), *((f"rsd (rate={r / 10})", r / 10) for r in range(11))]:
            seconds = base * rng.lognormal(0, 0.1, PROBLEMS)
            description = {"name": "target-only"} if rate is None else {"name": "rsd", "rate": rate}
            solved = rows(label, lambda k, v=right: bool(v[k]), lambda k, v=seconds: float(v[k]), 5)  # type: ignore[misc]
            made.append((label, description, solved))
        found = next(one for one in compared(*made).sweep.readings if one.reference == "target-only").estimate
        claims += found.low is not None and found.low > 1
    assert claims <= 6


def test_failing_on_slow_problems_makes_nobody_fast() -> None:
    """A rate that raises on the slowest problems is timed on those that everybody solved."""

    def method(label: str, description: dict[str, object], right: Callable[[int], bool], fails: bool) -> Any:
        made = rows(label, right, lambda k: 10.0 if k < 4 else 1.0, 5)
        spoilt = [replace(one, status=RowStatus.ERROR) if fails and k < 4 else one for k, one in enumerate(made)]
        return label, description, spoilt

    sweep = compared(
        method("target-only", {"name": "target-only"}, lambda k: k >= 4, False),
        method("rsd (rate=0)", {"name": "rsd", "rate": 0.0}, lambda k: True, True),
        method("rsd (rate=1)", {"name": "rsd", "rate": 1.0}, lambda k: True, False),
    ).sweep
    found = reading(sweep, "speed-up at matched accuracy", "target-only's accuracy", "rsd", "target-only")
    assert found.estimate.value == pytest.approx(1.0)


def test_repeats_of_a_problem_are_one_problem() -> None:
    """A problem solved in one of two repeats counts half, and adds no second observation."""

    def twice(made: tuple[str, dict[str, object], list[Row]]) -> Any:
        label, description, once = made
        again = [replace(one, repeat=1, status=RowStatus.INCORRECT) for one in once]
        return label, description, once + again

    curve = [twice(point("rsd", 0.0, 0.5, 1.0, 10)), twice(point("rsd", 1.0, 1.0, 3.0, 0))]
    sweep = compared(twice(single("target-only", 0.75, 4.0)), *curve).sweep
    found = reading(sweep, "speed-up at matched accuracy", "target-only's accuracy", "rsd", "target-only")
    assert found.estimate.value == pytest.approx(4.0 / 2.0)  # 37.5 % lies half way between 25 % and 50 %


def test_an_accuracy_that_chance_often_misses_gets_no_interval() -> None:
    """The curve just reaches the target's accuracy on these problems; in many resamples it would not."""
    rng = np.random.default_rng(0)
    right = {name: rng.random(PROBLEMS) < 0.7 for name in ("a", "b")}
    share = min(int(one.sum()) for one in right.values())
    made = []
    for label, description, solved in (
        ("target-only", {"name": "target-only"}, right["a"]),
        ("rsd (rate=0)", {"name": "rsd", "rate": 0.0}, np.arange(PROBLEMS) < 2),
        ("rsd (rate=1)", {"name": "rsd", "rate": 1.0}, right["b"]),
    ):
        solved = solved.copy()
        while solved.sum() > max(share, 2):
            solved[np.flatnonzero(solved)[-1]] = False
        made.append(
            (label, description, rows(label, lambda k, s=solved: bool(s[k]), lambda k: float(rng.lognormal()), 5))
        )  # type: ignore[misc]
    found = reading(
        compared(*made).sweep, "speed-up at matched accuracy", "target-only's accuracy", "rsd", "target-only"
    )
    assert np.isfinite(found.estimate.value)
    assert found.estimate.low is None


def test_a_gap_that_no_problem_shows_has_no_interval() -> None:
    """Both methods solve the same problems: the bootstrap would give an interval without any width."""
    sweep = compared(
        single("target-only", 1.0, 4.0),
        *(
            point(name, rate, 0.5 + rate / 2, 1 + rate, 10 - round(10 * rate))
            for name in ("a", "b")
            for rate in (0.0, 1.0)
        ),
    ).sweep
    gaps = [one.estimate for one in sweep.readings if one.unit == "points"]
    assert gaps
    assert all((one.value, one.low) == (pytest.approx(0.0), None) for one in gaps)


def test_an_oracle_without_a_gain_has_none_to_share() -> None:
    """Where the oracle is no better than the draft a share of its gain would be a division by nothing."""
    sweep = compared(
        single("target-only", 0.5, 4.0),
        single("draft-only", 0.5, 0.5, accepted=10),
        single("arbitrage-oracle", 0.4, 9.0, accepted=5),
        point("rsd", 0.0, 0.5, 1.0, 10),
        point("rsd", 1.0, 0.6, 5.0, 0),
    ).sweep
    assert not [one for one in sweep.readings if one.reference == "arbitrage-oracle"]


def test_a_curve_is_one_method_at_different_rates() -> None:
    """Two labels of one rate are one point; the same method with another parameter is another curve."""
    made = point("rsd", 0.3, 0.9, 2.0, 7)[2]
    same = [(k, {"name": "rsd", "rate": 0.3}, [replace(one, strategy=k) for one in made]) for k in "ab"]
    assert not compared(single("target-only", 1.0, 4.0), *same).sweep
    deep = []
    for depth in (1, 2):
        for rate in (0.0, 1.0):
            label, description, made = point("mine", rate, 0.5 + rate / 2, depth + rate, 5)
            label = f"{label}, depth {depth}"
            deep.append((label, {**description, "depth": depth}, [replace(one, strategy=label) for one in made]))
    curves = compared(single("target-only", 1.0, 4.0), *deep).sweep.curves
    assert [(one.name, len(one.points)) for one in curves] == [("mine #1", 2), ("mine #2", 2)]


def test_equal_curves_are_rarely_called_different() -> None:
    """Two methods with the same noisy law: the 95 % interval of the speed-up excludes 1 in few of 60 sweeps.

    At a true rate of 5 %, more than 8 would be seen with a chance of 0.2 %.
    """
    rng = np.random.default_rng(7)
    claims = 0
    for _ in range(60):
        base = rng.lognormal(0, 0.5, PROBLEMS)
        hard = rng.random(PROBLEMS)
        made = [single("target-only", 1.0, 4.0)]
        for name in ("rsd", "arbitrage-router"):
            for rate, level in ((0.0, 0.4), (0.5, 0.7), (1.0, 1.0)):
                seconds = base * (1 + 2 * rate) * rng.lognormal(0, 0.1, PROBLEMS)
                noise = hard + rng.normal(0, 0.05, PROBLEMS)
                label = f"{name} (rate={rate:g})"
                made.append(
                    (
                        label,
                        {"name": name, "rate": rate},
                        rows(label, lambda k, n=noise, v=level: bool(n[k] < v), lambda k, s=seconds: float(s[k]), 5),  # type: ignore[misc]
                    )
                )
        found = reading(
            compared(*made).sweep,
            "speed-up at matched accuracy",
            "the highest that both reach",
            "arbitrage-router",
            "rsd",
        )
        claims += not found.estimate.covers(1.0)
    assert claims <= 8
