"""Assertions about results for test suites: by interval, so that chance does not break a build. Knows no pytest."""

from __future__ import annotations

from arbitrage.harness.comparison import Versus
from arbitrage.harness.results import BenchmarkResult
from arbitrage.harness.statistics import Estimate


def latency_ratio(a: BenchmarkResult, b: BenchmarkResult) -> Estimate:
    """Mean latency of `a` over that of `b`, on the problems that both solved; 95 %, none under six problems.

    Raises:
        ValueError: they have no problem in common.
    """
    versus = Versus.of(b.rows, a.rows)
    if versus is None or versus.speed_up is None:
        raise ValueError(f"{a.strategy} and {b.strategy} solved no problem in common")
    return versus.speed_up


def assert_not_slower(a: BenchmarkResult, b: BenchmarkResult, ratio: float = 1.0) -> None:
    """Fail when the measurements show that `a` takes more than `ratio` times as long as `b`.

    Args:
        a: one strategy's result.
        b: another's, of the same problems and best of the same run.
        ratio: allowed latency of `a` over latency of `b`, e.g. 1.05.

    Raises:
        AssertionError: the whole interval of the ratio lies above `ratio`.
        ValueError: they have fewer than six problems in common, on which nothing can be shown.
    """
    found = _with_interval(latency_ratio(a, b), a, b)
    if found.low is not None and found.low > ratio:
        raise AssertionError(
            f"{a.strategy} takes {found.shown()} times as long as {b.strategy}; at most {ratio:g} is allowed"
        )


def assert_faster(a: BenchmarkResult, b: BenchmarkResult, by: float = 1.0) -> None:
    """Fail unless the measurements show that `a` is more than `by` times as fast as `b`.

    Args:
        a: one strategy's result.
        b: another's, of the same problems and best of the same run.
        by: latency of `b` over latency of `a` that has to be exceeded.

    Raises:
        AssertionError: the interval of the speed-up reaches down to `by`.
        ValueError: they have fewer than six problems in common, on which nothing can be shown.
    """
    found = _with_interval(latency_ratio(b, a), a, b)
    if found.low is None or found.low <= by:
        raise AssertionError(
            f"{a.strategy} is {found.shown()} times as fast as {b.strategy}, not shown to exceed {by:g}"
        )


def assert_accuracy_at_least(result: BenchmarkResult, accuracy: float) -> None:
    """Fail when the rows show an accuracy below `accuracy`.

    Args:
        result: one strategy's result.
        accuracy: share of right answers in [0, 1].

    Raises:
        AssertionError: the whole interval (Wilson, 95 %) lies below `accuracy`.
        ValueError: there are no rows, or `accuracy` is not a share.
    """
    if not 0 <= accuracy <= 1:
        raise ValueError(f"accuracy is a share in [0, 1], not {accuracy}")
    found = result.accuracy_interval
    if found is None:
        raise ValueError(f"{result.strategy} has no rows")
    if found.high is not None and found.high < accuracy:
        raise AssertionError(f"the accuracy of {result.strategy} is {found.shown()}, below {accuracy:g}")


def _with_interval(found: Estimate, a: BenchmarkResult, b: BenchmarkResult) -> Estimate:
    if found.low is None:
        raise ValueError(
            f"{a.strategy} and {b.strategy} have too few problems in common to compare latencies; give at least six"
        )
    return found
