"""Solutions whose steps are known to be good or not: what a process reward model is trained on.

They come from runs, whose verdict is every step's label, and from step pairs that were rolled out. Knows no models.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from arbitrage.errors import RunError
from arbitrage.harness.router.pairs import HistoryStep, StepPair, digest, read_pairs
from arbitrage.harness.rows import Row, RowStatus
from arbitrage.harness.run_folder import PROBLEMS, ROWS, STEPS, read_problems, read_rows

_UNKNOWN = (RowStatus.UNSCORED, RowStatus.TIMEOUT, RowStatus.ERROR)
"""Nobody knows whether these solutions are right."""


@dataclass(frozen=True, slots=True)
class GradedSolution:
    """A problem and steps of one solution of it, to their end or up to some step."""

    problem_id: str
    statement: str
    steps: tuple[HistoryStep, ...]
    labels: tuple[float | None, ...]
    """Of each step, the chance of a right answer behind it: 1 is good, 0 is bad; None where nothing is known."""


def is_run(folder: Path) -> bool:
    """Whether the folder is one of `arbitrage bench --out`."""
    return (folder / ROWS).is_file()


def source_digest(folder: Path) -> str:
    """SHA-256 of a run's solutions, or of a folder's pairs."""
    if not is_run(folder):
        return digest(folder)
    found = hashlib.sha256()
    for name in (PROBLEMS, ROWS, STEPS):
        if (folder / name).is_file():
            found.update((folder / name).read_bytes())
    return found.hexdigest()


def read_graded(folder: Path) -> Iterator[GradedSolution]:
    """What a run or a folder of step pairs says; what has no label comes with none.

    Raises:
        PairsError: there are neither runs nor pairs in it.
        RunError: the run cannot be read, or does not hold its problems.
    """
    if is_run(folder):
        problems = {name: one.problem for name, one in read_problems(folder).items()}
        for row in read_rows(folder):
            if row.problem_id not in problems:
                raise RunError(f"{folder}: {PROBLEMS} lacks problem {row.problem_id!r}; copy the whole folder")
            yield of_row(row, problems[row.problem_id])
    else:
        yield from of_pairs(read_pairs(folder))


def of_row(row: Row, statement: str) -> GradedSolution:
    """Outcome supervision: each step has the label of the whole solution.

    One without an answer that can be read is wrong, so one that the token budget cut is wrong too, unless it had given
    its answer before.
    """
    label = None if row.status in _UNKNOWN else float(row.correct)
    steps = tuple(HistoryStep(step.text, step.author) for step in row.steps)
    return GradedSolution(row.problem_id, statement, steps, (label,) * len(steps))


def of_pairs(pairs: Iterable[StepPair]) -> Iterator[GradedSolution]:
    """Both versions of each step, behind their history, each with its share of right roll-outs."""
    for pair in pairs:
        both = (
            (HistoryStep(pair.draft, "draft"), pair.draft_outcome),
            (
                HistoryStep(pair.targets[0], "target"),
                pair.target_outcome,
            ),
        )
        for step, outcome in both:
            labels = (*(None for _ in pair.history), outcome)
            yield GradedSolution(pair.problem_id, pair.statement, (*pair.history, step), labels)
