"""Intervals and tests: exact where they can be, covering where they are random, and silent where nothing differs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import optimize, stats

from arbitrage.harness import statistics
from arbitrage.harness.statistics import Centre, Estimate

CENTRES: tuple[Centre, ...] = ("mean", "median", "geometric")


def ends(found: Estimate) -> tuple[float, float]:
    """Both ends of an interval that is there."""
    assert found.low is not None
    assert found.high is not None
    return found.low, found.high


@given(st.integers(1, 400), st.data())
def test_wilson_equals_the_reference(n: int, data: st.DataObject) -> None:
    """For whole counts the interval is scipy's, and it always contains the share."""
    hits = data.draw(st.integers(0, n))
    ours = statistics.wilson(hits / n, n)
    theirs = stats.binomtest(hits, n).proportion_ci(method="wilson")
    assert ours.low == pytest.approx(theirs.low, abs=1e-12)
    assert ours.high == pytest.approx(theirs.high, abs=1e-12)
    assert ours.low is not None
    assert ours.high is not None
    assert ours.low <= hits / n + 1e-12
    assert ours.high >= hits / n - 1e-12


def test_wilson_without_trials_has_no_ends_and_refuses_nonsense() -> None:
    """No trials, no interval; a share outside [0, 1] is an error."""
    assert statistics.wilson(0.0, 0) == Estimate(0.0, None, None)
    with pytest.raises(ValueError, match="share"):
        statistics.wilson(1.5, 3)


@given(st.integers(0, 60), st.integers(0, 60))
def test_the_sign_test_is_the_exact_binomial_test(wins: int, losses: int) -> None:
    """The p-value equals scipy's two-sided binomial test at one half, and 1 without discordant pairs."""
    expected = stats.binomtest(wins, wins + losses).pvalue if wins + losses else 1.0
    assert statistics.sign_test(wins, losses) == pytest.approx(expected, rel=1e-9)


def test_the_sign_test_by_hand() -> None:
    """Four to nothing is 2/16, two to five is 58/128 by counting; negative counts are refused."""
    assert statistics.sign_test(4, 0) == 0.125
    assert statistics.sign_test(2, 5) == pytest.approx(58 / 128)
    with pytest.raises(ValueError, match="negative"):
        statistics.sign_test(-1, 2)


def test_mcnemar_counts_problems_and_not_repeats() -> None:
    """Repeating every row three times changes nothing; agreement carries no weight."""
    ours, theirs = [1, 1, 1, 0, 1, 0], [0, 0, 0, 1, 1, 0]
    groups = list(range(6))
    once = statistics.mcnemar(ours, theirs, groups)
    assert once == pytest.approx(stats.binomtest(3, 4).pvalue)
    assert statistics.mcnemar(ours * 3, theirs * 3, groups * 3) == once
    assert statistics.mcnemar([1, 0], [1, 0], [0, 1]) == 1.0


@given(
    st.lists(st.tuples(st.floats(0.1, 10), st.floats(0.1, 10), st.integers(0, 5)), min_size=1, max_size=30),
    st.lists(st.integers(0, 4), min_size=6, max_size=6),
)
def test_weighted_statistics_equal_the_statistics_of_repeated_rows(
    rows: list[tuple[float, float, int]], drawn: list[int]
) -> None:
    """Mean and median under counts equal numpy's on the rows written out as often as their problem was drawn."""
    labels = {group: index for index, group in enumerate(dict.fromkeys(row[2] for row in rows))}
    groups = np.array([labels[row[2]] for row in rows])
    counts = np.array([drawn[: len(labels)]], dtype=np.int32)
    values = np.array([row[0] for row in rows])
    written_out = np.repeat(values, counts[0][groups])
    if not len(written_out):
        return
    mean = statistics._mean(statistics._Grouped.of(values, groups), counts)[0]
    median = statistics._median(statistics._Sorted.of(values, groups), counts)[0]
    assert mean == pytest.approx(written_out.mean())
    assert median == pytest.approx(np.median(written_out))


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0.1, 10), st.floats(0.1, 10)), min_size=6, max_size=15))
def test_ratios_point_where_they_should(pairs: list[tuple[float, float]]) -> None:
    """Each ratio is the plain ratio of its centres; swapping the sides gives the reciprocals of it and of its ends."""
    above, below = (np.array(side) for side in zip(*pairs, strict=True))
    groups = np.arange(len(pairs))
    plain = {
        "mean": above.mean() / below.mean(),
        "median": np.median(above) / np.median(below),
        "geometric": stats.gmean(above / below),
    }
    for of in CENTRES:
        found = statistics.ratio(above, below, groups, of=of)
        swapped = statistics.ratio(below, above, groups, of=of)
        assert found.value == pytest.approx(plain[of])
        low, high = ends(found)
        assert low <= high
        assert (swapped.value, *ends(swapped)) == pytest.approx((1 / found.value, 1 / high, 1 / low))


