"""Graders side by side on labelled pairs: right and wrong verdicts by kind, and what a pair costs.

python benchmarks/grading.py PAIRS.jsonl [MORE.jsonl ...] --out runs/grading

A line holds `gold`, `pred`, `equivalent` and, if there is one, `category`. Compared are this project's grader, its
`compat="qwen"` mode and, where it is installed, Math-Verify (in a child process of its own: it cannot be stopped
from outside the main thread, and may hang).
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from arbitrage.harness import environment
from arbitrage.harness.grading import GRADER, grade
from arbitrage.harness.statistics import wilson

LIMIT_S = 2.0


@dataclass(frozen=True)
class Pair:
    """A labelled pair."""

    gold: str
    pred: str
    equivalent: bool
    category: str
    note: str = ""


@dataclass
class Tally:
    """How one grader did."""

    seconds: list[float] = field(default_factory=list)
    wrong: list[tuple[Pair, str]] = field(default_factory=list)

    def times(self) -> tuple[float, float, float]:
        """Median, 99th percentile and maximum, in milliseconds."""
        return tuple(1000 * float(np.quantile(self.seconds, q)) for q in (0.5, 0.99, 1.0))  # type: ignore[return-value]


Grader = Callable[[Pair], tuple[bool, str]]
"""Whether the answer is right, and what the grader says of it."""


def ours(pair: Pair) -> tuple[bool, str]:
    """This project's grader."""
    verdict = grade(pair.pred, pair.gold, timeout_s=LIMIT_S)
    return verdict.correct, f"{verdict.status}, {verdict.method}: {verdict.reason}"


def qwen(pair: Pair) -> tuple[bool, str]:
    """The field's usual evaluator, reproduced."""
    verdict = grade(pair.pred, pair.gold, timeout_s=LIMIT_S, compat="qwen")
    return verdict.correct, f"{verdict.status}, {verdict.method}: {verdict.reason}"


class MathVerify:
    """Math-Verify as its README says, with dollars around bare LaTeX."""

    def __init__(self) -> None:
        self._pool = self._start()

    def __call__(self, pair: Pair) -> tuple[bool, str]:
        """One pair; a child that does not answer is replaced."""
        try:
            return self._pool.submit(_math_verify, pair.gold, pair.pred).result(timeout=5 * LIMIT_S), "math-verify"
        except (FutureTimeoutError, BrokenProcessPool) as error:
            for process in multiprocessing.active_children():
                process.kill()
            self._pool = self._start()
            return False, f"stopped: {type(error).__name__}"

    def _start(self) -> ProcessPoolExecutor:
        pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
        pool.submit(_math_verify, "1", "1").result()
        return pool


def _math_verify(gold: str, pred: str) -> bool:
    import logging

    from math_verify import parse, verify

    logging.disable(logging.CRITICAL)
    parsed = [parse(text if "$" in text or r"\boxed" in text else f"${text}$") for text in (gold, pred)]
    return bool(verify(*parsed))


def read(files: Sequence[Path]) -> Iterator[Pair]:
    """All pairs."""
    for file in files:
        for line in file.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            kind = row.get("category") or "uncategorised"
            yield Pair(row["gold"], row["pred"], bool(row["equivalent"]), kind, row.get("note") or "")


def run(pairs: Sequence[Pair], graders: dict[str, Grader]) -> dict[str, Tally]:
    """Every pair by every grader in turn."""
    tallies = {name: Tally() for name in graders}
    for grader in graders.values():
        grader(Pair(r"\frac{x+1}{2}", r"\frac{1+x}{2}", True, "warm-up"))
    for pair in pairs:
        for name, grader in graders.items():
            started = time.perf_counter()
            said, why = grader(pair)
            tallies[name].seconds.append(time.perf_counter() - started)
            if said != pair.equivalent:
                tallies[name].wrong.append((pair, why))
    return tallies


def overview(pairs: Sequence[Pair], tallies: dict[str, Tally]) -> Table:
    """One line a grader."""
    equal = sum(pair.equivalent for pair in pairs)
    title = f"{len(pairs)} labelled pairs: {equal} equal, {len(pairs) - equal} not"
    table = Table(title=title, title_justify="left")
    for column in ("grader", "right % [95 %]", "false correct", "false incorrect", "ms: median / p99 / max"):
        table.add_column(column, justify="left" if column == "grader" else "right")
    for name, tally in tallies.items():
        share = wilson(1 - len(tally.wrong) / len(pairs), len(pairs))
        false_correct = sum(not pair.equivalent for pair, _ in tally.wrong)
        table.add_row(
            name,
            f"{100 * share.value:.1f} [{100 * (share.low or 0):.1f}, {100 * (share.high or 0):.1f}]",
            str(false_correct),
            str(len(tally.wrong) - false_correct),
            " / ".join(f"{value:.1f}" for value in tally.times()),
        )
    return table


def by_kind(pairs: Sequence[Pair], tallies: dict[str, Tally]) -> Table:
    """One line a kind: wrong verdicts of each grader."""
    counts = Counter(pair.category for pair in pairs)
    wrong: dict[str, Counter[str]] = defaultdict(Counter)
    for name, tally in tallies.items():
        wrong[name].update(pair.category for pair, _ in tally.wrong)
    table = Table(title="wrong verdicts by kind", title_justify="left")
    for column in ("kind", "pairs", *tallies):
        table.add_column(column, justify="left" if column == "kind" else "right")
    for kind, count in sorted(counts.items()):
        table.add_row(kind, str(count), *(str(wrong[name][kind] or "") for name in tallies))
    return table


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", nargs="+", type=Path)
    parser.add_argument("--without-math-verify", action="store_true")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    pairs = list(read(arguments.pairs))
    graders: dict[str, Grader] = {GRADER: ours, 'compat="qwen"': qwen}
    if not arguments.without_math_verify:
        graders[f"math-verify {metadata.version('math-verify')}"] = MathVerify()
    tallies = run(pairs, graders)
    shown = [overview(pairs, tallies), by_kind(pairs, tallies)]
    for table in shown:
        Console(width=120).print(table)
    if arguments.out:
        arguments.out.mkdir(parents=True, exist_ok=True)
        with (arguments.out / "table.txt").open("w") as file:
            for table in shown:
                Console(file=file, width=120).print(table)
        result = {
            "pairs": len(pairs),
            "graders": {
                name: {
                    "wrong": len(tally.wrong),
                    "false_correct": sum(not pair.equivalent for pair, _ in tally.wrong),
                    "milliseconds": dict(zip(("median", "p99", "max"), tally.times(), strict=True)),
                    "disagreements": [
                        {"gold": p.gold, "pred": p.pred, "equivalent": p.equivalent, "label": p.note, "said": why}
                        for p, why in tally.wrong
                    ],
                }
                for name, tally in tallies.items()
            },
            **environment.surroundings(),
        }
        (arguments.out / "results.json").write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
