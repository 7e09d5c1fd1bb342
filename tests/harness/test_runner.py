"""The measuring loop: order, clock, grading, failures, observers. Strategies here are scripted and need no models."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from arbitrage.errors import CapabilityError, DatasetError, RunError, UnknownNameError
from arbitrage.harness.datasets import Dataset
from arbitrage.harness.grading import Status, Verdict
from arbitrage.harness.progress import Lines, Progress
from arbitrage.harness.rows import Row, RowStatus
from arbitrage.harness.runner import Instruments, run_benchmark, run_comparison
from arbitrage.hooks import StepDecided
from arbitrage.interfaces import Capability, Models, Settings, Strategy
from arbitrage.sampling import Sampling
from arbitrage.seeding import problem_rng
from arbitrage.types import EndReason, Generation, Problem, Role, StepRecord

PROBLEMS = tuple(Problem(f"p{index}", f"statement {index}", (str(index),), level=1 + index % 5) for index in range(4))


class World:
    """A clock that strategies and grading move, and a diary of what happened in which order."""

    def __init__(self) -> None:
        self.time = 0.0
        self.diary: list[tuple[str, ...]] = []
        self.steps: list[StepDecided] = []
        self.rows: list[Row] = []

    def instruments(self, grade: Callable[[str, Problem], Verdict] | None = None) -> Instruments:
        return Instruments(
            clock=lambda: self.time,
            synchronise=lambda: None,
            now=lambda: datetime(2026, 1, 1, tzinfo=UTC),
            grade=grade or self.grade,
            observers=self,
        )

    def grade(self, text: str, problem: Problem) -> Verdict:
        self.time += 1000.0
        self.diary.append(("grade", problem.id))
        status = Status.CORRECT if text == problem.answer else Status.INCORRECT
        return Verdict(status, text, "string", "compared")

    def step_decided(self, event: StepDecided) -> None:
        self.steps.append(event)

    def problem_finished(self, row: object) -> None:
        assert isinstance(row, Row)
        self.rows.append(row)


class Scripted(Strategy):
    """Takes `seconds` of the world's time and answers by what `answer` makes of the problem and a random number."""

    requires: frozenset[Role | Capability] = frozenset()

    def __init__(
        self, world: World, name: str, seconds: float = 1.0, answer: Callable[[Problem, float], Any] | None = None
    ) -> None:
        self.name = name  # type: ignore[misc]
        self._world, self._seconds, self._answer = world, seconds, answer or (lambda problem, u: problem.answer)

    def solve(self, problem: Problem, models: Models, rng: np.random.Generator) -> Generation:
        self._world.diary.append(("solve", self.name, problem.id))
        self._world.time += self._seconds
        answer = self._answer(problem, float(rng.random()))
        if not isinstance(answer, str):
            return answer  # type: ignore[no-any-return]
        step = StepRecord(0, answer, "target", 3)
        if models.settings.on_step:
            models.settings.on_step(problem, step)
        return Generation(answer, (1, 2, 3), (step,), EndReason.EOS, 5, {"target": self._seconds / 2})


def compare(world: World, *strategies: Strategy, **options: Any) -> Any:
    options = {"dataset": PROBLEMS, "warmup": 0, "progress": False, "baseline": False} | options
    options.setdefault("instruments", world.instruments())
    return run_comparison(list(strategies), Models(), **options)


def turns(seed: int, problems: int = 3, repeats: int = 2) -> list[list[tuple[str, str]]]:
    """Who solved which problem, in groups of three."""
    world = World()
    data = [Problem(f"p{index}", "s", ("0",)) for index in range(problems)]
    compare(world, *(Scripted(world, name) for name in "abc"), dataset=data, repeats=repeats, seed=seed)
    solved = [entry[1:] for entry in world.diary if entry[0] == "solve"]
    return [solved[start : start + 3] for start in range(0, len(solved), 3)]


def test_strategies_are_interleaved() -> None:
    """Each problem is solved by all strategies before the next."""
    made = turns(0)
    assert [{problem for _, problem in turn} for turn in made] == [{"p0"}, {"p1"}, {"p2"}] * 2
    assert all({name for name, _ in turn} == set("abc") for turn in made)


