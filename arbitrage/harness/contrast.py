"""Two runs, or two strategies of one run, side by side: paired by problem, each difference with its interval.

Reads run folders; measures and grades nothing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from arbitrage.errors import RunError
from arbitrage.harness.comparison import Comparison, Versus, load_comparison
from arbitrage.harness.results import BenchmarkResult
from arbitrage.harness.rows import Row
from arbitrage.harness.statistics import Estimate

_CONDITION = re.compile(r"\s*([a-z_]+)\s*(>=|<=|>|<)\s*([-+]?\d*\.?\d+(?:e[-+]?\d+)?)\s*")


@dataclass(frozen=True, slots=True)
class Flip:
    """A problem that one of the two solved."""

    problem_id: str
    repeat: int
    gained: bool
    """Whether the second solved it and the first did not."""
    first_answer: str | None
    second_answer: str | None


@dataclass(frozen=True, slots=True)
class Contrast:
    """A second result against a first one, on the problems that both have."""

    first: str
    second: str
    problems: int
    accuracy_difference: Estimate
    """Second minus first; as shares of 1."""
    mcnemar_p: float
    """Exact two-sided p-value for equal accuracy."""
    latency_ratio: Estimate | None
    """Mean latency of the second over the first's; None when no problem was solved by both."""
    throughput_ratio: Estimate | None
    """Problems per second of the second over the first's; None where both solved one problem at a time."""
    same_text: float | None
    """Share of solutions that are the same token for token."""
    first_divergence: float | None
    """Median place of the first token in which the others differ, from 0; None when all are the same."""
    flips: tuple[Flip, ...]
    notes: tuple[str, ...]
    """What makes the comparison less than it seems."""


def compare_runs(paths: Sequence[str | os.PathLike[str]], against: str | None = None) -> list[Contrast]:
    """Compare runs by strategy, or the strategies of one run.

    Args:
        paths: run folders. With several, each strategy of the later ones is compared with the same label of the first.
        against: with one folder, the label that all others are compared with; None takes the baseline.

    Raises:
        RunError: a folder holds no run, the runs share no strategy or problem, there is no such label, or one is named
            for several runs.
    """
    if against is not None and len(paths) > 1:
        raise RunError("against names a strategy of one run; with several runs leave it out")
    loaded = [(Path(path), load_comparison(path)) for path in paths]
    folder, first = loaded[0]
    if len(loaded) == 1:
        base = first.baseline if against is None else first.results.get(against)
        if base is None:
            raise RunError(
                f"{folder} has no {against or 'target-only'}; name one of its strategies: {', '.join(first)}"
            )
        return [
            _contrast(base, result, base.strategy, label, ()) for label, result in first.items() if result is not base
        ]
    found = []
    for other_folder, other in loaded[1:]:
        shared = [label for label in first if label in other]
        if not shared:
            raise RunError(
                f"{folder} and {other_folder} have no strategy in common: {', '.join(first)} and {', '.join(other)}"
            )
        notes = _differences(first, other)
        found += [
            _contrast(first[label], other[label], f"{folder}: {label}", f"{other_folder}: {label}", notes)
            for label in shared
        ]
    return found


@dataclass(frozen=True, slots=True)
class Condition:
    """Something that measurements can show, such as `latency_ratio>1.05`."""

    QUANTITIES: ClassVar = ("latency_ratio", "throughput_ratio", "accuracy_difference")

    text: str
    quantity: str
    sign: str
    limit: float

    @classmethod
    def parse(cls, text: str) -> Condition:
        """Read one of `QUANTITIES`, `<`, `<=`, `>` or `>=`, and a number.

        Raises:
            ValueError: it is not such a condition.
        """
        match = _CONDITION.fullmatch(text)
        if match is None or match[1] not in cls.QUANTITIES:
            raise ValueError(
                f"cannot read {text!r}; write {', '.join(cls.QUANTITIES[:-1])} or {cls.QUANTITIES[-1]}, a sign and a "
                "number, e.g. 'latency_ratio>1.05' or 'accuracy_difference<-0.02'"
            )
        return cls(text, match[1], match[2], float(match[3]))

    def holds(self, contrast: Contrast) -> bool:
        """Whether the whole interval shows it; too little data for an interval shows nothing."""
        estimate: Estimate | None = getattr(contrast, self.quantity)
        if estimate is None or estimate.low is None or estimate.high is None:
            return False
        return {
            ">": estimate.low > self.limit,
            ">=": estimate.low >= self.limit,
            "<": estimate.high < self.limit,
            "<=": estimate.high <= self.limit,
        }[self.sign]


