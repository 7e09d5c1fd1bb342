"""Several answers and sets: any order, none missing, none extra."""

from __future__ import annotations

from dataclasses import replace

from arbitrage.harness.grading.equivalence.decision import Context, Decision
from arbitrage.harness.grading.equivalence.shape import Kind, Shape, many, spread
from arbitrage.harness.grading.normalise import compact
from arbitrage.harness.grading.plain import has_separator

_PLURAL = (Kind.MANY, Kind.SET)


def decide_lists(gold: Shape, pred: Shape, context: Context) -> Decision | None:
    """Lists and sets, matched element by element; handles a list against digits grouped by commas as well."""
    if gold.kind not in _PLURAL and pred.kind not in _PLURAL:
        return _both_grouped(gold, pred, context)
    left, right = _elements(gold, pred), _elements(pred, gold)
    if _nested_emptiness(gold, pred) or _nested_emptiness(pred, gold):
        return Decision(False, "set", "the empty set and a set that holds it")
    if gold.kind is Kind.SET and pred.kind is Kind.SET:
        left, right = _distinct(left, context), _distinct(right, context)
    if gold.kind not in _PLURAL and len(left) == 1 and _restated(left[0], right, context):
        return Decision(True, "set", "the same answer, written in several ways")
    if len(left) != len(right):
        return Decision(False, "set", f"{len(right)} answers where {len(left)} are required")
    if len(left) == 1:
        return context.compare(left[0], right[0], context) if left[0].kind not in _PLURAL else None
    equal = match_all(left, right, context)
    return Decision(equal, "set", "the same answers" if equal else "the answers do not pair up")


def match_all(left: tuple[Shape, ...], right: tuple[Shape, ...], context: Context) -> bool:
    """Whether the elements can be paired so that each pair is equal."""
    unused = list(right)
    context = replace(context, in_list=True)
    for item in left:
        partner = next((k for k, other in enumerate(unused) if context.equal(item, other)), None)
        if partner is None:
            return False
        del unused[partner]
    return not unused


def _nested_emptiness(a: Shape, b: Shape) -> bool:
    empty = r"\emptyset"
    return a.text == empty and b.kind is Kind.SET and [item.text for item in b.items] == [empty]


def _restated(gold: Shape, answers: tuple[Shape, ...], context: Context) -> bool:
    """Whether several answers are one answer in different notations, such as a mixed number and its fraction."""
    texts = {compact(answer.text) for answer in answers}
    return len(texts) == len(answers) and all(context.equal(gold, answer) for answer in answers)


def _elements(shape: Shape, other: Shape) -> tuple[Shape, ...]:
    if shape.kind is Kind.SET:
        return shape.items
    if shape.kind is Kind.LEAF and other.kind is not Kind.LEAF and has_separator(compact(shape.text)):
        return _digits_as_list(shape)
    return spread(shape)


def _distinct(items: tuple[Shape, ...], context: Context) -> tuple[Shape, ...]:
    kept: list[Shape] = []
    for item in items:
        if not any(context.equal(item, other) for other in kept):
            kept.append(item)
    return tuple(kept)


def _digits_as_list(shape: Shape) -> tuple[Shape, ...]:
    return tuple(Shape(Kind.LEAF, part) for part in compact(shape.text).split(","))


def _both_grouped(gold: Shape, pred: Shape, context: Context) -> Decision | None:
    """`100,200` against `200,100`: unequal as numbers, equal as lists."""
    if not (has_separator(compact(gold.text)) and has_separator(compact(pred.text))):
        return None
    decision = decide_lists(many(_digits_as_list(gold)), many(_digits_as_list(pred)), context)
    return decision if decision and decision.equal else None
