"""The outer form of an answer: several answers, a set, a bracketed group, a union, a matrix, a relation or a leaf.

Knows how answers are put together. Knows nothing about what the leaves are worth, or about equality.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass, replace

from arbitrage.harness.grading.equivalence.dots import continued
from arbitrage.harness.grading.equivalence.split import cut, enclosed, has
from arbitrage.harness.grading.normalise import AND, OR, ROW, compact, normalise
from arbitrage.harness.grading.plain import parse_number

MAX_ITEMS = 200
"""Parts of one answer; a longer list is not compared part by part."""


class Kind(enum.StrEnum):
    """Outer form of an answer."""

    MANY = "many"
    """Several answers in any order; `marks` are the connectives between them."""
    SET = "set"
    """Elements in braces."""
    BUILDER = "builder"
    """Set-builder notation; the items are the element and the condition."""
    GROUP = "group"
    """Two or more parts in brackets: a point, a tuple or an interval; `marks` are the brackets."""
    UNION = "union"
    """Sets joined by unions or differences; `marks` are the operators."""
    MATRIX = "matrix"
    """Rows of entries; each item is a GROUP."""
    RELATION = "relation"
    """Sides joined by relation signs; `marks` are the signs."""
    LEAF = "leaf"
    """One expression, number or phrase."""


@dataclass(frozen=True, slots=True)
class Shape:
    """An answer taken apart."""

    kind: Kind
    text: str
    """Normalised source text."""
    items: tuple[Shape, ...] = ()
    marks: tuple[str, ...] = ()
    integers: frozenset[str] = frozenset()
    """Letters that a remark such as `k \\in \\mathbb{Z}` declared to be any integer."""


RELATION_SIGNS = ("=", "<", ">", r"\le", r"\ge", r"\ne", r"\in", r"\approx", r"\equiv", r"\sim", r"\subset", r"\to")
_UNION_SIGNS = (r"\cup", r"\cap", r"\setminus")
_MATRIX = re.compile(
    r"(.*?)\\begin ?\{([pbvBV]?matrix|smallmatrix|array)\}(?:\{[^{}]*\})?(.*)\\end ?\{\2\}(.*)", re.DOTALL
)
_SIGNS = re.compile(r"\\pm(?![A-Za-z])|\\mp(?![A-Za-z])")
_GROUPED = re.compile(r"(?<![\d,.])\d{1,3}(?:,\d{3})+(?![\d,])")
_DOMAIN = re.compile(
    r"(?:[,;]|\\text\{[^{}]*\}|\(|\bwhere\b|\bfor\b|\\and )\s*(?:\\text\{[^{}]*\}\s*)?(?:\\forall\s*)?"
    r"[A-Za-z](?:\s*,\s*[A-Za-z])*\s*\\in\s*(?:\\mathbb\s*\{[A-Z]\}|\\mathbb\s*[A-Z]|[ZNQ])[^,;()]{0,6}\)?$"
)
_PROSE_DOMAIN = re.compile(
    r"[,(;]?\s*(?:\\text\{[\s,]*)?\(?\s*(?:where|for|with)\b[^{}]*?(?:\}\s*[A-Za-z]\s*\\text\{[^{}]*?)?"
    r"(?:integers?|real|constants?|any|all|some|natural)\b[^{}]*?\}?\s*(?:[A-Za-z]\s*)?\)?$",
    re.IGNORECASE,
)
_SHORT_DOMAIN = re.compile(
    r"\s*[,;(]\s*[A-Za-z]\s*(?:\\text\{\s*,?\s*(?:is )?an?(?:y| arbitrary)? integer\s*\}|"
    r"=\s*0\s*,\s*(?:\\pm\s*)?1\s*,\s*(?:\\pm\s*)?2\s*(?:,\s*(?:\\pm\s*)?3\s*)?(?:,\s*\\ldots)?)\s*\)?$"
)
_INTEGER_REMARK = re.compile(
    r"([A-Za-z])\s*=\s*0\s*,|([A-Za-z])\s*\\text\{\s*,?\s*(?:is )?an?(?:y| arbitrary)? integer|"
    r"([A-Za-z])\s*\\in\s*(?:\\mathbb\s*\{?\s*)?Z|([A-Za-z])\s*(?:\\text\{)?\s*is an(?:y| arbitrary)? integer|"
    r"(?:any|all|every|each)?\s*integers?\s*(?:\})?\s*([A-Za-z])(?![A-Za-z])"
)
_CONDITION = re.compile(
    r"^(?P<value>.*[^,;(\s=+*/^_-])\s*(?:\\text\{[\s,]*(?:for|if|when|where|with|provided)\s*(?:that|all|every|any)?\s*\}\s*|\(\s*)"
    r"(?P<condition>[A-Za-z]\s*(?:\\[gl]e|[<>])\s*-?\d+)\s*\)?$"
)
_TEXT_ONLY = re.compile(r"\\text\{([^{}]*)\}")


def read_shape(text: str) -> Shape:
    """Take normalised text apart.

    Args:
        text: output of `normalise`.

    Returns:
        Its outer form; always something, a LEAF when no form is seen.
    """
    whole, text = text, _without_domain(text.strip())
    if text != whole.strip() and (declared := _INTEGER_REMARK.findall(whole[len(text) :])):
        return _declared(read_shape(text), frozenset(letter for group in declared for letter in group if letter))
    text = _CONDITION.sub(r"\g<value>, \g<condition>", text)
    matrix = _matrix(text)
    if matrix is not None:
        return matrix
    unwrapped = _TEXT_ONLY.fullmatch(text)
    if unwrapped and _is_word_list(unwrapped[1]):
        text = re.sub(r"\b(and|or)\b", r"\\\1 ", unwrapped[1])
    several = _several(_ungrouped(text))
    if several is not None:
        return several
    text = _ungrouped(text)
    if has(text, RELATION_SIGNS):
        sides, signs = cut(text, RELATION_SIGNS)
        return Shape(Kind.RELATION, text, tuple(read_shape(side) for side in sides), tuple(signs))
    if has(text, _UNION_SIGNS):
        parts, signs = cut(text, _UNION_SIGNS)
        return Shape(Kind.UNION, text, tuple(read_shape(part) for part in parts), tuple(signs))
    bracketed = _bracketed(text)
    if bracketed is not None:
        return bracketed
    both = _plus_minus(text)
    if both is not None:
        return Shape(Kind.MANY, text, tuple(read_shape(part) for part in both), (",",) * (len(both) - 1))
    return Shape(Kind.LEAF, text)


def many(parts: tuple[Shape, ...]) -> Shape:
    """Several answers as one shape; a single one stays what it is."""
    if len(parts) == 1:
        return parts[0]
    return Shape(Kind.MANY, ", ".join(part.text for part in parts), parts, (",",) * (len(parts) - 1))


def _declared(shape: Shape, integers: frozenset[str]) -> Shape:
    """The shape with letters declared to be integers, in all its parts."""
    return replace(shape, items=tuple(_declared(item, integers) for item in shape.items), integers=integers)


def _is_word_list(text: str) -> bool:
    """Whether a text names several things of one word each, such as "A, B" or "Alice and Bob"."""
    pieces = [piece.strip() for piece in re.split(r",|\band\b|\bor\b", text)]
    named = [piece for piece in pieces if piece]
    return len(pieces) > 1 and bool(named) and all(re.fullmatch(r"[^\s]+", piece) for piece in named)


def spread(shape: Shape) -> tuple[Shape, ...]:
    r"""The single answers that a shape holds: nested lists and `\pm` are laid out flat."""
    if shape.kind is Kind.MANY:
        return tuple(single for item in shape.items for single in spread(item))
    if shape.kind is Kind.RELATION and shape.marks == ("=",) and shape.items[1].kind is Kind.MANY:
        name, values = shape.items[0], spread(shape.items[1])  # x = 1 \pm 2
        return tuple(Shape(Kind.RELATION, f"{name.text}={value.text}", (name, value), ("=",)) for value in values)
    if shape.kind is Kind.RELATION and shape.marks == (r"\in",) and shape.items[1].kind is Kind.SET:
        return tuple(single for item in shape.items[1].items for single in spread(item))
    return (shape,)


def _without_domain(text: str) -> str:
    r"""The text without a closing remark such as `k \in Z` or "where k is an integer"."""
    for pattern in (_DOMAIN, _PROSE_DOMAIN, _SHORT_DOMAIN):
        match = pattern.search(text)
        if match and match.start() > 0 and text[: match.start()].strip():
            return text[: match.start()].strip().rstrip(",;")
    return text


def _ungrouped(text: str) -> str:
    """The text without the thousands separators of its only number; digits that might be a list stay as they are."""
    grouped = _GROUPED.findall(text)
    if len(grouped) != 1 or parse_number(compact(text)) is not None or enclosed(text) is not None:
        return text
    first, *others = grouped[0].split(",")
    if len(first) == 3 and not any(other.startswith("0") for other in others):
        return text
    plain = _GROUPED.sub(lambda match: match[0].replace(",", ""), text)
    return text if has(plain, (",", ";", AND, OR)) else plain


def _several(text: str) -> Shape | None:
    connectives = (",", ";", AND, OR)
    if not has(text, connectives) or parse_number(compact(text).replace(r"\$", "")) is not None:
        return None
    pieces, marks = cut(text, connectives)
    kept = [(piece, mark) for piece, mark in zip(pieces, [*marks, ""], strict=True) if piece]
    if not 1 < len(kept) <= MAX_ITEMS:
        return read_shape(kept[0][0]) if len(kept) == 1 else None
    pieces = continued([piece for piece, _ in kept], MAX_ITEMS)
    if len(pieces) != len(kept):
        return many(tuple(map(read_shape, pieces)))
    signs = tuple(OR if OR in marks else AND if AND in marks else "," for _ in kept[1:])
    return Shape(Kind.MANY, text, tuple(read_shape(piece) for piece, _ in kept), signs)


def _bracketed(text: str) -> Shape | None:
    pair = enclosed(text)
    if pair is None:
        return None
    opener, content, closer = pair
    if opener == r"\{" and closer == r"\}":
        for mark in ("|", ":"):
            if has(content, (mark,)) and has(content, RELATION_SIGNS):
                (element, *_), _ = cut(content, (mark,))
                condition = content[content.index(mark) + 1 :].strip()
                if element and condition:
                    return Shape(Kind.BUILDER, text, (read_shape(element), read_shape(condition)))
        elements = cut(content, (",", ";"))[0] if content else []
        if len(elements) > MAX_ITEMS:
            return None
        elements = continued(elements, MAX_ITEMS)
        shapes = tuple(single for element in elements if element for single in spread(read_shape(element)))
        return Shape(Kind.SET, text, shapes)
    if opener in (r"\lfloor", r"\lceil"):
        return None
    parts = cut(content, (",", ";"))[0]
    if 1 < len(parts) <= MAX_ITEMS and all(parts):
        both = _plus_minus(text)
        if both is not None:  # (\pm 3, \pm 2) is four points
            return Shape(Kind.MANY, text, tuple(point for half in both for point in spread(read_shape(half))), (",",))
        return Shape(Kind.GROUP, text, tuple(read_shape(part) for part in parts), (opener, closer))
    if len(parts) == 1 and (opener, closer) in (("(", ")"), ("{", "}"), ("[", "]")) and content:
        inner = read_shape(content)
        return inner if inner.kind is not Kind.LEAF else None
    return None


def _matrix(text: str) -> Shape | None:
    match = _MATRIX.fullmatch(text)
    if match is None or match[4].strip() or r"\begin" in match[3] or match[2] in ("vmatrix", "Vmatrix"):
        return None
    factor = match[1].strip()
    if factor and (has(factor, (*RELATION_SIGNS, ",", "+")) or not re.search(r"[\w}]$", factor)):
        sides, signs = cut(factor, ("=",))
        if signs and not sides[-1]:  # A = (matrix)
            return _matrix(text[len(match[1]) :])
        return None
    rows = [row for row in match[3].split(ROW) if row.strip()]
    scale = f"({factor})" if factor else ""
    shapes = []
    for row in rows:
        cells = cut(row, ("&",))[0]
        entries = tuple(read_shape(f"{scale}({cell})" if scale else normalise(cell)) for cell in cells)
        shapes.append(Shape(Kind.GROUP, row, entries, ("(", ")")))
    return Shape(Kind.MATRIX, text, tuple(shapes)) if shapes else None


def _plus_minus(text: str) -> tuple[str, ...] | None:
    r"""Both readings of `\pm`; None without one. Several signs of the same kind are independent, `\mp` goes along."""
    signs = _SIGNS.findall(text)
    if not signs or len(signs) > 3:
        return None
    if r"\mp" in signs:
        upper = _SIGNS.sub(lambda m: "+" if m[0] == r"\pm" else "-", text)
        lower = _SIGNS.sub(lambda m: "-" if m[0] == r"\pm" else "+", text)
        return upper, lower
    return _SIGNS.sub("+", text, count=1), _SIGNS.sub("-", text, count=1)
