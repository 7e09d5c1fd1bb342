"""Several problems at once: the same rows, honest seconds, one strategy at a time, and nothing lost when it stops."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from arbitrage.cli import main
from arbitrage.errors import RunError
from arbitrage.harness import report
from arbitrage.harness.config import CONFIG, load_config
from arbitrage.harness.contrast import compare_runs
from arbitrage.harness.datasets import Dataset
from arbitrage.harness.export import Subject, records
from arbitrage.harness.grading import Status, Verdict
from arbitrage.harness.html.data import RunData
from arbitrage.harness.plan import Plan
from arbitrage.harness.progress import Progress
from arbitrage.harness.rows import Row, RowStatus
from arbitrage.harness.run_folder import read_manifest, read_rows
from arbitrage.harness.runner import (
    BenchmarkInterrupted,
    Comparison,
    Instruments,
    load_comparison,
    resume_run,
    run_comparison,
)
from arbitrage.hooks import Register, StepDecided, hookimpl
from arbitrage.interfaces import Capability, Models, Settings, Strategy
from arbitrage.registry import Registry
from arbitrage.sampling import Sampling
from arbitrage.seeding import order_rng
from arbitrage.testing import ScriptedModel, ScriptedScorer
from arbitrage.types import EndReason, Generation, Problem, Role, StepRecord
from tests.scripted_backend import Scripted, scripted_registry

PROBLEMS = tuple(Problem(f"p{index}", f"What is 1+1, version {index}?", ("2",)) for index in range(12))
WAIT_S = 60
"""Longer than anything here takes: a test that would hang fails."""


@pytest.fixture(autouse=True)
def _no_chart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes longer than everything else here and has its own tests."""
    monkeypatch.setattr("arbitrage.harness.chart.save_chart", lambda comparison, file: None)


class Watcher:
    """Notes what observers, grader and progress are told, and by which thread."""

    def __init__(self) -> None:
        self.threads: set[int] = set()
        self.steps: list[StepDecided] = []
        self.rows: list[Row] = []
        self.on_row: Callable[[Row], None] = lambda row: None

    def step_decided(self, event: StepDecided) -> None:
        self.threads.add(threading.get_ident())
        self.steps.append(event)

    def problem_finished(self, row: object) -> None:
        assert isinstance(row, Row)
        self.threads.add(threading.get_ident())
        self.rows.append(row)
        self.on_row(row)

    def grade(self, text: str, problem: Problem) -> Verdict:
        self.threads.add(threading.get_ident())
        return Verdict(Status.CORRECT if text == problem.answer else Status.INCORRECT, text, "string", "")

    def instruments(self, clock: Callable[[], float] | None = None) -> Instruments:
        timed = {} if clock is None else {"clock": clock}
        return Instruments(grade=self.grade, observers=self, synchronise=lambda: None, **timed)


class Acting(Strategy):
    """Does what it is told with each problem, then answers right."""

    requires: frozenset[Role | Capability] = frozenset()

    def __init__(self, name: str, act: Callable[[Problem, Models], object] = lambda problem, models: None) -> None:
        self.name = name  # type: ignore[misc]
        self._act = act

    def solve(self, problem: Problem, models: Models, rng: np.random.Generator) -> Generation:
        self._act(problem, models)
        steps = (StepRecord(0, f"{rng.random()}", "target", 2),)
        return Generation(problem.answer, (1, 2), steps, EndReason.EOS)


def run(*strategies: str | Strategy, models: Models | None = None, **options: Any) -> Comparison:
    defaults = {"dataset": PROBLEMS, "warmup": 0, "progress": False, "baseline": False}
    options = defaults | {"instruments": Watcher().instruments()} | options
    return run_comparison(list(strategies), models or Models(), **options)


def timeless(comparison: Comparison) -> list[Row]:
    """Rows without what clocks said, and without how much work it took: measured times may choose that."""
    return [
        replace(
            row,
            latency_s=0.0,
            share_s=None,
            started_at="",
            time_s={},
            calls={},
            forwarded_tokens={},
            steps=tuple(replace(step, latency_s=0.0, time_s={}) for step in row.steps),
        )
        for result in comparison.values()
        for row in result.rows
    ]


