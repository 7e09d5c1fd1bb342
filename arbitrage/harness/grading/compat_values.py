"""Whether two texts have the same value to the rules of `compat`: by our own strict reader and arithmetic.

Runs in the grader's child process. Evaluates no text; knows no answers and no units.
"""

from __future__ import annotations

from fractions import Fraction

from arbitrage.harness.grading.compat import close
from arbitrage.harness.grading.equivalence import compare
from arbitrage.harness.grading.equivalence.decision import Context
from arbitrage.harness.grading.equivalence.expressions import agree, constant, same_expression
from arbitrage.harness.grading.expression import (
    Node,
    TooLargeError,
    UndefinedError,
    UnreadableError,
    number,
    read,
    symbols,
)


def same_value(a: str, b: str) -> bool:
    """Whether two texts are the same expression, or constants within the relative tolerance; a `compat.SameValue`."""
    try:
        left, right = read(a), read(b)
        if same_expression(left, right, Context(compare)).equal:
            return left == right or _same_off_the_line(left, right)
        return close(float(constant(left)), float(constant(right)))
    except (UnreadableError, UndefinedError, TooLargeError, TypeError, OverflowError):
        return False  # a TypeError: the value is not real


def _same_off_the_line(left: Node, right: Node) -> bool:
    """Whether two trees also agree at complex values of their letters, as far as they have values there."""
    names = sorted(symbols(left) | symbols(right))
    try:
        return all(agree(*(constant(_placed(node, names, turn)) for node in (left, right))) for turn in range(3))
    except (UndefinedError, TooLargeError):
        return True


def _placed(node: Node, names: list[str], turn: int) -> Node:
    """The tree with a complex number in place of each letter."""
    if node.op == "sym" and node.name in names:
        k = names.index(node.name) + turn
        imaginary = Node("mul", (number(Fraction(3 * k + 2, 7)), Node("sym", name="i")))
        return Node("add", (number(Fraction(-5 * k - 3, 11)), imaginary))
    return Node(node.op, tuple(_placed(arg, names, turn) for arg in node.args), node.name, node.value)
