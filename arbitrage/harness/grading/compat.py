r"""Verdicts of the Qwen2.5-Math evaluator, for numbers that stand beside those of papers that used it.

Knows how that evaluator finds an answer, what it strips from it, and when it takes two texts for equal, quirks and all.
Written anew from its behaviour. Text is taken apart with the standard library only and never evaluated; where values
have to be compared, the text is rewritten so that the strict reader of `expression` can read it, and the caller's
comparison decides, which runs in the child process.

The reader (`compat_reader`) takes the longest beginning of a text that is an expression and drops the rest, so that
`1,-2` counts as 1; `\pi`, `e` and `i` are letters without a value to it. Both are so there.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

from arbitrage.harness.grading.compat_reader import read_beginning

MODES = ("qwen",)
"""Evaluators whose verdicts can be asked for."""
RELATIVE_TOLERANCE = 1e-4

SameValue = Callable[[str, str], bool]
"""Whether two texts for the strict reader have the same value, or constants within the relative tolerance."""


@dataclass(frozen=True, slots=True)
class Ruling:
    """What the rules say of two texts."""

    equal: bool
    method: str
    """The rule that decided: string, choice, number, list, matrix, equation, symbolic or kind."""

    @property
    def reason(self) -> str:
        """One line for a person to read."""
        return f"{'equal' if self.equal else 'not equal'} by the rules of the Qwen2.5-Math evaluator"


# -- finding the answer

_CHOICES = frozenset("ABCDE")
_LAST_NUMBER = re.compile(r"-?\d*\.?\d+")
_ANNOUNCEMENTS = ("he answer is", "final answer is")
_CHOICE_ANNOUNCEMENT = re.compile("choice is|answer is")


def announced(text: str) -> str | None:
    """What stands in the last box or after an announcement; None when the text has neither, blank for an empty one."""
    text = text.replace("ки", "")
    if "final answer is $" in text and "$. I hope" in text:
        return _without_ends(text.split("final answer is $", 1)[1].split("$. I hope", 1)[0].strip())
    if "boxed" in text:
        return _without_ends(_box(text.rsplit("boxed", 1)[1]))
    for words in _ANNOUNCEMENTS:
        if words in text:
            return _without_ends(text.rsplit(words, 1)[1].strip())
    if "答案是" in text:
        return _without_ends(text.split("答案是")[1].strip().split("\n\n")[0].strip())
    return None


def last_number(text: str) -> str:
    """The last number of a text; empty without one."""
    numbers = _LAST_NUMBER.findall(text.replace("ки", "").replace(",", ""))
    return numbers[-1] if numbers else ""


def _box(rest: str) -> str:
    """What a box holds, given what follows its command; all of the rest when the box does not close."""
    if not rest.startswith("{"):
        return rest.split("$", 1)[0].strip()
    depth = 0
    for brace in re.finditer(r"[{}]", rest):
        depth += 1 if brace[0] == "{" else -1
        if depth == 0:
            return rest[1 : brace.start()]
    return rest[1:]


def _without_ends(text: str) -> str:
    text = re.sub(r"\n\s*", "", text).removeprefix(":")
    return text.removesuffix(".").removesuffix("/")


def fitted(answer: str, gold: str, response: str) -> str:
    """The answer where the reference is a letter of a multiple choice, or several: only letters count then.

    Args:
        answer: stripped answer.
        gold: stripped reference.
        response: the whole text that the answer was found in.
    """
    if gold in _CHOICES:
        return answer if answer in _CHOICES else _announced_choice(response)
    if _CHOICES.issuperset(gold) and not _CHOICES.issuperset(answer):
        return "".join(letter for letter in answer if letter in _CHOICES)
    return answer


def _announced_choice(response: str) -> str:
    text = response.strip("\n")
    if any(text.count(words) > 1 for words in ("choice is", "answer is")):
        text = text.split("\n\n", 1)[0]
    pieces = _CHOICE_ANNOUNCEMENT.split(text)
    return _choice(pieces[-1], first=len(pieces) > 1)


def _choice(text: str, *, first: bool = False) -> str:
    """The last letter from A to E that stands alone, or the first one; the trimmed text without such a letter."""
    text = text.strip("\n").rstrip(".").rstrip("/").strip(" ").lstrip(":")
    letters = re.findall(r"\b[A-E]\b", text.upper())
    if letters:
        return str(letters[0 if first else -1])
    return text.strip().strip(".").rstrip(".").rstrip("/")


# -- stripping

_UNITS = (
    # Of several words, with a dot for any character. These come before the words that they hold.
    "m sqaure", "sq m", "profit of rs", "p . m", "no change", "a . m", "π r 2", "sq . m", "° f", "cu cm", "v â € ™",
    "sq inch", "∏ cm ³", "cu . m", "cm 2", " m east", "q .", "a .", "b .", "c .", "d .", "e .", "f .", "g .", "h .",
    "rs .", "s .", "pi sq m",
    # length, area and volume
    "ft", "feet", "mile", "inches", "inch", "yard", "mtr", "metre", "meter", "mt", "km", "m", "cm", "mm", "dm", "acre",
    "hectare", "sq", "square", "cubic", "cube", "cc", "liter", "litre", "gal", "gallon", "tile",
    # time and speed
    "noon", "am", "pm", "hr", "yr", "day", "hour", "minute", "min", "minw", "second", "sec", "month", "year", "mph",
    "kmph", "kmh", "mp", "per",
    # weight, money and angles
    "gm", "lb", "kg", "g", "rs", "rupee", "coin", "degree", "deg", "ohm",
    # people, things and words
    "east", "west", "monkey", "prime", "ratio", "rd", "o", "lt", "gain", "ab", "way", "t", "a", "h", "men", "man",
    "women", "woman", "soldier", "pie", "bc", "excess", "st", "percent", "by", "c", "rise", "th", "mark", "l", "toy",
    "profit", "are", "rounds", "s", "number", "more", "unit", "apple", "loss", "pure", "increase", "decrease", "d",
    "less", "Surface",
)  # fmt: skip
_UNIT = tuple(re.compile(rf"(^|\W){unit}($|\W)") for unit in [*_UNITS, *(unit + "s" for unit in _UNITS)])
_ANY_UNIT = re.compile(rf"(?:^|\W)(?:{'|'.join(_UNITS)})s?(?:$|\W)")
_NAMED = tuple(f"{letter}{sign}" for sign in ("=", r"\in", r"\to") for letter in "xyz")
_SMALL_NUMBERS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_SCALES = {"billion": 10**9, "million": 10**6, "thousand": 1000}
_NUMBER_WORDS = {
    **{word: value for value, word in enumerate(_SMALL_NUMBERS)},
    **{word: 10 * count for count, word in enumerate(_TENS, 2)},
    "hundred": 100,
    **_SCALES,
}


def strip(text: str) -> str:
    """An answer or a reference without what does not count: run over every text twice, as the evaluator does."""
    return _strip(_strip(text))


def _strip(text: str) -> str:
    text = text.strip().replace("\n", "").rstrip(".").replace(r"\!", "")
    text = re.sub(r"\\begin\{array\}\{.*?\}", lambda _: r"\begin{pmatrix}", text)
    text = text.replace(r"\end{array}", r"\end{pmatrix}").replace("bmatrix", "pmatrix")
    text = text.replace("tfrac", "frac").replace("dfrac", "frac")
    for long, short in ((r"\neq", r"\ne"), (r"\leq", r"\le"), (r"\geq", r"\ge")):
        text = text.replace(long, short)
    text = text.replace(r"\left", "").replace(r"\right", "").replace(r"\{", "{").replace(r"\}", "}")
    text = _without_units(text)
    for mark in (r"^{\circ}", r"^\circ", r"\$", "$", r"\(", r"\)"):
        text = text.replace(mark, "")
    text = _number_words(text)
    text = re.sub(r"\\text\{(.*?)\}", lambda m: m[1], text)
    for named in _NAMED:
        text = text.replace(named, "")
    text = text.replace(r"\emptyset", "{}").replace(r"(-\infty,\infty)", r"\mathbb{R}")
    text = text.replace(r"\%", "").replace("%", "").replace(" .", " 0.").replace("{.", "{0.")
    text = text.replace("infinity", r"\infty")
    if r"\infty" not in text:
        text = text.replace("inf", r"\infty")
    text = text.replace(r"+\inity", r"\infty").replace("and", "").replace(r"\mathbf", "")
    text = re.sub(r"\\mbox{.*?}", "", text)
    if "j" in text and "i" not in text:
        text = text.replace("j", "i")
    text = re.sub(r"(\d+)\.0*(\D)", r"\1\2", text)
    text = re.sub(r"(\d+)\.0*$", r"\1", text)
    if text.startswith("."):
        text = "0" + text
    if text.count("=") == 1 and text.index("=") <= 2:
        text = text.split("=")[1]
    text = re.sub(r"\\sqrt(\w+)", lambda m: rf"\sqrt{{{m[1]}}}", text).replace(" ", "")
    return _slash_as_fraction(_braced_fractions(text))


def _without_units(text: str) -> str:
    """The text without words at its end and without units anywhere; what would leave nothing stays."""
    words = text.find(r"\text{")
    if words >= 0 and text.endswith("}") and text[:words].strip():
        text = text[:words].strip()
    if not _ANY_UNIT.search(text):
        return text
    for _ in range(2):
        for unit in _UNIT:
            text = unit.sub(r"\1\2", text) or text
    return text


def _number_words(text: str) -> str:
    """The number that the words of a text name, whatever else it says; the text itself without such words."""
    plain = text.replace("-", " ").lower()
    if plain.isdecimal():
        return str(int(plain)) if len(plain) < 1000 else plain
    words = [word for word in plain.split() if word in _NUMBER_WORDS or word == "point"]
    if not words or any(words.count(word) > 1 for word in ("point", *_SCALES)):
        return text
    whole, digits = words, list[str]()
    if "point" in words:
        whole, digits = words[: words.index("point")], words[words.index("point") + 1 :]
    value: float = 0
    if len(whole) == 1:
        value, whole = _NUMBER_WORDS[whole[0]], []
    for scale, factor in _SCALES.items():
        if scale in whole:
            if whole.index(scale) == 0:
                return text
            value += factor * _small_number(whole[: whole.index(scale)])
            whole = whole[whole.index(scale) + 1 :]
    value += _small_number(whole) if whole else 0
    if digits and all(_NUMBER_WORDS.get(word, 10) < 10 for word in digits):
        value += float("0." + "".join(str(_NUMBER_WORDS[word]) for word in digits))
    return str(value)


def _small_number(words: list[str]) -> int:
    """Value of the words before a thousand, by the evaluator's arithmetic."""
    values = [_NUMBER_WORDS[word] for word in words]
    if len(values) == 2:
        return values[0] * values[1] if 100 in values else sum(values)
    return values[0] * values[1] + sum(values[2:]) if len(values) in (3, 4) else values[0]