def sign_flip_p(terms: NDArray[np.float64]) -> float:
    """Exact two-sided p-value of the sign-flip test of sum(terms) = 0, by writing out all 2^n flips."""
    flips = np.array(list(itertools.product((-1, 1), repeat=len(terms))))
    excess = flips @ terms - terms.sum()
    return float(min(1.0, 2 * min(np.mean(excess >= -1e-11), np.mean(excess <= 1e-11))))


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.integers(10, 99), st.integers(10, 99)), min_size=6, max_size=9, unique=True))
def test_ratios_are_those_that_the_sign_flip_test_keeps(pairs: list[tuple[int, int]]) -> None:
    """Just inside each end the exact sign-flip test has p >= 0.05, just outside p < 0.05: means and geometric means."""
    above, below = (np.array(side) for side in zip(*pairs, strict=True))
    terms: dict[Centre, Callable[[float], NDArray[np.float64]]] = {
        "mean": lambda theta: above - theta * below,
        "geometric": lambda theta: np.log(above / below) - math.log(theta),
    }
    for of, at in terms.items():
        low, high = ends(statistics.ratio(above, below, np.arange(len(pairs)), of=of))
        assert sign_flip_p(at(low * (1 - 1e-7))) < 0.05
        assert sign_flip_p(at(high * (1 + 1e-7))) < 0.05
        if high > low * (1 + 1e-6):
            assert sign_flip_p(at(low * (1 + 1e-7))) >= 0.05
            assert sign_flip_p(at(high * (1 - 1e-7))) >= 0.05


def test_without_tails_the_interval_is_students() -> None:
    """On 200 lognormal ratios the geometric interval agrees with scipy's t interval of the logs to 8 % of its width.

    The ends are order statistics of 4999 subsets: their standard error is 2 % of the width.
    """
    logs = np.random.default_rng(5).normal(0.1, 0.2, 200)
    found = statistics.ratio(np.exp(logs), np.ones(200), np.arange(200), of="geometric")
    reference = stats.ttest_1samp(logs, 0).confidence_interval(0.95)
    width = reference.high - reference.low
    assert np.log(ends(found)) == pytest.approx([reference.low, reference.high], abs=0.08 * width)


def test_identical_latencies_have_ratio_one() -> None:
    """A against itself: the paired intervals have no width, because nothing differs."""
    latencies = np.random.default_rng(0).lognormal(size=60)
    groups = np.repeat(np.arange(20), 3)
    for of in CENTRES:
        assert statistics.ratio(latencies, latencies, groups, of=of) == Estimate(1.0, 1.0, 1.0)
    assert statistics.mean_difference(latencies, latencies, groups) == Estimate(0.0, 0.0, 0.0)


def test_a_constant_factor_has_no_width() -> None:
    """Every problem exactly twice as long: any subset of them says so, 15 problems or 6."""
    for problems in (6, 15):
        below = np.random.default_rng(0).lognormal(size=problems)
        for of in CENTRES:
            found = statistics.ratio(2 * below, below, np.arange(problems), of=of)
            assert (found.value, *ends(found)) == pytest.approx((2, 2, 2))


@pytest.mark.parametrize("of", CENTRES)
def test_five_problems_show_nothing_and_six_can(of: Centre) -> None:
    """Five problems all slower happen by chance in 6 % of runs, six in 3 %: the interval starts at six, over 1."""
    above = np.array([1.3, 1.1, 1.2, 1.5, 1.4, 1.6])
    assert statistics.ratio(above[:5], np.ones(5), np.arange(5), of=of).low is None
    assert statistics.mean_difference(above[:5], np.ones(5), np.arange(5)).high is None
    assert statistics.mean_estimate(above[:5], np.arange(5)).low is None
    low, high = ends(statistics.ratio(above, np.ones(6), np.arange(6), of=of))
    assert 1 < low < high
    repeated = statistics.ratio(np.tile(above[:5], 3), np.ones(15), np.tile(np.arange(5), 3), of=of)
    assert repeated.low is None


