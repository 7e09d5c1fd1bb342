"""Equations and inequalities: a named value is its value, others are equal up to rearrangement and a factor."""

from __future__ import annotations

import re
from fractions import Fraction

import mpmath  # type: ignore[import-untyped]

from arbitrage.harness.grading.equivalence.decision import Context, Decision, all_equal
from arbitrage.harness.grading.equivalence.expressions import agree, ratios, read_value, same_expression
from arbitrage.harness.grading.equivalence.shape import Kind, Shape
from arbitrage.harness.grading.equivalence.units import measure
from arbitrage.harness.grading.expression import CALCULUS, Node, Number, UnreadableError, read, substitute, symbols
from arbitrage.harness.grading.normalise import OR, compact

_NAME = re.compile(
    r"(?:\\text\{[^{}]*\}|[A-Za-z]|[A-Z]{2,4}|\|[A-Z]{2}\||\\[A-Za-z]+|\\(?:overline|vec|hat|bar|angle|triangle|mathbb|widehat|mathcal)"
    r"\s*\{?\s*[A-Za-z]{1,4}\s*(?:_\{?\d\}?)?\s*\}?|\\(?:angle|triangle)\s*(?:[A-Z]\s*(?:_\{?\d\}?)?\s*){1,4}|\[[A-Z]{3,6}\])"
    r"(?:_(?:\{[^{}]*\}|\w|\\[a-z]+)|_\{\\text\{[^{}]*\}\s*\})?'*\s*(?:\^\{?-1\}?)?\s*(?P<args>\([A-Za-z0-9, ]*\))?"
)
_NAMES = re.compile(r"\(\s*[A-Za-z](?:_\{?\w\}?)?(?:\s*,\s*[A-Za-z](?:_\{?\w\}?)?)+\s*\)")
_NOT_NAMES = frozenset({"e", "i", r"\pi", r"\infty"})
_EVALUATED = re.compile(r"[\])|]\s*_\{?[^{}]*\}?\s*\^")
"""An antiderivative between its bounds."""
_GREATER = {">": "<", r"\ge": r"\le"}
_COORDINATES = frozenset("xyz")


def decide_relations(gold: Shape, pred: Shape, context: Context) -> Decision | None:
    """Relations on one side or both; the chain continues with the values when a side only names its value."""
    if Kind.RELATION not in (gold.kind, pred.kind):
        return None
    gold, pred = _shortened(gold), _shortened(pred)
    if gold.kind is Kind.RELATION and pred.kind is Kind.RELATION:
        return _both(gold, pred, context)
    relation, other = (gold, pred) if gold.kind is Kind.RELATION else (pred, gold)
    if relation.kind is not Kind.RELATION:
        return context.compare(gold, pred, context)
    named = named_value(relation)
    if named is None:
        return Decision(False, "relation", "a relation and a value")
    return context.compare(named[1], other, context) if relation is gold else context.compare(other, named[1], context)


def decide_named(gold: Shape, pred: Shape, context: Context) -> Decision | None:
    """Several named values, `a=1, b=2` or `(a,b)=(1,2)`: by name, whatever the order."""
    a, b = _by_name(gold), _by_name(pred)
    for named, other in ((a, pred), (b, gold)):  # values without their names have to stand in the same order
        several = named is not None and len({name[:1] for name in named}) == len(named)  # not x_1, x_2
        if (
            named is not None
            and several
            and other.kind is Kind.MANY
            and not any(i.kind is Kind.RELATION for i in other.items)
        ):
            values = tuple(named.values())
            pair = (values, other.items) if other is pred else (other.items, values)
            equal = all_equal(*pair, context)
            return Decision(
                equal, "relation", "the same values in the order of their names" if equal else "other values"
            )
    if a is None or b is None or a.keys() != b.keys():
        return None
    equal = all(context.equal(value, b[name]) for name, value in a.items())
    return Decision(equal, "relation", "the same values by name" if equal else "the named values differ")


def _by_name(shape: Shape) -> dict[str, Shape] | None:
    if shape.kind is Kind.RELATION and shape.marks == ("=",):
        names, values = shape.items
        if names.kind is values.kind is Kind.GROUP and _is_name(names) and len(names.items) == len(values.items):
            return {compact(name.text): value for name, value in zip(names.items, values.items, strict=True)}
        return None
    if shape.kind is not Kind.MANY or OR in shape.marks:
        return None
    pairs = [item.items for item in shape.items if item.kind is Kind.RELATION and item.marks == ("=",)]
    found = {compact(name.text): value for name, value in pairs if _is_name(name)}
    return found if len(found) == len(shape.items) else None


def named_value(relation: Shape) -> tuple[str, Shape] | None:
    r"""Name and value of `x=9`, `9=x`, `f(x)=x+4` or `x\in S`; None for an equation that names nothing."""
    if relation.marks == (r"\in",) and _is_name(relation.items[0]):
        return compact(relation.items[0].text), relation.items[1]
    if relation.marks not in (("=",), (r"\equiv",)):
        return None
    left, right = relation.items
    for name, value in ((left, right), (right, left)):
        if _is_name(name) and not (value is left and _is_name(value)) and not _mentions(value, name):
            return compact(name.text), value
    return None