# How many, and in which order.


@pytest.mark.parametrize("concurrency", [2, 4])
def test_so_many_problems_are_in_work_at_once_and_never_more(concurrency: int) -> None:
    """All meet at a barrier, again and again; at no time are there more, or two strategies at work."""
    barrier, lock = threading.Barrier(concurrency), threading.Lock()
    working: list[str] = []
    seen: list[list[str]] = []

    def act(name: str) -> Callable[[Problem, Models], None]:
        def meet(problem: Problem, models: Models) -> None:
            with lock:
                working.append(name)
                seen.append(list(working))
            barrier.wait(WAIT_S)
            with lock:
                working.remove(name)

        return meet

    found = run(Acting("a", act("a")), Acting("b", act("b")), concurrency=concurrency)
    assert not [row.error for result in found.values() for row in result.rows if row.failed]
    assert len(seen) == 2 * len(PROBLEMS)
    assert max(map(len, seen)) == concurrency
    assert all(len(set(names)) == 1 for names in seen)


def plan(concurrency: int, problems: int, warm_up: int = 2) -> Plan:
    data = Dataset("d", tuple(Problem(f"p{index}", "s", ("0",)) for index in range(problems)))
    return Plan({name: Acting(name) for name in "abc"}, Models(), data, 5, 2, warm_up, concurrency)


def test_a_block_is_solved_by_all_strategies_before_the_next() -> None:
    """Blocks of eight problems for each at once, in the data set's order; chance deals out the strategies by block."""
    stretches = list(plan(2, 40).stretches())
    assert [len(stretch) for stretch in stretches] == ([16] * 6 + [8] * 3) * 2
    for number, start in enumerate(range(0, len(stretches), 3)):
        block, repeat = stretches[start : start + 3], number // 3
        ids = [f"p{16 * (number % 3) + k}" for k in range(len(block[0]))]
        assert [[job.problem.id for job in stretch] for stretch in block] == [ids] * 3
        dealt = ["abc"[place] for place in order_rng(5, ids[0], repeat).permutation(3)]
        assert [{job.label for job in stretch} for stretch in block] == [{label} for label in dealt]
        assert {job.repeat for stretch in block for job in stretch} == {repeat}


def test_one_at_a_time_every_problem_is_its_own_block() -> None:
    """The order of runs that solve one problem at a time is what it was."""
    stretches = list(plan(1, 5).stretches())
    assert {len(stretch) for stretch in stretches} == {1}
    dealt = [
        ("abc"[place], f"p{k}", repeat)
        for repeat in range(2)
        for k in range(5)
        for place in order_rng(5, f"p{k}", repeat).permutation(3)
    ]
    assert [stretch[0].key for stretch in stretches] == dealt


@pytest.mark.parametrize(("concurrency", "warm_up", "each"), [(1, 2, 2), (4, 2, 4), (4, 6, 6), (4, 0, 0)])
def test_warming_up_is_as_busy_as_measuring(concurrency: int, warm_up: int, each: int) -> None:
    """At least as many problems as are solved at once, unless none are wanted."""
    jobs = [job for stretch in plan(concurrency, 20, warm_up).warm_up_stretches() for job in stretch]
    assert [sum(job.label == name for job in jobs) for name in "abc"] == [each] * 3


@pytest.mark.parametrize("concurrency", [0, -1, 513])
def test_numbers_that_make_no_sense_are_refused(concurrency: int) -> None:
    """Before anything runs."""
    with pytest.raises(ValueError, match=r"within 1\.\.512"):
        run(Acting("a"), concurrency=concurrency)


# Rows.

ALL = (
    *("target-only", "draft-only", "token-sd", "token-sd:proposer=ngram", "random-route:rate=0.5", "rsd"),
    *("arbitrage-oracle", "arbitrage-router:threshold=0.5"),
)