Draw = Callable[[np.random.Generator, tuple[int, ...]], NDArray[np.float64]]

NOISE: dict[str, Draw] = {
    "calm": lambda rng, shape: np.exp(rng.normal(0, 0.05, shape)),
    "stalls": lambda rng, shape: (
        np.exp(rng.normal(0, 0.05, shape)) * np.where(rng.random(shape) < 0.05, 1 + 2 * rng.pareto(1.2, shape), 1)
    ),
    "heavy": lambda rng, shape: 1 + rng.pareto(1.1, shape),
}
"""Factors on a latency: a quiet machine, one that stalls now and then, and one without a variance."""


def claims(of: Centre, noise: str, problems: int, repeats: int, runs: int, truth: float = 1.0) -> float:
    """Share of made-up runs whose interval excludes the true ratio."""
    rng = np.random.default_rng([problems, repeats, CENTRES.index(of), *noise.encode()])
    groups = np.repeat(np.arange(problems), repeats)
    wrong = 0
    for _ in range(runs):
        size = rng.lognormal(0, 0.8, problems)[:, None]
        ours, theirs = (size * NOISE[noise](rng, (problems, repeats)) for _ in "ab")
        wrong += not statistics.ratio(truth * ours.ravel(), theirs.ravel(), groups, of=of).covers(truth)
    return wrong / runs


def bound(level: float, runs: int) -> float:
    """What a share with expectation `level` exceeds with a chance below 3e-4 (3.5 standard errors)."""
    return level + 3.5 * math.sqrt(level * (1 - level) / runs)


@pytest.mark.parametrize("noise", NOISE)
@pytest.mark.parametrize("of", CENTRES)
def test_equal_strategies_are_seldom_told_apart(of: Centre, noise: str) -> None:
    """A/A: at most 5 % of the intervals exclude 1, with few problems, repeats and tails that have no variance.

    In each of seven settings a run too many has a chance below 3e-4; seeds are fixed.
    """
    for problems, repeats, runs in ((5, 1, 100), (6, 3, 400), (10, 1, 600), (10, 3, 200), (20, 1, 400), (50, 1, 150)):
        assert claims(of, noise, problems, repeats, runs) <= bound(0.05, runs), (problems, repeats)
    assert claims(of, noise, 200, 1, 50) <= bound(0.05, 50)


@pytest.mark.parametrize("of", CENTRES)
def test_intervals_cover_a_true_factor(of: Centre) -> None:
    """At a true ratio of 1.5, at least 95 % of the intervals contain it, stalls or not (bound: 3.5 standard errors)."""
    for noise in ("calm", "stalls"):
        assert claims(of, noise, 20, 1, 300, truth=1.5) <= bound(0.05, 300)


def test_a_percentile_bootstrap_would_fail_the_check() -> None:
    """The interval that this module had tells equal strategies apart in 13 % of runs with ten problems."""
    rng = np.random.default_rng(0)
    draws = rng.multinomial(10, np.full(10, 0.1), 1000)
    wrong = 0
    for _ in range(400):
        ours, theirs = rng.lognormal(0, 0.8, 10) * np.exp(rng.normal(0, 0.05, (2, 10)))
        low, high = np.quantile((draws @ ours) / (draws @ theirs), [0.025, 0.975])
        wrong += not low <= 1 <= high
    assert wrong / 400 > bound(0.05, 400)


def test_a_slowdown_of_a_tenth_is_found_on_a_hundred_problems() -> None:
    """Power: 10 % more time, under 8 % noise and stalls that double 1 % of latencies, is claimed in 95 % of runs."""
    rng = np.random.default_rng(11)
    found: dict[Centre, int] = {"mean": 0, "geometric": 0}
    for _ in range(200):
        size = rng.lognormal(0, 0.5, 100)
        noise = np.exp(rng.normal(0, 0.08, (2, 100))) * np.where(rng.random((2, 100)) < 0.01, 2, 1)
        for of in found:
            low, _ = ends(statistics.ratio(1.1 * size * noise[0], size * noise[1], np.arange(100), of=of))
            found[of] += low > 1
    assert min(found.values()) / 200 > 0.95, found