def _braced_fractions(text: str) -> str:
    r"""Braces around the parts of `\frac12` and `\frac1{72}`."""
    first, *rest = text.split(r"\frac")
    parts = [first]
    for part in rest:
        if part.startswith("{"):
            parts.append(part)
        elif len(part) < 2:
            return text
        else:
            below = part[1] if part[1] == "{" else f"{{{part[1]}}}"
            parts.append(f"{{{part[0]}}}{below}{part[2:]}")
    return r"\frac".join(parts)


def _slash_as_fraction(text: str) -> str:
    """A quotient of two integers, or with roots, as a fraction."""
    above, slash, below = text.partition("/")
    if not slash or "/" in below:
        return text
    if all("sqrt" in part or re.fullmatch(r"0|-?[1-9]\d{0,999}", part) for part in (above, below)):
        return rf"\frac{{{above}}}{{{below}}}"
    return text


# -- comparing

_PLAIN_DECIMAL = re.compile(r"-?\d+(?:\.\d+)?")
_MATRIX_OPEN, _MATRIX_CLOSE = r"\begin{pmatrix}", r"\end{pmatrix}"


def decide_text(answer: str, gold: str) -> Ruling | None:
    """What letters and digits alone decide; None where it takes more.

    Args:
        answer: stripped answer.
        gold: stripped reference.
    """
    if answer.strip().lower() == gold.strip().lower():
        return Ruling(True, "string")
    if gold in _CHOICES and _choice(answer) == gold:
        return Ruling(True, "choice")
    if _same_number(answer, gold):
        return Ruling(True, "number")
    if not answer:
        return Ruling(False, "kind")
    if all(map(_PLAIN_DECIMAL.fullmatch, (answer, gold))):
        return Ruling(False, "number")
    return None