def test_chance_deals_out_who_goes_first_anew_for_each_problem() -> None:
    """All six orders come up about equally often in 300 problems (50 each, sd 6.5), and depend on the seed alone."""
    made = turns(1, problems=150)
    orders = Counter("".join(name for name, _ in turn) for turn in made)
    assert len(orders) == 6
    assert all(25 < count < 75 for count in orders.values())
    assert turns(1, problems=150) == made
    assert turns(2, problems=150) != made


def test_latency_is_the_strategy_and_nothing_else() -> None:
    """Grading moves the clock by 1000 s, and no latency notices; a synchronisation inside the interval would."""
    world = World()
    found = compare(world, Scripted(world, "a", 2.0), Scripted(world, "b", 3.0), warmup=1)
    assert {row.latency_s for row in found["a"].rows} == {2.0}
    assert found["b"].latency.median_s == 3.0
    assert found["b"].overhead_share == 0.5


def test_warm_ups_are_reported_and_never_averaged_in() -> None:
    """Warm-up runs every strategy on spare problems, tells no observer, and leaves no row."""
    world = World()
    spare = Problem("spare", "s", ("0",))
    data = Dataset("d", PROBLEMS[:2], spare=(spare,))
    slow_start = iter([50.0])

    class ColdStart(Scripted):
        def solve(self, problem: Problem, models: Models, rng: np.random.Generator) -> Generation:
            self._world.time += next(slow_start, 0.0)
            return super().solve(problem, models, rng)

    found = compare(world, ColdStart(world, "a"), dataset=data, warmup=3)
    assert [one.problem_id for one in found["a"].warm_ups] == ["spare"]
    assert found["a"].warm_ups[0].latency_s == 51.0
    assert {row.latency_s for row in found["a"].rows} == {1.0}
    assert {event.problem.id for event in world.steps} == {"p0", "p1"}
    assert found["a"].summary()["warm_up_s"] == [51.0]


def test_randomness_depends_on_seed_problem_and_repeat_only() -> None:
    """A row is the same whoever else runs and in whatever order; another seed or repeat draws other numbers."""
    world = World()

    def texts(seed: int, *names: str, problems: tuple[Problem, ...] = PROBLEMS) -> dict[Any, str]:
        strategies = [Scripted(world, name, answer=lambda problem, u: f"{u:.12f}") for name in names]
        found = compare(world, *strategies, dataset=problems, seed=seed, repeats=2)
        return {(row.problem_id, row.repeat): row.text for row in found["a"].rows}

    alone = texts(0, "a")
    assert alone == texts(0, "b", "a", problems=PROBLEMS[::-1])
    assert alone["p1", 1] == f"{problem_rng(0, 'p1', 1).random():.12f}"
    assert len(set(alone.values())) == len(alone)
    assert not set(alone.values()) & set(texts(1, "a").values())


def test_a_failing_strategy_costs_one_row() -> None:
    """An exception on one problem is a row with message and traceback; the others are untouched."""
    world = World()

    def fail(problem: Problem, u: float) -> str:
        if problem.id == "p1":
            raise RuntimeError("out of\nmemory")
        return problem.answer

    found = compare(world, Scripted(world, "a", answer=fail), Scripted(world, "b"))
    row = found["a"].rows[1]
    assert row.status is RowStatus.ERROR
    assert row.reason == "RuntimeError: out of"
    assert row.error is not None
    assert "fail" in row.error
    assert row.latency_s == 1.0
    assert found["a"].accuracy == 0.75
    assert found["a"].latency.mean_s == 1.0
    assert found["b"].accuracy == 1.0


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (None, "solve() returned NoneType, not a Generation"),
        (Generation("x", ("one",), (), EndReason.EOS), "the strategy's Generation is malformed"),  # type: ignore[arg-type]
    ],
)
def test_nonsense_from_a_strategy_is_a_row_too(made: object, message: str) -> None:
    """A plugin that returns something else than a well-formed Generation fails that problem, with a reason."""
    world = World()
    found = compare(world, Scripted(world, "a", answer=lambda problem, u: made), dataset=PROBLEMS[:1])
    assert found["a"].rows[0].status is RowStatus.ERROR
    assert message in found["a"].rows[0].reason


