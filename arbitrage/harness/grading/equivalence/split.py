"""Cutting normalised text at the outermost level: separators, brackets, groups. Knows no mathematics."""

from __future__ import annotations

import re
from collections.abc import Collection

_TOKEN = re.compile(r"\\[A-Za-z]+|\\.|.", re.DOTALL)
_OPEN = frozenset({"(", "[", "{", r"\{", r"\langle", r"\lfloor", r"\lceil", r"\begin"})
_CLOSE = frozenset({")", "]", "}", r"\}", r"\rangle", r"\rfloor", r"\rceil", r"\end"})


def cut(text: str, separators: Collection[str]) -> tuple[list[str], list[str]]:
    r"""Cut text at separators outside all brackets.

    Brackets of different kinds close each other, because of half-open intervals.

    Args:
        text: normalised text.
        separators: single characters or commands such as `\cup`.

    Returns:
        The stripped pieces and the separators between them, one fewer than the pieces.
    """
    pieces, found = [""], []
    depth = 0
    for match in _TOKEN.finditer(text):
        token = match[0]
        if token in _OPEN:
            depth += 1
        elif token in _CLOSE:
            depth = max(0, depth - 1)
        if depth == 0 and token in separators:
            found.append(token)
            pieces.append("")
        else:
            pieces[-1] += token
    return [piece.strip() for piece in pieces], found


def has(text: str, separators: Collection[str]) -> bool:
    """Whether a separator stands outside all brackets."""
    return bool(cut(text, separators)[1])


def enclosed(text: str) -> tuple[str, str, str] | None:
    """Opening bracket, content and closing bracket when one bracket pair holds the whole text; None otherwise."""
    tokens = [match[0] for match in _TOKEN.finditer(text)]
    if len(tokens) < 2 or tokens[0] not in _OPEN or tokens[-1] not in _CLOSE or tokens[0] == r"\begin":
        return None
    depth = 0
    for position, token in enumerate(tokens):
        depth += (token in _OPEN) - (token in _CLOSE)
        if depth == 0 and position < len(tokens) - 1:
            return None
    return tokens[0], "".join(tokens[1:-1]).strip(), tokens[-1]


def balanced(text: str) -> bool:
    """Whether every bracket and brace is closed, whatever closes it."""
    depth = 0
    for match in _TOKEN.finditer(text):
        depth += (match[0] in _OPEN) - (match[0] in _CLOSE)
        if depth < 0:
            return False
    return depth == 0


def depth(text: str) -> int:
    """Deepest nesting of brackets."""
    here = deepest = 0
    for match in _TOKEN.finditer(text):
        here += (match[0] in _OPEN) - (match[0] in _CLOSE)
        deepest = max(deepest, here)
    return deepest
