"""Plain rational numbers: integers, decimals, fractions, mixed numbers, scientific notation, repeating decimals.

Exact and cheap, for text of any origin. Knows no variables, no roots and no units.
"""

from __future__ import annotations

import re
from fractions import Fraction

MAX_EXPONENT = 5000
"""Powers of ten beyond this are not plain numbers."""

_UNSIGNED = r"(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+\.?\d*|\.\d+)"
_DECIMAL = re.compile(rf"[+-]?{_UNSIGNED}")
_SPACED = re.compile(r"[+-]?\d{1,3}(?: \d{3})+")
_SLASH = re.compile(rf"([+-]?{_UNSIGNED})/([+-]?{_UNSIGNED})")
_FRAC = re.compile(r"([+-]?)(\d*)\\frac(?:\{([+-]?[\d.,]+)\}|\s?(\d))(?:\{([+-]?[\d.,]+)\}|\s?(\d))")
_MIXED = re.compile(r"([+-]?)(\d+) (\d+)/(\d+)")
_SCIENTIFIC = re.compile(
    rf"([+-]?{_UNSIGNED})(?:[eE]|(?:\\times|\\cdot|\*|x)\s?10\^)\s?(?:\{{([+-]?\d+)\}}|\(([+-]?\d+)\)|([+-]?\d+))"
)
_POWER_OF_TEN = re.compile(r"([+-]?)10\^(?:\{([+-]?\d+)\}|(\d+))")
_REPEATING = re.compile(
    r"([+-]?)(\d*)\.(\d*)(?:\\(?:overline|bar|dot)\s?\{(\d+)\}|\\(?:overline|bar|dot)\s?(\d)|\((\d+)\))"
)
_TRAILING_DOTS = re.compile(r"([+-]?)(\d*)\.(\d*?)((\d{1,6})\5+)(?:\.\.\.|\\ldots)")


def parse_number(text: str) -> Fraction | None:
    """Read compacted text as one rational number.

    Args:
        text: output of `compact(normalise(...))`.

    Returns:
        The exact value, or None when the text is anything else: several numbers, a division by zero, an exponent or a
        length out of all proportion.
    """
    if len(text) > 1000 or not re.search(r"\d", text):
        return None
    if text.startswith("(") and text.endswith(")") and "," not in text:
        text = text[1:-1]
    text = re.sub(r"^([+-]) ?", r"\1", text)
    try:
        return _parse(text)
    except (ValueError, ZeroDivisionError):
        return None


def has_separator(text: str) -> bool:
    """Whether the digits of the text are grouped by commas, so that it might be a list as well."""
    return re.fullmatch(r"-?\d{1,3}(?:,\d{3})+", text) is not None


def _parse(text: str) -> Fraction | None:
    if _DECIMAL.fullmatch(text):
        return _decimal(text)
    if _SPACED.fullmatch(text):
        return _decimal(text.replace(" ", ""))
    if match := _SLASH.fullmatch(text):
        return _decimal(match[1]) / _decimal(match[2])
    if match := _FRAC.fullmatch(text):
        value = _decimal(match[3] or match[4]) / _decimal(match[5] or match[6])
        if match[2]:
            if not 0 <= value < 1:  # an improper fraction after a number is a product, which is not plain
                return None
            value += int(match[2])
        return -value if match[1] == "-" else value
    if match := _MIXED.fullmatch(text):
        value = Fraction(int(match[3]), int(match[4]))
        return None if value >= 1 else (int(match[2]) + value) * (-1 if match[1] == "-" else 1)
    if match := _SCIENTIFIC.fullmatch(text):
        return _scaled(_decimal(match[1]), match[2] or match[3] or match[4])
    if match := _POWER_OF_TEN.fullmatch(text):
        return _scaled(Fraction(-1 if match[1] == "-" else 1), match[2] or match[3])
    if match := _REPEATING.fullmatch(text):
        return _repeating(match[1], match[2], match[3], match[4] or match[5] or match[6])
    match = _TRAILING_DOTS.fullmatch(text)
    if match and len(match[4]) >= 3:  # at least three digits have to show what repeats
        return _repeating(match[1], match[2], match[3], match[5])
    return None


def _decimal(text: str) -> Fraction:
    return Fraction(text.replace(",", "").rstrip(".") or "none")


def _scaled(value: Fraction, exponent: str) -> Fraction | None:
    if len(exponent) > 6 or abs(int(exponent)) > MAX_EXPONENT:
        return None
    return value * Fraction(10) ** int(exponent)


def _repeating(sign: str, whole: str, fixed: str, period: str) -> Fraction:
    tail = Fraction(int(period), (10 ** len(period) - 1) * 10 ** len(fixed))
    value = Fraction(f"{whole or '0'}.{fixed or '0'}") + tail
    return -value if sign == "-" else value
