"""Answers that are words: names, choices, number words, and phrases that stand for a set."""

from __future__ import annotations

import re

from arbitrage.harness.grading.equivalence.decision import Context, Decision
from arbitrage.harness.grading.equivalence.shape import Kind, Shape
from arbitrage.harness.grading.normalise import compact

_TEXT = re.compile(r"\\text\{([^{}]*)\}")
_DECORATED = re.compile(r"\\(?:overline|vec|bar|angle|triangle|text)\s*\{?\s*([A-Za-z]+)\s*\}?")
_CHOICE = re.compile(r"\(?([A-Z])[).]?|\(([A-Z])\).*|\(([a-z])\)")
_LETTERS = re.compile(r"[A-Za-z][A-Za-z' .!?-]*")
_ONES = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
]  # fmt: skip
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_PHRASES = {
    "nosolution": r"\emptyset", "nosolutions": r"\emptyset", "norealsolution": r"\emptyset", "emptyset": r"\emptyset",
    "norealsolutions": r"\emptyset", "theemptyset": r"\emptyset", "nosolutionexists": r"\emptyset",
    "allreals": r"\mathbb{R}", "allrealnumbers": r"\mathbb{R}", "therealnumbers": r"\mathbb{R}",
    "realnumbers": r"\mathbb{R}", "allrealnumber": r"\mathbb{R}", "thesetofallrealnumbers": r"\mathbb{R}",
    "allrealx": r"\mathbb{R}", "infinity": r"\infty", "doesnotexist": "undefined", "dne": "undefined",
    "thesetofrealnumbers": r"\mathbb{R}", "noneoftheabove": "none",
}  # fmt: skip


def word_of(shape: Shape) -> str | None:
    """The letters of an answer that consists of words, lower case, without spaces; None for mathematics."""
    if shape.kind is not Kind.LEAF:
        return None
    text = shape.text
    if _TEXT.search(text):
        plain = _TEXT.sub(r" \1 ", text)
        return None if re.search(r"[\d\\^_=+*/]|^\s*-", plain) else _letters(plain)
    if match := _DECORATED.fullmatch(text):
        return _letters(match[1]) if len(match[1]) > 1 else None
    if re.fullmatch(r"[A-Z]{2,}", text) or re.fullmatch(r"[A-Za-z]{7,}", text):
        return _letters(text)
    return _letters(text) if re.fullmatch(r"[A-Za-z']{2,}(?:[ -][A-Za-z']+)+", text) else None


def phrase(shape: Shape) -> str | None:
    """LaTeX of the set that a phrase stands for, such as "no solution"; None for other text."""
    word = word_of(shape)
    return None if word is None else _PHRASES.get(word)


def number_word(text: str) -> int | None:
    r"""Value of an English number below one thousand, such as `\text{twenty-one}`; None for other text."""
    plain = _TEXT.sub(r" \1 ", text).strip().lower()
    words = re.findall(r"[a-z]+", plain)
    if not words or len(words) > 6 or re.search(r"[^a-z\s-]|^-", plain):
        return None
    total = 0
    for word in (w for w in words if w != "and"):
        if word in _ONES and total % 10 == 0 and (total % 100 == 0 or _ONES.index(word) < 10):
            total += _ONES.index(word)
        elif word in _TENS and total % 100 == 0:
            total += 10 * (_TENS.index(word) + 2)
        elif word == "hundred" and 0 < total < 10:
            total *= 100
        else:
            return None
    return total


def decide_words(gold: Shape, pred: Shape, context: Context) -> Decision | None:
    """Choices and words; a number word is handed on as its number."""
    numbers = number_word(gold.text), number_word(pred.text)
    if numbers != (None, None):
        a, b = (_replaced(shape, n) for shape, n in zip((gold, pred), numbers, strict=True))
        return context.compare(a, b, context)
    meaning = phrase(gold), phrase(pred)
    if meaning[0] != meaning[1] and "undefined" not in meaning and "none" not in meaning:
        a, b = (_replaced(shape, m) for shape, m in zip((gold, pred), meaning, strict=True))
        return context.compare(a, b, context)
    choice = _choice(gold)
    if choice is not None and (_marked_choice(gold.text) or _marked_choice(pred.text) or _choice(pred) is not None):
        other = _choice(pred)
        if other is None and len(pred.text) == 1 and _marked_choice(gold.text):
            other = pred.text.upper()
        if other is not None:
            return Decision(choice == other, "words", "the same choice" if choice == other else "different choices")
    labels = _label(gold), _label(pred)
    if None not in labels:
        equal = labels[0] == labels[1]
        return Decision(equal, "words", "the same words" if equal else "different words")
    word = word_of(gold)
    if word is None and word_of(pred) is None:
        return None
    first, second = word or _as_letters(gold), word_of(pred) or _as_letters(pred)
    if first is None or second is None:
        return None
    equal = (meaning[0] or first) == (meaning[1] or second)
    return Decision(equal, "words", "the same words" if equal else "different words")


def _replaced(shape: Shape, meaning: int | str | None) -> Shape:
    return shape if meaning is None else Shape(Kind.LEAF, str(meaning))


def _letters(text: str) -> str | None:
    letters = re.sub(r"[^a-z]", "", text.lower())
    return letters or None


def _label(shape: Shape) -> str | None:
    """Words with a number after them, such as "October 30", without spaces and case; None for other text."""
    text = _TEXT.sub(r"\1", shape.text)
    match = re.fullmatch(r"[A-Za-z]{3,}[A-Za-z .,'-]*\d[\w .,'-]*", text) if shape.kind is Kind.LEAF else None
    return re.sub(r"[\s']|(?<!\d)[.,](?!\d)|[.,](?!\d)", "", text).lower() if match else None


def _as_letters(shape: Shape) -> str | None:
    return _letters(shape.text) if shape.kind is Kind.LEAF and _LETTERS.fullmatch(shape.text) else None


def _choice(shape: Shape) -> str | None:
    text = compact(_TEXT.sub(r"\1", shape.text)).strip()
    match = _CHOICE.fullmatch(text)
    letter = match and (match[1] or match[2] or match[3])
    return letter.upper() if letter and (shape.kind is Kind.LEAF) else None


def _marked_choice(text: str) -> bool:
    """Whether a letter is dressed as a choice, which makes its case irrelevant."""
    return re.fullmatch(r"\\text\{\s*\(?[A-Za-z]\)?\s*\}|\([A-Za-z]\)|[A-Z][).]", compact(text).strip()) is not None
