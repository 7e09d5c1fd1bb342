"""Grade the saved texts of a run again: with this version's grader or another rule, and say which rows flipped and why.

The models are not needed: everything that was written stands in the rows.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, get_args

from arbitrage.errors import ArbitrageError, DatasetError, RunError
from arbitrage.harness.comparison import Comparison, load_comparison
from arbitrage.harness.datasets import is_name, load_dataset
from arbitrage.harness.grading import GRADER, Verdict, grade
from arbitrage.harness.rows import Row, RowStatus
from arbitrage.harness.run_folder import PROBLEMS, read_manifest, replace_rows
from arbitrage.types import Problem

Judge = Literal["stored", "arbitrage", "qwen"]
"""Whose verdicts: those in the rows, this grader's, or the field's usual evaluator as `compat="qwen"` reproduces it."""


@dataclass(frozen=True, slots=True)
class Flip:
    """A row on which two judges disagree about right and wrong."""

    before: Row
    """With the verdict of the judge that is compared against."""
    after: Row
    """The same row with the new verdict."""


@dataclass(frozen=True, slots=True)
class Regrading:
    """A run under two judges."""

    judge: Judge
    against: Judge
    after: Comparison
    """The run with the judge's verdicts."""
    before: Comparison
    """The run with the verdicts that it is compared against."""
    rules_from: str | None
    """Where the rules of the problems (several answers, tolerance, unit) were read; None when only the references that
    the rows hold were used."""
    flips: Sequence[Flip] = field(repr=False)


def regrade(
    path: str | os.PathLike[str],
    *,
    judge: Judge = "arbitrage",
    against: Judge = "stored",
    dataset_path: str | os.PathLike[str] | None = None,
    timeout_s: float = 2.0,
    progress: Callable[[int, int], None] | None = None,
) -> Regrading:
    """Grade every saved text of a run again; nothing is written (see `save`).

    Args:
        path: the run folder.
        judge: whose verdicts are wanted.
        against: whose verdicts they are compared with.
        dataset_path: the data set's file, for its rules; None takes those that the run stored, or in folders of schema
            1 its data set; where neither is there, the references in the rows are used alone.
        timeout_s: seconds for one comparison of answers.
        progress: told after each row how many are done, and of how many.

    Raises:
        RunError: the folder holds no run, or is damaged.
        DatasetError: `dataset_path` cannot be read or lacks a problem of the run.
        ValueError: an unknown judge.
    """
    for name in (judge, against):
        if name not in get_args(Judge):
            raise ValueError(f"no judge named {name!r}; there are {', '.join(get_args(Judge))}")
    stored = load_comparison(path)
    rules_from: str | None
    if stored.problems and dataset_path is None:
        problems, rules_from = stored.problems, str(Path(path) / PROBLEMS)
    else:
        problems, rules_from = _problems(Path(path), dataset_path)
    rows = [row for label in stored for row in stored[label].rows]
    missing = sorted({row.problem_id for row in rows} - problems.keys()) if problems else []
    if any(row.problem_id in problems and row.reference != problems[row.problem_id].answer for row in rows):
        if dataset_path is not None:
            raise DatasetError(
                f"{rules_from} has other answers than the run was graded by; name the data set it was made on"
            )
        problems, rules_from = {}, None
    elif missing:
        raise DatasetError(f"{rules_from} has no problem {missing[0]!r}; name the data set that the run was made on")
    new, old = [], []
    for done, row in enumerate(rows, start=1):
        problem = problems.get(row.problem_id)
        new.append(_judged(row, problem, judge, timeout_s))
        old.append(_judged(row, problem, against, timeout_s))
        if progress is not None:
            progress(done, len(rows))
    flips = tuple(Flip(b, a) for b, a in zip(old, new, strict=True) if a.correct != b.correct)
    return Regrading(judge, against, _like(stored, new), _like(stored, old), rules_from, flips)


def save(regrading: Regrading, path: str | os.PathLike[str]) -> None:
    """Store the new verdicts in the run folder: rows, summary, table, picture, and a note in the manifest.

    Latencies, texts and steps stay as they are.

    Raises:
        RunError: the verdicts are not this grader's, the rows have changed meanwhile, or the folder cannot be written.
    """
    folder = Path(path)
    if regrading.judge != "arbitrage":
        raise RunError("only this grader's own verdicts can be stored; others are for comparison")
    note = {"at": datetime.now(UTC).isoformat(), "grader": GRADER, "flipped": len(regrading.flips)}
    replace_rows(folder, {row.key: row for one in regrading.after.values() for row in one.rows}, note)
    load_comparison(folder).save_report(folder)


def _problems(folder: Path, dataset_path: str | os.PathLike[str] | None) -> tuple[Mapping[str, Problem], str | None]:
    """The problems of the run's data set by id; empty when they cannot be had and nobody asked for a certain file."""
    request = read_manifest(folder).get("request", {})
    name = request.get("dataset")
    try:
        if dataset_path is not None:
            named = isinstance(name, str) and is_name(name)
            data = load_dataset(name, dataset_path) if named else load_dataset(Path(dataset_path))
        elif isinstance(name, str):
            stored = request.get("dataset_path")
            usable = stored if isinstance(stored, str) and Path(stored).is_file() else None
            data = load_dataset(name, usable)
        else:
            return {}, None
    except ArbitrageError:
        if dataset_path is not None:
            raise
        return {}, None
    return {problem.id: problem for problem in data}, data.source


def _judged(row: Row, problem: Problem | None, judge: Judge, timeout_s: float) -> Row:
    if judge == "stored" or row.failed:
        return row
    reference: str | Problem = row.reference if problem is None else problem
    verdict: Verdict = grade(row.text, reference, timeout_s=timeout_s, compat="qwen" if judge == "qwen" else None)
    return replace(
        row,
        status=RowStatus(verdict.status.value),
        answer=verdict.answer,
        method=verdict.method,
        reason=verdict.reason,
    )


def _like(comparison: Comparison, rows: Sequence[Row]) -> Comparison:
    return Comparison.from_rows(comparison.manifest, rows, complete=comparison.complete, problems=comparison.problems)