def decide(answer: str, gold: str, same: SameValue) -> Ruling:
    """Whether the evaluator takes two texts for equal.

    Args:
        answer: stripped answer.
        gold: stripped reference.
        same: compares values.
    """
    ruling = decide_text(answer, gold)
    if ruling is not None:
        return ruling
    answer, gold = answer.strip(), gold.strip()
    if "pmatrix" in answer and "pmatrix" not in gold:
        gold = _as_matrix(gold)
    if _without_brackets(answer, gold) == _without_brackets(gold, answer, other_first=True):
        return Ruling(True, "string")
    if _is_list(answer) and _is_list(gold):
        return Ruling(_same_parts(answer[1:-1].split(","), gold[1:-1].split(","), same), "list")
    if _is_matrix(answer) and _is_matrix(gold):
        return Ruling(_same_matrix(answer, gold, same), "matrix")
    if answer.count("=") == 1 and gold.count("=") == 1:
        left, right = map(_difference, (answer, gold))
        return Ruling(_same_symbols(left, right, same) or _same_symbols(f"-({left})", right, same), "equation")
    if _is_assignment(answer) and "=" not in gold:
        return decide(answer.split("=")[1], gold, same)
    if _is_assignment(gold) and "=" not in answer:
        return decide(answer, gold.split("=")[1], same)
    return Ruling(_same_symbols(answer, gold, same), "symbolic")


