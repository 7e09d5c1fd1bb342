"""`pytest --benchmark` in somebody else's folder: skipped, measured, listed, refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]
pytest.importorskip("torch")

MODELS = """
from arbitrage.interfaces import Models
from arbitrage.testing import ScriptedModel
from arbitrage.types import Problem
STEPS = ["first", "so \\\\boxed{7}"]
MODELS = Models(draft=ScriptedModel(STEPS), target=ScriptedModel(STEPS))
PROBLEMS = [Problem(f"p{i}", f"What is {i}?", ("7" if i else "8",)) for i in range(4)]
"""
CASE = (
    MODELS
    + """
def test_speculation(strategy_benchmark):
    result = strategy_benchmark("token-sd:gamma=4", MODELS, dataset=PROBLEMS, limit=None)
    assert result.accuracy == 0.75
    assert len(result.baseline.rows) == 4
"""
)


@pytest.fixture
def folder(pytester: pytest.Pytester) -> pytest.Pytester:
    """A folder outside the repository, with this package's plugin as an installation has it."""
    pytester.makeini("[pytest]\naddopts = -p no:cacheprovider -p no:randomly\n")
    return pytester


def run(folder: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    plugin = [] if _installed() else ["-p", "arbitrage.harness.pytest_plugin"]
    return folder.runpytest_subprocess(*plugin, *arguments)


def _installed() -> bool:
    from importlib import metadata

    return any(entry.value == "arbitrage.harness.pytest_plugin" for entry in metadata.entry_points(group="pytest11"))


def test_without_the_flag_nothing_is_measured(folder: pytest.Pytester) -> None:
    """The test is skipped, and the reason says what to type; other tests run."""
    folder.makepyfile(CASE + "\ndef test_other():\n    pass\n")
    result = run(folder, "-rs")
    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.fnmatch_lines(["*needs --benchmark*"])


def test_one_case_gives_one_row_and_our_own_summary(folder: pytest.Pytester) -> None:
    """pytest-benchmark times the strategy's problems, one a round; its JSON holds what it has no columns for."""
    folder.makepyfile(CASE)
    result = run(folder, "--benchmark", "--benchmark-only", "--benchmark-json=out.json")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        ["*decoding strategies*", "test*strategy*accuracy %*speed-up*", "test_speculation*token-sd (gamma=4)*75.0*"]
    )
    stored = json.loads((folder.path / "out.json").read_text())["benchmarks"]
    assert len(stored) == 1
    (row,) = stored
    assert row["stats"]["rounds"] == 4
    assert row["group"] == "custom, models"
    assert row["extra_info"]["accuracy"][0] == 0.75
    assert row["extra_info"]["statuses"] == {"correct": 3, "incorrect": 1}
    assert row["extra_info"]["tokens"] > 0
    assert row["extra_info"]["acceptance"] == 1.0
    assert row["extra_info"]["speed_up_over_target_only"][0] > 0


def test_the_latencies_of_the_rows_are_pytest_benchmarks_own(folder: pytest.Pytester) -> None:
    """One clock: the result that the test sees and the table tell the same seconds."""
    folder.makepyfile(
        MODELS
        + """
import pytest
def test_clock(strategy_benchmark, benchmark):
    result = strategy_benchmark("draft-only", MODELS, dataset=PROBLEMS, limit=None)
    measured = sorted(benchmark.stats.stats.data)
    assert sorted(row.latency_s for row in result.rows) == pytest.approx(measured)
"""
    )
    run(folder, "--benchmark").assert_outcomes(passed=1)


def test_the_marker_makes_a_case_for_each_strategy_on_each_backend(folder: pytest.Pytester) -> None:
    """Strategies x backends in one line, with options for all of them; the bundled models need no download."""
    folder.makepyfile(
        """
import pytest
@pytest.mark.strategy_benchmark(strategies=["draft-only", "random-route:rate=0.5"], backends=["hf"], limit=2,
                                max_tokens=24, dtype="float32", threads=1)
def test_methods(strategy_benchmark):
    result = strategy_benchmark()
    assert len(result.rows) == 2
"""
    )
    result = run(folder, "--benchmark", "-v", "--benchmark-columns=mean,rounds", "--benchmark-autosave")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(
        ["*test_methods[[]draft-only-hf[]] PASSED*", "*test_methods[[]random-route:rate=0.5-hf[]] PASSED*"]
    )
    assert list(folder.path.glob(".benchmarks/*/*.json"))
    again = run(folder, "--benchmark", "--benchmark-compare")
    again.assert_outcomes(passed=2)
    again.stdout.fnmatch_lines(["*(0001*"])


