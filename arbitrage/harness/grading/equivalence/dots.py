r"""Dots that stand for what goes on evenly: `1, 2, \ldots, 8` as a list, `1 + 2 + \cdots + n` as its closed form.

Knows text and progressions. Knows nothing of shapes and equality.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from fractions import Fraction

from arbitrage.harness.grading.equivalence.split import cut
from arbitrage.harness.grading.normalise import compact
from arbitrage.harness.grading.plain import parse_number

DOTS = r"\ldots"
_LONGEST = 200
_TIMES = (r"\cdot", r"\times", "*")


def continued(items: list[str], longest: int) -> list[str]:
    """A list with dots written out: `1, 2, ..., 8` as eight numbers; any other list as it is.

    Args:
        items: normalised text of the parts.
        longest: a list of more numbers stays as it is.
    """
    if items.count(DOTS) != 1 or items[-1] == DOTS or len(items) - items.index(DOTS) != 2:
        return items
    begun, last = _numbers(items[: items.index(DOTS)]), _number(items[-1])
    if begun is None or last is None or (step := _step(begun)) is None:
        return items
    count = (last - begun[0]) / step + 1
    if count.denominator != 1 or not len(begun) < count <= longest:
        return items
    return [str(begun[0] + step * k) for k in range(int(count))]


def closed_form(text: str) -> str | None:
    """A sum or product with dots without them, as text for the reader; None when it does not go on evenly."""
    if text.count(DOTS) != 1:
        return None
    for signs, mark in ((("+",), "+"), (_TIMES, r"\cdot")):
        terms = [term for term in cut(text.replace(DOTS, f"{mark}{DOTS}{mark}"), signs)[0] if term]
        if DOTS not in terms or len(terms) < 3:
            continue
        at = terms.index(DOTS)
        begun, after = _numbers(terms[:at]), terms[at + 1 :]
        if begun is None or len(after) > 1 or len(begun) < 2:
            continue
        found = _sum(begun, after) if mark == "+" else _product(begun, after)
        if found is not None:
            return found
    return None


def _sum(begun: Sequence[Fraction], after: list[str]) -> str | None:
    first, step, factor = begun[0], _step(begun), _factor(begun)
    if not after:
        return str(first / (1 - factor)) if factor is not None and abs(factor) < 1 else None
    last = f"({after[0]})"
    if step is not None and _number(last) is None and "^" in last:
        return None  # 1 + 4 + ... + n^2 begins like a progression and is none
    if step is not None:
        count = f"(({last}-({first}))/({step})+1)"
        return f"{count}*(({first})+{last})/2" if _reaches(last, first, step) else None
    return (
        None
        if factor is None or not _grows_to(last, first, factor)
        else f"({last}*({factor})-({first}))/(({factor})-1)"
    )


def _product(begun: Sequence[Fraction], after: list[str]) -> str | None:
    if _step(begun) != 1 or len(after) != 1 or begun[0].denominator != 1 or begun[0] < 1:
        return None
    return f"({after[0]})!/({begun[0] - 1})!"


def _reaches(last: str, first: Fraction, step: Fraction) -> bool:
    """Whether a progression comes to a number; one that is not a plain number is believed."""
    value = _number(last)
    return value is None or ((value - first) / step).denominator == 1


def _grows_to(last: str, first: Fraction, factor: Fraction) -> bool:
    """Whether a geometric progression comes to a number; one that is not a plain number is believed."""
    value, member = _number(last), first
    for _ in range(_LONGEST if value is not None else 0):
        if member == value:
            return True
        member *= factor
    return value is None


def _number(text: str) -> Fraction | None:
    return parse_number(compact(text))


def _numbers(texts: list[str]) -> list[Fraction] | None:
    values = [_number(text) for text in texts]
    found = [value for value in values if value is not None]
    return found if len(found) == len(values) else None


def _step(values: Sequence[Fraction]) -> Fraction | None:
    """Common difference of at least two numbers; None when there is none."""
    steps = {b - a for a, b in itertools.pairwise(values)}
    return steps.pop() if len(steps) == 1 and 0 not in steps else None


def _factor(values: Sequence[Fraction]) -> Fraction | None:
    """Common ratio of at least three numbers; None when there is none."""
    if len(values) < 3 or 0 in values:
        return None
    factors = {b / a for a, b in itertools.pairwise(values)}
    return factors.pop() if len(factors) == 1 and 1 not in factors else None