def coverage(repeats_are_copies: bool, group_by_problem: bool) -> float:
    """Share of 300 made-up runs whose 95 % interval contains the true speed-up of 2, which varies by problem."""
    rng = np.random.default_rng(1)
    problems, repeats, hits = 60, 3, 0
    for _ in range(300):
        size = rng.lognormal(0, 0.8, problems)
        own = 1 if repeats_are_copies else repeats
        noise = [np.exp(rng.normal(0, 0.3, (problems, own)) - 0.045) * np.ones((problems, repeats)) for _ in "ab"]
        ours, theirs = (size[:, None] * noise[0]).ravel(), (2 * size[:, None] * noise[1]).ravel()
        by_problem = np.repeat(np.arange(problems), repeats)
        groups = by_problem if group_by_problem else np.arange(problems * repeats)
        hits += statistics.ratio(theirs, ours, groups).covers(2.0)
    return hits / 300


def test_intervals_cover_as_often_as_they_say() -> None:
    """Coverage of the 95 % interval over 60 problems is 91 to 98.5 %; repeats that are mere copies do not lower it.

    False alarm below 1e-3 (300 runs, standard error 1.3 %).
    """
    assert 0.91 <= coverage(repeats_are_copies=False, group_by_problem=True) <= 0.985
    assert 0.91 <= coverage(repeats_are_copies=True, group_by_problem=True) <= 0.985


def test_the_coverage_check_notices_repeats_taken_for_problems() -> None:
    """Treating three copies of a row as three observations is the classic mistake; the check above would fail."""
    assert coverage(repeats_are_copies=True, group_by_problem=False) < 0.88


def test_the_bootstrap_takes_hesterbergs_percentiles() -> None:
    """A statistic that numbers the draws shows the levels: t and sqrt(n / (n - 1)) through the normal distribution."""
    for problems, expected in ((10, 0.00855), (30, 0.01875)):
        numbers = itertools.count(-1.0)  # the first value is that of the data themselves

        def numbered(counts: NDArray[np.int32], numbers: itertools.count[float] = numbers) -> NDArray[np.float64]:
            assert np.all(counts.sum(axis=1) == counts.shape[1])
            return np.array([next(numbers) for _ in counts])

        low, high = ends(statistics.bootstrap(numbered, problems, resamples=1001))
        assert low / 1000 == pytest.approx(expected, abs=5e-5)
        assert low + high == pytest.approx(1000)


def test_the_bootstrap_leaves_out_draws_without_a_value() -> None:
    """Where a draw has no value its NaN is dropped; where the data have none there is no interval."""
    odd = statistics.bootstrap(lambda counts: np.where(counts[:, 0] > 2, np.nan, counts[:, 0]), 8)
    assert ends(odd) == (0.0, 2.0)
    nothing = statistics.bootstrap(lambda counts: np.full(len(counts), np.nan), 8)
    assert nothing.low is None
    assert math.isnan(nothing.value)


def test_means_of_few_skewed_latencies_are_covered_better_than_by_percentiles() -> None:
    """Mean of eight normal values: the interval covers in 92.5 to 98 % of 400 runs; plain percentiles do in 89 %."""
    rng = np.random.default_rng(4)
    hits = sum(statistics.mean_estimate(rng.normal(10, 1, 8), np.arange(8)).covers(10.0) for _ in range(400))
    assert 0.925 <= hits / 400 <= 0.98


def accuracy_table(gained: int, lost: int, problems: int) -> Estimate:
    """The difference of two strategies that part on `gained + lost` of the problems."""
    ours = np.repeat([1, 0, 1], [gained, lost, problems - gained - lost])
    theirs = np.repeat([0, 1, 1], [gained, lost, problems - gained - lost])
    return statistics.accuracy_difference(ours, theirs, np.arange(problems))


def test_accuracy_differences_equal_the_published_examples() -> None:
    """Tango's interval on tables of the literature: Newcombe 1998, Fagerland, Lydersen and Laake 2014.

    The latter's upper ends (-0.026, -0.005) exclude 0 although exact McNemar has p = 0.070 and 0.052: here they are 0.
    """
    assert ends(accuracy_table(12, 2, 50)) == pytest.approx((0.0611, 0.3447), abs=5e-5)
    assert ends(accuracy_table(1, 7, 21)) == pytest.approx((-0.517, 0), abs=5e-4)
    assert ends(accuracy_table(6, 16, 161)) == pytest.approx((-0.124, 0), abs=5e-4)
    assert statistics._tango_upper(1, 7, 21) == pytest.approx(-0.026, abs=5e-4)
    assert statistics._tango_upper(6, 16, 161) == pytest.approx(-0.005, abs=5e-4)


