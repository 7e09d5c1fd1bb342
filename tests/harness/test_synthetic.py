"""The bundled data set: right, varied, reproducible, and its test split nowhere else."""

from __future__ import annotations

import itertools
import random
import re
from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbitrage.harness import synthetic
from arbitrage.harness.synthetic import KINDS, LEVELS, TEST_SIZE, Split, generate, right_steps
from arbitrage.types import SEPARATOR


def take(split, seed, count):
    return list(itertools.islice(generate(split, seed), count))


def value_of(text: str) -> Fraction | None:
    """Value of a chain of integers, +, -, products, quotients, squares and parentheses; None for anything else."""
    text = re.sub(r"\\frac\{(\d+)\}\{(\d+)\}", r"(\1/\2)", text.replace(r"\cdot", "*")).replace("^2", "**2")
    if not re.fullmatch(r"[\d+\-*/().\s]+", text):
        return None
    exact = re.sub(r"\d+", r"Fraction(\g<0>)", text)
    return eval(exact, {"Fraction": Fraction})  # arithmetic that this project generated itself


@given(st.sampled_from(sorted(KINDS)), st.sampled_from(LEVELS), st.integers(0, 10**9))
def test_every_equation_in_every_worked_solution_holds(kind, level, seed):
    """All sides of `a=b=c` that are plain arithmetic have one value, in every kind at every level."""
    made = KINDS[kind](random.Random(seed), level)
    checked = 0
    for step in made.steps[:-1]:
        for part in re.split(r", so |, |: ", step):
            values = [v for v in map(value_of, part.split("=")) if v is not None]
            checked += len(values) > 1
            assert len(set(values)) <= 1, step
    assert checked > 0
    assert made.steps[-1] == f"The answer is \\boxed{{{made.answer}}}"
    assert not any(SEPARATOR in step or not step.strip() for step in made.steps)


def test_the_fixed_split_has_all_kinds_and_levels_and_different_problems():
    """500 problems, kinds and levels in equal parts, four to eight steps as a rule."""
    problems = synthetic.benchmark_split()
    assert len(problems) == TEST_SIZE == len({p.problem for p in problems}) == len({p.id for p in problems})
    kinds, levels = Counter(p.subject for p in problems), Counter(p.level for p in problems)
    assert kinds.keys() == KINDS.keys()
    assert set(levels) == set(LEVELS)
    assert min(levels.values()) > 80
    lengths = sorted(len(p.solution.split(SEPARATOR)) for p in problems)
    assert lengths[25] >= 4
    assert lengths[-25] <= 8


def test_the_fixed_split_never_changes():
    """Its content is part of what published numbers mean; a change here needs a new name for the data set."""
    import hashlib

    text = "\n".join(f"{p.id}|{p.problem}|{p.solution}" for p in synthetic.benchmark_split())
    assert hashlib.sha256(text.encode()).hexdigest() == FIXED_SPLIT_SHA256


FIXED_SPLIT_SHA256 = "33378a3b8a737d77ecfbaf16ab0023bc55eed79c50d9af0e68044c89a46bb126"


@pytest.mark.parametrize("split", [s for s in Split if s is not Split.TEST])
def test_no_test_statement_appears_in_another_split(split):
    """3000 fresh problems of each other split share no statement with the test split."""
    held_out = {p.problem for p in synthetic.benchmark_split()}
    assert not held_out & {p.problem for p in take(split, 0, 3000)}


def test_streams_repeat_by_seed_and_differ_between_seeds_and_splits():
    """The same (split, seed) gives the same problems; no problem repeats within a stream."""
    first = take(Split.TRAIN, 3, 300)
    assert first == take(Split.TRAIN, 3, 300)
    assert len({p.problem for p in first}) == 300
    assert first != take(Split.TRAIN, 4, 300)
    assert [p.problem for p in first] != [p.problem for p in take(Split.PRM, 3, 300)]


def test_a_solution_is_right_up_to_its_first_deviation():
    """Every step after a wrong one counts as wrong, and superfluous steps too."""
    problem = take(Split.TRAIN, 0, 1)[0]
    steps = problem.solution.split(SEPARATOR)
    assert right_steps(problem, steps) == [True] * len(steps)
    assert right_steps(problem, [steps[0], "nonsense", *steps[2:]]) == [True] + [False] * (len(steps) - 1)
    assert right_steps(problem, [*steps, "more"])[-1] is False
    assert right_steps(problem, []) == []
