"""When two answers are equal: a chain of small deciders over the shapes of both.

Each decider looks at two shapes and decides or passes; the first that decides wins. The order is from the most specific
notation to single expressions. To teach the grader a new kind of answer, add a decider to `DECIDERS`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction

from arbitrage.harness.grading.equivalence.decision import Context, Decision
from arbitrage.harness.grading.equivalence.expressions import decide_expressions, decide_unread
from arbitrage.harness.grading.equivalence.families import decide_families
from arbitrage.harness.grading.equivalence.groups import decide_groups, decide_matrices
from arbitrage.harness.grading.equivalence.intervals import decide_finite_builders, decide_intervals
from arbitrage.harness.grading.equivalence.lists import decide_lists
from arbitrage.harness.grading.equivalence.notations import (
    decide_bases,
    decide_clocks,
    decide_compounds,
    decide_dots,
    decide_ratios,
)
from arbitrage.harness.grading.equivalence.relations import decide_named, decide_relations
from arbitrage.harness.grading.equivalence.shape import Shape, many, read_shape, spread
from arbitrage.harness.grading.equivalence.symbolic import decide_symbolic
from arbitrage.harness.grading.equivalence.units import with_unit
from arbitrage.harness.grading.equivalence.words import decide_words
from arbitrage.harness.grading.normalise import compact, normalise

__all__ = ["DECIDERS", "Decision", "equivalent"]


def decide_text(gold: Shape, pred: Shape, context: Context) -> Decision | None:
    """The same text once formatting is gone."""
    same = compact(gold.text) == compact(pred.text)
    return Decision(True, "string", "the same text") if same else None


DECIDERS: tuple[Callable[[Shape, Shape, Context], Decision | None], ...] = (
    decide_text,
    decide_bases,
    decide_words,
    decide_clocks,
    decide_ratios,
    decide_compounds,
    decide_dots,
    decide_finite_builders,
    decide_intervals,
    decide_named,
    decide_groups,
    decide_families,
    decide_lists,
    decide_relations,
    decide_matrices,
    decide_expressions,
    decide_symbolic,
    decide_unread,
)


def equivalent(
    references: Sequence[str], answer: str, *, tolerance: Fraction | None = None, unit: str | None = None
) -> Decision:
    """Whether an answer says the same as the references.

    Args:
        references: reference answers; all of them are required, in any order.
        answer: the answer, extracted but not normalised.
        tolerance: absolute tolerance for numbers; None compares exactly.
        unit: unit that the references are in, when their data names one.

    Returns:
        The decision; its method is `UNREADABLE` when one side could not be read.
    """
    texts = [normalise(reference) for reference in references]
    if unit:
        texts = [with_unit(text, normalise(unit)) for text in texts]
    shapes = [read_shape(text) for text in texts]
    gold = shapes[0] if len(shapes) == 1 else many(tuple(single for shape in shapes for single in spread(shape)))
    return compare(gold, read_shape(normalise(answer)), Context(compare, tolerance))


def compare(gold: Shape, pred: Shape, context: Context) -> Decision:
    """Ask the deciders one after the other."""
    if not pred.text or not gold.text:
        return Decision(False, "kind", "one side is empty")
    for decide in DECIDERS:
        decision = decide(gold, pred, context)
        if decision is not None:
            return decision
    return Decision(False, "kind", f"a {gold.kind} and a {pred.kind}")
