"""A data set: sums of three numbers, generated."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from arbitrage import Problem, hookimpl
from arbitrage.errors import DatasetError
from arbitrage.hooks import Register

SIZE = 100


@hookimpl
def register_datasets(register: Register) -> None:
    """Offer the data set as `--dataset sums`."""
    register("sums", "sums_dataset:sums", summary="sums of three numbers of two digits")


def sums(path: str | os.PathLike[str] | None = None, limit: int | None = None) -> Sequence[Problem]:
    """The same problems every time.

    Args:
        path: a file of problems; this data set has none.
        limit: read only the first problems, if that saves work. The caller cuts anyway.
    """
    if path is not None:
        raise DatasetError("the data set sums is generated; leave the path out")
    numbers = np.random.default_rng(0).integers(10, 60, size=(SIZE, 3)).tolist()
    return [_problem(index, row) for index, row in enumerate(numbers[:limit])]


def _problem(index: int, numbers: list[int]) -> Problem:
    """One problem. Its id must be unique in the data set and stay the same for ever: seeds are derived from it."""
    statement = "What is " + " + ".join(map(str, numbers)) + "?"
    return Problem(id=f"sums/{index}", problem=statement, answers=(str(sum(numbers)),), subject="addition")
