"""What is written around a value: units, percent and currency signs.

A unit on one side only is dropped. Known units on both sides have to measure the same thing and are converted; words
that are no units of measure ("ways", "apples") never matter.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from arbitrage.harness.grading.normalise import compact


@dataclass(frozen=True, slots=True)
class Measure:
    """A value and what was written around it."""

    text: str
    """The value alone, normalised."""
    unit: tuple[str, Fraction] | None = None
    """What a known unit measures, and its size in a base unit; None without a known unit."""
    percent: bool = False


_LENGTH = {
    "mm": "1/1000", "millimeter": "1/1000", "cm": "1/100", "centimeter": "1/100", "m": "1", "meter": "1", "metre": "1",
    "km": "1000", "kilometer": "1000", "in": "127/5000", "inch": "127/5000", "ft": "381/1250", "foot": "381/1250",
    "feet": "381/1250", "yd": "1143/1250", "yard": "1143/1250", "mi": "201168/125", "mile": "201168/125",
}  # fmt: skip
_OTHERS = {
    "time": {"s": "1", "sec": "1", "second": "1", "min": "60", "minute": "60", "h": "3600", "hr": "3600",
             "hour": "3600", "day": "86400", "week": "604800"},
    "mass": {"mg": "1/1000", "g": "1", "gram": "1", "kg": "1000", "kilogram": "1000", "lb": "45359237/100000",
             "pound": "45359237/100000"},
    "money": {"dollar": "1", r"\$": "1", "usd": "1", "cent": "1/100"},
    "angle": {"degree": "1", "deg": "1"},
    "arc": {"radian": "1", "rad": "1"},
    "liquid": {"l": "1", "liter": "1", "litre": "1", "ml": "1/1000", "milliliter": "1/1000"},
}  # fmt: skip
_SIMPLE = {name: ("length", Fraction(size)) for name, size in _LENGTH.items()} | {
    name: (kind, Fraction(size)) for kind, table in _OTHERS.items() for name, size in table.items()
}
_SPEED = {"mph": ("mile", "hour"), "kph": ("km", "hour"), "kmh": ("km", "hour")}

_TEXT = re.compile(
    r"(?P<core>.*?[^\s\\])\s*\\text\{(?P<unit>[^{}]*)\}(?P<rest>(?:\s*/\s*\\text\{[^{}]*\})?(?:\^\{?\d\}?)?)"
)
_BARE = re.compile(
    r"(?P<core>.*[\d})°])(?P<space>\s*)(?P<unit>(?:(?:square|cubic|sq\.?|cu\.?)\s+)?[A-Za-z]{2,}\.?"
    r"(?:\s*(?:per|/)\s*[A-Za-z]+|(?:\s+[a-z]{2,}){0,3})\.?)(?P<rest>(?:\^\{?\d\}?)?)"
)
_BARE_LETTER = re.compile(r"(?<![A-Za-z\\])[A-Za-z](?![A-Za-z])")
_NOT_UNITS = frozenset({
    "sqrt", "sin", "cos", "tan", "cot", "sec", "csc", "log", "exp", "mod", "choose", "infty", "infinity", "alpha",
    "beta", "gamma", "theta", "phi", "max", "min", "gcd", "lcm", "arcsin", "arccos", "arctan", "sinh", "cosh",
    "tanh", "base",
})  # fmt: skip
_PERCENT = re.compile(r"(.*?[\d}).])\s*(?:%|\\text\{\s*percent\s*\}|percent)\s*")
_TEMPERATURE = re.compile(r"(.*)°\s*(?:\\text\{\s*)?(?:[CFK])\s*\}?")
_LEADING_CURRENCY = re.compile(r"([+-]?)\s*\\\$\s*(.*)")
_LEADING_WORDS = re.compile(r"\\text\{\s*(?:about|approximately|exactly|Rs\.?|USD|EUR|US)\s*\}\s*(.*)", re.IGNORECASE)


def measure(text: str) -> Measure:
    """Part a leaf into value, unit and percent sign.

    Args:
        text: normalised text of one leaf.

    Returns:
        The measure; its text is the whole leaf when nothing was recognised.
    """
    text = text.strip()
    if match := _LEADING_WORDS.fullmatch(text):
        text = match[1]
    if match := _PERCENT.fullmatch(text):
        return Measure(match[1].strip().replace(r"\$", ""), None, percent=True)
    if match := _TEMPERATURE.fullmatch(text):
        return Measure(match[1].strip() + "°")
    if match := _LEADING_CURRENCY.fullmatch(text):
        inner = measure(match[2])
        return Measure(match[1] + inner.text, inner.unit or _SIMPLE["dollar"])
    if text.endswith(r"\$"):
        return Measure(text[:-2].strip(), _SIMPLE["dollar"])
    if match := _TEXT.fullmatch(text):
        return Measure(match["core"].strip(), known_unit(match["unit"] + re.sub(r"\\text|[{} ]", "", match["rest"])))
    if match := _BARE.fullmatch(text):
        unit = known_unit(match["unit"] + match["rest"])
        if unit or _is_plain_word(match):
            return Measure(match["core"].strip(), unit)
    return Measure(text)


def _is_plain_word(match: re.Match[str]) -> bool:
    """Whether the letters after a number are a word, such as "apples", and not a product of variables."""
    first = match["unit"].split()[0]
    apart = match["space"] and len(first) > 2 and first not in _NOT_UNITS
    return bool(apart) and not match["rest"] and not _BARE_LETTER.search(match["core"])


def known_unit(name: str) -> tuple[str, Fraction] | None:
    """What a unit measures and its size in a base unit; None when it is not in the tables.

    Args:
        name: for example `cm^2`, `square feet`, `km/h`, `mph`, `dollars`.
    """
    name = re.sub(r"[{}]", "", name.lower()).replace(".", "").strip()
    if name in _SPEED:
        name = "/".join(_SPEED[name])
    quotient = re.split(r"\s*/\s*|\s+per\s+|\\frac", name)
    if len(quotient) == 2:
        above, below = known_unit(quotient[0]), known_unit(quotient[1])
        return (f"{above[0]}/{below[0]}", above[1] / below[1]) if above and below else None
    power = 1
    if match := re.fullmatch(r"(.+?)\s*\^\s*([23])", name):
        name, power = match[1], int(match[2])
    for prefix, value in (("square ", 2), ("sq ", 2), ("cubic ", 3), ("cu ", 3)):
        if name.startswith(prefix):
            name, power = name[len(prefix) :], value
    found = _SIMPLE.get(name) or _SIMPLE.get(name.removesuffix("s")) or _SIMPLE.get(name.removesuffix("es"))
    if found is None:
        return None
    return (found[0] if power == 1 else f"{found[0]}^{power}", found[1] ** power)


def same_unit(gold: Measure, pred: Measure) -> Fraction | None:
    """Factor that brings the second value to the unit of the first; None when they measure different things."""
    if gold.unit is None or pred.unit is None:
        return Fraction(1)
    return pred.unit[1] / gold.unit[1] if gold.unit[0] == pred.unit[0] else None


def with_unit(answer: str, unit: str) -> str:
    """A reference answer with the unit that its data row names, unless it carries one already."""
    bare = compact(unit)
    if measure(answer) != Measure(answer.strip()) or "°" in answer or bare == "°":
        return answer
    if bare in ("%", r"\%"):
        return f"{answer}%"
    name, _, power = bare.partition("^")
    return rf"{answer}\text{{{name}}}" + (f"^{power}" if power else "")
