"""The rows of run folders that a plan is made from: by strategy, with target-only first, in parts for the check.

Knows rows and folders; knows no costs.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from arbitrage.errors import RunError
from arbitrage.harness import statistics
from arbitrage.harness.comparison import BASELINE, BOUNDS, Comparison, load_comparison
from arbitrage.harness.results import problem_groups
from arbitrage.harness.rows import Row
from arbitrage.harness.statistics import Estimate

Place = tuple[int, str, str, int]
"""A row among several runs: index of its run folder, strategy label, problem id, repeat."""


_MOST = 2**53
"""Largest count that a float tells from the next one."""


@dataclass(frozen=True, slots=True)
class Traced:
    """A row, and where it stands among the others."""

    row: Row
    run: int
    """Index of its run folder."""
    part: int
    """Costs fitted on the other parts predict it in the check."""

    @property
    def place(self) -> Place:
        """Unique in the trace."""
        return (self.run, *self.row.key)


@dataclass(frozen=True, slots=True)
class Trace:
    """Rows by strategy, target-only first; failed rows and bounds are left out."""

    strategies: Mapping[str, tuple[Traced, ...]]
    split: str
    """What is left for the fit in the check, in words: other runs, or the other half of the problems."""
    weights: Mapping[str, float] = field(default_factory=dict)
    """Bytes of the weights by component, as far as the run tells."""

    @property
    def baseline(self) -> str:
        """Label of target-only."""
        return next(iter(self.strategies))

    @property
    def rows(self) -> list[Traced]:
        """All of them."""
        return [one for rows in self.strategies.values() for one in rows]

    @classmethod
    def read(cls, paths: Sequence[str | os.PathLike[str]]) -> Trace:
        """Read run folders. One is split into halves by problem; of several, each is a part.

        Raises:
            RunError: a folder holds no run, no rows of target-only, or no counts of forward passes, or solved several
                problems at once; or the runs were made with other models or on other machines.
        """
        loaded = [(Path(path), load_comparison(path)) for path in paths]
        for folder, comparison in loaded:
            if comparison.concurrency > 1:
                raise RunError(
                    f"{folder} solved {comparison.concurrency} problems at once, and the seconds of each hold what it "
                    "waited for others; plan from a run without --concurrency"
                )
        for folder, other in loaded[1:]:
            _check_alike(loaded[0], (folder, other))
        found: dict[str, list[Traced]] = {}
        for run, (folder, comparison) in enumerate(loaded):
            if comparison.baseline is None or not _usable(comparison.baseline.rows):
                raise RunError(
                    f"{folder} holds no solved rows of {BASELINE} with counts of forward passes, which the others are "
                    f"compared with; run it with `arbitrage bench --strategy {BASELINE},… --out FOLDER`"
                )
            places: dict[str, int] = {}
            for label, result in comparison.items():
                for row in _usable(result.rows) if result.name not in BOUNDS else ():
                    place = places.setdefault(row.problem_id, len(places))
                    found.setdefault(label, []).append(Traced(row, run, run if len(loaded) > 1 else place % 2))
        return cls(
            {label: tuple(rows) for label, rows in found.items()},
            "runs" if len(loaded) > 1 else "half of the problems",
            _weights(loaded[0][1]),
        )


def _usable(rows: Sequence[Row]) -> list[Row]:
    """Solved rows with counts that can be true; a folder from elsewhere may hold any number."""
    return [
        row
        for row in rows
        if not row.failed and row.latency_s > 0 and any(row.calls.values()) and row.time_s
        if all(0 <= count <= _MOST for count in _counts(row))
    ]


def _counts(row: Row) -> list[int]:
    return [row.prompt_tokens, *row.calls.values(), *row.forwarded_tokens.values()]


def _check_alike(first: tuple[Path, Comparison], other: tuple[Path, Comparison]) -> None:
    (folder, one), (another, two) = first, other
    if one.baseline is not None and two.baseline is not None and one.baseline.strategy != two.baseline.strategy:
        raise RunError(f"{folder} and {another} call target-only differently; plan from one of them at a time")
    for what, told in (("models", _models), ("machines", _machine)):
        if told(one) != told(two):
            raise RunError(f"{folder} and {another} were made with different {what}; plan from one of them at a time")


def _models(comparison: Comparison) -> Any:
    return comparison.manifest.get("identity", {}).get("models")


def _machine(comparison: Comparison) -> Any:
    machine = (comparison.manifest.get("sessions") or [{}])[-1].get("machine", {})
    return [machine.get(key) for key in ("cpu", "available_cores", "accelerators", "threads")]


def _weights(comparison: Comparison) -> dict[str, float]:
    """Bytes of each model: those of its file, or parameters in an unquantised format."""
    bits = {"float32": 32, "bfloat16": 16, "float16": 16}
    models = comparison.manifest.get("identity", {}).get("models")
    found = {}
    for name, told in (models if isinstance(models, dict) else {}).items():
        if not isinstance(told, dict):
            continue
        size, parameters, width = told.get("bytes"), told.get("parameters"), bits.get(str(told.get("dtype")))
        if size is None and told.get("backend") == "hf" and width and isinstance(parameters, int):
            size = parameters * width // 8
        if isinstance(size, int) and 0 < size <= _MOST:
            found[name] = float(size)
    return found


def mean_seconds(seconds: Mapping[Place, float], rows: Sequence[Traced]) -> float:
    """Mean over `rows`."""
    return sum(seconds[one.place] for one in rows) / len(rows)


def speed_up(trace: Trace, label: str, seconds: Mapping[Place, float], part: int | None = None) -> Estimate | None:
    """Target-only's seconds over the strategy's, on the problems that both solved; of one part, or of all."""
    if label == trace.baseline:
        return None
    others = {(one.run, one.row.problem_id, one.row.repeat): one for one in trace.strategies[trace.baseline]}
    pairs = [
        (one.row, seconds[one.place], seconds[other.place])
        for one in trace.strategies[label]
        if part in (None, one.part) and (other := others.get((one.run, one.row.problem_id, one.row.repeat))) is not None
    ]
    if not pairs or not all(ours > 0 and theirs > 0 for _, ours, theirs in pairs):
        return None
    rows, ours, theirs = zip(*pairs, strict=True)
    return statistics.ratio(theirs, ours, problem_groups(rows))
