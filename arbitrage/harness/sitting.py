"""One sitting of a run: the loop that solves, times, grades and stores, until every row is there or Ctrl-C comes.

The latency protocol: models resident, warm-up first, one problem at a time unless the run asks for more, device
synchronised on both sides of the clock (of a whole stretch, where problems overlap), grading outside of it. Knows
neither how strategies work nor what an answer means.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Protocol, final

from arbitrage.harness.comparison import Comparison
from arbitrage.harness.crew import crew_of
from arbitrage.harness.plan import Job, Plan
from arbitrage.harness.progress import Progress
from arbitrage.harness.rows import Key, Row, RowStatus, WarmUp, checked
from arbitrage.harness.run_folder import Manifest, RunFolder
from arbitrage.harness.timing import (
    Clock,
    Elapsed,
    SharedStopwatch,
    Stopwatch,
    Synchronise,
    settled_heap,
    synchronise_devices,
)
from arbitrage.hooks import StepDecided
from arbitrage.interfaces import Models
from arbitrage.seeding import problem_rng
from arbitrage.types import Generation, Problem, StepRecord

if TYPE_CHECKING:
    from arbitrage.harness.grading import Verdict


class Observers(Protocol):
    """Who is told what happens (`arbitrage.registry.Observers`)."""

    def step_decided(self, event: StepDecided) -> None:
        """A step was committed."""

    def problem_finished(self, row: object) -> None:
        """A row was stored."""


@dataclass(frozen=True, slots=True)
class Instruments:
    """What a run measures and grades with; tests and special machines bring their own."""

    clock: Clock = time.perf_counter
    synchronise: Synchronise = synchronise_devices
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    """Wall time, for the record only."""
    grade: Callable[[str, Problem], Verdict] | None = None
    """None takes `arbitrage.grade`."""
    observers: Observers | None = None
    """None tells the installed plugins."""


class BenchmarkInterrupted(KeyboardInterrupt):
    """Ctrl-C stopped a run. Every finished row is kept: on disk when the run has a folder, and in `partial`."""

    def __init__(self, message: str, partial: Comparison) -> None:
        super().__init__(message)
        self.partial = partial


@final
class Sitting:
    """Makes the missing rows of one plan."""

    def __init__(
        self, plan: Plan, manifest: Manifest, tools: Instruments, progress: Progress, folder: RunFolder | None
    ) -> None:
        self._plan, self._manifest, self._tools = plan, manifest, tools
        self._progress, self._folder = progress, folder
        alone = plan.concurrency == 1
        self._watch = (Stopwatch if alone else SharedStopwatch)(tools.clock, tools.synchronise)
        self._crew = crew_of(plan.concurrency)
        self._observers = tools.observers or _plugins()
        self._rows: dict[Key, Row] = _stored(folder) if folder else {}
        self._warm_ups: list[WarmUp] = folder.warm_ups() if folder else []
        self._one_at_a_time = threading.Lock()
        self._watched = {label: self._models(label) for label in plan.strategies}
        self._unwatched = self._models(None)

    def execute(self) -> Comparison:
        """Make every missing row and report.

        Raises:
            BenchmarkInterrupted: Ctrl-C.
        """
        from arbitrage.harness.report import save_summary

        try:
            try:
                self._solve_all()
            finally:
                self._progress.close()
            comparison = self.comparison()
            if self._folder is not None:
                comparison.save_report(self._folder.path)
        except KeyboardInterrupt as interrupt:
            if self._folder is not None:  # a row may have been stored and not yet counted
                self._rows = _stored(self._folder)
            partial = self.comparison()
            if self._folder is not None:
                save_summary(partial, self._folder.path)
            raise BenchmarkInterrupted(self._parting_words(), partial) from interrupt
        return comparison

    def _solve_all(self) -> None:
        asked = ([job for job in stretch if job.key not in self._rows] for stretch in self._plan.stretches())
        missing = [stretch for stretch in asked if stretch]
        self._progress.start(sum(map(len, missing)) + len(self._rows), list(self._rows.values()))
        for choice in self._manifest.get("threads", ()):
            tried = ", ".join(choice["seconds"])
            self._progress.note(f"{choice['name']} runs on {choice['threads']} CPU thread(s), of {tried} measured")
        for warning in self._manifest["sessions"][-1]["warnings"]:
            self._progress.note(warning)
        if not missing:
            return
        with settled_heap(), self._crew:
            self.warm_up()
            self._run(missing, self.make)

    def make(self, job: Job) -> None:
        """Solve and measure one row, and have it graded and kept."""
        started = self._tools.now()
        with self._watch.measure() as elapsed:
            outcome = self.attempt(job)
        self._crew.post(lambda: self.keep(job, outcome, started, elapsed))

    def warm_up(self) -> None:
        """Make the solutions that come before measuring."""
        stretches = list(self._plan.warm_up_stretches())
        done, total = 0, sum(map(len, stretches))

        def make(job: Job) -> None:
            started = self._tools.now()
            with self._watch.measure() as elapsed:
                outcome = self._solved(job, self._unwatched)
            self._crew.post(lambda: keep(job, outcome, started, elapsed))

        def keep(job: Job, outcome: Generation | Exception, started: datetime, elapsed: Elapsed) -> None:
            nonlocal done
            warm_up = WarmUp(
                strategy=job.label,
                problem_id=job.problem.id,
                latency_s=elapsed.seconds,
                tokens=outcome.tokens if isinstance(outcome, Generation) else 0,
                started_at=started.isoformat(),
                error=None if isinstance(outcome, Generation) else _message(outcome),
            )
            self._warm_ups.append(warm_up)
            if self._folder is not None:
                self._folder.append_warm_up(warm_up)
            done += 1
            self._progress.warming_up(done, total)

        self._run(stretches, make)

    def _run(self, stretches: Iterable[Sequence[Job]], make: Callable[[Job], None]) -> None:
        for stretch in stretches:
            with self._watch.stretch():
                self._crew.run(stretch, make)

    def attempt(self, job: Job) -> Generation | Exception:
        """Solve a problem; what a strategy raises comes back as a value."""
        return self._solved(job, self._watched[job.label])

    def keep(self, job: Job, outcome: Generation | Exception, started: datetime, elapsed: Elapsed) -> None:
        """Grade what was written, store it as a row and tell the observers.

        Args:
            job: what was asked.
            outcome: what `attempt` returned.
            started: when it was called.
            elapsed: how long it took.
        """
        row = self._row(job, outcome, started, elapsed)
        # Stored first: what observers or the progress do can no longer lose it.
        if self._folder is not None:
            self._folder.append(row)
        self._rows[row.key] = row
        self._observers.problem_finished(row)
        self._progress.finished(row)

    def _row(self, job: Job, outcome: Generation | Exception, started: datetime, elapsed: Elapsed) -> Row:
        row = Row(
            strategy=job.label,
            problem_id=job.problem.id,
            repeat=job.repeat,
            status=RowStatus.ERROR,
            reference=job.problem.answer,
            started_at=started.isoformat(),
            latency_s=elapsed.seconds,
            share_s=elapsed.share_s,
            level=job.problem.level,
            subject=job.problem.subject,
        )
        if isinstance(outcome, Exception):
            return _failed(row, outcome)
        status, answer, method, reason = self._grade(outcome.text, job.problem)
        solved = replace(
            row,
            status=status,
            answer=answer,
            method=method,
            reason=reason,
            text=outcome.text,
            token_ids=outcome.token_ids,
            steps=outcome.steps,
            end_reason=outcome.end_reason,
            prompt_tokens=outcome.prompt_tokens,
            time_s=dict(outcome.time_s),
            calls=dict(outcome.calls),
            forwarded_tokens=dict(outcome.forwarded_tokens),
            dropped_tokens=dict(outcome.dropped_tokens),
            repeated_tokens=dict(outcome.repeated_tokens),
        )
        try:
            return checked(solved)
        except TypeError as error:
            return _failed(row, error)

    def _solved(self, job: Job, models: Models) -> Generation | Exception:
        rng = problem_rng(self._plan.seed, job.problem.id, job.repeat)
        try:
            outcome: object = self._plan.strategies[job.label].solve(job.problem, models, rng)
            if not isinstance(outcome, Generation):
                raise TypeError(f"solve() returned {type(outcome).__name__}, not a Generation")
            return outcome
        except Exception as error:  # one problem's failure is a row, not the end of the run
            return error

    def _grade(self, text: str, problem: Problem) -> tuple[RowStatus, str | None, str, str]:
        try:
            verdict = (self._tools.grade or _grader())(text, problem)
            return RowStatus(verdict.status.value), verdict.answer, verdict.method, verdict.reason
        except Exception as error:  # a grader must not cost a solution that took minutes
            return RowStatus.UNSCORED, None, "", f"grading failed: {_message(error)}"

    def _models(self, label: str | None) -> Models:
        """The models with every step reported: to the caller, and to the observers unless it is of a warm-up."""
        settings, crew, one_at_a_time = self._plan.models.settings, self._crew, self._one_at_a_time
        own, observers = settings.on_step, self._observers

        def on_step(problem: Problem, step: StepRecord) -> None:
            crew.check()
            if own is not None:
                with one_at_a_time:
                    own(problem, step)
            if label is not None:
                crew.post(partial(observers.step_decided, StepDecided(problem, step, label)))

        return self._plan.models.with_settings(replace(settings, on_step=on_step))

    def comparison(self) -> Comparison:
        """What there is so far."""
        keys = self._plan.keys()
        rows = [self._rows[key] for key in keys if key in self._rows]
        problems = {problem.id: problem for problem in self._plan.dataset}
        return Comparison.from_rows(self._manifest, rows, self._warm_ups, len(rows) == len(keys), problems)

    def _parting_words(self) -> str:
        done, total = len(self._rows), len(self._plan.keys())
        if self._folder is None:
            return f"stopped after {done} of {total} rows; they are in this exception's .partial (no folder was given)"
        where = self._folder.path
        return (
            f"stopped after {done} of {total} rows; all of them are in {where}. Continue with the same call and "
            f"resume=True (arbitrage bench: the same command with --resume --out {where})"
        )


def _stored(folder: RunFolder) -> dict[Key, Row]:
    """The rows that are there, with the scores that they may have got between two sittings."""
    scores = folder.scores()
    return {row.key: scores[row.key].applied(row) if row.key in scores else row for row in folder.rows()}


def _grader() -> Callable[[str, Problem], Verdict]:
    from arbitrage.harness.grading import grade

    return grade


def _plugins() -> Observers:
    from arbitrage.registry import registry

    return registry().hook


def _failed(row: Row, error: Exception) -> Row:
    return checked(replace(row, reason=_message(error), error="".join(traceback.format_exception(error))))


def _message(error: Exception) -> str:
    lines: Sequence[str] = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