def test_a_failing_grader_does_not_lose_the_solution() -> None:
    """The row keeps text and latency and is unscored."""
    world = World()

    def grade(text: str, problem: Problem) -> Verdict:
        raise OSError("no processes left")

    found = compare(world, Scripted(world, "a"), dataset=PROBLEMS[:1], instruments=world.instruments(grade))
    row = found["a"].rows[0]
    assert (row.status, row.text, row.latency_s) == (RowStatus.UNSCORED, "0", 1.0)
    assert "no processes left" in row.reason


def test_every_grade_becomes_the_status_of_the_row() -> None:
    """The five grades stay five values."""
    world = World()
    for status in Status:
        tools = world.instruments(lambda text, problem, status=status: Verdict(status, "a", "m", "r"))  # type: ignore[misc]
        row = compare(world, Scripted(world, "a"), dataset=PROBLEMS[:1], instruments=tools)["a"].rows[0]
        assert (row.status.value, row.answer, row.method, row.reason) == (status.value, "a", "m", "r")


def test_identical_strategies_are_found_identical() -> None:
    """A/A: the same strategy under two labels has a speed-up interval that contains 1, and no accuracy difference."""
    world = World()
    noise = np.random.default_rng(5)

    class Noisy(Scripted):
        def solve(self, problem: Problem, models: Models, rng: np.random.Generator) -> Generation:
            self._seconds = float(noise.lognormal())
            return super().solve(problem, models, rng)

    problems = tuple(Problem(f"p{index}", "s", ("0",)) for index in range(60))
    coin = lambda problem, u: "0" if u < 0.5 else "1"  # noqa: E731 - one line says it all
    strategies = [Noisy(world, "target-only", answer=coin), Noisy(world, "target-only", answer=coin)]
    found = compare(world, *strategies, dataset=problems, repeats=2)
    assert list(found) == ["target-only", "target-only #2"]
    versus = found.versus("target-only #2")
    assert versus.speed_up.covers(1.0)
    assert versus.speed_up.low < versus.speed_up.high
    assert versus.median_speed_up.covers(1.0)
    assert versus.geometric_speed_up.covers(1.0)
    assert versus.accuracy_difference.value == 0
    assert versus.mcnemar_p == 1.0
    assert versus.identical_share == 1.0


def test_a_slower_strategy_is_found_slower() -> None:
    """The A/A check has power: 30 % more time on each of six problems puts 1 outside the interval; four are too few."""
    for count, shown in ((6, True), (4, False)):
        world = World()
        problems = tuple(Problem(f"p{index}", "s", (str(index),)) for index in range(count))
        found = compare(world, Scripted(world, "target-only", 1.0), Scripted(world, "slow", 1.3), dataset=problems)
        assert found.versus("slow").speed_up.covers(1.0) is not shown
        assert found.versus("slow").speed_up.value == pytest.approx(1 / 1.3)


def test_observers_see_every_step_and_every_row_with_its_strategy() -> None:
    """`step_decided` names the strategy's label, `problem_finished` gets the row; the caller's hook stays."""
    world = World()
    seen: list[str] = []
    settings = Settings(on_step=lambda problem, step: seen.append(problem.id))
    found = compare(world, Scripted(world, "a"), Scripted(world, "b"), dataset=PROBLEMS[:2], settings=settings)
    assert sorted((event.strategy, event.problem.id) for event in world.steps) == sorted(
        (name, problem) for name in "ab" for problem in ("p0", "p1")
    )
    assert sorted(seen) == ["p0", "p0", "p1", "p1"]
    assert {row.key for row in world.rows} == {row.key for name in "ab" for row in found[name].rows}


def test_settings_can_be_overridden_one_by_one() -> None:
    """None keeps the given setting; sampling options reach the sampling; nonsense is refused before anything runs."""
    world = World()
    settings = Settings(max_tokens=7, sampling=Sampling(temperature=0.5, top_k=3))
    found = compare(world, Scripted(world, "a"), settings=settings, temperature=0.0, max_steps=9, answer_stop=True)
    told = found.manifest["identity"]["settings"]
    assert (told["max_tokens"], told["max_steps"], told["answer_stop"]) == (7, 9, True)
    assert told["sampling"] == {"temperature": 0.0, "top_k": 3, "top_p": 1.0}
    before = len(world.diary)
    for wrong in ({"max_tokens": 0}, {"temperature": -1.0}, {"repeats": 0}, {"seed": -1}):
        with pytest.raises(ValueError, match=r"must|need"):
            compare(world, Scripted(world, "a"), **wrong)
    assert len(world.diary) == before