def scripted() -> Models:
    scores = {"one": 0.9, "so wrong": 0.1, "\\boxed{9}": 0.2, "so right": 0.8, "\\boxed{2}": 0.9, "ONE": 0.9}
    draft = ScriptedModel(["one", "so wrong", "\\boxed{9}"], "d", confidence=0.7)
    target = ScriptedModel(["ONE", "so right", "\\boxed{2}"], "t", confidence=0.7)
    return Models(draft, target, ScriptedScorer(scores), ScriptedScorer(scores))


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_every_strategy_makes_the_same_rows_as_one_at_a_time(temperature: float) -> None:
    """All built-in strategies; sampled texts differ from problem to problem and not from run to run."""
    settings = Settings(max_tokens=60, sampling=Sampling(temperature))
    strategies = [name.replace("token-sd", "token-sd:gamma=3") if name == "token-sd" else name for name in ALL]
    strategies = [f"{name}+gamma=3" if name.endswith("ngram") else name for name in strategies]
    one, four = (run(*strategies, models=scripted(), settings=settings, concurrency=n) for n in (1, 4))
    assert list(one) == list(four)
    assert timeless(one) == timeless(four)
    assert not [row.error for row in timeless(one) if row.failed]
    if temperature:
        assert len({row.text for row in one["target-only"].rows}) > 1


@pytest.mark.parametrize("share", [0.0, 0.3, 0.71, 1.0])
def test_a_killed_run_resumes_to_the_same_rows(tmp_path: Path, share: float) -> None:
    """Cut the rows of four at once at any byte: resuming, four at once, makes what is missing and ends the same."""
    names = ("target-only", "random-route:rate=0.5", "rsd")
    expected = run(*names, models=scripted(), concurrency=4, out=tmp_path, repeats=2)
    whole = (tmp_path / "rows.jsonl").read_bytes()
    cut = whole[: int(share * len(whole))]
    (tmp_path / "rows.jsonl").write_bytes(cut)
    found = run(*names, models=scripted(), concurrency=4, out=tmp_path, repeats=2, resume=True)
    assert found.complete
    assert timeless(found) == timeless(expected)
    assert (tmp_path / "rows.jsonl").read_bytes().startswith(whole[: cut.rfind(b"\n") + 1])
    # Rows of both sittings make a throughput of pieces, and the table says so; all of one of them do not.
    warned = [warning for warning in report.run_warnings(load_comparison(tmp_path)) if "2 sittings" in warning]
    assert len(warned) == (0 < share < 1)
    assert not [warning for warning in report.run_warnings(expected) if "sittings" in warning]


def test_a_crash_in_one_problem_is_a_row() -> None:
    """The others, which are in work at the time, are untouched."""
    barrier = threading.Barrier(3)

    def act(problem: Problem, models: Models) -> None:
        barrier.wait(WAIT_S)
        if problem.id == "p4":
            raise RuntimeError("out of\nmemory")

    found = run(Acting("a", act), concurrency=3)["a"]
    assert [row.problem_id for row in found.rows] == [problem.id for problem in PROBLEMS]
    assert [row.status for row in found.rows].count(RowStatus.CORRECT) == 11
    assert found.rows[4].reason == "RuntimeError: out of"
    assert found.rows[4].latency_s > 0


def test_rows_are_read_back_in_the_order_of_the_plan(tmp_path: Path) -> None:
    """The folder has them as they ended, the later of each two first; results have the data set's order."""
    ended = {problem.id: threading.Event() for problem in PROBLEMS}
    watcher = Watcher()
    watcher.on_row = lambda row: ended[row.problem_id].set()

    def act(problem: Problem, models: Models) -> None:
        number = int(problem.id[1:])
        if number % 2 == 0:
            assert ended[f"p{number + 1}"].wait(WAIT_S)

    run(Acting("a", act), concurrency=2, out=tmp_path, instruments=watcher.instruments())
    assert [row.problem_id for row in read_rows(tmp_path)][:4] == ["p1", "p0", "p3", "p2"]
    ids = [problem.id for problem in PROBLEMS]
    assert [row.problem_id for row in load_comparison(tmp_path)["a"].rows] == ids