@settings(deadline=None)
@given(st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(0, 40)).filter(any))
def test_at_the_upper_end_the_score_statistic_is_critical(table: tuple[int, int, int]) -> None:
    """The share lost that maximises the multinomial likelihood under the end gives a score statistic of -1.96.

    The maximum is found numerically here, and by a formula there.
    """
    gained, lost, _ = table
    n = sum(table)
    delta = statistics._tango_upper(gained, lost, n)
    if gained == n:
        assert delta == 1
        return

    def against(q: float) -> float:
        shares = (q + delta, q, 1 - 2 * q - delta)
        return -sum(k * math.log(max(p, 1e-300)) for k, p in zip(table, shares, strict=True) if k)

    smallest, largest = max(0.0, -delta), (1 - delta) / 2
    best = optimize.minimize_scalar(against, bounds=(smallest, largest), method="bounded", options={"xatol": 1e-12}).x
    if against(smallest) <= against(best):
        best = smallest
    z = (gained - lost - n * delta) / math.sqrt(n * (2 * best + delta * (1 - delta)))
    assert z == pytest.approx(stats.norm.ppf(0.025), rel=1e-3)


def test_accuracy_differences_at_the_edges() -> None:
    """Nothing discordant: z2 / (n + z2) to both sides; all: (n - z2) / (n + z2) to 1; of one problem: no interval."""
    z2 = stats.norm.ppf(0.975) ** 2
    assert ends(accuracy_table(0, 0, 50)) == pytest.approx((-z2 / (50 + z2), z2 / (50 + z2)))
    assert ends(accuracy_table(20, 0, 20)) == pytest.approx(((20 - z2) / (20 + z2), 1))
    assert ends(accuracy_table(0, 20, 20)) == pytest.approx((-1, (z2 - 20) / (20 + z2)))
    assert statistics.accuracy_difference([1, 1], [0, 0], [0, 0]) == Estimate(1.0, None, None)


def test_four_gained_of_fifty_show_no_difference() -> None:
    """Exact McNemar has p = 0.125; the bootstrap's interval used to exclude 0, as Tango's alone would."""
    found = accuracy_table(4, 0, 50)
    assert found.low == 0
    assert found.high == pytest.approx(0.188, abs=1e-3)
    assert -statistics._tango_upper(0, 4, 50) > 0
    assert ends(accuracy_table(6, 0, 50))[0] > 0


@pytest.mark.parametrize("problems", [5, 10, 20, 50, 200])
def test_equally_accurate_strategies_are_seldom_told_apart(problems: int) -> None:
    """A/A, counted exactly: given any number of discordant problems, at most 5 % of their signs exclude 0.

    And the interval says the same as the exact test: it excludes 0 where p < 0.05 and nowhere else.
    """
    for discordant in range(min(problems, 25) + 1):
        chance = 0.0
        for gained in range(discordant + 1):
            found = accuracy_table(gained, discordant - gained, problems)
            assert found.covers(0.0) == (statistics.sign_test(gained, discordant - gained) >= 0.05)
            chance += math.comb(discordant, gained) / 2**discordant * (not found.covers(0.0))
        assert chance <= 0.05


def made_up_accuracies(
    rng: np.random.Generator, problems: int, repeats: int, gain: float
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.intp]]:
    """Right or wrong with chances of each problem's own; of all problems the first surely solves a share `gain`."""
    chance = rng.beta(0.6, 0.6, problems)[:, None]
    ours, theirs = (rng.random((problems, repeats)) < chance for _ in "ab")
    ours |= rng.random((problems, 1)) < gain
    return ours.ravel(), theirs.ravel(), np.repeat(np.arange(problems), repeats)


@pytest.mark.parametrize("problems", [10, 20, 50])
def test_repeats_make_neither_false_claims_nor_false_confidence(problems: int) -> None:
    """Three sampled repeats: A/A excludes 0 in at most 5 %, a true gain of 0.15 is covered in at least 93 %.

    300 runs each; a run too many has a chance below 3e-4.
    """
    rng = np.random.default_rng(problems)
    equal = [made_up_accuracies(rng, problems, 3, 0.0) for _ in range(300)]
    assert np.mean([not statistics.accuracy_difference(*run).covers(0) for run in equal]) <= bound(0.05, 300)
    assert np.mean([statistics.mcnemar(*run) < 0.05 for run in equal]) <= bound(0.05, 300)
    better = [made_up_accuracies(rng, problems, 3, 0.3) for _ in range(300)]
    assert np.mean([not statistics.accuracy_difference(*run).covers(0.15) for run in better]) <= bound(0.07, 300)


