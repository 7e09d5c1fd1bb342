"""Value of an expression tree as a number of many digits, for what is not rational.

Bounded like the exact values: a result out of proportion is refused before it is worked out. The precision is mpmath's
working precision, which the caller sets. Knows nothing about text or about equality of answers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import mpmath  # type: ignore[import-untyped]

from arbitrage.harness.grading.expression.exact import (
    MAX_FACTORIAL,
    RATIONAL,
    Point,
    TooLargeError,
    UndefinedError,
    exact,
    indices,
)
from arbitrage.harness.grading.expression.tree import Node

Number = Any
"""An mpmath real or complex number; mpmath has no type annotations."""


def numeric(node: Node, point: Point, log_base: Fraction | None = None) -> Number:
    """Value of a tree at the working precision of mpmath.

    Args:
        node: the tree.
        point: values of its symbols.
        log_base: base of a logarithm written without one; None stands for e.

    Returns:
        An mpmath real or complex number, possibly infinite.

    Raises:
        TooLargeError: the value exists but is out of proportion.
        UndefinedError: a division by zero, a pole, or a symbol without a value.
    """
    if node.op in RATIONAL or node.op in ("num", "sym"):
        value = exact(node, point)
        if value is not None:
            return mpmath.mpf(value.numerator) / value.denominator
    if node.op == "sym":
        return _constant(node.name, log_base)
    if node.op == "inf":
        return mpmath.inf
    if node.op in ("sum", "prod"):
        return _big_numeric(node, point, log_base)
    args = [numeric(arg, point, log_base) for arg in node.args]
    try:
        value = _apply(node, args)
    except (ValueError, ZeroDivisionError, OverflowError, TypeError, mpmath.libmp.NoConvergence) as error:
        raise UndefinedError(type(error).__name__) from None
    if mpmath.isnan(value):
        raise UndefinedError("not a number")
    return value


def _big_numeric(node: Node, point: Point, log_base: Fraction | None) -> Number:
    span = indices(node, point)
    if span is None:
        raise UndefinedError("a sum without finite bounds")
    total = mpmath.mpf(0 if node.op == "sum" else 1)
    for i in span:
        term = numeric(node.args[0], {**point, node.name: Fraction(i)}, log_base)
        total = total + term if node.op == "sum" else total * term
    return total


def _constant(name: str, log_base: Fraction | None) -> Number:
    if name == r"\pi":
        return +mpmath.pi
    if name == "e":
        return +mpmath.e
    if name == "i":
        return mpmath.mpc(0, 1)
    if name == r"\logbase":
        return +mpmath.e if log_base is None else mpmath.mpf(int(log_base))
    raise UndefinedError("a symbol without a value")


def _apply(node: Node, args: list[Number]) -> Number:
    if node.op == "call":
        return _call(node, args[0])
    if node.op == "opaque":
        return _opaque(node.name, args)
    return _NUMERIC[node.op](*args)


def _call(node: Node, argument: Number) -> Number:
    name = node.name
    if _in_degrees(node.args[0]):
        argument = argument * mpmath.pi / 180
    if name == "exp":
        return _numeric_power(+mpmath.e, argument)
    if abs(argument) > 1e12:
        raise TooLargeError("a function of a huge number")
    function = getattr(mpmath, name.replace("arc", "a"))
    if name in ("tan", "cot", "sec", "csc"):
        denominator = {"tan": mpmath.cos, "sec": mpmath.cos, "cot": mpmath.sin, "csc": mpmath.sin}[name](argument)
        if abs(denominator) < mpmath.mpf(10) ** (-mpmath.mp.dps // 2):
            raise UndefinedError("a pole")
    return function(argument)


def _in_degrees(node: Node) -> bool:
    """Whether an angle is written in degrees: all of it, or a multiple, sum or fraction of degrees."""
    return node.op == "degree" or (node.op in ("add", "mul", "div", "neg") and any(map(_in_degrees, node.args)))


def _opaque(name: str, args: list[Number]) -> Number:
    """A stand-in for an unknown function: fixed for each name, and different for different arguments."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") / 2**32
    total = sum((arg * (k + 1 + seed) for k, arg in enumerate(args)), mpmath.mpf(seed))
    if abs(total) > 1e12:
        raise TooLargeError("a function of a huge number")
    return total * total / 7 + mpmath.sin(total) + 3


def _numeric_power(base: Number, exponent: Number) -> Number:
    if base == 0:
        if mpmath.re(exponent) <= 0:
            raise UndefinedError("zero to a power that is not positive")
        return mpmath.mpf(0)
    size = abs(exponent) * abs(mpmath.log(abs(base)))
    if mpmath.isinf(base) or mpmath.isinf(exponent) or size > 1e9:
        raise TooLargeError("a huge power")
    return base**exponent


def _numeric_root(value: Number, degree: Number) -> Number:
    if degree == 0:
        raise UndefinedError("root of degree zero")
    if mpmath.im(value) == 0 and mpmath.re(value) < 0 and mpmath.im(degree) == 0 and mpmath.re(degree) % 2 == 1:
        return -_numeric_power(-value, 1 / degree)
    return mpmath.sqrt(value) if degree == 2 else _numeric_power(value, 1 / degree)


def _numeric_log(value: Number, base: Number) -> Number:
    if value == 0 or base in (0, 1):
        raise UndefinedError("logarithm")
    return mpmath.log(value) / mpmath.log(base)


def _numeric_gamma(value: Number) -> Number:
    if abs(value) > MAX_FACTORIAL:
        raise TooLargeError("a huge factorial")
    return mpmath.gamma(value + 1)


def _numeric_binomial(above: Number, below: Number) -> Number:
    if max(abs(above), abs(below)) > MAX_FACTORIAL:
        raise TooLargeError("a huge binomial coefficient")
    return mpmath.binomial(above, below)


def _rounded(direction: Callable[[Number], Number]) -> Callable[[Number], Number]:
    """Floor or ceiling that does not fall off an integer by a rounding error in the last digits."""

    def rule(value: Number) -> Number:
        if mpmath.im(value) != 0 or mpmath.isinf(value):
            raise UndefinedError("rounding of a number that is not real")
        nearest = mpmath.nint(value)
        return nearest if abs(value - nearest) < mpmath.mpf(10) ** (-mpmath.mp.dps // 2) else direction(value)

    return rule


def _real_only(combine: Callable[..., Number]) -> Callable[..., Number]:
    def rule(*values: Number) -> Number:
        if any(mpmath.im(value) != 0 for value in values):
            raise UndefinedError("order of numbers that are not real")
        return combine(*(mpmath.re(value) for value in values))

    return rule


def _quotient(above: Number, below: Number) -> Number:
    if below == 0 or (mpmath.isinf(above) and mpmath.isinf(below)):
        raise UndefinedError("division by zero")
    return above / below


def _no_value(*_: Number) -> Number:
    raise UndefinedError("no numeric value")


_NUMERIC: dict[str, Callable[..., Number]] = {
    "add": lambda *values: sum(values, mpmath.mpf(0)),
    "mul": lambda a, b: a * b,
    "div": _quotient,
    "neg": lambda a: -a,
    "pow": _numeric_power,
    "root": _numeric_root,
    "log": _numeric_log,
    "factorial": _numeric_gamma,
    "double_factorial": _no_value,
    "binomial": _numeric_binomial,
    "abs": abs,
    "floor": _rounded(mpmath.floor),
    "ceil": _rounded(mpmath.ceil),
    "max": _real_only(max),
    "min": _real_only(min),
    "gcd": _no_value,
    "lcm": _no_value,
    "degree": lambda a: a,
}
