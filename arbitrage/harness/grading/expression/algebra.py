r"""Integrals, infinite sums, limits and derivatives by computer algebra: latex2sympy2_extended reads, sympy works out.

Both libraries are loaded on demand, by `load`. Only text that `explicit` has written out reaches them, no text is ever
evaluated as code, and what could grow without bound is refused before anything is worked out. Without them every
reading fails, so that nothing is decided here.
"""

from __future__ import annotations

import functools
import importlib
from fractions import Fraction
from typing import Any

from arbitrage.harness.grading.expression.exact import MAX_TERMS, TooLargeError, UndefinedError
from arbitrage.harness.grading.expression.explicit import explicit
from arbitrage.harness.grading.expression.tree import UnreadableError

Expression = Any
"""A sympy expression."""

MAX_EXPONENT = 1000
"""Largest exponent, factorial or binomial coefficient that is worked out."""
MAX_NUMBER = 10**30
_DIGITS = 60
_AGREE = Fraction(1, 10**40)
_EXAMPLE = r"\int_{0}^{1} (\frac{(x)^{2}}{2}) dx"


@functools.cache
def load() -> bool:
    """Load the libraries and warm them up, which takes a second or two; whether they are there."""
    try:
        _parse(_EXAMPLE).doit()
    except ImportError:
        return False
    return True


@functools.lru_cache(maxsize=256)
def value_of(text: str, log: str) -> Expression:
    r"""What normalised text comes to, in closed form.

    Args:
        text: output of `normalise`.
        log: what a logarithm without a base is written as: `\ln` or `\log_{10}`.

    Returns:
        The expression worked out as far as sympy can: `is_closed` says whether an integral or the like is left.

    Raises:
        UnreadableError: one of the two readers refuses the text, or the libraries are missing.
        TooLargeError: working it out would be out of proportion.
        UndefinedError: there is no value, or sympy fails.
    """
    written = explicit(text, log)
    try:
        raw = _parse(written)
    except MemoryError:
        raise
    except Exception as error:  # the reader raises bare exceptions
        raise UnreadableError(f"refused by latex2sympy2: {type(error).__name__}") from None
    sympy = _sympy()
    if not isinstance(raw, sympy.Expr):
        raise UnreadableError("not an expression")
    _check_size(raw)
    try:
        value = _only_where_defined(_rebuilt(raw, _is_two_sided(written)).doit())
    except (MemoryError, UndefinedError, UnreadableError):
        raise
    except Exception as error:  # sympy fails in every way there is
        raise UndefinedError(f"not worked out: {type(error).__name__}") from None
    if value.has(sympy.nan, sympy.zoo, sympy.AccumBounds):
        raise UndefinedError("there is no value")
    return value


def is_closed(value: Expression) -> bool:
    """Whether no integral, sum, product, limit or derivative is left in a value."""
    return not bool(value.has(*_operators(), _sympy().Piecewise))


def same_value(a: Expression, b: Expression, tolerance: Fraction | None = None) -> bool | None:
    """Whether two values are equal.

    Args:
        a: result of `value_of`.
        b: another one.
        tolerance: absolute tolerance for numbers; None compares exactly.

    Returns:
        True only when sympy proves it, by structure, simplification or its own test; None when it cannot tell.
    """
    sympy = _sympy()
    try:
        if a == b or a.as_dummy() == b.as_dummy():
            return True
        if not (is_closed(a) and is_closed(b)):
            return None
        if a.has(sympy.oo, -sympy.oo) or b.has(sympy.oo, -sympy.oo):
            return False if a.is_infinite is not None and a.is_infinite != b.is_infinite else None
        difference = a - b
        if not difference.free_symbols:
            apart = abs(difference.evalf(_DIGITS))
            if not apart.is_Float and not apart.is_Rational:
                return None
            if tolerance is not None and apart <= sympy.Rational(tolerance.numerator, tolerance.denominator):
                return True
            if apart > sympy.Rational(_AGREE.numerator, _AGREE.denominator):
                return False
        if sympy.simplify(difference) == 0:
            return True
        if difference.has(sympy.I) and sympy.simplify(sympy.expand_complex(difference)) == 0:
            return True
        proved = difference.equals(0)
    except MemoryError:
        raise
    except Exception:  # sympy fails in every way there is
        return None
    return None if proved is None else bool(proved)


def _sympy() -> Any:
    return importlib.import_module("sympy")


def _operators() -> tuple[Any, ...]:
    sympy = _sympy()
    return sympy.Integral, sympy.Sum, sympy.Product, sympy.Limit, sympy.Derivative