def test_requirements_of_all_strategies_are_checked_before_the_first_token() -> None:
    """One strategy that cannot run stops the run before another one has started, and before a folder is written."""
    world = World()
    needy = Scripted(world, "needy")
    needy.requires = frozenset({Role.PRM})
    with pytest.raises(CapabilityError, match="needs prm"):
        compare(world, Scripted(world, "a"), needy)
    assert not world.diary


def test_unusable_arguments_are_refused() -> None:
    """Unknown names, options without use, problems with a path, resuming without a folder."""
    world = World()
    with pytest.raises(UnknownNameError, match="Did you mean 'rsd'"):
        run_benchmark("rsdd", Models(), dataset=PROBLEMS)
    with pytest.raises(TypeError, match="dtype"):
        compare(world, Scripted(world, "a"), dtype="float32")
    with pytest.raises(DatasetError, match="at hand"):
        compare(world, Scripted(world, "a"), dataset_path="x.jsonl")
    with pytest.raises(RunError, match="out=FOLDER"):
        compare(world, Scripted(world, "a"), resume=True)
    with pytest.raises(ValueError, match="no strategy given"):
        compare(world)


def test_run_benchmark_is_the_comparison_with_one_strategy() -> None:
    """The result is the strategy's; its rows are frozen and in the order of the problems."""
    world = World()
    result = run_benchmark(
        Scripted(world, "a"),
        Models(),
        dataset=PROBLEMS,
        limit=3,
        warmup=0,
        progress=False,
        instruments=world.instruments(),
    )
    assert result.strategy == "a"
    assert [row.problem_id for row in result.rows] == ["p0", "p1", "p2"]
    assert result.limited_to == 3
    assert result.accuracy == 1.0
    assert result.baseline is None  # no target is loaded


def test_labels_of_your_own_keep_two_versions_apart() -> None:
    """A mapping names the strategies; equal labels in a list are numbered."""
    world = World()
    found = run_comparison(
        {"before": Scripted(world, "a"), "after": Scripted(world, "a")},
        Models(),
        dataset=PROBLEMS[:1],
        warmup=0,
        progress=False,
        instruments=world.instruments(),
    )
    assert list(found) == ["before", "after"]


def test_lines_show_live_accuracy_and_latency() -> None:
    """Where there is no terminal, progress is a handful of lines, the last of which is the whole run."""
    world = World()
    stream = io.StringIO()
    problems = tuple(Problem(f"p{index}", "s", ("0",)) for index in range(100))
    compare(world, Scripted(world, "a"), Scripted(world, "b", 2.5), dataset=problems, progress=Lines(stream), warmup=1)
    lines = stream.getvalue().splitlines()
    assert lines[-1] == "200/200  a 100% 1.00s · b 100% 2.50s"
    assert len([line for line in lines if "/200" in line]) == 20
    assert "warmed up with 2 solutions" in lines


def test_a_terminal_gets_a_bar() -> None:
    """On a terminal the bar shows how many rows are done and the live numbers."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    from arbitrage.harness.progress import Bar, choose_progress

    stream = Terminal()
    bar = choose_progress(None, stream)
    assert isinstance(bar, Bar)
    world = World()
    compare(world, Scripted(world, "a"), progress=bar)
    assert "4/4" in stream.getvalue()
    assert "a 100% 1.00s" in stream.getvalue()
    assert isinstance(choose_progress(None, io.StringIO()), Lines)


def test_progress_of_your_own_is_told_everything() -> None:
    """A progress object sees start, every row, and the end, also when the run fails."""
    told: list[str] = []

    class Mine(Progress):
        def start(self, total: int, done: object) -> None:
            told.append(f"start {total}")

        def note(self, message: str) -> None: ...

        def warming_up(self, done: int, total: int) -> None: ...

        def finished(self, row: Row) -> None:
            told.append(row.problem_id)

        def close(self) -> None:
            told.append("close")

    world = World()
    compare(world, Scripted(world, "a"), dataset=PROBLEMS[:2], progress=Mine())
    assert told == ["start 2", "p0", "p1", "close"]
