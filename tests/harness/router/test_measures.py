"""Measures of a score against other ways to compute them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import pearsonr, spearmanr

from arbitrage.harness.router.measures import (
    RATES,
    Claims,
    Ranking,
    auc,
    equally_filled,
    ranking_report,
    router_report,
)

few = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])  # few values, so that there are ties
step = st.tuples(few, st.sampled_from([-0.5, -0.1, 0.0, 0.0, 0.2, 0.6]))
steps = st.lists(step, min_size=2, max_size=9)


def both_labels(told):
    return len({gain > 0 for _, gain in told}) == 2


@given(steps.filter(both_labels))
def test_auc_is_the_share_of_pairs_in_the_right_order(told):
    """Counted pair by pair, equal scores half."""
    pairs = [(p, n) for p, gain in told if gain > 0 for n, other in told if other <= 0]
    expected = sum((p > n) + (p == n) / 2 for p, n in pairs) / len(pairs)
    scores, gains = zip(*told, strict=True)
    assert Ranking(scores, gains).under().auc()[0] == pytest.approx(expected)
    assert auc(scores, [gain > 0 for gain in gains]) == pytest.approx(expected)


@given(st.lists(step, min_size=2, max_size=5).filter(both_labels))
def test_captured_and_wasted_are_means_over_all_orders_of_equal_scores(told):
    """Every order that sorts by score, enumerated: what its first steps hold of the gain, and of useless steps."""
    orders = [
        order
        for order in itertools.permutations(range(len(told)))
        if all(told[a][0] >= told[b][0] for a, b in itertools.pairwise(order))
    ]
    gains = [max(gain, 0) for _, gain in told]
    reading = Ranking(*zip(*told, strict=True)).under()
    rates = (0.2, 0.5, 0.8)
    for rate, captured, wasted in zip(rates, reading.captured(rates)[0], reading.wasted(rates)[0], strict=True):
        taken = round(rate * len(told))
        expected = np.mean([sum(gains[i] for i in order[:taken]) for order in orders]) / sum(gains)
        assert captured == pytest.approx(expected)
        if taken:
            useless = np.mean([sum(told[i][1] <= 0 for i in order[:taken]) for order in orders])
            assert wasted == pytest.approx(useless / taken)
        else:
            assert np.isnan(wasted)


@given(steps)
def test_correlations_are_scipys(told):
    """With ties, and NaN where a side is constant."""
    scores, gains = zip(*told, strict=True)
    reading = Ranking(scores, gains).under()
    if len(set(scores)) == 1 or len(set(gains)) == 1:
        assert np.isnan(reading.spearman()[0])
        assert np.isnan(reading.pearson()[0])
    else:
        assert reading.spearman()[0] == pytest.approx(spearmanr(scores, gains).statistic)
        assert reading.pearson()[0] == pytest.approx(pearsonr(scores, gains).statistic)


@given(steps.filter(both_labels), st.lists(st.integers(0, 3), min_size=9, max_size=9))
def test_a_problem_that_counts_twice_is_there_twice(told, often):
    """Every measure under counts equals the measure of the steps written out; step i belongs to problem i // 2."""
    scores, gains = map(np.array, zip(*told, strict=True))
    groups = np.arange(len(told)) // 2
    counts = np.array([often[: groups.max() + 1]], dtype=np.int32)
    index = np.repeat(np.arange(len(told)), counts[0][groups])
    if len({gain > 0 for gain in gains[index]}) < 2:
        return
    weighted, written = Ranking(scores, gains, groups).under(counts), Ranking(scores[index], gains[index]).under()
    for name in ("spearman", "pearson", "auc", "captured_area", "captured", "wasted"):
        np.testing.assert_allclose(getattr(weighted, name)(), getattr(written, name)(), atol=1e-9)
    claims, copies = Claims(scores, gains, groups), Claims(scores[index], gains[index])
    found, expected = claims.measure(counts), copies.measure(copies.everything)
    for name in found.keys() - {"calibration_error"}:  # its bins are those of the steps as they are
        np.testing.assert_allclose(found[name], expected[name], atol=1e-9)


def test_perfect_reversed_and_constant_scores():
    """The oracle captures as much as can be, its reverse nothing at first, a constant the escalated share."""
    rng = np.random.default_rng(0)
    gains = rng.normal(size=200)
    best, worst, same = (Ranking(score, gains).under() for score in (gains, -gains, np.zeros(200)))
    assert best.auc()[0] == best.spearman()[0] == best.captured_area()[0] == 1
    assert worst.auc()[0] == 0
    assert worst.spearman()[0] == -1
    assert worst.captured([0.2])[0, 0] == 0
    assert same.auc()[0] == 0.5
    assert same.captured_area()[0] == pytest.approx(0)
    np.testing.assert_allclose(same.captured(RATES)[0], RATES)
    np.testing.assert_allclose(same.wasted(RATES)[0], (gains <= 0).mean())


@given(steps.filter(both_labels))
def test_monotone_changes_of_a_score_change_no_rank_measure(told):
    """Squares of scores in [0, 1]; pearson is the one that does change."""
    scores, gains = map(np.array, zip(*told, strict=True))
    before, after = Ranking(scores, gains).under(), Ranking(scores**2 - 3, gains).under()
    for name in ("spearman", "auc", "captured_area", "captured", "wasted"):
        np.testing.assert_array_equal(getattr(before, name)(), getattr(after, name)())


def test_probabilities_by_hand():
    """Five steps, of which only the one with 0.6 is better and 0.1 and 0.2 are below the threshold."""
    scores, gains = [0.9, 0.1, 0.6, 0.2, 0.7], [-0.3, 0.0, 0.4, -0.1, 0.0]
    claims = Claims(scores, gains)
    found = {name: value[0] for name, value in claims.measure(claims.everything).items()}
    assert found["accuracy_label_0"] == pytest.approx(2 / 4)
    assert found["accuracy_label_1"] == 1
    assert found["escalated"] == pytest.approx(3 / 5)
    assert found["waste"] == pytest.approx(2 / 3)
    assert found["brier"] == pytest.approx((0.81 + 0.01 + 0.16 + 0.04 + 0.49) / 5)
    # five of ten bins hold a step each: |0.1 − 0|, |0.2 − 0|, |0.6 − 1|, |0.7 − 0|, |0.9 − 0|
    assert found["calibration_error"] == pytest.approx((0.1 + 0.2 + 0.4 + 0.7 + 0.9) / 5)


def test_equal_scores_share_a_bin():
    """Otherwise their order would make bins with different shares at one score, and an error out of nothing."""
    assert set(equally_filled([0.5] * 40)) == {0}
    labels = np.arange(40) % 2
    claims = Claims([0.5] * 40, labels)
    assert claims.measure(claims.everything)["calibration_error"][0] == 0
    bins = equally_filled(np.arange(25.0))
    assert sorted(np.bincount(bins).tolist()) == [2] * 5 + [3] * 5


def test_a_model_card_says_what_the_measures_say():
    """Rounded, in the order of the shipped cards."""
    scores, gains = [0.9, 0.1, 0.6, 0.2], [0.3, 0.0, 0.4, -0.1]
    report = router_report(scores, gains)
    assert list(report) == [
        *("spearman", "auc", "accuracy_label_0", "accuracy_label_1"),
        *("calibration_error", "waste_at_0.5", "captured_advantage"),
    ]
    assert report["auc"] == 1
    assert report["captured_advantage"]["0.25"] == pytest.approx(0.4286)
    assert ranking_report(scores, gains).items() <= report.items()
