"""Sets of real numbers: intervals, inequalities in one variable, unions, and the notations that say the same.

Knows regions whose ends are numbers. Intervals with symbolic ends are compared as bracketed groups elsewhere.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from fractions import Fraction

import mpmath  # type: ignore[import-untyped]

from arbitrage.harness.grading.equivalence.decision import Context, Decision
from arbitrage.harness.grading.equivalence.expressions import agree, constant, read_value
from arbitrage.harness.grading.equivalence.shape import MAX_ITEMS, Kind, Shape, read_shape, spread
from arbitrage.harness.grading.equivalence.units import measure
from arbitrage.harness.grading.equivalence.words import phrase
from arbitrage.harness.grading.expression import (
    Node,
    Number,
    TooLargeError,
    UndefinedError,
    UnreadableError,
    exact,
    symbols,
)
from arbitrage.harness.grading.normalise import OR, compact

_VARIABLE = re.compile(r"[A-Za-z](?:_\{?\w+\}?)?(?:\([a-z]\))?|\\(?:theta|alpha|beta|lambda|phi|mu|gamma|omega)")
_REALS = re.compile(r"\\mathbb ?\{?R\}?")
_EXCEPT = re.compile(
    r"\\text\{\s*(?:all |the )?reals?(?: numbers?)?(?: \w)?,? (?:except|but|other than)(?: for)?\s*\}"
    r"\s*(?:[A-Za-z] ?= ?)?([^a-z]+)|"
    r"\\mathbb ?\{?R\}?\s*-\s*(\\\{.*\\\})"
)
_EMPTY = re.compile(r"\\emptyset|\\\{ ?\\\}")
_MIRROR = {"<": ">", ">": "<", r"\le": r"\ge", r"\ge": r"\le", "=": "=", r"\ne": r"\ne"}


@dataclass(frozen=True, slots=True)
class Piece:
    """One interval of the real line; a point has equal ends."""

    low: Number
    low_in: bool
    high: Number
    high_in: bool


@dataclass(frozen=True, slots=True)
class Region:
    """A set of real numbers: disjoint pieces in rising order, and the variable when the text names one."""

    pieces: tuple[Piece, ...]
    variable: str = ""


_LINE = Region((Piece(-mpmath.inf, False, mpmath.inf, False),))


def decide_intervals(gold: Shape, pred: Shape, context: Context) -> Decision | None:
    """Two sets of real numbers, when at least one of them can be nothing else."""
    if not (_is_region(gold) or _is_region(pred)):
        return None
    a, b = region(gold), region(pred)
    if a is None or b is None:
        return None
    equal = same_region(a, b)
    return Decision(equal, "interval", "the same set of numbers" if equal else "different sets of numbers")


def same_region(a: Region, b: Region) -> bool:
    """Whether two regions hold the same numbers, and do not name different variables."""
    if a.variable and b.variable and a.variable != b.variable:
        return False
    return len(a.pieces) == len(b.pieces) and all(
        agree(p.low, q.low) and agree(p.high, q.high) and p.low_in == q.low_in and p.high_in == q.high_in
        for p, q in zip(a.pieces, b.pieces, strict=True)
    )


def region(shape: Shape) -> Region | None:
    """The set of real numbers that an answer describes; None when it describes none, or one with symbolic ends."""
    try:
        return _region(shape)
    except (UnreadableError, UndefinedError, TooLargeError):
        return None


def decide_finite_builders(gold: Shape, pred: Shape, context: Context) -> Decision | None:
    """Set-builder notation that holds finitely many numbers, against the list of them."""
    if (gold.kind is Kind.BUILDER) == (pred.kind is Kind.BUILDER):
        return None
    builder, listed = (gold, pred) if gold.kind is Kind.BUILDER else (pred, gold)
    if listed.kind not in (Kind.SET, Kind.MANY):
        return None
    try:
        points = sorted(map(_end, spread(listed) if listed.kind is Kind.MANY else listed.items))
        equal = _whole_numbers(builder, points) if _over_integers(builder) else _solutions(builder, points)
    except (UnreadableError, UndefinedError, TooLargeError):
        return None
    return None if equal is None else Decision(equal, "set", "the same elements" if equal else "different elements")


def _over_integers(builder: Shape) -> bool:
    element = builder.items[0]
    return (
        element.kind is Kind.RELATION
        and element.marks == (r"\in",)
        and re.fullmatch(r"\\mathbb ?\{?Z\}?", element.items[1].text) is not None
    )


def _whole_numbers(builder: Shape, points: list[Number]) -> bool | None:
    """Whether `points` are the whole numbers of a bounded region."""
    found = _region(builder.items[1])
    if found is None or not found.pieces or mpmath.isinf(found.pieces[0].low) or mpmath.isinf(found.pieces[-1].high):
        return None
    wanted: list[Number] = []
    for piece in found.pieces:
        if piece.high - piece.low > MAX_ITEMS:
            return None
        whole = range(int(mpmath.ceil(piece.low)), int(mpmath.floor(piece.high)) + 1)
        wanted += [n for n in whole if (piece.low_in or n != piece.low) and (piece.high_in or n != piece.high)]
    return len(wanted) == len(points) and all(agree(a, mpmath.mpf(b)) for a, b in zip(points, wanted, strict=True))


def _solutions(builder: Shape, points: list[Number]) -> bool | None:
    """Whether `points` solve the polynomial equation of a builder and are as many as its degree."""
    element, condition = builder.items
    if element.kind is Kind.RELATION:
        if element.marks != (r"\in",) or not _REALS.fullmatch(element.items[1].text):
            return None
        element = element.items[0]
    points = [point for k, point in enumerate(points) if not any(agree(point, other) for other in points[:k])]
    name = compact(element.text)
    if condition.kind is not Kind.RELATION or condition.marks != ("=",) or not _VARIABLE.fullmatch(name):
        return None
    left, right = (read_value(measure(item.text)) for item in condition.items)
    difference = Node("add", (left, Node("neg", (right,))))
    if symbols(difference) != {name}:
        return None
    values = [exact(difference, {name: Fraction(k)}) for k in range(10)]
    if any(value is None for value in values):
        return None
    row = [value for value in values if value is not None]
    leading: list[Fraction] = []
    while any(row) and len(row) > 1:
        leading.append(row[0])
        row = [b - a for a, b in itertools.pairwise(row)]
    if any(row):  # no polynomial of a degree that shows in ten values
        return None
    with mpmath.workdps(60):
        at = [
            mpmath.fsum(mpmath.mpf(c.numerator) / c.denominator * mpmath.binomial(x, k) for k, c in enumerate(leading))
            for x in points
        ]
        zeros = all(abs(value) < mpmath.mpf(10) ** -30 for value in at)
    if zeros and len(points) < len(leading) - 1:  # double roots, complex ones, or some left out
        return None
    return zeros


def _is_region(shape: Shape) -> bool:
    """Whether an answer can be nothing but a set of numbers: not a point, a list or a value."""
    if shape.kind is Kind.UNION or shape.kind is Kind.BUILDER:
        return True
    if shape.kind is Kind.GROUP:
        return shape.marks != ("(", ")") or any(r"\infty" in item.text for item in shape.items)
    if shape.kind is Kind.RELATION:
        return any(mark != "=" for mark in shape.marks)
    if shape.kind is Kind.MANY:
        return all(item.kind is Kind.RELATION and _is_region(item) for item in shape.items)
    if any(pattern.fullmatch(shape.text) for pattern in (_REALS, _EMPTY, _EXCEPT)):
        return True
    return phrase(shape) is not None


def _region(shape: Shape) -> Region | None:
    readers = {
        Kind.GROUP: _interval, Kind.UNION: _union, Kind.RELATION: _inequality, Kind.MANY: _combined, Kind.SET: _finite,
        Kind.BUILDER: _builder, Kind.LEAF: _named,
    }  # fmt: skip
    reader = readers.get(shape.kind)
    return None if reader is None else reader(shape)


def _end(shape: Shape) -> Number:
    value = constant(read_value(measure(shape.text)))
    if mpmath.im(value) != 0:
        raise UndefinedError("an end that is not real")
    return mpmath.re(value)


def _interval(shape: Shape) -> Region | None:
    if len(shape.items) != 2 or shape.marks[0] not in ("(", "[") or shape.marks[1] not in (")", "]"):
        return None
    low, high = _end(shape.items[0]), _end(shape.items[1])
    if not low < high:
        return None
    low_in, high_in = shape.marks[0] == "[", shape.marks[1] == "]"
    return Region((Piece(low, low_in and not mpmath.isinf(low), high, high_in and not mpmath.isinf(high)),))


def _finite(shape: Shape) -> Region | None:
    return _merged([Piece(point, True, point, True) for point in map(_end, shape.items)])


def _named(shape: Shape) -> Region | None:
    text = phrase(shape) or shape.text
    if _REALS.fullmatch(text):
        return _LINE
    if match := _EXCEPT.fullmatch(text):
        holes = read_shape(match[1] or match[2])
        points = _finite(Shape(Kind.SET, holes.text, holes.items if holes.kind is Kind.SET else spread(holes)))
        return None if points is None else _complement(points)
    return Region(()) if _EMPTY.fullmatch(text) else None


def _union(shape: Shape) -> Region | None:
    result = _region(shape.items[0])
    for mark, item in zip(shape.marks, shape.items[1:], strict=True):
        other = _region(item)
        if result is None or other is None:
            return None
        if mark == r"\cup":
            result = _merged([*result.pieces, *other.pieces])
        else:
            result = _intersection(result, other if mark == r"\cap" else _complement(other))
    return result


def _combined(shape: Shape) -> Region | None:
    parts = [_region(item) if item.kind in (Kind.RELATION, Kind.UNION, Kind.GROUP) else None for item in shape.items]
    present = [part for part in parts if part is not None]
    if len(present) < len(parts) or len({part.variable for part in present}) > 1:
        return None
    result = present[0]
    for part in present[1:]:
        joined = _merged([*result.pieces, *part.pieces]) if OR in shape.marks else _intersection(result, part)
        result = Region(joined.pieces, result.variable)
    return result


def _builder(shape: Shape) -> Region | None:
    element, condition = shape.items
    if condition.kind is Kind.RELATION and condition.marks == (r"\in",) and _REALS.fullmatch(condition.items[1].text):
        return _LINE
    if element.kind is Kind.RELATION:  # {x in R | x > 3}
        if element.marks != (r"\in",) or not _REALS.fullmatch(element.items[1].text):
            return None
        element = element.items[0]
    result = _region(condition)
    if result is None or (result.variable and compact(result.variable) != compact(element.text)):
        return None
    return Region(result.pieces)


def _inequality(shape: Shape) -> Region | None:
    r"""A relation of one variable with numbers: `x < 3`, `2 < x \le 6`, `x \ne 3`, `x \in (1, 2)`."""
    if (around := _around(shape)) is not None:
        return around
    names = [k for k, item in enumerate(shape.items) if _VARIABLE.fullmatch(item.text) and item.text not in ("e", "i")]
    if len(names) != 1:
        return None
    at, variable = names[0], compact(shape.items[names[0]].text)
    if shape.marks == (r"\in",):
        inside = _region(shape.items[1]) if at == 0 else None
        return None if inside is None else Region(inside.pieces, variable)
    if any(mark not in _MIRROR for mark in shape.marks) or len(shape.items) > 3:
        return None
    result = _LINE
    for k, item in enumerate(shape.items):
        if k == at:
            continue
        if abs(k - at) != 1:
            return None
        sign = shape.marks[k - 1] if k > at else _MIRROR[shape.marks[k]]
        result = _intersection(result, _half_line(sign, _end(item)))
    return Region(result.pieces, variable)


def _around(shape: Shape) -> Region | None:
    r"""`|x - a| < r` and `x^2 \le c`, from either side; None for other relations."""
    if len(shape.items) != 2 or shape.marks[0] not in ("<", r"\le", ">", r"\ge"):
        return None
    for item, other, sign in (
        (shape.items[0], shape.items[1], shape.marks[0]),
        (shape.items[1], shape.items[0], _MIRROR[shape.marks[0]]),
    ):
        text = compact(item.text)
        if match := re.fullmatch(rf"\|({_VARIABLE.pattern})(?:([+-])([^|]*))?\|", text):
            centre = -_end(Shape(Kind.LEAF, match[2] + match[3])) if match[2] else mpmath.mpf(0)
            radius = _end(other)
        elif match := re.fullmatch(rf"({_VARIABLE.pattern})\^(?:2|\{{2\}})", text):
            centre, radius = mpmath.mpf(0), _end(other)
            if radius < 0:
                return None
            with mpmath.workdps(60):
                radius = mpmath.sqrt(radius)
        else:
            continue
        if radius <= 0:
            return None
        closed = sign in (r"\le", r"\ge")
        inside = Region((Piece(centre - radius, closed, centre + radius, closed),))
        if sign in (">", r"\ge"):
            inside = _complement(Region((Piece(centre - radius, not closed, centre + radius, not closed),)))
        return Region(inside.pieces, compact(match[1]))
    return None


def _half_line(sign: str, end: Number) -> Region:
    if sign in ("<", r"\le"):
        return Region((Piece(-mpmath.inf, False, end, sign == r"\le"),))
    if sign in (">", r"\ge"):
        return Region((Piece(end, sign == r"\ge", mpmath.inf, False),))
    point = Region((Piece(end, True, end, True),))
    return point if sign == "=" else _complement(point)


def _merged(pieces: list[Piece]) -> Region:
    """Rising disjoint pieces with the same union."""
    result: list[Piece] = []
    for piece in sorted(pieces, key=lambda p: (p.low, not p.low_in)):
        last = result[-1] if result else None
        if last and (piece.low < last.high or (agree(piece.low, last.high) and (piece.low_in or last.high_in))):
            if agree(piece.high, last.high):
                result[-1] = Piece(last.low, last.low_in, last.high, last.high_in or piece.high_in)
            elif piece.high > last.high:
                result[-1] = Piece(last.low, last.low_in, piece.high, piece.high_in)
        else:
            result.append(piece)
    return Region(tuple(result))


def _complement(a: Region) -> Region:
    pieces = []
    low, low_in = -mpmath.inf, False
    for piece in a.pieces:
        if low < piece.low or (agree(low, piece.low) and low_in and not piece.low_in):
            pieces.append(Piece(low, low_in, piece.low, not piece.low_in))
        low, low_in = piece.high, not piece.high_in
    if low < mpmath.inf:
        pieces.append(Piece(low, low_in, mpmath.inf, False))
    return Region(tuple(pieces))


def _intersection(a: Region, b: Region) -> Region:
    joined = _merged([*_complement(a).pieces, *_complement(b).pieces])
    return _complement(joined)
