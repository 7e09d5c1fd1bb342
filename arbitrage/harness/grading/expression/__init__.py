"""One expression: read from LaTeX into a tree, and worked out exactly or to many digits, within bounds."""

from __future__ import annotations

from arbitrage.harness.grading.expression import algebra
from arbitrage.harness.grading.expression.exact import Point, TooLargeError, UndefinedError, exact, power_of
from arbitrage.harness.grading.expression.explicit import CALCULUS
from arbitrage.harness.grading.expression.numeric import Number, numeric
from arbitrage.harness.grading.expression.reader import read
from arbitrage.harness.grading.expression.tree import (
    Node,
    UnreadableError,
    is_endless,
    number,
    operations,
    substitute,
    symbols,
)

__all__ = [
    "CALCULUS",
    "Node",
    "Number",
    "Point",
    "TooLargeError",
    "UndefinedError",
    "UnreadableError",
    "algebra",
    "exact",
    "is_endless",
    "number",
    "numeric",
    "operations",
    "power_of",
    "read",
    "substitute",
    "symbols",
]
