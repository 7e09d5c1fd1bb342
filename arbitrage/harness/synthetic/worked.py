"""The shape every problem kind produces: a statement, its worked solution in steps, and the answer."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from arbitrage.types import SEPARATOR


@dataclass(frozen=True, slots=True)
class Worked:
    """A problem together with the one worked solution that its kind prescribes."""

    problem: str
    steps: tuple[str, ...]
    """Steps without the separator; the last one holds the boxed answer."""
    answer: str

    @property
    def solution(self) -> str:
        """The steps joined by blank lines."""
        return SEPARATOR.join(self.steps)


Kind = Callable[[random.Random, int], Worked]
"""A problem kind: (random source, level 1-5) to a worked problem."""


def worked(problem: str, steps: list[str], answer: str) -> Worked:
    """Close a solution: the boxed answer is its last step."""
    return Worked(problem, (*steps, f"The answer is \\boxed{{{answer}}}"), answer)


def scaled(level: int, smallest: int, largest: int) -> int:
    """A bound that grows evenly from `smallest` at level 1 to `largest` at level 5."""
    return smallest + (largest - smallest) * (level - 1) // 4


def signed(value: int) -> str:
    """`value` as a term that follows another one: '+5' or '-5'."""
    return f"+{value}" if value >= 0 else str(value)


def factor(value: int) -> str:
    """`value` as the second factor of a product: negative numbers in parentheses."""
    return str(value) if value >= 0 else f"({value})"


def difference(a: int, b: int) -> str:
    """a-b worked out; subtracting a negative number is first turned into an addition."""
    return f"{a}-{factor(b)}={a}+{-b}={a - b}" if b < 0 else f"{a}-{b}={a - b}"


def coefficient(value: int) -> str:
    """`value` in front of a letter: 1 and -1 are not written out."""
    return {1: "", -1: "-"}.get(value, str(value))


def frac(numerator: int, denominator: int) -> str:
    r"""A LaTeX fraction with a positive denominator, as written: nothing is reduced."""
    if denominator < 0:
        numerator, denominator = -numerator, -denominator
    sign = "-" if numerator < 0 else ""
    return f"{sign}\\frac{{{abs(numerator)}}}{{{denominator}}}"


def reduced(numerator: int, denominator: int) -> str:
    """A quotient in lowest terms, as an integer or a LaTeX fraction."""
    value = Fraction(numerator, denominator)
    return str(value.numerator) if value.denominator == 1 else frac(value.numerator, value.denominator)


def nonzero(rng: random.Random, bound: int) -> int:
    """An integer between -bound and bound, never 0."""
    return rng.choice((-1, 1)) * rng.randint(1, bound)


def divide_with_remainder(value: int, divisor: int) -> str:
    """One division with remainder, written as an equation."""
    return f"{value}={divisor}\\cdot{value // divisor}+{value % divisor}"
