"""Intervals and paired differences of scores."""

from __future__ import annotations

import numpy as np
import pytest

from arbitrage.harness.router import judging
from arbitrage.harness.router.judging import Score, judge
from arbitrage.harness.router.measures import auc
from arbitrage.harness.router.outcomes import compare_outcomes


def clustered(rng, problems=40, each=8):
    """Advantages and a score whose noise is mostly shared by the steps of a problem."""
    groups = np.repeat(np.arange(problems), each)
    gains = rng.normal(size=problems)[groups] + 0.3 * rng.normal(size=len(groups))
    return groups, gains, gains + rng.normal(size=problems)[groups]


def test_intervals_resample_problems_and_cover(monkeypatch):
    """The AUC of 40 problems: its interval holds the law's in 61 of 70 runs (false alarm under 1 %).

    Intervals over single steps hold it in 43.
    """
    monkeypatch.setattr(judging, "RESAMPLES", 300)
    _, law_gains, law_score = clustered(np.random.default_rng(1), problems=20000)
    law, rng, covered = auc(law_score, law_gains > 0), np.random.default_rng(2), 0
    for _ in range(70):
        groups, gains, score = clustered(rng)
        (verdict,) = judge([Score("own", "baseline", score)], gains, groups)
        covered += verdict.measures["auc"].covers(law)
    assert covered >= 61


def test_repeats_of_a_step_are_no_further_evidence():
    """Ten copies of every step of a problem leave all intervals of rank measures but for whole steps at a rate."""
    rng = np.random.default_rng(3)
    gains, score = rng.normal(size=40), rng.normal(size=40)
    once, copies = (
        judge([Score("s", "baseline", np.repeat(score, n))], np.repeat(gains, n), np.repeat(np.arange(40), n))[0]
        for n in (1, 10)
    )
    for name in ("auc", "spearman", "captured_area"):
        assert once.measures[name].value == pytest.approx(copies.measures[name].value, abs=1e-3)
        assert once.measures[name].low == pytest.approx(copies.measures[name].low, abs=1e-2)


def test_differences_are_paired():
    """Two scores that agree up to a little noise: each varies widely, their difference does not."""
    rng = np.random.default_rng(4)
    gains = rng.normal(size=200)
    score = gains + 2 * rng.normal(size=200)
    scores = [
        Score("router", "router", 1 / (1 + np.exp(-score))),
        Score("same", "baseline", 3 * score),
        Score("near", "baseline", score + 0.05 * rng.normal(size=200)),
        Score("bound", "bound", gains),
    ]
    first, *others = judge(scores, gains, np.arange(200))
    assert set(first.versus) == {"same", "near"}
    assert not any(other.versus for other in others)
    same, near, alone = first.versus["same"]["auc"], first.versus["near"]["auc"], first.measures["auc"]
    assert (same.value, same.low, same.high) == (0, 0, 0)
    assert near.value == pytest.approx(alone.value - others[1].measures["auc"].value)
    assert near.high - near.low < (alone.high - alone.low) / 4
    assert first.captured_versus["near"][0.3].value == pytest.approx(
        first.captured[0.3].value - others[1].captured[0.3].value
    )


def test_the_calibration_error_has_no_interval_and_only_probabilities_have_one():
    """A bootstrap adds its own chance to it; an expected class is no probability, but still has a side of 0.5."""
    rng = np.random.default_rng(7)
    score = rng.random(200)
    gains = np.where(rng.random(200) < score, 0.5, -0.5)
    scores = [Score("p", "router", score), Score("class", "router", score, probability=False)]
    told, other = judge(scores, gains, np.arange(200) // 4)
    error = told.measures["calibration_error"]
    assert 0 < error.value < 0.2
    assert (error.low, error.high) == (None, None)
    assert told.measures["brier"].low is not None
    assert len(told.bins) == 10
    assert set(told.measures) - set(other.measures) == {"calibration_error", "brier"}
    assert other.bins == ()
    assert other.measures["accuracy_label_1"] == told.measures["accuracy_label_1"]


def test_outcomes_are_counted_by_sign():
    """A table by hand; steps without roll-outs stay out, and equal signs agree whatever their size."""
    advantages = np.array([0.5, 0.2, 0.0, -0.3, 0.15, 0.9, 0.1])
    outcomes = np.array([1.0, -0.5, 0.0, 0.0, 0.25, np.nan, 0.0])
    found = compare_outcomes(outcomes, advantages, np.arange(7), [Score("s", "baseline", advantages)])
    assert found.steps == found.problems == 6
    assert found.counts == {"−": {"−": 0, "0": 1, "+": 0}, "0": {"−": 0, "0": 1, "+": 0}, "+": {"−": 1, "0": 1, "+": 2}}
    assert found.shares["+"]["+"].value == pytest.approx(2 / 6)
    assert found.disagree.value == pytest.approx(3 / 6)
    assert found.opposed.value == pytest.approx(1 / 6)
    assert [verdict.name for verdict in found.verdicts] == ["s", "PRM advantage", "oracle"]
    assert found.verdicts[0].measures["auc"].value == pytest.approx(7 / 8)
    assert compare_outcomes(np.full(7, np.nan), advantages, np.arange(7), []) is None
    assert compare_outcomes(np.zeros(7), advantages, np.arange(7), []).verdicts == ()