# Who is told, and by whom.


def test_steps_and_rows_are_told_by_one_thread_and_in_order() -> None:
    """Grader, observers and progress hear from the thread that called; each problem's steps before its row."""
    told: list[tuple[str, int]] = []
    watcher = Watcher()
    here = threading.get_ident()

    class Mine(Progress):
        def start(self, total: int, done: object) -> None:
            told.append(("start", threading.get_ident()))

        def note(self, message: str) -> None: ...

        def warming_up(self, done: int, total: int) -> None:
            told.append((f"warm {done}/{total}", threading.get_ident()))

        def finished(self, row: Row) -> None:
            told.append(("row", threading.get_ident()))

        def close(self) -> None:
            told.append(("close", threading.get_ident()))

    workers: set[int] = set()
    before: dict[str, int] = {}

    def act(problem: Problem, models: Models) -> None:
        workers.add(threading.get_ident())
        assert models.settings.on_step is not None
        for index in range(3):
            models.settings.on_step(problem, StepRecord(index, "x", "target", 1))

    watcher.on_row = lambda row: before.update(
        {
            row.problem_id: [event.step.index for event in watcher.steps if event.problem.id == row.problem_id]
            == [0, 1, 2]
        }
    )
    run(Acting("a", act), concurrency=3, instruments=watcher.instruments(), progress=Mine(), warmup=1)
    assert watcher.threads == {here}
    assert {thread for _, thread in told} == {here}
    assert here not in workers
    assert before == {problem.id: True for problem in PROBLEMS}
    words = [word for word, _ in told]
    assert words == ["start", *(f"warm {k}/3" for k in (1, 2, 3)), *["row"] * 12, "close"]


def test_the_callers_own_on_step_is_called_by_one_thread_at_a_time() -> None:
    """Of every problem, of warm-ups too, from the threads that solve; never twice at once."""
    inside, seen, barrier = threading.Lock(), [], threading.Barrier(4)
    clashes: list[str] = []

    def own(problem: Problem, step: StepRecord) -> None:
        if not inside.acquire(blocking=False):
            clashes.append(problem.id)
            return
        seen.append((problem.id, step.index, threading.get_ident()))
        time.sleep(0)  # others may try to come in between
        inside.release()

    def act(problem: Problem, models: Models) -> None:
        barrier.wait(WAIT_S)
        assert models.settings.on_step is not None
        for index in range(20):
            models.settings.on_step(problem, StepRecord(index, "x", "target", 1))

    run(Acting("a", act), concurrency=4, settings=Settings(on_step=own), warmup=1)
    assert not clashes
    assert len(seen) == 20 * (len(PROBLEMS) + 4)
    assert len({thread for *_, thread in seen}) == 4


def test_a_slow_grader_holds_nobody_up() -> None:
    """The first solution is still being graded when the last one is solved."""
    solved, watcher = threading.Semaphore(0), Watcher()
    instruments = watcher.instruments()

    def grade(text: str, problem: Problem) -> Verdict:
        if not watcher.rows:
            for _ in PROBLEMS:
                assert solved.acquire(timeout=WAIT_S)
        return watcher.grade(text, problem)

    strategy = Acting("a", lambda problem, models: solved.release())
    found = run(strategy, concurrency=2, instruments=replace(instruments, grade=grade))
    assert found["a"].accuracy == 1.0


# Seconds.


