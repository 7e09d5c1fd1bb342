"""Numbers that are more than a value: a numeral with its base, a time of day, a ratio, a quantity in several units."""

from __future__ import annotations

import re
from fractions import Fraction

from arbitrage.harness.grading.equivalence.decision import Context, Decision
from arbitrage.harness.grading.equivalence.dots import closed_form
from arbitrage.harness.grading.equivalence.shape import Kind, Shape
from arbitrage.harness.grading.equivalence.split import cut
from arbitrage.harness.grading.equivalence.units import known_unit, measure
from arbitrage.harness.grading.equivalence.words import number_word
from arbitrage.harness.grading.normalise import compact
from arbitrage.harness.grading.plain import parse_number

_BASED = re.compile(
    r"\(?(?:\\text\{)?(-?[0-9A-Z][0-9A-Z.]*)\}?\)?(?:_\{?(?:\\text\{)?(?:base ?)?(\d+|[a-z]+)\}*|"
    r"\s*(?:\\text\{\s*)?\(?base ?(\d+|[a-z]+)\)?\}?)",
    re.IGNORECASE,
)
_QUANTITY = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]+)\.?")
_COMPOUND = re.compile(rf"\s*(?:{_QUANTITY.pattern}\s*(?:and\s+)?){{2,4}}")
_CLOCK = re.compile(r"(\d{1,2})(?::(\d{2})(?::(\d{2}))?|(?=\s*[ap]\.?m))\s*(?:([ap])\.?\s*m\.?)?", re.IGNORECASE)
_TO = re.compile(r"\s*\\text\{\s*to\s*\}\s*|(?<=\d)\s+to\s+(?=\d)")
_NAMES_OF_RATIO = re.compile(r"[A-Za-z]{1,2}(?::[A-Za-z]{1,2})+")
_TEXT = re.compile(r"\\text\{([^{}]*)\}")


def decide_bases(gold: Shape, pred: Shape, context: Context) -> Decision | None:
    """Numerals with a base: digits and base both have to be the same, and a base is never left out."""
    a, b = _based(gold), _based(pred)
    if a is None and b is None:
        return None
    a, b = a or _plain_numeral(gold, b), b or _plain_numeral(pred, a)
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


def decide_dots(gold: Shape, pred: Shape, context: Context) -> Decision | None:
    """A sum or product with dots by its closed form."""
    plain = [_without_dots(shape) for shape in (gold, pred)]
    return None if plain == [gold, pred] else context.compare(plain[0], plain[1], context)


def _without_dots(shape: Shape) -> Shape:
    closed = closed_form(shape.text) if shape.kind is Kind.LEAF else None
    return shape if closed is None else _leaf(closed)


def decide_compounds(gold: Shape, pred: Shape, context: Context) -> Decision | None:
    """Quantities in several units, such as 2 hours 30 minutes, against each other or one of the same kind."""
    a, b = _compound(gold), _compound(pred)
    if a is None and b is None:
        return None
    a, b = a or _single(gold), b or _single(pred)
    if a is None or b is None:
        return None
    equal = a == b
    return Decision(equal, "unit", "the same quantity" if equal else "different quantities")


def _compound(shape: Shape) -> tuple[str, Fraction] | None:
    """What is measured, and how much in its base unit; None for text that is no sum of two units or more."""
    text = re.sub(r"\\and|,", " ", _TEXT.sub(r" \1 ", shape.text))
    if shape.kind not in (Kind.LEAF, Kind.MANY) or _COMPOUND.fullmatch(text) is None:
        return None
    parts = [(Fraction(value), known_unit(unit)) for value, unit in _QUANTITY.findall(text)]
    kinds = {unit[0] for _, unit in parts if unit}
    if len(parts) < 2 or len(kinds) != 1 or any(unit is None for _, unit in parts):
        return None
    return kinds.pop(), sum((value * unit[1] for value, unit in parts if unit), Fraction(0))


def _single(shape: Shape) -> tuple[str, Fraction] | None:
    part = measure(shape.text)
    value = parse_number(compact(part.text)) if shape.kind is Kind.LEAF and part.unit else None
    return None if value is None or part.unit is None else (part.unit[0], value * part.unit[1])


def _leaf(text: str) -> Shape:
    return Shape(Kind.LEAF, text)


def _based(shape: Shape) -> tuple[str, int] | None:
    """Digits and base of a numeral, also behind a name or a minus; None for anything else."""
    if shape.kind is Kind.RELATION and shape.marks == ("=",) and re.fullmatch("[A-Za-z]", shape.items[0].text):
        return _based(shape.items[1])
    text = _TEXT.sub(r"\1", shape.text)
    text = re.sub(r"^-\s*\((.*)\)$", r"-\1", re.sub(r"(?<=[0-9A-Z])\s+(?=[0-9A-Z]*\s*_)", "", text))
    match = _BASED.fullmatch(compact(text)) or _BASED.fullmatch(text)
    if match is None or shape.kind is not Kind.LEAF:
        return None
    name = match[2] or match[3]
    base = int(name) if name.isdigit() and len(name) < 4 else number_word(name)
    digits = match[1].upper()
    if base is None or not 2 <= base <= 36 or any(int(d, 36) >= base for d in digits if d not in "-."):
        return None
    return digits.lstrip("0"), base


def _plain_numeral(shape: Shape, other: tuple[str, int] | None) -> tuple[str, int] | None:
    """A numeral without a base beside one in base ten, which is what it means."""
    text = compact(shape.text)
    return (text.lstrip("0"), 10) if other and other[1] == 10 and re.fullmatch(r"-?\d+", text) else None


def _ratio(shape: Shape) -> list[str] | None:
    if (
        shape.kind is Kind.RELATION
        and shape.marks == ("=",)
        and _NAMES_OF_RATIO.fullmatch(compact(shape.items[0].text))
    ):
        return _ratio(shape.items[1])
    text = _TO.sub(":", shape.text)
    if shape.kind is not Kind.LEAF or ":" not in text:
        return None
    parts = cut(text, (":",))[0]
    return parts if len(parts) > 1 and all(parts) else None
