"""Which problems pairs are collected on: any data set, each text once, sampled, without what is measured on later."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from arbitrage.errors import DatasetAbsentError, DatasetError
from arbitrage.harness import dataset_rows
from arbitrage.harness.datasets import Dataset, from_file, is_name, load_dataset
from arbitrage.harness.plan import DatasetLike, resolve_dataset
from arbitrage.harness.router.decontamination import EXACT, WORDS, Contamination, EvaluationTexts, decontaminate
from arbitrage.harness.router.numina import NAME, boxed_answer, numina
from arbitrage.harness.router.sampling import SAMPLE, stratified, unique
from arbitrage.types import Problem

EVALUATION_SETS = ("math500", "olympiadbench", "gsm8k", "bundled")
"""Left out of training where they can be found, when nobody says otherwise."""
GENERATED = "bundled-train"
"""Its generator keeps test problems out itself; its texts share their templates with them."""


@dataclass(frozen=True, slots=True)
class TrainingProblems:
    """Problems to collect pairs on, and what was left out of them."""

    dataset: Dataset
    removed: tuple[tuple[Problem, Contamination], ...]
    facts: Mapping[str, object]
    """What decides which problems these are, for the manifest; without their number."""
    notes: tuple[str, ...]
    """What a person should know."""

    def removed_lines(self) -> list[dict[str, object]]:
        """One object a removed problem, as a file can hold it."""
        return [
            {
                "id": problem.id,
                "problem": problem.problem,
                "reason": found.reason,
                "evaluation_set": found.evaluation_set,
                "evaluation_id": found.evaluation_id,
                "shared": found.shared,
            }
            for problem, found in self.removed
        ]


def training_problems(
    dataset: DatasetLike,
    path: str | os.PathLike[str] | None = None,
    *,
    limit: int | None = None,
    sample: int | None = None,
    against: Sequence[str] | None = None,
    words: int = WORDS,
) -> TrainingProblems:
    """Load problems, drop repeated texts, sample, decontaminate, and limit, in this order.

    Args:
        dataset: name, JSONL file in the schema of `training_row`, or problems.
        path: file or folder of a data set given by name.
        limit: only the first problems that are left.
        sample: how many problems to sample, stratified by source; None takes all, and 30 000 of NuminaMath.
        against: names or JSONL files of evaluation sets; None takes those of the usual ones that can be found.
        words: length of the runs of words that may not be shared; 0 looks for whole texts only.

    Raises:
        DatasetError: something is absent or malformed, or nothing is left.
    """
    if sample is not None and sample < 1:
        raise DatasetError(f"sample must be at least 1, not {sample}")
    loaded = _load(dataset, path, limit, sample)
    rows = [(problem.subject or "", problem.problem, problem.id) for problem in loaded]
    problems = [loaded[index] for index in unique(rows)]
    notes = [f"{len(rows) - len(problems)} problems repeat the text of others"] if len(problems) < len(rows) else []
    if sample is not None and loaded.name != NAME:
        sources = [problem.subject or "" for problem in problems]
        problems = [problems[i] for i in stratified(sources, [problem.problem for problem in problems], sample)]
    names = (() if loaded.name == GENERATED else EVALUATION_SETS) if against is None else tuple(against)
    sets, absent = _evaluation_sets(names, must=against is not None)
    notes += [f"not checked against {name}, which is not on this machine" for name in absent]
    clean, removed = decontaminate(problems, EvaluationTexts(sets, words))
    if sets:
        exact = sum(found.reason == EXACT for _, found in removed)
        notes.append(
            f"{len(removed)} of {len(problems)} problems are left out, as they stand in {', '.join(sets)}: "
            f"{exact} with the same text, {len(removed) - exact} with {words} words in a row "
            "or all the words of a shorter problem"
        )
    if not clean:
        raise DatasetError(f"data set {loaded.name!r}: every problem stands in {', '.join(sets)}; nothing is left")
    facts = {
        "name": loaded.name,
        "file_sha256": loaded.file_sha256,
        "sample": sample,
        "decontaminated": {name: data.sha256 for name, data in sets.items()},
        "words": words if sets else None,
    }
    if loaded.name == NAME:  # a copy of the release may be another one
        facts["sampled_sha256"] = loaded.sha256
    chosen = Dataset(loaded.name, tuple(clean), loaded.source, file_sha256=loaded.file_sha256)
    return TrainingProblems(chosen.limited(limit), tuple(removed), facts, tuple(notes))


def training_row(row: dataset_rows.Fields, fallback_id: str) -> Problem:
    r"""A row of a JSONL file: `problem`, and what `dataset_rows.plain` knows.

    Without `answer` it is what stands in the last \boxed of `solution`, or unknown. `source` stands in for `subject`.
    """
    solution = row.get("solution")
    told = {"subject": row.get("source"), **{key: value for key, value in row.items() if value is not None}}
    told.setdefault("answer", boxed_answer(solution) if isinstance(solution, str) else "")
    return dataset_rows.plain(told, fallback_id)


def _load(dataset: DatasetLike, path: str | os.PathLike[str] | None, limit: int | None, sample: int | None) -> Dataset:
    if dataset == NAME:
        return numina(path, sample=sample or SAMPLE)
    if dataset == GENERATED:  # endless: as many as are asked for; a sample is its beginning, whatever the limit
        return load_dataset(GENERATED, path=path, limit=limit if sample is None else sample)
    if isinstance(dataset, os.PathLike) or (isinstance(dataset, str) and not is_name(dataset)):
        if path is not None:
            raise DatasetError("--data belongs to a data set given by name; this one is a file already")
        return from_file(Path(dataset).stem, Path(dataset), training_row)
    return resolve_dataset(dataset, path, None)


def _evaluation_sets(names: Sequence[str], *, must: bool) -> tuple[dict[str, Dataset], list[str]]:
    """(sets by name, names that cannot be found).

    Raises:
        DatasetError: one is damaged; problems that could not be read would be trained on.
    """
    found: dict[str, Dataset] = {}
    absent = []
    for name in names:
        try:
            found[name] = load_dataset(name)
        except DatasetAbsentError:
            if must:
                raise
            absent.append(name)
    return found, absent
