"""Families of solutions with a free integer, such as pi/6 + k pi: the letter and the starting member do not matter."""

from __future__ import annotations

from fractions import Fraction

import mpmath  # type: ignore[import-untyped]

from arbitrage.harness.grading.equivalence.decision import Context, Decision
from arbitrage.harness.grading.equivalence.expressions import agree
from arbitrage.harness.grading.equivalence.shape import Kind, Shape
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

_LETTERS = frozenset("kmnljKNMZpqrst")


def decide_families(gold: Shape, pred: Shape, context: Context) -> Decision | None:
    """Two families `start + letter * period` of angles; None when one of them is no such family."""
    if gold.kind is not Kind.LEAF or pred.kind is not Kind.LEAF:
        return None
    a, b = _family(gold.text), _family(pred.text)
    if a is None or b is None:
        return None
    with mpmath.workdps(60):
        steps = (a[0] - b[0]) / a[1]
        whole = abs(steps - mpmath.nint(mpmath.re(steps))) < mpmath.mpf(10) ** -30
        equal = bool(whole and (agree(a[1], b[1]) or agree(a[1], -b[1])))
    return Decision(equal, "family", "the same family" if equal else "different families")


def _family(text: str) -> tuple[Number, Number] | None:
    """Start and period of a family; None for other text. Only angles: `2k` with a plain period stays an expression."""
    try:
        node = read(text)
        letters = symbols(node) - {r"\pi", "e", "i"}
        if len(letters) != 1 or not letters <= _LETTERS:
            return None
        if r"\pi" not in symbols(node) and "degree" not in operations(node):
            return None
        (letter,) = letters
        with mpmath.workdps(60):
            members = [numeric(node, {letter: Fraction(k)}) for k in range(4)]
    except (UnreadableError, UndefinedError, TooLargeError):
        return None
    with mpmath.workdps(60):
        period = members[1] - members[0]
        linear = period != 0 and all(agree(members[k] - members[0], k * period) for k in (2, 3))
    return (members[0], period) if linear else None
