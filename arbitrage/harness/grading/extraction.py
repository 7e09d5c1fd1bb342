"""Where the answer is in a model's text.

Knows boxes, phrases that announce an answer, and prose. Knows nothing about whether the answer is right.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass


class Source(enum.StrEnum):
    """What showed that this piece of the text is the answer, best first."""

    BOX = "box"
    r"""The last `\boxed{}`, or the last ones when only "and", "or" or commas stand between them."""
    PHRASE = "phrase"
    """Words such as "the answer is", "final answer:" or `####`."""
    BARE = "bare"
    """The whole text is an answer."""
    FORMULA = "formula"
    """Fallback: the last formula of a closing sentence."""
    NUMBER = "number"
    """Fallback: the last number of a closing sentence."""


@dataclass(frozen=True, slots=True)
class Extraction:
    """An answer as it stands in the text."""

    text: str
    """Source text of the answer; never blank."""
    source: Source


_BOX_TOKEN = re.compile(r"\\(?:boxed|fbox)(?![A-Za-z])\s*|\\.|[{}]", re.DOTALL)
_BETWEEN_BOXES = re.compile(
    r"(?:\s|[$,;&]|\\[,;:!()\[\] ]|\\q?quad|\\(?:text|mbox|textrm)\s*\{\s*,?\s*(?:and|or)?\s*,?\s*\}|\b(?:and|or)\b)*",
    re.IGNORECASE,
)
_PHRASE = re.compile(
    r"####|\b(?:final\s+answer|(?:the|our|correct|my)\s+answer|answers?\s*(?=\**\s*(?::|is|are|=)))"
    r"(?:\s+(?:to\s+[^.\n]{0,80}?|therefore|thus|here))?\s*\**\s*(?::|\bis\b|\bare\b|=)?\s*\**\s*:?",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"[.!?](?=\s+[A-Z#*]|\s*$)|\n")
_MATH = re.compile(r"\$\$(.+?)\$\$|\$((?:[^$\\]|\\.)+?)\$|\\\((.+?)\\\)|\\\[(.+?)\\\]", re.DOTALL)
_BETWEEN_FORMULAS = re.compile(r"[\s,;]*(?:(?:and|or)[\s,]*)?", re.IGNORECASE)
_NUMBER = re.compile(r"(?<![\w.])-?\\?\$?\d[\d,]*(?:\.\d+)?(?:/\d+)?%?")
_CLOSED = re.compile(r"(?:[.!]|\$|\\\)|\\\]|\*\*|[.!]\")$")
_TALK = re.compile(
    r"(?<![A-Za-z\\])(?:is|are|was|were|we|so|thus|therefore|hence|gets?|ha(?:ve|s)|let|since|because|then|this|find|first|it|"
    r"can|will|must|need|makes?|gives?|would|should|there|they|she|he|her|his|if|to|i think)(?![A-Za-z])",
    re.IGNORECASE,
)
_TEXT_GROUP = re.compile(r"\\(?:text|mbox|textrm|textbf|mathrm|operatorname)\s*\{[^{}]*\}")
_LONGEST_TAIL = 20_000


def extract_answer(text: str) -> str | None:
    """Find the answer in a bare answer or in a whole response.

    Args:
        text: model output; any string.

    Returns:
        Source text of the answer, several boxes joined by commas; None when there is no answer, as in output that was
        cut before it got to one.
    """
    found = find_answer(text)
    return None if found is None else found.text


def find_answer(text: str) -> Extraction | None:
    """Find the answer and say what showed it; see `extract_answer`."""
    boxed = _boxed(text)
    if boxed is not None:
        return _extraction(boxed, Source.BOX)
    tail = text[-_LONGEST_TAIL:]
    phrase = _after_phrase(tail)
    if phrase is not None:
        return _extraction(phrase, Source.PHRASE)
    if _is_bare(text):
        return _extraction(text, Source.BARE)
    return _from_closing_sentence(tail)


def _extraction(text: str, source: Source) -> Extraction | None:
    return Extraction(text.strip(), source) if text.strip() else None


def _boxed(text: str) -> str | None:
    """Content of the last complete boxes, joined by commas; None without a complete box."""
    boxes = _boxes(text)
    if not boxes:
        return None
    group = [boxes[-1]]
    for box in reversed(boxes[:-1]):
        between = text[box[2] : min(group[-1][0], box[2] + 61)]
        if len(between) > 60 or not _BETWEEN_BOXES.fullmatch(between):
            break
        group.append(box)
    contents = [text[start : end - mark].strip() for _, start, end, mark in reversed(group)]
    return ", ".join(content for content in contents if content) if contents[-1] else ""


def _boxes(text: str) -> list[tuple[int, int, int, int]]:
    """Every complete box that holds no other one: command start, content start, end, length of the closing mark."""
    boxes: list[tuple[int, int, int, int]] = []
    open_groups: list[tuple[int, int] | None] = []
    pending: tuple[int, int] | None = None
    for match in _BOX_TOKEN.finditer(text):
        token, here = match[0], match.start()
        box, pending = (pending if pending and pending[1] == here else None), None
        if token == "{":
            open_groups.append((box[0], match.end()) if box else None)
        elif token == "}" and open_groups:
            opened = open_groups.pop()
            if opened and not (boxes and boxes[-1][0] > opened[0]):
                boxes.append((*opened, match.end(), 1))
        elif token.startswith(("\\boxed", "\\fbox")):
            pending = (here, match.end())
            short = re.compile(r"[0-9A-Za-z]").match(text, match.end())
            if short:  # \boxed 7
                boxes.append((here, match.end(), short.end(), 0))
    return boxes


def _after_phrase(text: str) -> str | None:
    """What the last announcing phrase announces; None without a phrase, blank when the text ends there."""
    matches = list(_PHRASE.finditer(text))
    if not matches:
        return None
    rest = text[matches[-1].end() :].lstrip()
    line_end = _SENTENCE_END.search(rest)
    line = rest[: line_end.start()] if line_end else rest
    formulas = _MATH.search(rest)
    if formulas and formulas.start() <= len(line):
        before = rest[: formulas.start()].strip().rstrip(":")
        if len(before.split()) <= 6:
            return _joined_formulas(rest, formulas)
    return line.strip().strip("*").strip()


def _joined_formulas(text: str, first: re.Match[str]) -> str:
    """The formula and those that follow it with nothing but a connective between, joined by commas."""
    parts = [_formula(first)]
    end = first.end()
    for match in _MATH.finditer(text, end):
        if not _BETWEEN_FORMULAS.fullmatch(text, end, match.start()):
            break
        parts.append(_formula(match))
        end = match.end()
    unit = re.compile(r"\s*(\\?%|°|degrees|percent)").match(text, end)
    return ", ".join(parts) + (unit[1] if unit and len(parts) == 1 else "")


def _formula(match: re.Match[str]) -> str:
    return next(group for group in match.groups() if group is not None)


def _is_bare(text: str) -> bool:
    """Whether the whole text reads as an answer and not as sentences."""
    if "\n\n" in text.strip():
        return False
    talk = _TEXT_GROUP.sub(" ", text[:4000])
    if re.fullmatch(r"\s*\d+\s+to\s+\d+\s*\.?\s*", talk):  # a ratio in words
        return True
    starts_a_sentence = re.match(r"\s*[A-Z][a-z]*\s+[a-z]{2,}\s+\S", talk) and re.search(r"[.!?]\s*$", text)
    return not starts_a_sentence and not _TALK.search(talk)


def _from_closing_sentence(text: str) -> Extraction | None:
    """Fallback where nothing marks the answer: last formula or number of a last sentence that is complete."""
    text = text.rstrip()
    if not _CLOSED.search(text) or len(re.findall(r"(?<!\\)\$", text)) % 2:
        return None
    ends = [m.end() for m in _SENTENCE_END.finditer(text) if m.end() < len(text)]
    sentence = text[ends[-1] :] if ends else text
    formulas = list(_MATH.finditer(sentence))
    if formulas:
        return _extraction(_formula(formulas[-1]), Source.FORMULA)
    numbers = _NUMBER.findall(sentence)
    return _extraction(numbers[-1].rstrip(","), Source.NUMBER) if numbers else None
