"""Equality of single expressions: exact where both are rational, else by many digits at many points.

Two expressions are equal when they agree wherever both are real (both defined, for complex ones), at fixed sample
points; agreement is exact for rational values and to more than 35 digits otherwise. A rounding is therefore
never equal to the value it rounds.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import mpmath  # type: ignore[import-untyped]

from arbitrage.harness.grading.equivalence.decision import UNREADABLE, Context, Decision
from arbitrage.harness.grading.equivalence.shape import Kind, Shape
from arbitrage.harness.grading.equivalence.units import Measure, measure, same_unit
from arbitrage.harness.grading.expression import (
    Node,
    Number,
    Point,
    TooLargeError,
    UndefinedError,
    UnreadableError,
    exact,
    is_endless,
    number,
    numeric,
    operations,
    power_of,
    read,
    symbols,
)
from arbitrage.harness.grading.normalise import compact
from arbitrage.harness.grading.plain import parse_number

_CONSTANTS = frozenset({r"\pi", "e", "i", r"\logbase"})
_INTEGER_LETTERS = frozenset("nmkNMKjld")
_DISCRETE = frozenset({"floor", "ceil", "factorial", "double_factorial", "binomial", "sum", "prod", "gcd", "lcm"})
_DIGITS = 80
"""Working precision in decimal digits for expressions with symbols."""
_AGREE = 35
"""Digits that have to agree."""
_MOST_DIGITS = 3000
_REALS = tuple(
    Fraction(a, b)
    for a, b in [(13, 7), (29, 11), (5, 3), (-17, 9), (41, 13), (-3, 7), (2, 5), (-31, 12), (53, 17), (7, 19), (-9, 8),
                 (67, 23), (11, 31), (-47, 29), (19, 6), (83, 37), (-23, 41)]
)  # fmt: skip
_INTEGERS = tuple(map(Fraction, (6, 3, 9, 2, 5, 11, 1, 8, 4, 12, 7, 10, 13)))


def decide_expressions(gold: Shape, pred: Shape, context: Context) -> Decision | None:
    """Two leaves with their units; passes when one of them is beyond the reader, or is a sum without end."""
    if gold.kind is not Kind.LEAF or pred.kind is not Kind.LEAF:
        return None
    a, b = measure(gold.text), measure(pred.text)
    factor = same_unit(a, b)
    try:
        left, right = read_value(a), read_value(b)
    except UnreadableError:
        return None if factor is not None else Decision(False, "unit", "the units differ")
    if (turned := _in_radians(a, b, left, right)) is not None:
        return same_expression(*turned, context)
    if factor is None or _contradict(a, b, left, right):
        return Decision(False, "unit", "the units differ")
    if left != right and (is_endless(left) or is_endless(right)):
        return None
    if factor != 1:
        right = Node("mul", (right, number(factor)))
    decision = same_expression(left, right, context)
    if decision.equal:
        return decision
    for p, q in _other_readings(a, b, left, right, context):
        other = same_expression(p, q, context)
        if other.equal:
            return other
    return decision


def decide_unread(gold: Shape, pred: Shape, context: Context) -> Decision | None:
    """Two leaves that no decider could compare: says what is wrong with them."""
    if gold.kind is not Kind.LEAF or pred.kind is not Kind.LEAF:
        return None
    try:
        for shape in (gold, pred):
            read_value(measure(shape.text))
    except UnreadableError as error:
        return Decision(False, UNREADABLE, f"an answer could not be read: {error}")
    return Decision(False, "numeric", "an answer has no value")


def read_value(part: Measure) -> Node:
    """Tree of a measured leaf; a plain number is read exactly whatever its notation.

    Raises:
        UnreadableError: the text is not an expression.
    """
    plain = parse_number(compact(part.text))
    return number(plain) if plain is not None else read(part.text)


def same_expression(left: Node, right: Node, context: Context) -> Decision:
    """Compare two trees by value."""
    if left == right:
        return Decision(True, "structure", "the same expression")
    free = (symbols(left) | symbols(right)) - _CONSTANTS
    bases: tuple[Fraction | None, ...] = (Fraction(10), None)
    if r"\logbase" not in symbols(left) | symbols(right):
        bases = (None,)
    decision = Decision(False, "numeric", "the values differ")
    for base in bases:
        try:
            if free:
                decision = _same_symbolic(left, right, sorted(free), base)
            else:
                decision = _same_constant(left, right, base, context)
        except TooLargeError:
            return _same_power(left, right, context)
        if decision.equal:
            break
    return decision


def _same_power(left: Node, right: Node, context: Context) -> Decision:
    """Towers too large to be worked out: equal when base and exponent are, such as `4^{500000}` and `2^{1000000}`."""
    a, b = power_of(left), power_of(right)
    if a is not None and b is not None and a[0] == b[0] and same_expression(a[1], b[1], context).equal:
        return Decision(True, "structure", "the same power of the same base")
    return Decision(False, "structure", "too large to be worked out, and written differently")


def constant(node: Node) -> Number:
    """Value of a tree without free symbols, to about 50 digits.

    Raises:
        UndefinedError: there are free symbols or there is no value.
        TooLargeError: the value is out of proportion.
    """
    with mpmath.workdps(_DIGITS):
        return numeric(node, {}, Fraction(10))


def ratios(left: Node, right: Node) -> Iterator[Number | Fraction]:
    """Quotient of two trees at sample points where both have a value; left over a zero of right gives infinity."""
    names = sorted((symbols(left) | symbols(right)) - _CONSTANTS)
    with mpmath.workdps(_DIGITS):
        for point in _points(names, frozenset()):
            try:
                above, below = (_value(node, point, Fraction(10)) for node in (left, right))
            except (UndefinedError, TooLargeError):
                continue
            if above == 0 and below == 0:
                continue
            if below == 0:
                yield mpmath.inf
            elif isinstance(above, Fraction) and isinstance(below, Fraction):
                yield above / below
            else:
                yield _float(above) / _float(below)


def agree(a: Number | Fraction, b: Number | Fraction) -> bool:
    """Whether two values are the same: exactly for fractions, to 35 digits otherwise."""
    if isinstance(a, Fraction) and isinstance(b, Fraction):
        return a == b
    a, b = _float(a), _float(b)
    if mpmath.isinf(a) or mpmath.isinf(b):
        return bool(a == b)
    size = max(abs(a), abs(b))
    return bool(abs(a - b) <= size * mpmath.mpf(10) ** -_AGREE or size <= mpmath.mpf(10) ** (10 - _DIGITS))


def _float(value: Number | Fraction) -> Number:
    return mpmath.mpf(value.numerator) / value.denominator if isinstance(value, Fraction) else value


def _value(node: Node, point: Point, base: Fraction | None) -> Number | Fraction:
    try:
        value = exact(node, point)
    except TooLargeError:
        value = None
    return numeric(node, point, base) if value is None else value


def _same_constant(left: Node, right: Node, base: Fraction | None, context: Context) -> Decision:
    try:
        a, b = exact(left, {}), exact(right, {})
    except UndefinedError:
        return Decision(False, "exact", "an answer has no value")
    if a is not None and b is not None:
        if context.tolerance is not None and abs(a - b) <= context.tolerance:
            return Decision(True, "exact", "within the tolerance of the reference")
        return Decision(a == b, "exact", "the same number" if a == b else "different numbers")
    try:
        with mpmath.workdps(_DIGITS):
            size = max(abs(numeric(left, {}, base)), abs(numeric(right, {}, base)))
            if mpmath.isinf(size):
                return _same_infinity(numeric(left, {}, base), numeric(right, {}, base))
            magnitude = int(mpmath.log10(size)) if size else 0
        if magnitude > _MOST_DIGITS:
            raise TooLargeError("a huge number")
        with mpmath.workdps(_DIGITS + max(0, magnitude)):
            x, y = numeric(left, {}, base), numeric(right, {}, base)
            if context.tolerance is not None:
                equal = bool(abs(x - y) <= _float(context.tolerance))
            else:
                equal = bool(abs(x - y) <= mpmath.mpf(10) ** -_AGREE * min(mpmath.mpf(1), size))
                equal = equal or size <= mpmath.mpf(10) ** (10 - _DIGITS)
    except UndefinedError:
        return Decision(False, "numeric", "an answer has no value")
    return Decision(equal, "numeric", "the same number to many digits" if equal else "different numbers")


def _same_infinity(a: Number, b: Number) -> Decision:
    equal = bool(a == b)
    return Decision(equal, "numeric", "the same infinity" if equal else "different values")


def _same_symbolic(left: Node, right: Node, names: list[str], base: Fraction | None) -> Decision:
    used = operations(left) | operations(right)
    discrete = frozenset(name for name in names if used & _DISCRETE and name in _INTEGER_LETTERS)
    complex_valued = "i" in symbols(left) | symbols(right)
    real_matches = complex_matches = complex_misses = 0
    with mpmath.workdps(_DIGITS):
        for point in _points(names, discrete):
            try:
                a, b = _value(left, point, base), _value(right, point, base)
            except UndefinedError:
                continue
            same = _agree_at(left, right, point, base, a, b)
            if complex_valued or (_is_real(a) and _is_real(b)):
                if not same:
                    return Decision(False, "numeric", "the expressions differ")
                real_matches += 1
            elif same:
                complex_matches += 1
            else:
                complex_misses += 1
    equal = real_matches >= 2 or (real_matches + complex_matches >= 3 and not complex_misses)
    reason = "the same values wherever both are defined" if equal else "no common values"
    return Decision(equal, "numeric", reason)


def _agree_at(
    left: Node, right: Node, point: Point, base: Fraction | None, a: Number | Fraction, b: Number | Fraction
) -> bool:
    """Whether two trees agree at a point; a large value does not hide a small difference.

    Raises:
        TooLargeError: the values have too many digits.
    """
    if (isinstance(a, Fraction) and isinstance(b, Fraction)) or not agree(a, b):
        return agree(a, b)
    size = max(abs(_float(a)), abs(_float(b)))
    digits = int(mpmath.log10(size)) if size > 1 and not mpmath.isinf(size) else 0
    if digits > _MOST_DIGITS:
        raise TooLargeError("a huge number")
    if digits <= _DIGITS - 2 * _AGREE:
        return True
    with mpmath.workdps(_DIGITS + digits):
        x, y = (_float(_value(node, point, base)) for node in (left, right))
        return bool(abs(x - y) <= mpmath.mpf(10) ** -_AGREE)


def _is_real(value: Number | Fraction) -> bool:
    return isinstance(value, Fraction) or abs(mpmath.im(value)) <= abs(value) * mpmath.mpf(10) ** -_AGREE


def _points(names: list[str], discrete: frozenset[str]) -> Iterator[Point]:
    for trial in range(len(_REALS)):
        pools = [_INTEGERS if name in discrete else _REALS for name in names]
        yield {name: pool[(trial + 4 * j) % len(pool)] for j, (name, pool) in enumerate(zip(names, pools, strict=True))}
    for trial in range(len(_INTEGERS)):  # whole numbers for every symbol: (-1)^n and its like are real only there
        yield {name: _INTEGERS[(trial + 5 * j) % len(_INTEGERS)] for j, name in enumerate(names)}


def _in_radians(a: Measure, b: Measure, left: Node, right: Node) -> tuple[Node, Node] | None:
    """Both sides in radians when one says radians and the other degrees; None otherwise."""
    kinds = _measured(a, left), _measured(b, right)
    if sorted(kinds) != ["angle", "arc"]:
        return None
    turn = Node("div", (Node("sym", name=r"\pi"), number(180)))
    return (Node("mul", (left, turn)), right) if kinds[0] == "angle" else (left, Node("mul", (right, turn)))


def _contradict(a: Measure, b: Measure, left: Node, right: Node) -> bool:
    """Whether both sides say what they measure, and one of them by a percent or degree sign that the other lacks."""
    first, second = _measured(a, left), _measured(b, right)
    return bool(first and second) and first != second and not (a.unit and b.unit)


def _measured(part: Measure, node: Node) -> str:
    """What a side says that it measures, by a unit or a sign; empty when it does not say."""
    if part.percent:
        return "percent"
    return part.unit[0] if part.unit else "angle" if "degree" in operations(node) else ""


def _other_readings(a: Measure, b: Measure, left: Node, right: Node, context: Context) -> Iterator[tuple[Node, Node]]:
    """Readings that one-sided signs allow: a percentage as its fraction, degrees as radians."""
    hundred = number(100)
    if a.percent != b.percent and context.tolerance is None:
        yield (Node("div", (left, hundred)), right) if a.percent else (left, Node("div", (right, hundred)))
    if ("degree" in operations(left)) != ("degree" in operations(right)):
        half_turn = Node("div", (Node("sym", name=r"\pi"), number(180)))
        if "degree" in operations(left) and r"\pi" in symbols(right):
            yield Node("mul", (left, half_turn)), right
        if "degree" in operations(right) and r"\pi" in symbols(left):
            yield left, Node("mul", (right, half_turn))
