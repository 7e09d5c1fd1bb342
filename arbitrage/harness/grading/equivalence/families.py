"""Families of solutions with a free integer, such as pi/6 + k pi: the letter and the starting member do not matter."""

from __future__ import annotations

import math
from fractions import Fraction

import mpmath  # type: ignore[import-untyped]

from arbitrage.harness.grading.equivalence.decision import Context, Decision
from arbitrage.harness.grading.equivalence.expressions import agree
from arbitrage.harness.grading.equivalence.shape import Kind, Shape, spread
from arbitrage.harness.grading.expression import (
    Number,
    TooLargeError,
    UndefinedError,
    UnreadableError,
    numeric,
    operations,
    read,
    symbols,
)

_LETTERS = frozenset("kmnljKNMZ")
"""Letters that are read as whole numbers without a remark."""
_CLOSE = mpmath.mpf(10) ** -30
_MOST_RESIDUES = 60
Family = tuple[Number, Number]
"""Start and period."""


def decide_families(gold: Shape, pred: Shape, context: Context) -> Decision | None:
    """Two families `start + letter * period` of angles; None when one of them is no such family."""
    left, right = _families(gold), _families(pred)
    if left is None or right is None:
        return None
    equal = _same_members(left, right)
    return Decision(equal, "family", "the same family" if equal else "different families")


def _families(shape: Shape) -> list[Family] | None:
    """The families that an answer lists; None when one of its parts is something else."""
    found = []
    for single in spread(shape):
        if single.kind is Kind.RELATION and single.marks == ("=",):
            single = single.items[1]  # x = pi/6 + k pi
        family = _family(single) if single.kind is Kind.LEAF else None
        if family is None:
            return None
        found.append(family)
    return found


def _same_members(left: list[Family], right: list[Family]) -> bool:
    """Whether two unions of families have the same members: as residues of a common multiple of all periods."""
    with mpmath.workdps(60):
        one = abs(left[0][1])
        counts = [_multiple(abs(period) / one) for _, period in (*left, *right)]
        if None in counts:
            return False
        shares = [Fraction(*count) for count in counts if count is not None]
        common = math.lcm(*(share.numerator for share in shares)), math.gcd(*(share.denominator for share in shares))
        whole = one * common[0] / common[1]
        a, b = (_residues(families, whole) for families in (left, right))
    return (
        a is not None
        and b is not None
        and len(a) == len(b)
        and all(any(abs(x - y) < _CLOSE or abs(abs(x - y) - 1) < _CLOSE for y in b) for x in a)
    )


def _multiple(ratio: Number) -> tuple[int, int] | None:
    """A ratio of periods as a small fraction."""
    for below in range(1, _MOST_RESIDUES + 1):
        above = mpmath.nint(ratio * below)
        if 0 < above <= _MOST_RESIDUES and abs(ratio * below - above) < _CLOSE:
            return int(above), below
    return None


def _residues(families: list[Family], whole: Number) -> list[Number] | None:
    """Members within one `whole`, as shares of it in [0, 1), each once."""
    found: list[Number] = []
    for start, period in families:
        count = int(mpmath.nint(whole / abs(period)))
        if count > _MOST_RESIDUES:
            return None
        for k in range(count):
            share = (start + k * abs(period)) / whole
            share -= mpmath.floor(share)
            if not any(abs(share - other) < _CLOSE or abs(abs(share - other) - 1) < _CLOSE for other in found):
                found.append(share)
    return found


def _family(shape: Shape) -> Family | None:
    """Start and period of a family; None for other text.

    Without a remark that its letter is any integer only angles count: `2k` stays an expression.
    """
    try:
        node = read(shape.text)
        letters = symbols(node) - {r"\pi", "e", "i"}
        if len(letters) != 1 or not letters <= _LETTERS | shape.integers:
            return None
        if not letters <= shape.integers and r"\pi" not in symbols(node) and "degree" not in operations(node):
            return None
        (letter,) = letters
        with mpmath.workdps(60):
            members = [numeric(node, {letter: Fraction(k)}) for k in range(4)]
    except (UnreadableError, UndefinedError, TooLargeError):
        return None
    with mpmath.workdps(60):
        period = members[1] - members[0]
        linear = period != 0 and all(agree(members[k] - members[0], k * period) for k in (2, 3))
    return (members[0], period) if linear and not mpmath.im(period) and not mpmath.im(members[0]) else None