def _same_number(answer: str, gold: str) -> bool:
    """Whether two numbers are close, or one is a hundred times the other."""
    a, b = _float(answer), _float(gold)
    return a is not None and b is not None and any(close(a, value) for value in (b / 100, b, b * 100))


def close(a: float, b: float) -> bool:
    """Whether two numbers agree to four digits."""
    return math.isclose(a, b, rel_tol=RELATIVE_TOLERANCE)


def _float(text: str) -> float | None:
    text = text.replace(",", "")
    try:
        return float(text)
    except ValueError:
        pass
    if not text.endswith("%"):
        return None
    try:
        return float(text[:-1].removesuffix("\\")) / 100
    except ValueError:
        return None


def _as_matrix(text: str) -> str:
    return ", ".join(
        _MATRIX_OPEN + group.strip("{}").replace(",", "\\") + _MATRIX_CLOSE for group in re.findall(r"\{.*,.*\}", text)
    )


def _without_brackets(text: str, other: str, *, other_first: bool = False) -> str:
    answer, gold = (other, text) if other_first else (text, other)
    squared = _framed(answer, "[", "]") and not _framed(gold, "(", ")")
    rounded = _framed(answer, "(", ")") and not _framed(gold, "[", "]")
    if squared or rounded:
        text = text.strip("[]()")
    return re.sub(r"[{}()]", "", text).lower()


def _framed(text: str, opener: str, closer: str) -> bool:
    return text.startswith(opener) and text.endswith(closer)


def _is_list(text: str) -> bool:
    """Whether a text begins with a bracket and closes one later on, at its end or not."""
    return text[:1] in ("(", "[") and max(text.rfind(")"), text.rfind("]")) >= 2


def _is_matrix(text: str) -> bool:
    return text.startswith(_MATRIX_OPEN) and text.endswith(_MATRIX_CLOSE)


def _is_assignment(text: str) -> bool:
    return text.count("=") == 1 and len(text.split("=")[0].strip()) <= 2


def _difference(equation: str) -> str:
    left, right = equation.split("=")
    return f"{left.strip()} - ({right.strip()})"


def _same_parts(answer: list[str], gold: list[str], same: SameValue) -> bool:
    return len(answer) == len(gold) and all(decide(a, b, same).equal for a, b in zip(answer, gold, strict=True))


def _same_matrix(answer: str, gold: str, same: SameValue) -> bool:
    left, right = (
        [row.strip() for row in text[len(_MATRIX_OPEN) : -len(_MATRIX_CLOSE)].split("\\\\") if row.strip()]
        for text in (answer, gold)
    )
    return len(left) == len(right) and all(
        _same_parts(a.split("&"), b.split("&"), same) for a, b in zip(left, right, strict=True)
    )


def _same_symbols(answer: str, gold: str, same: SameValue) -> bool:
    """Whether two texts are equal as far as they can be read, or are sets or lists of such texts."""
    left, right = read_beginning(answer), read_beginning(gold)
    if left is None and right is None:
        inner = answer.strip("()"), gold.strip("()")
        if all(map(_is_matrix, inner)):
            return _same_matrix(*inner, same)
        return answer == gold or _same_elements(answer, gold, same)
    if left is None or right is None:
        return False
    if len(left) == len(right) == 2:  # two relations, whatever their signs
        return same(*(f"|({above})-({below})|" for above, below in (left, right)))
    return len(left) == len(right) and all(same(a, b) for a, b in zip(left, right, strict=True))


def _same_elements(answer: str, gold: str, same: SameValue) -> bool:
    """Whether two texts in braces hold the same elements, in any order unless there is LaTeX among them."""
    if not (_framed(answer, "{", "}") and _framed(gold, "{", "}")):
        return False
    left, right = answer[1:-1].split(","), gold[1:-1].split(",")
    if len(left) * len(right) > 400:
        return False
    if "\\" in answer or "\\" in gold:
        return len(left) == len(right) and all(_same_symbols(a, b, same) for a, b in zip(left, right, strict=True))
    return all(any(_same_symbols(a, b, same) for b in right) for a in left) and all(
        any(_same_symbols(a, b, same) for a in left) for b in right
    )
