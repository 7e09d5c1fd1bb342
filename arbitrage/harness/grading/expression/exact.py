"""Exact rational value of an expression tree.

Every operation is bounded before it is carried out: a tower of powers, a factorial of a factorial or a sum of a billion
terms raises `TooLargeError` at once. Knows nothing about roots and pi beyond that they are not rational.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from fractions import Fraction

from arbitrage.harness.grading.expression.tree import Node, number

MAX_BITS = 400_000
"""Largest integer that is worked out, about 120,000 digits."""
MAX_FACTORIAL = 20_000
MAX_TERMS = 2_000
"""Longest sum or product that is worked out term by term."""


class TooLargeError(ArithmeticError):
    """Working the value out would take too much time or memory."""


class UndefinedError(ArithmeticError):
    """There is no value: a division by zero, a symbol without a value, a pole."""


Point = Mapping[str, Fraction]
"""Values for the symbols of a tree."""


def exact(node: Node, point: Point) -> Fraction | None:
    """Exact rational value of a tree.

    Args:
        node: the tree.
        point: values of its symbols.

    Returns:
        The value; None when the tree has parts that are not rational as they stand, such as roots and pi.

    Raises:
        TooLargeError: the value exists but is out of proportion.
        UndefinedError: a division by zero or the like.
    """
    if node.op == "num":
        return node.value
    if node.op == "sym":
        return point.get(node.name)
    if node.op in ("sum", "prod"):
        return _big_exact(node, point)
    rule = _EXACT.get(node.op)
    if rule is None:
        return None
    values = []
    for arg in node.args:
        value = exact(arg, point)
        if value is None:
            return None
        values.append(value)
    return rule(*values)


def indices(node: Node, point: Point) -> range | None:
    """Values of the index of a sum or product; None when its bounds are not whole numbers."""
    lower, upper = exact(node.args[1], point), exact(node.args[2], point)
    if lower is None or upper is None or lower.denominator != 1 or upper.denominator != 1:
        return None
    if upper - lower > MAX_TERMS:
        raise TooLargeError("a long sum")
    return range(int(lower), int(upper) + 1)


def _big_exact(node: Node, point: Point) -> Fraction | None:
    span = indices(node, point)
    if span is None:
        return None
    total = Fraction(0 if node.op == "sum" else 1)
    for i in span:
        term = exact(node.args[0], {**point, node.name: Fraction(i)})
        if term is None:
            return None
        total = _bounded(total + term if node.op == "sum" else total * term)
    return total


def power_of(node: Node) -> tuple[int, Node] | None:
    """Smallest whole base and exponent of a tower of powers, the exponent not worked out; None for other trees."""
    if node.op == "num":
        value = node.value
        if value.denominator != 1 or value < 2 or value.numerator.bit_length() > 64:
            return None
        for degree in range(value.numerator.bit_length(), 0, -1):
            root = _integer_root(value.numerator, degree)
            if root is not None:
                return root, number(degree)
    if node.op != "pow":
        return None
    base = power_of(node.args[0])
    return None if base is None else (base[0], Node("mul", (base[1], node.args[1])))


def _power(base: Fraction, exponent: Fraction) -> Fraction | None:
    if exponent.denominator != 1:
        return _rational_root_power(base, exponent)
    n = exponent.numerator
    if base == 0 and n <= 0:
        raise UndefinedError("zero to a power that is not positive")
    if abs(base) == 1:
        return base if n % 2 else Fraction(1)
    if base and abs(n) * max(base.numerator.bit_length(), base.denominator.bit_length()) > MAX_BITS:
        raise TooLargeError("a huge power")
    return base**n


def _rational_root_power(base: Fraction, exponent: Fraction) -> Fraction | None:
    """A power such as 8^(2/3) whose root is rational; None for the others, negative bases included."""
    q = exponent.denominator
    if base < 0 or q > 64:
        return None
    above, below = _integer_root(base.numerator, q), _integer_root(base.denominator, q)
    if above is None or below is None:
        return None
    return _power(Fraction(above, below), Fraction(exponent.numerator))


def _integer_root(value: int, degree: int) -> int | None:
    if value < 2:
        return value
    if degree == 2:
        root = math.isqrt(value)
        return root if root * root == value else None
    low, high = 1, 1 << (value.bit_length() // degree + 1)
    while low < high:
        middle = (low + high + 1) // 2
        if middle**degree <= value:
            low = middle
        else:
            high = middle - 1
    return low if low**degree == value else None


def _root(value: Fraction, degree: Fraction) -> Fraction | None:
    if degree == 0 or degree.denominator != 1:
        return None
    if value < 0 and degree % 2:  # an odd root of a negative number is meant to be real
        positive = _root(-value, degree)
        return None if positive is None else -positive
    return _power(value, 1 / degree)


def _factorial(value: Fraction) -> Fraction | None:
    if value.denominator != 1:
        return None
    if value < 0:
        raise UndefinedError("factorial of a negative number")
    if value > MAX_FACTORIAL:
        raise TooLargeError("a huge factorial")
    return Fraction(math.factorial(int(value)))


def _double_factorial(value: Fraction) -> Fraction | None:
    if value.denominator != 1 or value < -1:
        return None
    if value > MAX_FACTORIAL:
        raise TooLargeError("a huge factorial")
    return Fraction(math.prod(range(int(value), 0, -2)))


def _binomial(above: Fraction, below: Fraction) -> Fraction | None:
    if below.denominator != 1:
        return None
    k = int(below)
    if k < 0:
        return Fraction(0)
    if above.denominator == 1 and above >= 0:
        k = min(k, int(above) - k) if above >= k else k
    if k > MAX_FACTORIAL or k * max(above.numerator.bit_length(), 1) > MAX_BITS:
        raise TooLargeError("a huge binomial coefficient")
    if above.denominator == 1 and above >= 0:
        return Fraction(math.comb(int(above), k))
    result = Fraction(1)
    for i in range(k):
        result *= (above - i) / (i + 1)
    return result


def _divide(above: Fraction, below: Fraction) -> Fraction:
    if below == 0:
        raise UndefinedError("division by zero")
    return above / below


def _integers(combine: Callable[..., int]) -> Callable[..., Fraction | None]:
    def rule(*values: Fraction) -> Fraction | None:
        if any(value.denominator != 1 for value in values):
            return None
        return Fraction(combine(*(int(value) for value in values)))

    return rule


def _bounded(value: Fraction) -> Fraction:
    if value.numerator.bit_length() > 2 * MAX_BITS or value.denominator.bit_length() > 2 * MAX_BITS:
        raise TooLargeError("a huge number")
    return value


_EXACT: dict[str, Callable[..., Fraction | None]] = {
    "add": lambda *values: _bounded(sum(values, Fraction(0))),
    "mul": lambda a, b: _bounded(a * b),
    "div": lambda a, b: _bounded(_divide(a, b)),
    "neg": lambda a: -a,
    "pow": _power,
    "root": _root,
    "factorial": _factorial,
    "double_factorial": _double_factorial,
    "binomial": _binomial,
    "abs": abs,
    "floor": lambda a: Fraction(math.floor(a)),
    "ceil": lambda a: Fraction(math.ceil(a)),
    "max": max,
    "min": min,
    "gcd": _integers(math.gcd),
    "lcm": _integers(math.lcm),
    "degree": lambda a: a,
}
RATIONAL = frozenset(_EXACT)
"""Operations that have a rational value where their arguments do, at least sometimes."""