def test_latency_is_under_load_and_shares_add_up_to_the_busy_time() -> None:
    """Two begin at 0, one ends at 2 and the other at 5: latencies 2 and 5, shares 1 and 4, 2 problems in 5 seconds."""
    now, begun, stored = [0.0], threading.Barrier(2), threading.Event()
    watcher = Watcher()
    watcher.on_row = lambda row: stored.set()

    def act(problem: Problem, models: Models) -> None:
        begun.wait(WAIT_S)
        if problem.id == "p1":
            assert stored.wait(WAIT_S)
        now[0] = 2.0 if problem.id == "p0" else 5.0

    instruments = watcher.instruments(lambda: now[0])
    result = run(Acting("a", act), concurrency=2, dataset=PROBLEMS[:2], instruments=instruments)["a"]
    assert [row.latency_s for row in result.rows] == [2.0, 5.0]
    assert [row.share_s for row in result.rows] == [1.0, 4.0]
    done = result.throughput
    assert done is not None
    assert (done.problems_per_s, done.tokens_per_s, done.busy_s, done.in_work) == (0.4, 0.8, 5.0, 1.4)
    assert result.latency.tokens_per_s == pytest.approx(4 / 7)
    assert result.summary()["throughput"] == {
        "problems_per_s": 0.4, "tokens_per_s": 0.8, "busy_s": 5.0, "in_work": 1.4,
    }  # fmt: skip


def made(shares: dict[str, list[float]], concurrency: int = 4, failed: int = 0) -> Comparison:
    """A run of rows with these shares, each twice as long as its share; the last `failed` rows are errors."""
    rows = [
        Row(
            strategy=label,
            problem_id=f"p{place}",
            repeat=0,
            status=RowStatus.ERROR if place >= len(seconds) - failed else RowStatus.CORRECT,
            reference="2",
            started_at="2026-01-01T00:00:00+00:00",
            latency_s=2 * share,
            share_s=share if concurrency > 1 else None,
            token_ids=() if place >= len(seconds) - failed else (1,) * 10,
        )
        for label, seconds in shares.items()
        for place, share in enumerate(seconds)
    ]
    identity = {"strategies": {label: {"name": label} for label in shares}, "repeats": 1}
    identity |= {"concurrency": concurrency} if concurrency > 1 else {}
    return Comparison.from_rows({"identity": identity, "dataset": {"name": "d"}, "sessions": []}, rows)


def test_throughputs_are_compared_by_what_problems_took_of_the_machine() -> None:
    """Half the share of every problem is twice the throughput, exactly; one at a time has no such ratio."""
    shares = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    found = made({"target-only": shares, "rsd": [share / 2 for share in shares]})
    versus = found.versus("rsd")
    assert versus is not None
    assert versus.throughput_ratio is not None
    assert (versus.throughput_ratio.low, versus.throughput_ratio.value, versus.throughput_ratio.high) == (2, 2, 2)
    alone = made({"target-only": shares, "rsd": shares}, concurrency=1).versus("rsd")
    assert alone is not None
    assert alone.throughput_ratio is None


def test_failures_take_time_and_count_for_nothing() -> None:
    """One of four rows of a second each failed: three problems in four seconds."""
    done = made({"rsd": [1.0] * 4}, failed=1)["rsd"].throughput
    assert done is not None
    assert (done.problems_per_s, done.tokens_per_s) == (0.75, 7.5)


