"""NuminaMath-CoT (AI-MO/NuminaMath-CoT, 860 000 problems with worked solutions) as problems to collect step pairs on.

Read through the `datasets` package, from the hub or from a copy in files. Columns: source, problem, solution, messages.
"""

from __future__ import annotations

import hashlib
import importlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from arbitrage.errors import DatasetError, MissingExtraError
from arbitrage.harness import dataset_rows
from arbitrage.harness.datasets import Dataset
from arbitrage.harness.grading.extraction import Source, find_answer
from arbitrage.harness.router.sampling import SAMPLE, SEED, stratified, unique
from arbitrage.types import Problem

NAME = "numina"
REPOSITORY = "AI-MO/NuminaMath-CoT"
_COLUMNS = ("source", "problem", "solution")
_FORMATS = {".parquet": "parquet", ".jsonl": "json", ".json": "json"}


def numina(
    path: str | os.PathLike[str] | None = None, limit: int | None = None, sample: int = SAMPLE, seed: int = SEED
) -> Dataset:
    """A sample of NuminaMath-CoT: unique by text, stratified by source; ids are made from the statements.

    Args:
        path: file (Parquet or JSONL) or folder of files in the columns of the release; None asks the hub.
        limit: only the first problems of the sample, which stand in an order of their own.
        sample: size of the sample.
        seed: which sample.

    Raises:
        DatasetError: the hub cannot be reached, or the files are absent or have other columns.
        MissingExtraError: the package `datasets` is not installed.
    """
    if sample < 1:
        raise DatasetError(f"sample must be at least 1, not {sample}")
    table = _load(path)
    missing = [name for name in _COLUMNS if name not in table.column_names]
    if missing:
        raise DatasetError(
            f"{path or REPOSITORY} lacks the column {missing[0]!r} of NuminaMath-CoT; it has "
            f"{', '.join(table.column_names)}. Other JSONL files are read with --dataset FILE"
        )
    table = table.select_columns(list(_COLUMNS))
    kept = table.select(unique(_rows(table)))
    chosen = kept.select(stratified(kept["source"][:], kept["problem"][:], sample, seed))
    problems = tuple(_problem(row) for row in chosen)
    where = f"hub:{REPOSITORY}" if path is None else os.fspath(path)
    return Dataset(NAME, problems, where, available=len(table)).limited(limit)


def boxed_answer(solution: str) -> str:
    r"""What stands in the last \boxed of a worked solution; empty when there is none."""
    found = find_answer(solution)
    return found.text if found is not None and found.source is Source.BOX else ""


def _problem(row: dict[str, str]) -> Problem:
    digest = hashlib.sha256(row["problem"].encode()).hexdigest()[:16]
    fields = {"problem": row["problem"], "answer": boxed_answer(row["solution"]), "subject": row["source"]}
    return dataset_rows.plain(fields, f"{NAME}/{digest}")


def _rows(table: Any) -> Iterator[tuple[str, str, str]]:
    for batch in table.iter(batch_size=1000):
        yield from zip(*(batch[name] for name in _COLUMNS), strict=True)


def _load(path: str | os.PathLike[str] | None) -> Any:
    """The table of the release, rows without a statement left out."""
    try:
        package = importlib.import_module("datasets")
    except ImportError:
        raise MissingExtraError.of("NuminaMath-CoT", "datasets", "router") from None
    try:
        if path is None:
            table = package.load_dataset(REPOSITORY, split="train")
        else:
            files = _files(Path(path))
            kind = _FORMATS[files[0].suffix]
            table = package.load_dataset(kind, data_files=[str(file) for file in files], split="train")
        return table.filter(
            lambda texts: [bool(text and text.strip()) for text in texts], input_columns="problem", batched=True
        )
    except DatasetError:
        raise
    except Exception as error:  # the package raises whatever its network and file layers raise
        told = str(error).strip().splitlines()
        raise DatasetError(
            f"{path or REPOSITORY} could not be loaded ({type(error).__name__}: {told[0] if told else ''}). Without a "
            "network, copy the files of the release here and name their folder with --data"
        ) from error


def _files(path: Path) -> list[Path]:
    """The files to read: all of one format; where some are called train, only those."""
    if path.is_file() and path.suffix in _FORMATS:
        return [path]
    for suffix in _FORMATS:
        files = sorted(path.rglob(f"*{suffix}"))
        if files:
            return [file for file in files if file.name.startswith("train")] or files
    raise DatasetError(f"{path}: there are no Parquet or JSONL files here")
