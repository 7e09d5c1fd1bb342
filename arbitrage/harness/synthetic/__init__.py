"""The `bundled` data set: procedurally generated problems in MATH style, with worked solutions.

Every problem is a pure function of (split, seed, index), so any number of fresh ones can be had, and the fixed test
split is the same everywhere. Knows how problems are made and worked; knows nothing of models or grading.
"""

from __future__ import annotations

import enum
import functools
import itertools
import random
from collections.abc import Iterator, Sequence

from arbitrage.harness.synthetic import arithmetic, equations, fractions, inequalities, number_theory
from arbitrage.harness.synthetic.worked import Kind, Worked
from arbitrage.types import SEPARATOR, Problem

KINDS: dict[str, Kind] = {
    "chain": arithmetic.chain,
    "story": arithmetic.story,
    "remainder": number_theory.remainder,
    "power": number_theory.power,
    "gcd": number_theory.gcd,
    "fractions": fractions.fractions,
    "linear": equations.linear,
    "system": equations.system,
    "quadratic": equations.quadratic,
    "two-sided": inequalities.two_sided,
    "one-sided": inequalities.one_sided,
    "absolute": inequalities.absolute,
}
"""Problem kinds by name; the name is the `subject` of a problem."""

LEVELS = (1, 2, 3, 4, 5)
TEST_SIZE = 500
"""Problems in the fixed test split."""


class Split(enum.StrEnum):
    """Disjoint sources of problems; every statement of the test split is kept out of the others."""

    TRAIN = "train"
    PRM = "prm"
    ROUTER = "router"
    HELD_OUT = "held-out"
    TEST = "test"


def generate(split: Split, seed: int = 0, repeats: bool = False) -> Iterator[Problem]:
    """An endless stream of problems; kinds and levels take turns.

    Args:
        split: where the problems are for. Statements of the test split never appear in another split.
        seed: any integer; the test split of the benchmark is the start of (TEST, seed 0), shuffled.
        repeats: whether a statement may come twice. Easy levels of some kinds have a few hundred different problems
            only; without repeats they run out, and long streams hold ever fewer of them.
    """
    excluded = frozenset() if split is Split.TEST else frozenset(p.problem for p in benchmark_split())
    seen: set[str] = set()
    for index in itertools.count():
        for attempt in range(_PATIENCE):
            kind, level, made = _make(split, seed, index, attempt)
            if made.problem not in excluded and made.problem not in seen:
                break
        else:
            continue
        if not repeats:
            seen.add(made.problem)
        yield Problem(
            id=f"{split}/{seed}/{index}",
            problem=made.problem,
            answers=(made.answer,),
            level=level,
            subject=kind,
            solution=made.solution,
        )


@functools.cache
def benchmark_split() -> tuple[Problem, ...]:
    """The fixed test split: 500 problems, all kinds and levels, mixed so that any start is a fair sample."""
    problems = list(itertools.islice(generate(Split.TEST), TEST_SIZE))
    random.Random("order of the test split").shuffle(problems)
    return tuple(problems)


_PATIENCE = 20
"""Draws for one index before an exhausted (kind, level) is skipped."""


def _make(split: Split, seed: int, index: int, attempt: int) -> tuple[str, int, Worked]:
    rng = random.Random(f"{split}:{seed}:{index}:{attempt}")
    names = tuple(KINDS)
    kind = names[index % len(names)]
    level = LEVELS[index // len(names) % len(LEVELS)]
    return kind, level, KINDS[kind](rng, level)


def right_steps(problem: Problem, steps: Sequence[str]) -> list[bool]:
    """For each step whether the solution is right so far: it and all earlier ones are those of the worked solution.

    Every kind prescribes one way of working, so this check is exact for solutions that follow it; a solution that once
    went wrong stays wrong, as no reference solution takes anything back.

    Args:
        problem: a problem of this data set, with its reference solution.
        steps: texts of a solution's steps, without separators.
    """
    reference = (problem.solution or "").split(SEPARATOR)
    right: list[bool] = []
    for i, step in enumerate(steps):
        right.append(all(right[-1:]) and i < len(reference) and step == reference[i])
    return right