def _contrast(
    first: BenchmarkResult, second: BenchmarkResult, name: str, other: str, notes: tuple[str, ...]
) -> Contrast:
    versus, reverse = Versus.of(second.rows, first.rows), Versus.of(first.rows, second.rows)
    if versus is None:
        raise RunError(f"{name} and {other} have no problem in common")
    earlier = {(row.problem_id, row.repeat): row for row in first.rows}
    keyed = ((row, (row.problem_id, row.repeat)) for row in second.rows)
    pairs = [(earlier[key], row) for row, key in keyed if key in earlier]
    parted = [place for a, b in pairs if (place := _divergence(a, b)) is not None]
    return Contrast(
        first=name,
        second=other,
        problems=versus.problems,
        accuracy_difference=versus.accuracy_difference,
        mcnemar_p=versus.mcnemar_p,
        latency_ratio=None if reverse is None else reverse.speed_up,
        throughput_ratio=versus.throughput_ratio,
        same_text=versus.identical_share,
        first_divergence=float(np.median(parted)) if parted else None,
        flips=tuple(
            Flip(b.problem_id, b.repeat, b.correct, a.answer, b.answer) for a, b in pairs if a.correct != b.correct
        ),
        notes=notes,
    )


def _divergence(a: Row, b: Row) -> int | None:
    """Place of the first token that differs; None when the texts are the same or one is missing."""
    if a.failed or b.failed or a.token_ids == b.token_ids:
        return None
    together = zip(a.token_ids, b.token_ids, strict=False)
    shorter = min(len(a.token_ids), len(b.token_ids))
    return next((place for place, (x, y) in enumerate(together) if x != y), shorter)


def _told(identity: Mapping[str, Any], key: str) -> object:
    """A part of the identity, without how many sequences the models were prepared for."""
    found = identity.get(key)
    if key != "models" or not isinstance(found, Mapping):
        return found
    return {role: {fact: value for fact, value in model.items() if fact != "sessions"} for role, model in found.items()}


def _differences(first: Comparison, second: Comparison) -> tuple[str, ...]:
    """What else than the strategies differs between two runs."""
    notes = []
    one, other = (run.manifest.get("identity", {}) for run in (first, second))
    for key, words in (
        ("dataset", "the problems are not the same set: only those that both have are compared"),
        ("settings", "the budgets or the sampling differ"),
        ("models", "the models differ"),
        ("grader", "the answers were graded by different versions: run `arbitrage grade --write` on both"),
        ("versions", "package versions differ"),
    ):
        if _told(one, key) != _told(other, key):
            notes.append(words)
    if first.concurrency != second.concurrency:
        notes.append(
            f"{first.concurrency} and {second.concurrency} problems at once: the latencies are under different load; "
            "compare throughput, and look at the texts: other batches round differently"
        )
    machines = [run.manifest.get("sessions", [{}])[-1].get("machine", {}) for run in (first, second)]
    keys = ("cpu", "available_cores", "accelerators", "threads")
    if any(machines[0].get(key) != machines[1].get(key) for key in keys):
        notes.append("the machines differ: the latency ratio says as much about them as about the strategies")
    else:
        notes.append("latencies are of two runs, not measured in turn: drift of the machine is not cancelled")
    return tuple(notes)
