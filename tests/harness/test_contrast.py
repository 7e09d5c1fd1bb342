"""Comparing runs: what is paired, what is said, and when a build breaks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from arbitrage.cli.app import app
from arbitrage.errors import RunError
from arbitrage.harness.assertions import assert_faster, assert_not_slower
from arbitrage.harness.comparison import load_comparison
from arbitrage.harness.contrast import Condition, compare_runs
from arbitrage.harness.runner import Instruments, run_comparison
from arbitrage.interfaces import Models, Strategy
from arbitrage.types import EndReason, Generation, Problem

PROBLEMS = [Problem(f"p{i}", "x", (str(i),)) for i in range(12)]
RUNNER = CliRunner(env={"COLUMNS": "200"})


class Timed(Strategy):
    """Takes some seconds of a clock of its own and answers as told."""

    requires = frozenset()

    def __init__(self, name: str, seconds: float, answer: Callable[[Problem], str], clock: list[float]) -> None:
        self.name = name  # type: ignore[misc]
        self._seconds, self._answer, self._clock = seconds, answer, clock

    def solve(self, problem: Problem, models: Models, rng: np.random.Generator) -> Generation:
        self._clock[0] += self._seconds * (1 + int(problem.id[1:]) / 10)
        text = self._answer(problem)
        return Generation(text, tuple(map(ord, text)), (), EndReason.EOS, 1)


def right(problem: Problem) -> str:
    return problem.answer


def mostly(problem: Problem) -> str:
    return "77" if problem.id in ("p1", "p2", "p3") else problem.answer


def make(folder: Path, *told: tuple[str, float, Callable[[Problem], str]], problems: list[Problem] = PROBLEMS) -> Path:
    clock = [0.0]
    run_comparison(
        [Timed(name, seconds, answer, clock) for name, seconds, answer in told],
        Models(),
        dataset=problems,
        baseline=False,
        warmup=0,
        progress=False,
        out=folder,
        instruments=Instruments(clock=lambda: clock[0], synchronise=lambda: None),
    )
    return folder


def test_two_runs_are_paired_by_strategy_and_problem(tmp_path: Path) -> None:
    """The second run is twice as slow and lost three problems; each figure is exact, by hand."""
    first = make(tmp_path / "a", ("s", 1.0, right), ("only-here", 1.0, right))
    second = make(tmp_path / "b", ("s", 2.0, mostly))
    (found,) = compare_runs([first, second])
    assert (found.first, found.second, found.problems) == (f"{first}: s", f"{second}: s", 12)
    assert found.accuracy_difference.value == pytest.approx(-0.25)
    assert found.latency_ratio is not None
    assert found.latency_ratio.value == pytest.approx(2.0)
    assert found.latency_ratio.low == pytest.approx(2.0)
    assert found.same_text == 0.75
    assert found.first_divergence == 0
    assert found.mcnemar_p == pytest.approx(0.25)
    assert [(f.problem_id, f.gained, f.first_answer, f.second_answer) for f in found.flips] == [
        (f"p{i}", False, str(i), "77") for i in (1, 2, 3)
    ]
    assert any("not measured in turn" in note for note in found.notes)


def test_strategies_of_one_run_are_compared_with_one_of_them(tmp_path: Path) -> None:
    """By label; a label that is not there is an error that lists what is."""
    run = make(tmp_path / "a", ("s", 1.0, mostly), ("t", 0.5, right))
    (found,) = compare_runs([run], against="s")
    assert (found.first, found.second) == ("s", "t")
    assert found.latency_ratio is not None
    assert found.latency_ratio.value == pytest.approx(0.5)
    assert all(flip.gained for flip in found.flips)
    assert found.notes == ()
    with pytest.raises(RunError, match="has no target-only; name one of its strategies: s, t"):
        compare_runs([run])


def test_what_cannot_be_compared_says_so(tmp_path: Path) -> None:
    """No strategy, or no problem in common; other problems beside shared ones are a note."""
    first = make(tmp_path / "a", ("s", 1.0, right))
    with pytest.raises(RunError, match="no strategy in common: s and t"):
        compare_runs([first, make(tmp_path / "b", ("t", 1.0, right))])
    other = [Problem(f"q{i}", "x", ("1",)) for i in range(3)]
    with pytest.raises(RunError, match="no problem in common"):
        compare_runs([first, make(tmp_path / "c", ("s", 1.0, lambda p: "1"), problems=other)])
    (found,) = compare_runs([first, make(tmp_path / "d", ("s", 1.0, right), problems=PROBLEMS[:5])])
    assert found.problems == 5
    assert "only those that both have" in found.notes[0]


@pytest.mark.parametrize(
    ("condition", "shown"),
    [
        ("latency_ratio>1.05", True),
        ("latency_ratio > 2.5", False),
        ("latency_ratio<3", True),
        ("accuracy_difference<-0.9", False),
        ("accuracy_difference<=0.1", True),
        ("accuracy_difference>-0.2", False),  # the mean is below, and the interval reaches above
    ],
)
def test_a_condition_holds_when_the_whole_interval_says_so(tmp_path: Path, condition: str, shown: bool) -> None:
    """Not by the mean alone."""
    pair = make(tmp_path / "a", ("s", 1.0, right)), make(tmp_path / "b", ("s", 2.0, mostly))
    assert Condition.parse(condition).holds(compare_runs(pair)[0]) is shown


@pytest.mark.parametrize("condition", ["latency>1", "latency_ratio=1", "latency_ratio>", "__import__('os')>1"])
def test_a_condition_that_cannot_be_read_is_an_error(tmp_path: Path, condition: str) -> None:
    """With examples of what can be written; the command tells it apart from a condition that holds."""
    with pytest.raises(ValueError, match=r"latency_ratio>1\.05"):
        Condition.parse(condition)
    run = make(tmp_path / "a", ("s", 1.0, right), ("t", 1.0, right))
    assert RUNNER.invoke(app, ["compare", str(run), "--against", "s", "--fail-if", condition]).exit_code == 2


def test_one_problem_shows_nothing(tmp_path: Path) -> None:
    """Without an interval no condition holds, and an assertion about latency asks for more problems."""
    run = make(tmp_path / "a", ("s", 1.0, right), ("t", 9.0, right), problems=PROBLEMS[:1])
    (found,) = compare_runs([run], against="s")
    assert not Condition.parse("latency_ratio>1.05").holds(found)
    results = load_comparison(run)
    for check in (assert_faster, assert_not_slower):
        with pytest.raises(ValueError, match="at least six"):
            check(results["s"], results["t"])


def test_a_strategy_is_named_for_one_run_only(tmp_path: Path) -> None:
    """It would be ignored otherwise."""
    run = make(tmp_path / "a", ("s", 1.0, right))
    with pytest.raises(RunError, match="leave it out"):
        compare_runs([run, run], against="s")


def test_the_command_shows_everything_and_breaks_a_build_on_demand(tmp_path: Path) -> None:
    """Exit code 1 and the reason for a shown regression, 0 otherwise; --json for machines."""
    pair = [str(make(tmp_path / "a", ("s", 1.0, right))), str(make(tmp_path / "b", ("s", 2.0, mostly)))]
    shown = RUNNER.invoke(app, ["compare", *pair])
    assert shown.exit_code == 0, shown.output
    for words in ("accuracy: -25.0 [", "latency: 2.000 [", "same text: 75%", "0 gained, 3 lost", "- p1: '1' → '77'"):
        assert words in shown.output
    failed = RUNNER.invoke(app, ["compare", *pair, "--fail-if", "latency_ratio>1.05"])
    assert failed.exit_code == 1
    assert "latency_ratio>1.05" in failed.output
    assert RUNNER.invoke(app, ["compare", *pair, "--fail-if", "latency_ratio>2.05"]).exit_code == 0
    (told,) = json.loads(RUNNER.invoke(app, ["compare", *pair, "--json"]).output)
    assert told["latency_ratio"]["value"] == pytest.approx(2.0)
    assert len(told["flips"]) == 3
