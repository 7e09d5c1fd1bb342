"""Equality of calculus: definite integrals, sums and products without end, limits and derivatives, by sympy.

The end of the chain, for two leaves of which the strict reader could not compare at least one. Equal is only what sympy
proves equal; what it cannot decide is not correct.
"""

from __future__ import annotations

import re

from arbitrage.harness.grading.equivalence.decision import Context, Decision
from arbitrage.harness.grading.equivalence.shape import Kind, Shape
from arbitrage.harness.grading.equivalence.units import measure
from arbitrage.harness.grading.expression import CALCULUS, TooLargeError, UndefinedError, UnreadableError, algebra
from arbitrage.harness.grading.normalise import compact
from arbitrage.harness.grading.plain import parse_number

_LOGS = (r"\log_{10}", r"\ln ")
_BARE_LOG = re.compile(r"\\log(?!\s*_)|(?<![A-Za-z\\])log")


def decide_symbolic(gold: Shape, pred: Shape, context: Context) -> Decision | None:
    """Two leaves, at least one of which holds calculus; passes when either cannot be read without a doubt."""
    if gold.kind is not Kind.LEAF or pred.kind is not Kind.LEAF:
        return None
    if not any(CALCULUS.search(shape.text) for shape in (gold, pred)) or not algebra.load():
        return None
    texts = _source(gold), _source(pred)
    equal: bool | None = None
    for log in _LOGS if any(map(_BARE_LOG.search, texts)) else _LOGS[:1]:
        try:
            left, right = (algebra.value_of(text, log) for text in texts)
        except UnreadableError:
            return None
        except TooLargeError:
            return Decision(False, "symbolic", "too large to be worked out")
        except UndefinedError:
            return Decision(False, "symbolic", "an answer has no value that sympy finds")
        equal = algebra.same_value(left, right, context.tolerance)
        if equal:
            return Decision(True, "symbolic", "the same value, by sympy")
    return Decision(False, "symbolic", "sympy does not decide" if equal is None else "different values, by sympy")


def _source(shape: Shape) -> str:
    """Text for algebra: a plain number as its fraction, and a value without its unit."""
    part = measure(shape.text)
    if part.percent or CALCULUS.search(shape.text):
        return shape.text
    plain = parse_number(compact(part.text))
    return part.text if plain is None else rf"\frac{{{plain.numerator}}}{{{plain.denominator}}}"
