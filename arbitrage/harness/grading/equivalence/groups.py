"""Points, tuples, vectors and matrices: order and length matter, and so do the brackets of an interval."""

from __future__ import annotations

import re

from arbitrage.harness.grading.equivalence.decision import Context, Decision, all_equal
from arbitrage.harness.grading.equivalence.shape import Kind, Shape

_PLAIN = frozenset({("(", ")"), (r"\langle", r"\rangle")})


def decide_groups(gold: Shape, pred: Shape, context: Context) -> Decision | None:
    """Two bracketed groups, part by part; pairs in square or mixed brackets are intervals and keep their brackets."""
    gold, pred = _as_point(gold, pred), _as_point(pred, gold)
    if gold.kind is not Kind.GROUP or pred.kind is not Kind.GROUP:
        return None
    if len(gold.items) == len(pred.items) == 2 and not _same_brackets(gold, pred):
        return Decision(False, "interval", "the brackets differ")
    equal = all_equal(gold.items, pred.items, context)
    return Decision(equal, "tuple", "the same parts in the same order" if equal else "the parts differ")


def decide_matrices(gold: Shape, pred: Shape, context: Context) -> Decision | None:
    """Matrices entry by entry; a matrix of one column is also the vector with these parts."""
    a, b = _as_matrix(gold, pred), _as_matrix(pred, gold)
    if a is None or b is None:
        return None
    equal = len(a) == len(b) and all(all_equal(r.items, s.items, context) for r, s in zip(a, b, strict=True))
    return Decision(equal, "matrix", "the same entries" if equal else "the entries differ")


def _as_point(shape: Shape, other: Shape) -> Shape:
    """`x=2, y=4` as the point `(2,4)` when it is compared with one; the names have to rise in the alphabet."""
    if shape.kind is not Kind.MANY or other.kind is not Kind.GROUP or other.marks not in _PLAIN:
        return shape
    named = [item.items for item in shape.items if item.kind is Kind.RELATION and item.marks == ("=",)]
    names = [name.text for name, _ in named]
    rising = names == sorted(set(names)) and all(re.fullmatch("[A-Za-z]", name) for name in names)
    if len(named) < len(shape.items) or not rising:
        return shape
    return Shape(Kind.GROUP, shape.text, tuple(value for _, value in named), ("(", ")"))


def _same_brackets(gold: Shape, pred: Shape) -> bool:
    return gold.marks == pred.marks or (gold.marks in _PLAIN and pred.marks in _PLAIN)


def _as_matrix(shape: Shape, other: Shape) -> tuple[Shape, ...] | None:
    if shape.kind is Kind.MATRIX:
        return shape.items
    if other.kind is Kind.MATRIX and shape.kind is Kind.GROUP and shape.marks in _PLAIN:
        return tuple(Shape(Kind.GROUP, item.text, (item,), ("(", ")")) for item in shape.items)
    return None