def test_rows_of_earlier_folders_took_the_whole_machine(tmp_path: Path) -> None:
    """One at a time, and in folders that know no shares, a row's share is its latency."""
    run(Acting("a"), out=tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert all(line.pop("share_s") is None for line in lines)
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    result = load_comparison(tmp_path)["a"]
    done = result.throughput
    assert done is not None
    assert result.concurrency == 1
    assert done.busy_s == pytest.approx(sum(row.latency_s for row in result.rows))
    assert done.in_work == pytest.approx(1)


# What is said.


def test_every_table_says_how_many_were_at_once() -> None:
    """Title, definitions, columns, page, export and JSON; nothing of it where it is one at a time."""
    shares = {"target-only": [1.0] * 6, "rsd": [0.5] * 6, "arbitrage-oracle": [3.0] * 6}
    several, alone = made(shares), made(shares, concurrency=1)
    assert "4 problems at once" in report.title(several)
    text = report.markdown_table(several)
    assert "throughput: tokens/s (problems/s)" in text
    assert "| 10.0 (1) |" in text
    assert "| 2.00× [2.00, 2.00] | 20.0 (2) | 2.00× [2.00, 2.00] | 2.0 |" in text
    assert report.ONE_AT_A_TIME not in text
    assert "while 4 problems are solved at once" in text
    oracle = next(line for line in text.splitlines() if line.startswith("| arbitrage-oracle"))
    assert oracle.split("|")[-3:-1] == [" — ", " 2.0 "]
    page = RunData.of("x", several).overview
    assert "4 problems at once" in page["title"]
    assert any("4 problems are solved at once" in one for one in page["definitions"])
    summary = several.summary()["strategies"]["rsd"]  # type: ignore[index]
    assert summary["concurrency"] == 4
    assert summary["throughput"]["problems_per_s"] == 2.0
    assert summary["versus_target_only"]["throughput_ratio"]["value"] == 2.0
    lines = {line["strategy"]: line for line in records({"x": several}, Subject.RESULTS)}
    assert lines["rsd"]["throughput_problems_per_s"] == 2.0
    assert lines["arbitrage-oracle"]["throughput_problems_per_s"] is None
    assert lines["arbitrage-oracle"]["throughput_ratio"] is None
    assert "throughput" not in report.markdown_table(alone)
    assert "at once" not in report.markdown_table(alone)
    assert report.ONE_AT_A_TIME in report.markdown_table(alone)
    assert alone.summary()["strategies"]["rsd"]["throughput"] is None  # type: ignore[index]


def test_runs_of_different_numbers_at_once_are_compared_text_by_text(tmp_path: Path, capsys: Any) -> None:
    """`compare` shows equal texts, where others part, and throughput; that the load differed is a note."""
    tools = Watcher().instruments()
    for concurrency in (1, 4):
        models = scripted() if concurrency == 1 else replace(scripted(), target=odd())
        out = tmp_path / f"at-{concurrency}"
        run("target-only", models=models, concurrency=concurrency, out=out, instruments=tools)
    (found,) = compare_runs([tmp_path / "at-1", tmp_path / "at-4"])
    assert found.same_text == 0
    assert found.first_divergence == len("ONE\n\nso ")
    assert found.throughput_ratio is not None
    assert found.throughput_ratio.value > 0
    assert any(note.startswith("1 and 4 problems at once") for note in found.notes)
    assert main(["compare", str(tmp_path / "at-1"), str(tmp_path / "at-4"), "--fail-if", "throughput_ratio>1e9"]) == 0
    told = capsys.readouterr().out
    assert "same text: 0%; the others part at token 8" in told
    assert "times as many problems per second" in told


def odd() -> ScriptedModel:
    """The target of `scripted`, but for one letter."""
    return ScriptedModel(["ONE", "so Right", "\\boxed{2}"], "t", confidence=0.7)


def test_how_many_sequences_a_model_was_prepared_for_makes_it_no_other_model(tmp_path: Path) -> None:
    """`compare` does not warn of different models where only `sessions` differs."""

    class Prepared(ScriptedModel):
        def describe(self) -> dict[str, object]:
            return {"name": self.name, "sessions": self.sessions, "sha256": self.sha}  # type: ignore[attr-defined]

    def folder(name: str, sessions: int, sha: str) -> Path:
        target = Prepared(["\\boxed{2}"], "t")
        target.sessions, target.sha = sessions, sha  # type: ignore[attr-defined]
        run("target-only", models=Models(target=target), out=tmp_path / name)
        return tmp_path / name

    first, second, other = folder("a", 1, "x"), folder("b", 4, "x"), folder("c", 4, "y")
    assert "the models differ" not in compare_runs([first, second])[0].notes
    assert "the models differ" in compare_runs([first, other])[0].notes


# Stopping.


def interrupted(folder: Path | None, **options: Any) -> tuple[BenchmarkInterrupted, set[str]]:
    """Three at once; Ctrl-C when two rows are stored, while the other problems never end by themselves."""
    watcher, abandoned = Watcher(), set()

    def press(row: Row) -> None:
        if len(watcher.rows) == 2:
            os.kill(os.getpid(), signal.SIGINT)

    watcher.on_row = press

    def act(problem: Problem, models: Models) -> None:
        if problem.id in ("p0", "p1"):
            return
        assert models.settings.on_step is not None
        try:
            while True:
                models.settings.on_step(problem, StepRecord(0, "x", "target", 1))
                threading.Event().wait(0.001)
        finally:
            abandoned.add(problem.id)

    with pytest.raises(BenchmarkInterrupted) as stopped:
        run(Acting("a", act), concurrency=3, out=folder, instruments=watcher.instruments(), **options)
    for thread in threading.enumerate():
        if thread.name.startswith("solver"):
            thread.join(WAIT_S)
            assert not thread.is_alive()
    return stopped.value, abandoned


def test_ctrl_c_keeps_what_is_finished_and_abandons_the_rest(tmp_path: Path) -> None:
    """A real SIGINT: two rows on disk and in the exception, three solutions given up, the others never begun."""
    stopped, abandoned = interrupted(tmp_path)
    assert isinstance(stopped, KeyboardInterrupt)
    assert "2 of 12 rows" in str(stopped)
    assert {row.problem_id for row in stopped.partial["a"].rows} == {"p0", "p1"}
    assert {row.problem_id for row in load_comparison(tmp_path)["a"].rows} == {"p0", "p1"}
    assert not json.loads((tmp_path / "summary.json").read_text())["complete"]
    assert abandoned == {"p2", "p3", "p4"}
    assert run(Acting("a"), concurrency=3, out=tmp_path, resume=True).complete
    assert timeless(load_comparison(tmp_path)) == timeless(run(Acting("a")))


def test_ctrl_c_without_a_folder_keeps_the_rows_in_the_exception() -> None:
    """With nothing on disk, the partial comparison is all there is, and it is there."""
    stopped, _ = interrupted(None)
    assert "no folder was given" in str(stopped)
    assert len(stopped.partial["a"].rows) == 2


def test_ctrl_c_while_warming_up_abandons_too() -> None:
    """The steps of warm-ups are looked up between as well."""
    begun, ended = threading.Semaphore(0), threading.Semaphore(0)

    def act(problem: Problem, models: Models) -> None:
        assert models.settings.on_step is not None
        begun.release()
        if problem.id == "p0":
            assert begun.acquire(timeout=WAIT_S)
            assert begun.acquire(timeout=WAIT_S)
            os.kill(os.getpid(), signal.SIGINT)
        try:
            while True:
                models.settings.on_step(problem, StepRecord(0, "x", "target", 1))
                threading.Event().wait(0.001)
        finally:
            ended.release()

    with pytest.raises(BenchmarkInterrupted, match="0 of 12 rows"):
        run(Acting("a", act), concurrency=2, warmup=2)
    for _ in range(2):
        assert ended.acquire(timeout=WAIT_S)


def test_a_folder_that_cannot_be_written_stops_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error of the one thread that stores is the run's error, as it is one at a time."""

    def full(self: object, row: Row) -> None:
        raise RunError("disk full")

    monkeypatch.setattr("arbitrage.harness.run_folder.RunFolder.append", full)
    with pytest.raises(RunError, match="disk full"):
        run(Acting("a"), concurrency=3, out=tmp_path)


# What belongs to a run.


def test_the_number_at_once_belongs_to_a_run(tmp_path: Path) -> None:
    """It is in the manifest from two on, a resume has to agree with it, and one at a time leaves no trace."""
    run(Acting("a"), out=tmp_path / "one")
    run(Acting("a"), out=tmp_path / "four", concurrency=4)
    assert "concurrency" not in read_manifest(tmp_path / "one")["identity"]
    assert read_manifest(tmp_path / "four")["identity"]["concurrency"] == 4
    for name, other in (("one", 4), ("four", 1), ("four", 3)):
        with pytest.raises(RunError, match="concurrency"):
            run(Acting("a"), out=tmp_path / name, concurrency=other, resume=True)
    assert run(Acting("a"), out=tmp_path / "four", concurrency=4, resume=True).complete


@pytest.mark.parametrize("number", [0, 10**6, "4", None])
def test_a_folder_cannot_ask_for_any_number_of_threads(tmp_path: Path, number: object) -> None:
    """A manifest with a number that no run has is refused by field."""
    run(Acting("a"), out=tmp_path, concurrency=4)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    manifest["identity"]["concurrency"] = number
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(RunError, match=r"identity\.concurrency"):
        load_comparison(tmp_path)


def test_a_run_by_name_is_resumed_and_repeated_with_its_number_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the command line through config.yaml to another run, and from the folder alone."""
    monkeypatch.setattr("arbitrage.registry._shared", scripted_registry())
    file = tmp_path / "ones.jsonl"
    file.write_text(
        "".join(json.dumps({"id": f"p{k}", "problem": f"1 + 1? ({k})", "answer": "2"}) + "\n" for k in range(5))
    )
    words = ["bench", "--strategy", "rsd", "--backend", "scripted", "--dataset", str(file), "--concurrency", "3"]
    first, second = tmp_path / "first", tmp_path / "second"
    assert main([*words, "--out", str(first)]) == 0
    assert load_config(first / CONFIG)["concurrency"] == 3
    assert main(["bench", "--config", str(first / CONFIG), "--out", str(second)]) == 0
    assert read_manifest(first)["identity"] == read_manifest(second)["identity"]
    assert (second / "table.md").read_text().startswith("**ones, 5 problems, 3 problems at once")
    expected = timeless(load_comparison(first))
    (first / "rows.jsonl").unlink()
    found = resume_run(first, progress=False)
    assert found.manifest["identity"]["concurrency"] == 3
    assert timeless(found) == expected
    rows = [row for result in found.values() for row in result.rows]
    assert all(row.share_s is not None for row in rows)


@pytest.mark.parametrize(
    ("options", "sessions"),
    [
        ({"concurrency": 6}, [6, 6]),
        ({"concurrency": 6, "sessions": 2}, [2, 2]),
        ({"concurrency": 6, "draft": "plain:draft"}, [None, None]),
        ({"concurrency": 6, "draft": "plain:draft", "target": "batching:target"}, [None, 6]),
        ({"concurrency": 6, "draft": "bundled:draft", "target": "plain:target"}, [6, None]),
        ({"concurrency": 6, "draft": "plain:draft", "target": "plain:target"}, [None, None]),
        ({"concurrency": 1}, [None, None]),
    ],
)
def test_backends_that_decode_together_are_told_how_many(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], sessions: list[int | None]
) -> None:
    """Those that have the option `sessions`, unless the caller gave it; no other backend hears of it."""
    told: dict[str, object] = {}

    class Batching(Scripted):
        name = "batching"
        options = frozenset({"sessions"})

        def language_model(self, source: str, device: str | None = None, **given: Any) -> ScriptedModel:
            told[source] = given.get("sessions")
            return super().language_model(source, device)  # type: ignore[return-value]

    class Plain(Batching):
        name = "plain"
        options = frozenset({"threads"})

    @hookimpl
    def register_backends(register: Register) -> None:
        register("batching", Batching, "for a test")
        register("plain", Plain, "for a test")

    plugin = SimpleNamespace(register_backends=register_backends)
    monkeypatch.setattr("arbitrage.registry._shared", Registry([("test-plugin", plugin)]))
    if options.get("draft") == "plain:draft" and "target" not in options:
        options = options | {"target": "plain:target"}
    run_comparison("random-route", "batching", dataset=PROBLEMS[:2], warmup=0, progress=False, **options)
    assert [told["draft"], told["target"]] == sessions