def _shortened(shape: Shape) -> Shape:
    """`a=b=c` as `a=c`, an approximation as what it approximates, and a chain of constants as its last part."""
    if shape.kind is not Kind.RELATION:
        return shape
    items, marks = list(shape.items), list(shape.marks)
    if r"\approx" in marks:
        at = marks.index(r"\approx")
        items, marks = (items[: at + 1], marks[:at]) if items[0].text else (items[1:], marks[1:])
    if len(marks) > 1 and set(marks) == {"="}:
        items, marks = [items[0], items[-1]], ["="]
    if not marks or (marks == ["="] and (not items[0].text or not any(map(_free, items)))):
        return items[-1]
    return Shape(Kind.RELATION, shape.text, tuple(items), tuple(marks))


def _free(shape: Shape) -> bool:
    """Whether a side holds a symbol, or cannot be read as a number."""
    if shape.kind is not Kind.LEAF:
        return shape.kind is not Kind.GROUP
    if CALCULUS.search(shape.text) or _EVALUATED.search(shape.text):
        return False
    try:
        return bool(symbols(read_value(measure(shape.text))) - {r"\pi", "e", "i", r"\logbase"})
    except UnreadableError:
        return True


def _is_name(shape: Shape) -> bool:
    text = compact(shape.text)
    return (shape.kind is Kind.LEAF and text not in _NOT_NAMES and _NAME.fullmatch(text) is not None) or (
        shape.kind is Kind.GROUP and _NAMES.fullmatch(text) is not None
    )


def _mentions(value: Shape, name: Shape) -> bool:
    """Whether a value depends on the very symbol that is to name it."""
    try:
        return value.kind is Kind.LEAF and compact(name.text) in symbols(read(value.text))
    except UnreadableError:
        return False


def _both(gold: Shape, pred: Shape, context: Context) -> Decision:
    if _same_sides(gold, pred, context) or _same_chain(gold, pred, context):
        return Decision(True, "relation", "the same relation, side by side")
    if len(gold.marks) == len(pred.marks) == 1 and _same_up_to_factor(gold, pred):
        return Decision(True, "relation", "the same relation up to rearrangement and a factor")
    first, second = named_value(gold), named_value(pred)
    if first and second and gold.marks == pred.marks:
        decision = _named(first, second, context)
        if decision is not None:
            return decision
    return Decision(False, "relation", "different relations")


def _same_sides(gold: Shape, pred: Shape, context: Context) -> bool:
    return gold.marks == pred.marks and all(
        compact(a.text) == compact(b.text) or (not (_is_name(a) or _is_name(b)) and context.equal(a, b))
        for a, b in zip(gold.items, pred.items, strict=True)
    )


def _same_chain(gold: Shape, pred: Shape, context: Context) -> bool:
    """Chains of inequalities, read in the same direction."""
    a, b = _rising(gold), _rising(pred)
    return a is not None and b is not None and _same_sides(a, b, context)


def _rising(shape: Shape) -> Shape | None:
    if all(mark in _GREATER or mark == "=" for mark in shape.marks):
        return Shape(shape.kind, shape.text, shape.items[::-1], tuple(_GREATER.get(m, m) for m in shape.marks[::-1]))
    return shape if all(mark in ("<", r"\le", "=") for mark in shape.marks) else None


def _same_up_to_factor(gold: Shape, pred: Shape) -> bool:
    a, b = _rising(gold), _rising(pred)
    if gold.marks == pred.marks == (r"\ne",):
        a, b = gold, pred
    if a is None or b is None or a.marks != b.marks:
        return False
    try:
        left, right = _difference(a), _difference(b)
    except UnreadableError:
        return False
    if not symbols(left) & symbols(right):
        return False
    found = list(ratios(left, right))
    if len(found) < 4 or any(not isinstance(r, Fraction) and mpmath.isinf(r) for r in found):
        return False
    factor = found[0]
    if factor == 0 or (a.marks != ("=",) and a.marks != (r"\ne",) and not _positive(factor)):
        return False
    return all(agree(factor, other) for other in found[1:])


def _positive(factor: Number | Fraction) -> bool:
    return factor > 0 if isinstance(factor, Fraction) else bool(mpmath.im(factor) == 0 and mpmath.re(factor) > 0)


def _difference(relation: Shape) -> Node:
    left, right = (read_value(measure(item.text)) for item in relation.items)
    return Node("add", (left, Node("neg", (right,))))


def _named(first: tuple[str, Shape], second: tuple[str, Shape], context: Context) -> Decision | None:
    """Two named values. Functions may call their variable differently; other names differ only for one quantity."""
    (name, value), (other, answer) = first, second
    if context.in_list and re.sub(r"\(.*", "", name) != re.sub(r"\(.*", "", other):
        return None
    call, other_call = _call(name), _call(other)
    if call and other_call:
        try:
            left, right = read(value.text), read(answer.text)
        except UnreadableError:
            return context.compare(value, answer, context)
        if call != other_call and other_call in symbols(left) | frozenset({call}) - symbols(right):
            return None
        return same_expression(left, substitute(right, other_call, call), context)
    if {name, re.sub(r"\([a-z]\)$", "(x)", other), re.sub(r"\([a-z]\)$", "(x)", name)} == {"y", "f(x)"} or (
        other == "y" and call == "x"
    ):
        return context.compare(value, answer, context)
    if name != other and (_COORDINATES & {name, other} or not _free(value)):
        return None
    return context.compare(value, answer, context)


def _call(name: str) -> str | None:
    """Variable of a function name such as `f(x)`; None for other names."""
    match = re.fullmatch(r"[A-Za-z](?:_\{?\w\}?)?\(([A-Za-z])\)", name)
    return match[1] if match else None
