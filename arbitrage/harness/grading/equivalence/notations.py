"""Numbers that are more than a value: a numeral with its base, a time of day, a ratio."""

from __future__ import annotations

import re

from arbitrage.harness.grading.equivalence.decision import Context, Decision
from arbitrage.harness.grading.equivalence.shape import Kind, Shape
from arbitrage.harness.grading.equivalence.split import cut
from arbitrage.harness.grading.equivalence.words import number_word
from arbitrage.harness.grading.normalise import compact

_BASED = re.compile(
    r"\(?(?:\\text\{)?(-?[0-9A-Z][0-9A-Z.]*)\}?\)?(?:_\{?(?:\\text\{)?(?:base ?)?(\d+|[a-z]+)\}*|"
    r"\s*(?:\\text\{\s*)?\(?base ?(\d+|[a-z]+)\)?\}?)",
    re.IGNORECASE,
)
_CLOCK = re.compile(r"(\d{1,2})(?::(\d{2})(?::(\d{2}))?|(?=\s*[ap]\.?m))\s*(?:([ap])\.?\s*m\.?)?", re.IGNORECASE)
_TEXT = re.compile(r"\\text\{([^{}]*)\}")


def decide_bases(gold: Shape, pred: Shape, context: Context) -> Decision | None:
    """Numerals with a base: digits and base both have to be the same, and a base is never left out."""
    a, b = _based(gold), _based(pred)
    if a is None and b is None:
        return None
    equal = a == b
    return Decision(equal, "base", "the same numeral" if equal else "the numerals or their bases differ")


def decide_clocks(gold: Shape, pred: Shape, context: Context) -> Decision | None:
    """Times of day; a.m. or p.m. has to agree where both say it."""
    a, b = (_CLOCK.fullmatch(compact(_TEXT.sub(r"\1", shape.text)).strip()) for shape in (gold, pred))
    if a is None or b is None:
        return None
    halves = {half.lower() for half in (a[4], b[4]) if half}
    first, second = ([int(part or 0) for part in match.groups()[:3]] for match in (a, b))
    equal = len(halves) < 2 and first == second
    return Decision(equal, "clock", "the same time" if equal else "different times")


def decide_ratios(gold: Shape, pred: Shape, context: Context) -> Decision | None:
    """Ratios `a:b`, equal when proportional; a ratio of two is also equal to its quotient."""
    a, b = _ratio(gold), _ratio(pred)
    if a is None and b is None:
        return None
    if a is not None and b is not None:
        equal = len(a) == len(b) and all(
            context.equal(_leaf(f"({a[0]})({y})"), _leaf(f"({b[0]})({x})")) for x, y in zip(a[1:], b[1:], strict=True)
        )
        return Decision(equal, "ratio", "the same ratio" if equal else "different ratios")
    ratio, other = (a, pred) if a is not None else (b or [], gold)
    comparable = len(ratio) == 2 and other.kind is Kind.LEAF
    equal = comparable and context.equal(_leaf(rf"\frac{{{ratio[0]}}}{{{ratio[1]}}}"), other)
    return Decision(equal, "ratio", "the ratio's quotient" if equal else "a ratio and something else")


def _leaf(text: str) -> Shape:
    return Shape(Kind.LEAF, text)


def _based(shape: Shape) -> tuple[str, int] | None:
    match = _BASED.fullmatch(compact(shape.text)) or _BASED.fullmatch(shape.text)
    if match is None or shape.kind is not Kind.LEAF:
        return None
    name = match[2] or match[3]
    base = int(name) if name.isdigit() and len(name) < 4 else number_word(name)
    digits = match[1].upper()
    if base is None or not 2 <= base <= 36 or any(int(d, 36) >= base for d in digits if d not in "-."):
        return None
    return digits.lstrip("0"), base


def _ratio(shape: Shape) -> list[str] | None:
    if shape.kind is not Kind.LEAF or ":" not in shape.text:
        return None
    parts = cut(shape.text.replace(r"\text{ to }", ":"), (":",))[0]
    return parts if len(parts) > 1 and all(parts) else None