def test_fractions_of_many_repeats_are_told_as_finely_as_by_student() -> None:
    """200 problems with eight sampled repeats: both ends agree with scipy's t interval to 5 % of its width."""
    ours, theirs, groups = made_up_accuracies(np.random.default_rng(6), 200, 8, 0.4)
    by_problem = (ours.astype(float) - theirs).reshape(200, 8).mean(axis=1)
    reference = stats.ttest_1samp(by_problem, 0).confidence_interval(0.95)
    found = ends(statistics.accuracy_difference(ours, theirs, groups))
    assert found == pytest.approx((reference.low, reference.high), abs=0.05 * (reference.high - reference.low))


@pytest.mark.parametrize("repeats", [3, 7])
def test_the_same_fraction_gained_everywhere(repeats: int) -> None:
    """One repeat of several gained on every problem: rounding keeps the value inside, and both ends are found."""
    for problems in range(6, 60):
        ours = np.tile(np.arange(repeats) == 0, problems)
        found = statistics.accuracy_difference(ours, np.zeros_like(ours), np.repeat(np.arange(problems), repeats))
        low, high = ends(found)
        assert 0 < low < found.value <= high < 1.01 / repeats


@settings(deadline=None)
@given(st.integers(2, 30), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_accuracy_differences_contain_their_value_and_turn_with_the_sides(n: int, repeats: int, seed: int) -> None:
    """Value inside, ends inside [-1, 1], mirrored when the sides are swapped, unmoved by copies of every row."""
    rng = np.random.default_rng(seed)
    ours, theirs, groups = made_up_accuracies(rng, n, repeats, rng.random())
    found = statistics.accuracy_difference(ours, theirs, groups)
    low, high = ends(found)
    assert -1 <= low <= found.value <= high <= 1
    assert found.value == pytest.approx(np.mean(ours) - np.mean(theirs))
    swapped = statistics.accuracy_difference(theirs, ours, groups)
    assert ends(swapped) == pytest.approx((-high, -low))
    copied = statistics.accuracy_difference(np.tile(ours, 2), np.tile(theirs, 2), np.tile(groups, 2))
    if repeats == 1:
        assert (copied.value, *ends(copied)) == pytest.approx((found.value, low, high))
    if not found.covers(0):
        assert statistics.mcnemar(ours, theirs, groups) < 0.05


def test_tables_can_be_made_again() -> None:
    """The same rows and seed give the same interval; another seed gives almost the same."""
    rng = np.random.default_rng(3)
    values, groups = rng.lognormal(size=50), np.arange(50)
    first = statistics.mean_estimate(values, groups)
    assert first == statistics.mean_estimate(values, groups)
    other = statistics.mean_estimate(values, groups, seed=1)
    assert first != other
    assert other.low == pytest.approx(first.low, rel=0.05)
    paired = statistics.ratio(values, values[::-1], groups)
    assert paired == statistics.ratio(values, values[::-1], groups)
    assert paired != statistics.ratio(values, values[::-1], groups, seed=1)


def test_one_problem_has_no_interval() -> None:
    """Nothing can be said about chance from a single problem, however often it was repeated."""
    assert statistics.mean_estimate([1.0, 3.0], [0, 0]) == Estimate(2.0, None, None)
    assert statistics.ratio([2.0], [1.0], [0]) == Estimate(2.0, None, None)


def test_unpaired_and_impossible_data_are_refused() -> None:
    """Shapes must agree and latencies must be positive."""
    with pytest.raises(ValueError, match="as many values as groups"):
        statistics.mean_estimate([1.0, 2.0], [0])
    with pytest.raises(ValueError, match="at least one"):
        statistics.mean_estimate([], [])
    with pytest.raises(ValueError, match="positive"):
        statistics.ratio([0.0], [1.0], [0])


def test_break_even_is_where_routing_and_target_only_cost_the_same() -> None:
    """At the break-even escalation rate, the time per step of routing equals that of target-only."""
    draft, target, router, length = 0.002, 0.01, 0.03, 20.0
    rate = statistics.break_even_escalation(draft, target, router, length)
    routed = length * draft + router + rate * length * target
    assert routed == pytest.approx(length * target)
    assert statistics.break_even_escalation(0.02, 0.01, 0.0, 20.0) < 0
    with pytest.raises(ValueError, match="positive"):
        statistics.break_even_escalation(0.1, 0.0, 0.0, 1.0)