def _parse(written: str) -> Expression:
    reader = importlib.import_module("latex2sympy2_extended.latex2sympy2")
    config = reader.ConversionConfig(lowercase_symbols=False)
    return reader.latex2sympy(written, is_real=True, normalization_config=None, conversion_config=config)


def _check_size(raw: Expression) -> None:
    """Refuse numbers, powers, factorials and ranges out of proportion; nothing has been worked out yet.

    Raises:
        TooLargeError: there is one.
    """
    sympy = _sympy()
    growing = (sympy.Pow, sympy.factorial, sympy.binomial)
    for node in sympy.preorder_traversal(raw):
        if node.is_Rational and max(abs(node.p), node.q) > MAX_NUMBER:
            raise TooLargeError("a huge number")
        if isinstance(node, growing):
            for arg in node.args[1:] or node.args:
                if not arg.free_symbols and arg.is_finite is not False:
                    _check_small(arg, MAX_EXPONENT)
        if isinstance(node, (sympy.Sum, sympy.Product)):
            for _, *bounds in node.limits:
                for bound in bounds:
                    if not bound.free_symbols and bound.is_finite is not False:
                        _check_small(bound, MAX_TERMS)


def _check_small(constant: Expression, most: int) -> None:
    sympy = _sympy()
    if constant.has(sympy.factorial, sympy.binomial, sympy.exp, *_operators()) or any(
        power.exp.is_Integer is not True and power.exp.has(sympy.Pow) for power in constant.atoms(sympy.Pow)
    ):
        raise TooLargeError("a tower of powers")
    for number in constant.atoms(sympy.Rational):
        if abs(number) > most:
            raise TooLargeError("a huge power or a long sum")
    if not abs(constant.evalf(15)) <= most:
        raise TooLargeError("a huge power or a long sum")


def _is_two_sided(written: str) -> bool:
    """Whether the limits of a text are; one text holds limits of one sort only.

    Raises:
        UnreadableError: it holds both sorts.
    """
    marked = written.count("^{+}") + written.count("^{-}")
    if marked not in (0, written.count(r"\lim")):
        raise UnreadableError("limits of both sorts")
    return not marked


def _rebuilt(node: Expression, two_sided: bool) -> Expression:
    """The expression with its arithmetic carried out and its integrals and sums left, read as mathematicians do.

    The letter i is the imaginary unit unless something binds it, an index is a whole number, and a limit without a side
    has to hold from both.
    """
    sympy = _sympy()
    free_i = [symbol for symbol in node.free_symbols if symbol.name == "i"]
    if free_i and not any(free_i[0] in big.bound_symbols for big in node.atoms(*_operators()) if big.args[1:]):
        node = node.xreplace({free_i[0]: sympy.I})
    return _worked_up(node, two_sided)


def _worked_up(node: Expression, two_sided: bool) -> Expression:
    sympy = _sympy()
    if not node.args:
        return node
    if isinstance(node, sympy.Limit):
        body, variable, target, side = node.args
        body, target = _worked_up(body, two_sided), _worked_up(target, two_sided)
        return sympy.Limit(body, variable, target, "+-" if two_sided and target.is_finite is not False else str(side))
    if isinstance(node, sympy.Derivative):
        (variable, order), body = node.args[1], _worked_up(node.expr, two_sided)
        if body.free_symbols != {variable} or order != 1:
            raise UnreadableError("a derivative of something unknown")
        return sympy.Derivative(body, variable)
    if isinstance(node, (sympy.Sum, sympy.Product)):
        index, lower, upper = node.limits[0]
        whole = sympy.Symbol(index.name, integer=True)
        body = _worked_up(node.function, two_sided).xreplace({index: whole})
        bounds = (whole, _worked_up(lower, two_sided), _worked_up(upper, two_sided))
        return node.func(body, bounds, *node.limits[1:])
    if isinstance(node, sympy.Tuple):
        return sympy.Tuple(*(_worked_up(arg, two_sided) for arg in node.args))
    return node.func(*(_worked_up(arg, two_sided) for arg in node.args))


def _only_where_defined(value: Expression) -> Expression:
    """A value in cases, the last of which says that there is none, as its only other case."""
    sympy = _sympy()

    def first(piecewise: Expression) -> Expression:
        (case, _), *others = piecewise.args
        undefined = all(other.has(*_operators()) for other, _ in others)
        return case if others and undefined and not case.has(*_operators()) else piecewise

    return value.replace(lambda node: isinstance(node, sympy.Piecewise), first)