def test_several_strategies_are_compared_in_turn_with_assertions_by_interval(folder: pytest.Pytester) -> None:
    """The example of the README: one test, two strategies, interleaved problem by problem."""
    folder.makepyfile(
        MODELS
        + """
import pytest
from arbitrage.testing import assert_accuracy_at_least, assert_faster, assert_not_slower
def test_token_sd_against_random(strategy_benchmark):
    problems = [Problem(f"p{i}", f"What is {i}?", ("7" if i else "8",)) for i in range(6)]
    found = strategy_benchmark.compare(["token-sd", "random-route"], MODELS, dataset=problems, limit=None, repeats=2)
    assert list(found) == ["target-only", "token-sd", "random-route (rate=0.3)"]
    assert all(len(result.rows) == 12 for result in found.values())
    starts = sorted((row.started_at, row.problem_id, row.repeat) for result in found.values() for row in result.rows)
    turns = [starts[i:i + 3] for i in range(0, 36, 3)]
    assert all(len({(problem, repeat) for _, problem, repeat in turn}) == 1 for turn in turns)
    assert_not_slower(found["token-sd"], found["target-only"], ratio=1000)
    assert_accuracy_at_least(found["token-sd"], 0.7)
    with pytest.raises(AssertionError, match="below 1"):
        assert_accuracy_at_least(found["token-sd"], 1.0)
    with pytest.raises(AssertionError, match="not shown to exceed 1000"):
        assert_faster(found["token-sd"], found["target-only"], by=1000)
    with pytest.raises(AssertionError, match="at most 1e-09"):
        assert_not_slower(found["token-sd"], found["target-only"], ratio=1e-9)
"""
    )
    run(folder, "--benchmark").assert_outcomes(passed=1)


def test_switched_off_timing_still_solves_everything(folder: pytest.Pytester) -> None:
    """--benchmark-disable checks that the tests work."""
    folder.makepyfile(CASE)
    result = run(folder, "--benchmark", "--benchmark-disable", "-W", "error")
    result.assert_outcomes(passed=1)


def test_a_test_without_a_strategy_is_told_what_to_write(folder: pytest.Pytester) -> None:
    """Neither a name nor a marker."""
    folder.makepyfile("def test_nothing(strategy_benchmark):\n    strategy_benchmark()\n")
    result = run(folder, "--benchmark")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*name a strategy: strategy_benchmark('token-sd')*"])


def test_workers_beside_each_other_are_refused(folder: pytest.Pytester) -> None:
    """Measuring under pytest-xdist ends before it starts, with the reason."""
    folder.makeconftest(
        """
def pytest_addoption(parser):
    parser.addoption("--workers", dest="numprocesses", type=int, default=0)
"""
    )
    folder.makepyfile(CASE)
    result = run(folder, "--benchmark", "--workers", "2")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*leave -n out*"])


def test_without_pytest_benchmark_the_message_says_what_to_install(folder: pytest.Pytester) -> None:
    """The plugin itself loads; only the measuring test fails."""
    folder.makepyfile(CASE)
    result = run(folder, "--benchmark", "-p", "no:benchmark")
    result.stdout.fnmatch_lines(["*pip install 'arbitrage-decoding[[]pytest]'*"])


def test_installing_the_plugin_imports_nothing_heavy(folder: pytest.Pytester, tmp_path: Path) -> None:
    """Every pytest of an environment loads it; torch and numpy stay out until a test asks."""
    folder.makepyfile(
        "import sys\ndef test_light():\n"
        "    assert not {'torch', 'numpy', 'transformers', 'pydantic'} & set(sys.modules)\n"
    )
    run(folder).assert_outcomes(passed=1)
