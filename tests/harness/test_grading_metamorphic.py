"""What may and what may not change a grade, on answers made at random: rewritings, wrong answers, both directions.

A maker makes one answer together with texts that say the same and texts that say something else, both known from how
the answer was made and not from the grader. Everything is drawn from fixed seeds.
"""

from __future__ import annotations

import functools
import itertools
import json
import os
import random
import re
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import pytest
import sympy  # type: ignore[import-untyped]

from arbitrage.harness.grading import grade

FOLDER = Path(os.environ.get("ARBITRAGE_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data")
ROUNDS = 8
"""Answers of each kind."""


@dataclass(frozen=True)
class Made:
    """An answer and what is known about it."""

    text: str
    same: tuple[str, ...]
    """Texts that say the same."""
    other: tuple[str, ...]
    """Texts that say something else."""
    value: Hashable
    """Answers of one kind say the same exactly when their values are equal."""


Maker = Callable[[random.Random], Made]
MAKERS: dict[str, Maker] = {}


def maker(make: Maker) -> Maker:
    """Register a kind of answer under the function's name."""
    MAKERS[make.__name__] = make
    return make


def nonzero(rng: random.Random, most: int = 12) -> int:
    """A whole number that is not zero."""
    return rng.choice((-1, 1)) * rng.randint(1, most)


def ratio(rng: random.Random, most: int = 30) -> Fraction:
    """A fraction that is no whole number."""
    while (value := Fraction(nonzero(rng, most), rng.randint(2, 12))).denominator == 1:
        pass
    return value


def tex(value: Fraction | int) -> str:
    """LaTeX of a rational number."""
    value = Fraction(value)
    if value.denominator == 1:
        return str(value)
    return rf"{'-' if value < 0 else ''}\frac{{{abs(value.numerator)}}}{{{value.denominator}}}"


def frac(above: int, below: int) -> str:
    """A fraction as written, whether it is in lowest terms or not."""
    return rf"\frac{{{above}}}{{{below}}}"


def root(coefficient: int, radicand: int) -> str:
    """A multiple of a square root."""
    return rf"{coefficient}\sqrt{{{radicand}}}"


def latex(expression: object) -> str:
    """LaTeX as sympy prints it."""
    return str(sympy.latex(expression, ln_notation=True))


def shuffled(rng: random.Random, items: list[str]) -> list[str]:
    """The items in another order, where there is one."""
    return next(order for order in iter(lambda: rng.sample(items, len(items)), None) if order != items)


def joined(terms: list[str]) -> str:
    """A sum of terms, some of which begin with a minus sign."""
    return re.sub(r"\+-", "-", "+".join(terms))


def distinct(rng: random.Random, count: int, most: int = 60) -> list[int]:
    """Different whole numbers."""
    return rng.sample(range(-most, most + 1), count)


# -- numbers


@maker
def integer(rng: random.Random) -> Made:
    n = nonzero(rng, 9_999_999) + 10_000
    digits = f"{n:,}"
    same: tuple[str, ...] = (
        digits, digits.replace(",", "{,}"), digits.replace(",", r",\!"), digits.replace(",", r"\,"), f"{n}.0",
        f"({n})",
    )  # fmt: skip
    same += (
        rf"\frac{{{3 * n}}}{{3}}", rf"x={n}", rf"{n - 7}+7", rf"\sqrt{{{n * n}}}" if n > 0 else rf"-\sqrt{{{n * n}}}",
    )  # fmt: skip
    swapped = str(n)[:-2] + str(n)[-1] + str((int(str(n)[-2]) + 1) % 10)
    other = (
        f"{n + 1}", f"{n - 1}", f"{-n}", f"{n}0", str(n)[:-1], f"{n}.5", f"{n}x", rf"\frac{{1}}{{{n}}}", f"{n},{n}",
    )  # fmt: skip
    return Made(str(n), same, (*other, swapped) if int(swapped) != n else other, n)


@maker
def fraction(rng: random.Random) -> Made:
    value = ratio(rng, 400)
    p, q = value.numerator, value.denominator
    same: tuple[str, ...] = (
        rf"\frac{{{p}}}{{{q}}}", f"{p}/{q}", rf"\frac{{{-p}}}{{{-q}}}", rf"\frac{{{7 * p}}}{{{7 * q}}}",
        rf"{p} \cdot \frac{{1}}{{{q}}}",
    )  # fmt: skip
    if abs(p) > q:
        whole, rest = divmod(abs(p), q)
        same += (rf"{'-' if p < 0 else ''}{whole}\frac{{{rest}}}{{{q}}}",)
    decimal = f"{p / q:.6f}".rstrip("0")
    if Fraction(decimal) == value:
        same += (decimal,)
    other: tuple[str, ...] = (
        tex(value + 1), tex(-value), tex(1 / value), tex(Fraction(p, q + 1)), tex(Fraction(p + 1, q)), f"{p}",
        f"{p},{q}",
    )  # fmt: skip
    other += (
        rf"\frac{{{p}}}{{{q}}}x", f"({p},{q})",
        f"{p / q:.3f}" if Fraction(f"{p / q:.3f}") != value else f"{p / q + 0.001:.4f}",
    )  # fmt: skip
    return Made(tex(value), same, other, value)


@maker
def radical(rng: random.Random) -> Made:
    a, b, c, d = nonzero(rng), nonzero(rng), rng.choice((2, 3, 5, 6, 7, 10, 11, 13)), rng.randint(2, 9)
    value = (a + b * sympy.sqrt(c)) / d
    text = rf"\frac{{{joined([str(a), root(b, c)])}}}{{{d}}}"
    same: tuple[str, ...] = (
        latex(value), latex(sympy.expand(value)), latex(sympy.factor(value)),
        latex(sympy.radsimp(1 / sympy.expand(1 / value))),
    )  # fmt: skip
    same += (
        rf"\frac{{{joined([root(b, c), str(a)])}}}{{{d}}}", rf"\frac{{{a}}}{{{d}}}+\frac{{{b}}}{{{d}}}\sqrt{{{c}}}",
    )  # fmt: skip
    same += (rf"\left({a}+{b}\sqrt{{{c}}}\right)/{d}", rf"\frac{{{2 * a}+{root(b, 4 * c)}}}{{{2 * d}}}")
    wrong = [
        (a + 1, b, c, d),
        (a, b + 1, c, d),
        (a, b, c + 1, d),
        (a, b, c, d + 1),
        (-a, b, c, d),
        (a, -b, c, d),
        (a, b, c * 4, d),
    ]
    other = tuple(rf"\frac{{{e}+{f}\sqrt{{{g}}}}}{{{h}}}" for e, f, g, h in wrong)
    return Made(
        text, same, (*other, str(sympy.N(value, 8)), str(sympy.N(value, 20))), (Fraction(a, d), Fraction(b, d), c),
    )  # fmt: skip


@maker
def nested_radical(rng: random.Random) -> Made:
    a, b, n = rng.randint(2, 9), rng.choice((2, 3, 5, 7)), rng.randint(2, 5)
    text = rf"\sqrt{{{a * a + b}+{2 * a}\sqrt{{{b}}}}}+\sqrt[{n + 1}]{{{b}}}"
    same = (
        rf"{a}+\sqrt{{{b}}}+{b}^{{1/{n + 1}}}", rf"\sqrt[{n + 1}]{{{b}}}+\sqrt{{{b}}}+{a}",
        rf"{a}+\sqrt{b}+{b}^{{\frac{{1}}{{{n + 1}}}}}",
    )  # fmt: skip
    other = (
        rf"{a}-\sqrt{{{b}}}+{b}^{{1/{n + 1}}}", rf"{a}+\sqrt{{{b}}}+{b}^{{1/{n + 2}}}", rf"{a}+2\sqrt{{{b}}}",
        rf"{a + 1}+\sqrt{{{b}}}+\sqrt[{n + 1}]{{{b}}}",
    )  # fmt: skip
    return Made(text, same, other, (a, b, n))


@maker
def multiple_of_pi(rng: random.Random) -> Made:
    value = ratio(rng)
    p, q = value.numerator, value.denominator
    same: tuple[str, ...] = (
        rf"\frac{{{p}}}{{{q}}}\pi", rf"{p}\pi/{q}",
        rf"\frac{{\pi}}{{{q}}}\cdot {p}" if p > 0 else rf"-\frac{{\pi}}{{{q}}}\cdot {-p}", rf"\pi \cdot {tex(value)}",
    )  # fmt: skip
    same += (
        latex(sympy.Rational(p, q) * sympy.pi), rf"{p * 180}^\circ/{q}" if 180 * p % q else rf"{p * 180 // q}^\circ",
    )  # fmt: skip
    other = (
        rf"\frac{{{p + 1}\pi}}{{{q}}}", rf"\frac{{{p}\pi}}{{{q + 1}}}", rf"-({tex(value)}\pi)", tex(value),
        rf"\frac{{{p}\pi^2}}{{{q}}}", rf"\frac{{{p}}}{{{q}\pi}}",
    )  # fmt: skip
    return Made(rf"\frac{{{p}\pi}}{{{q}}}", same, (*other, f"{float(value) * 3.14159265358979:.8f}"), value)


@maker
def power(rng: random.Random) -> Made:
    a, n = rng.choice((2, 3, 5, 7, 11)), rng.randint(30, 900)
    same = (
        rf"{a} \cdot {a}^{{{n - 1}}}", rf"{a}^{{{n - 3}}}\times {a**3}", rf"\frac{{{a}^{{{n + 2}}}}}{{{a * a}}}",
        rf"{a}^{{{n - 20}+20}}", f"{a}^({n})",
    )  # fmt: skip
    other = (
        rf"{a}^{{{n + 1}}}", rf"{a + 1}^{{{n}}}", rf"{a}^{{-{n}}}", rf"-{a}^{{{n}}}", rf"{a}^{{{n}}}+1",
        rf"{a}^{{{n}}}-1", f"{a} \\cdot {n}", rf"{n}^{{{a}}}", rf"{a}_{{{n}}}",
    )  # fmt: skip
    return Made(rf"{a}^{{{n}}}", same, other, (a, n))


@maker
def scientific(rng: random.Random) -> Made:
    m, n = rng.randint(11, 99), rng.choice((-9, -6, -4, 5, 8, 17, 40))
    digits = f"{m // 10}.{m % 10}" if m % 10 else f"{m // 10}.0"
    same = (
        rf"{digits} \cdot 10^{{{n}}}", f"{digits}e{n}", f"{digits}E{n}", rf"{m} \times 10^{{{n - 1}}}",
        f"{digits}*10^({n})",
    )  # fmt: skip
    other = (
        rf"{digits} \times 10^{{{n + 1}}}", rf"{digits} \times 10^{{{-n}}}",
        rf"{m // 10 + 1}.{m % 10} \times 10^{{{n}}}", rf"-{digits} \times 10^{{{n}}}", rf"{digits} \times 11^{{{n}}}",
    )  # fmt: skip
    return Made(rf"{digits} \times 10^{{{n}}}", same, other, Fraction(m, 10) * Fraction(10) ** n)


@maker
def complex_number(rng: random.Random) -> Made:
    a, b = nonzero(rng, 40), rng.choice((-1, 1)) * rng.randint(2, 40)
    same = (
        joined([f"{b}i", str(a)]), joined([str(a), rf"i\cdot {b}" if b > 0 else f"{b}i"]),
        rf"\frac{{{joined([str(3 * a), f'{3 * b}i'])}}}{{3}}", rf"{b}i+{a}" if a > 0 else f"{b}i{a}",
        f"z={joined([str(a), f'{b}i'])}",
    )  # fmt: skip
    other = tuple(
        joined([str(e), f"{f}i"])
        for e, f in ((a + 1, b), (a, b + 1), (-a, b), (a, -b), (b, a), (a, 2 * b))
        if (e, f) != (a, b)
    )
    return Made(joined([str(a), f"{b}i"]), same, (*other, str(a), f"{b}i", f"({a},{b})", f"{a},{b}i"), (a, b))


@maker
def logarithm(rng: random.Random) -> Made:
    a, b = rng.randint(2, 9), rng.choice((2, 3, 5, 7))
    same = (rf"\ln {b**a}", rf"\ln({b}^{{{a}}})", rf"\log({b}^{a})", latex(a * sympy.log(b)))
    other = (rf"{a}+\ln {b}", rf"{a + 1}\ln {b}", rf"{a}\ln {b + 1}", rf"(\ln {b})^{{{a}}}", rf"-{a}\ln {b}")
    return Made(rf"{a}\ln {b}", same, other, (a, b))


@maker
def logarithm_with_a_base(rng: random.Random) -> Made:
    b = rng.randint(2, 30)
    same = (
        rf"\frac{{\ln {b + 1}}}{{\ln {b}}}", rf"\frac{{\log {b + 1}}}{{\log {b}}}",
        rf"\log_{{{b * b}}}({(b + 1) ** 2})",
    )  # fmt: skip
    other = (rf"\log_{{{b + 1}}} {b}", rf"\log_{{{b}}} {b + 2}", rf"\ln {b + 1}", rf"-\log_{{{b}}} {b + 1}")
    return Made(rf"\log_{{{b}}} {b + 1}", same, other, b)


@maker
def exponential(rng: random.Random) -> Made:
    a, c = rng.randint(2, 9), rng.randint(2, 6)
    same = (rf"-{c}+e^{{{a}}}", rf"e\cdot e^{{{a - 1}}}-{c}", rf"\exp({a})-{c}")
    other = (
        rf"e^{{{a + 1}}}-{c}", rf"e^{{{a}}}+{c}", rf"e^{{-{a}}}-{c}", rf"{c}-e^{{{a}}}", rf"e^{{{a}-{c}}}",
        rf"3^{{{a}}}-{c}", rf"2.718281828^{{{a}}}-{c}",
    )  # fmt: skip
    return Made(rf"e^{{{a}}}-{c}", same, other, (a, c))


@maker
def inverse_function(rng: random.Random) -> Made:
    b, c = rng.choice((2, 3, 5, 7)), rng.choice((11, 13, 17))
    same = (
        rf"\tan^{{-1}}\left({frac(b, c)}\right)", rf"\frac{{\pi}}{{2}}-\arctan{frac(c, b)}", rf"\arctan({b}/{c})",
    )  # fmt: skip
    other = (
        rf"\arctan{frac(c, b)}",
        rf"\arcsin{frac(b, c)}",
        frac(b, c),
        rf"\tan{frac(b, c)}",
        rf"-\arctan{frac(b, c)}",
    )
    return Made(rf"\arctan {frac(b, c)}", same, other, (b, c))


@maker
def trigonometric(rng: random.Random) -> Made:
    a = rng.randint(1, 8)
    same = (
        rf"\cos {90 - 10 * a}^\circ", rf"2\sin {5 * a}^\circ\cos {5 * a}^\circ", rf"\sin\frac{{{a}\pi}}{{18}}",
        rf"\sin {180 - 10 * a}^\circ",
    )  # fmt: skip
    other = (
        rf"\cos {10 * a + 7}^\circ", rf"\sin {10 * a + 1}^\circ", rf"-\sin {10 * a}^\circ", rf"\tan {10 * a}^\circ",
        rf"\sin {10 * a}", rf"{10 * a}^\circ",
    )  # fmt: skip
    return Made(rf"\sin {10 * a}^\circ", same, other, a)


@maker
def repeating(rng: random.Random) -> Made:
    whole, period = rng.randint(0, 9), rng.choice(("3", "6", "12", "45", "142857", "027", "18"))
    value = whole + Fraction(int(period), 10 ** len(period) - 1)
    same = (
        rf"{whole}.\bar{{{period}}}", f"{whole}.{period * 4}...", rf"{whole}.{period * 4}\ldots", tex(value),
        rf"{whole}.{period}\overline{{{period}}}",
    )  # fmt: skip
    other = (
        f"{whole}.{period}", f"{whole}.{period * 4}", rf"{whole + 1}.\overline{{{period}}}",
        rf"{whole}.\overline{{{period}1}}", rf"{whole}.0\overline{{{period}}}", rf"-({tex(value)})",
    )  # fmt: skip
    return Made(rf"{whole}.\overline{{{period}}}", same, other, value)


# -- expressions


X, Y = sympy.symbols("x y")


def terms(rng: random.Random, coefficients: list[tuple[int, str]]) -> list[str]:
    """Terms of a sum in random order."""
    found = [
        f"{c}{letters}" if abs(c) != 1 or not letters else f"{'-' if c < 0 else ''}{letters}"
        for c, letters in coefficients
    ]
    return rng.sample(found, len(found))


@maker
def polynomial(rng: random.Random) -> Made:
    roots = [nonzero(rng, 9) for _ in range(rng.randint(2, 4))]
    lead = nonzero(rng, 5)
    factored = lead * sympy.prod(X + root for root in roots)
    value = sympy.expand(factored)
    coefficients = [(int(c), f"x^{{{m[0]}}}" if m[0] > 1 else "x" * m[0]) for m, c in sympy.Poly(value, X).terms()]
    same: tuple[str, ...] = (
        latex(factored), latex(sympy.factor(value)), latex(sympy.horner(value)), joined(terms(rng, coefficients)),
        rf"\frac{{{latex(3 * value)}}}{{3}}", f"f(x)={latex(value)}",
    )  # fmt: skip
    same += (
        f"{lead}" + "".join(f"({r}+x)" for r in roots), latex(value).replace("x", r"{x}"),
        re.sub(r"(?<=\d) x", r" \\cdot x", latex(value)),
    )  # fmt: skip
    k = rng.randrange(len(coefficients))
    changed = [(-c if j == k else c, m) for j, (c, m) in enumerate(coefficients)]
    other: tuple[str, ...] = tuple(
        latex(sympy.expand(e))
        for e in (value + 1, value + X, -value, value * X, value - X**2, 2 * value, value.subs(X, -X) + X, value + X**9)
    )
    other += (
        joined(terms(rng, changed)), latex(value).replace("x", "y"), latex(value) + "=0",
        joined(terms(rng, coefficients)[1:] or ["0"]), str(value.subs(X, 7)),
    )  # fmt: skip
    return Made(latex(value), same, other, value)


def sampled(expression: sympy.Expr) -> tuple[sympy.Rational, ...]:
    """Values of a rational function at points where it has some; few of them tell these functions apart."""
    return tuple(expression.subs(X, sympy.Rational(k, 7)) for k in (1, 2, 3, 4, 5))


@maker
def rational_function(rng: random.Random) -> Made:
    a, b, c, d = nonzero(rng), nonzero(rng), nonzero(rng, 5), rng.choice((-1, 1)) * rng.randint(13, 20)
    value = (c * X + a) / ((X + b) * (X + d))
    same: tuple[str, ...] = (
        latex(value), latex(sympy.apart(value, X)), latex(sympy.together(sympy.apart(value, X))),
        latex(sympy.expand(c * X + a) / sympy.expand((X + b) * (X + d))),
    )  # fmt: skip
    same += (
        rf"-\frac{{{joined([str(-a), f'{-c}x'])}}}{{(x+{b})({d}+x)}}".replace("+-", "-"),
        rf"\frac{{1}}{{x+{d}}}\cdot\frac{{{c}x+{a}}}{{x+{b}}}".replace("+-", "-"),
    )  # fmt: skip
    wrong = (
        1 / value, -value, value + 1, (c * X + a + 1) / ((X + b) * (X + d)), (c * X + a) / ((X + b) * (X + d + 1)),
        (c * X - a) / ((X + b) * (X + d)), value.subs(X, -X),
    )  # fmt: skip
    return Made(
        latex(value), same, tuple(latex(e) for e in wrong if sampled(e) != sampled(value)), sampled(value),
    )  # fmt: skip


@maker
def two_letters(rng: random.Random) -> Made:
    a, b, c, n = nonzero(rng), nonzero(rng), nonzero(rng), rng.randint(2, 7)
    value = a * X**n * Y + b * X * Y + c * Y**2
    parts = [(a, f"x^{n}y"), (b, "xy"), (c, "y^2")]
    same = (
        latex(value), latex(sympy.factor(value)), joined(terms(rng, parts)),
        joined(terms(rng, [(a, f"yx^{n}"), (b, "yx"), (c, "y^{2}")])),
        rf"y({joined(terms(rng, [(a, f'x^{n}'), (b, 'x'), (c, 'y')]))})",
    )  # fmt: skip
    wrong = (
        [(a + 1, f"x^{n}y"), *parts[1:]], [(a, f"x^{n + 1}y"), *parts[1:]], [parts[0], (-b, "xy"), parts[2]],
        parts[:2], [*parts, (1, "x")], [*parts[:2], (c, "x^2")], [*parts[:2], (c, "z^2")],
    )  # fmt: skip
    return Made(joined([f"{k}{m}" for k, m in parts]), same, tuple(joined(terms(rng, w)) for w in wrong), (a, b, c, n))


@maker
def symbolic_radical(rng: random.Random) -> Made:
    a, b, k = rng.randint(2, 9), rng.randint(1, 9), rng.choice((2, 3, 5, 7))
    text = rf"\frac{{{a}\pi}}{{x-{k}}}+\sqrt{{x^2+{b}}}"
    same = (
        rf"\sqrt{{{b}+x^2}}+\frac{{{a}\pi}}{{x-{k}}}", rf"\sqrt{{x^2+{b}}}-\frac{{{a}\pi}}{{{k}-x}}",
        rf"\frac{{{2 * a}\pi}}{{2x-{2 * k}}}+(x^2+{b})^{{1/2}}",
    )  # fmt: skip
    other = (
        rf"\frac{{{a}\pi}}{{x+{k}}}+\sqrt{{x^2+{b}}}", rf"\frac{{{a}\pi}}{{x-{k}}}-\sqrt{{x^2+{b}}}",
        rf"\frac{{{a}\pi}}{{x-{k}}}+\sqrt{{x^2+{b + 1}}}", rf"\frac{{{a + 1}\pi}}{{x-{k}}}+\sqrt{{x^2+{b}}}",
        rf"\frac{{{a}\pi}}{{x-{k}}}+x+{b}",
    )  # fmt: skip
    return Made(text, same, other, (a, b, k))


@maker
def large_coefficient(rng: random.Random) -> Made:
    n, a, b = rng.choice((20, 40, 60, 100)), rng.randint(2, 9), rng.randint(1, 9)
    text = rf"10^{{{n}}}\pi x+{b}"
    return Made(
        text, (rf"{b}+10^{{{n}}} x \pi", rf"10 \cdot 10^{{{n - 1}}}\pi x+{b}"),
        (rf"10^{{{n}}}\pi x+{b + 1}", rf"10^{{{n}}}\pi x-{b}", rf"10^{{{n}}}\pi x", rf"{a}\cdot 10^{{{n}}}\pi x+{b}"),
        (n, b),
    )  # fmt: skip


@maker
def combinatorial(rng: random.Random) -> Made:
    k, c = rng.randint(2, 5), rng.randint(1, 30)
    text = rf"\binom{{n}}{{{k}}}+{c}"
    top = "".join(f"(n-{j})" if j else "n" for j in range(k))
    same = (
        rf"{c}+\frac{{n!}}{{{k}!(n-{k})!}}", rf"\frac{{{top}}}{{{sympy.factorial(k)}}}+{c}",
        rf"\dbinom{{n}}{{n-{k}}}+{c}", rf"{{n \choose {k}}}+{c}",
    )  # fmt: skip
    other = (
        rf"\binom{{n}}{{{k + 1}}}+{c}", rf"\binom{{n}}{{{k}}}-{c}", rf"\binom{{n+1}}{{{k}}}+{c}",
        rf"\binom{{{k}}}{{n}}+{c}", rf"\binom{{n}}{{{k}}}", rf"n^{{{k}}}+{c}", rf"\frac{{n}}{{{k}}}+{c}",
    )  # fmt: skip
    return Made(text, same, other, (k, c))


# -- several values


@maker
def listed(rng: random.Random) -> Made:
    values = distinct(rng, rng.randint(2, 5))
    items = list(map(str, values))
    order = shuffled(rng, items)
    same = (
        ", ".join(order), ",".join(order), ", ".join(order[:-1]) + rf" \text{{ and }} {order[-1]}",
        rf"\{{{','.join(order)}\}}", "x=" + ", x=".join(order), " or ".join(f"x={v}" for v in order), "; ".join(order),
    )  # fmt: skip
    extra = str(max(values) + 1)
    other: tuple[str, ...] = (
        ", ".join(order[1:]), ", ".join([*order, extra]), ", ".join([*order, order[0]]),
        ", ".join([*order[1:], extra]), f"({', '.join(order)})", rf"\{{{', '.join(order[1:])}\}}",
        rf"\{{{', '.join([*order, extra])}\}}", order[0],
    )  # fmt: skip
    if len(items) == 2:
        other += (f"[{', '.join(sorted(items, key=int))}]",)
    return Made(", ".join(items), same, other, frozenset(values))


@maker
def braced_set(rng: random.Random) -> Made:
    values = [ratio(rng) for _ in range(rng.randint(1, 3))] + [Fraction(n) for n in distinct(rng, 2)]
    values = sorted(set(values), key=lambda v: (v.denominator, v))
    items = list(map(tex, values))
    order = shuffled(rng, items)
    same = (
        rf"\{{{', '.join(order)}\}}", rf"\left\{{{','.join(order)}\right\}}", rf"\lbrace {', '.join(order)} \rbrace",
        rf"\{{{', '.join([*order, order[0]])}\}}", ", ".join(order), rf"x \in \{{{', '.join(order)}\}}",
    )  # fmt: skip
    extra = tex(max(values) + 1)
    other = (
        rf"\{{{', '.join(order[1:])}\}}", rf"\{{{', '.join([*order, extra])}\}}",
        rf"\{{{', '.join([*order[1:], extra])}\}}", rf"({', '.join(order)})", items[0], r"\emptyset",
        rf"\{{{', '.join(tex(-v) for v in values)}, 1000\}}",
    )  # fmt: skip
    return Made(rf"\{{{', '.join(items)}\}}", same, other, frozenset(values))


@maker
def roots(rng: random.Random) -> Made:
    a, b = nonzero(rng), rng.choice((2, 3, 5, 7, 11))
    same = (
        rf"{a}+\sqrt{{{b}}}, {a}-\sqrt{{{b}}}", rf"{a}-\sqrt{{{b}}} \text{{ and }} {a}+\sqrt{{{b}}}",
        rf"x={a}\pm\sqrt{{{b}}}", rf"\pm\sqrt{{{b}}}+{a}" if a > 0 else rf"\pm\sqrt{{{b}}}{a}",
        rf"\{{{a}\pm\sqrt{{{b}}}\}}", rf"\frac{{{2 * a}\pm\sqrt{{{4 * b}}}}}{{2}}",
    )  # fmt: skip
    other = (
        rf"{a}+\sqrt{{{b}}}", rf"{a}-\sqrt{{{b}}}", rf"{a}\pm\sqrt{{{b + 1}}}", rf"{a + 1}\pm\sqrt{{{b}}}",
        rf"{-a}\pm\sqrt{{{b}}}", rf"{a}\pm 2\sqrt{{{b}}}", rf"{a}\pm\sqrt{{{b}}}, 0",
        rf"{a}+\sqrt{{{b}}}, {a}+\sqrt{{{b}}}",
    )  # fmt: skip
    return Made(rf"{a}\pm\sqrt{{{b}}}", same, other, (a, b))


@maker
def point(rng: random.Random) -> Made:
    values = [Fraction(n) for n in distinct(rng, rng.randint(1, 2))] + [ratio(rng)]
    items = list(map(tex, values))
    same: tuple[str, ...] = (
        f"({','.join(items)})", rf"\left( {', '.join(items)} \right)", rf"\langle {', '.join(items)} \rangle",
        f"({', '.join(f'{v.numerator}/{v.denominator}' for v in values)})",
        r"\begin{pmatrix} " + r" \\ ".join(items) + r" \end{pmatrix}",
        f"({', '.join(frac(2 * v.numerator, 2 * v.denominator) for v in values)})",
    )  # fmt: skip
    same += (f"({'x, y, z'[: 3 * len(items) - 2]})=({', '.join(items)})",)
    changed = [tex(values[0] + 1), *items[1:]]
    other: tuple[str, ...] = (
        f"({', '.join(items[::-1])})", f"({', '.join(items[1:])})", f"({', '.join([*items, '0'])})",
        f"({', '.join([*items, items[-1]])})", f"({', '.join(changed)})",
        f"({', '.join([*items[:-1], tex(-values[-1])])})", ", ".join(items), rf"\{{{', '.join(items)}\}}",
    )  # fmt: skip
    if len(items) == 2:
        other += tuple(f"{o}{', '.join(items)}{c}" for o, c in ("[]", "[)", "(]"))
    return Made(f"({', '.join(items)})", same, other, tuple(values))


@maker
def points(rng: random.Random) -> Made:
    pairs = [(a, b) for a, b in zip(distinct(rng, 3), distinct(rng, 3), strict=True)]
    items = [f"({a},{b})" for a, b in pairs]
    order = shuffled(rng, items)
    same = (
        ", ".join(order), r" \text{ and } ".join(order), rf"\{{{', '.join(order)}\}}", ";".join(order),
        " or ".join(order),
    )  # fmt: skip
    swapped = [f"({pairs[0][1]},{pairs[0][0]})" if pairs[0][0] != pairs[0][1] else "(100,1)", *items[1:]]
    other = (
        ", ".join(order[1:]), ", ".join([*order, "(99,98)"]), ", ".join(swapped), ", ".join([*order, order[0]]),
        f"({pairs[0][0]},{pairs[0][1] + 1}), {items[1]}, {items[2]}", ",".join(f"{a},{b}" for a, b in pairs), order[0],
    )  # fmt: skip
    return Made(", ".join(items), same, other, frozenset(pairs))


@maker
def matrix(rng: random.Random) -> Made:
    rows = [distinct(rng, 2), distinct(rng, 2)]
    while rows[0] == rows[1] or rows[0][1] == rows[1][0] or 0 in rows[0] + rows[1]:
        rows = [distinct(rng, 2), distinct(rng, 2)]

    def written(entries: list[list[str]], name: str = "pmatrix", row: str = r" \\ ") -> str:
        return rf"\begin{{{name}}} {row.join(' & '.join(r) for r in entries)} \end{{{name}}}"

    cells = [list(map(str, row)) for row in rows]
    same = (
        written(cells, "bmatrix"), written(cells, row=r"\\"), written(cells, row="\\\\[2mm]\n"), written(cells),
        rf"\frac{{1}}{{2}}{written([[str(2 * v) for v in row] for row in rows])}",
        written([[frac(3 * v, 3) for v in row] for row in rows]),
    )  # fmt: skip
    other = (
        written(cells[::-1]), written([list(c) for c in zip(*cells, strict=True)]), written(cells[:1]),
        written([*cells, cells[0]]), written([[str(rows[0][0] + 1), cells[0][1]], cells[1]]),
        written([[str(-v) for v in row] for row in rows]), rf"2{written(cells)}", written([[c[0]] for c in cells]),
        f"({cells[0][0]},{cells[0][1]},{cells[1][0]},{cells[1][1]})",
    )  # fmt: skip
    return Made(written(cells), same, other, tuple(map(tuple, rows)))


# -- regions


def bounds(rng: random.Random) -> tuple[str, str, Fraction, Fraction]:
    """Two brackets and two ends."""
    low, high = (
        sorted({Fraction(nonzero(rng, 30)), ratio(rng), ratio(rng)})[:2]
        if rng.random() < 0.5
        else sorted(map(Fraction, distinct(rng, 2)))
    )
    return rng.choice("(["), rng.choice(")]"), low, high


@maker
def interval(rng: random.Random) -> Made:
    o, c, low, high = bounds(rng)
    a, b = tex(low), tex(high)
    less, less_too = ("<" if o == "(" else r"\le"), ("<" if c == ")" else r"\le")
    more, more_too = (">" if o == "(" else r"\ge"), (">" if c == ")" else r"\ge")
    same = (
        rf"\left{o} {a}, {b} \right{c}", rf"x \in {o}{a},{b}{c}", f"{a} {less} x {less_too} {b}",
        f"{b} {more_too} x {more} {a}", rf"\{{x \mid {a} {less} x {less_too} {b}\}}",
        f"x {more} {a} \\text{{ and }} x {less_too} {b}",
    )  # fmt: skip
    flipped, flipped_too = ("[" if o == "(" else "("), ("]" if c == ")" else ")")
    other = (
        f"{flipped}{a},{b}{c}", f"{o}{a},{b}{flipped_too}", f"{o}{tex(low - 1)},{b}{c}", f"{o}{a},{tex(high + 1)}{c}",
        rf"{o}{a},\infty)", rf"(-\infty,{b}{c}", f"{a} {less} x", f"{b} {less} x {less_too} {a}", f"{a},{b}",
        rf"\{{{a},{b}\}}", f"x {less} {a} \\text{{ or }} x {more_too} {b}", a,
    )  # fmt: skip
    return Made(f"{o}{a},{b}{c}", same, other, (o, c, low, high))


@maker
def ray(rng: random.Random) -> Made:
    a, closed = nonzero(rng, 50), rng.random() < 0.5
    o, sign, back, opposite = ("[", r"\ge", r"\le", ">") if closed else ("(", ">", "<", r"\ge")
    same = (
        f"x {sign} {a}", f"{a} {back} x", rf"\left{o}{a},+\infty\right)", rf"x\in{o}{a},\infty)",
        rf"\{{x : x {sign} {a}\}}", rf"\{{x\in\mathbb{{R}}\mid x {sign} {a}\}}", rf"{a} {back} x < \infty",
        rf"{o}{a},∞)",
    )  # fmt: skip
    other = (
        f"x {back} {a}", f"x {opposite} {a}", rf"(-\infty,{a}{']' if closed else ')'}", rf"{o}{a + 1},\infty)",
        rf"{o}{-a},\infty)", f"x = {a}", r"(-\infty,\infty)", r"\emptyset", rf"{o}{a},1000000)",
    )  # fmt: skip
    return Made(rf"{o}{a},\infty)", same, other, (a, closed))


@maker
def union(rng: random.Random) -> Made:
    a, b, c = sorted(distinct(rng, 3))
    first, second = rf"(-\infty,{a})", f"({b},{c}]"
    same = (
        rf"{second}\cup {first}", rf"x<{a} \text{{ or }} {b}<x\le {c}", rf"x \in {first} \cup {second}",
        rf"{first} ∪ {second}", rf"{b}<x\le{c} or x<{a}", rf"\{{x\mid x<{a}\text{{ or }}{b}<x\le {c}\}}",
    )  # fmt: skip
    other = (
        first, second, rf"{first} \cap {second}", rf"(-\infty,{a}] \cup {second}", rf"{first} \cup ({b},{c})",
        rf"{first} \cup [{b},{c}]", rf"{first} \cup ({b},{c + 1}]", rf"{first} \cup {second} \cup \{{{c + 5}\}}",
        rf"x<{a} \text{{ and }} {b}<x\le {c}", rf"(-\infty,{c}]",
    )  # fmt: skip
    return Made(rf"{first} \cup {second}", same, other, (a, b, c))


@maker
def without_points(rng: random.Random) -> Made:
    a, b = sorted(distinct(rng, 2))
    same = (
        rf"\mathbb{{R}} \setminus \{{{b},{a}\}}", rf"(-\infty,{a})\cup({a},{b})\cup({b},\infty)",
        rf"x \ne {a}, x \ne {b}", rf"x \in \mathbb{{R}}\setminus\{{{a},{b}\}}",
    )  # fmt: skip
    other = (
        rf"\mathbb{{R}} \setminus \{{{a}\}}", rf"\{{{a},{b}\}}", r"\mathbb{R}", rf"\mathbb{{R}} \setminus [{a},{b}]",
        rf"\mathbb{{R}} \setminus \{{{a},{b + 1}\}}", rf"(-\infty,{a})\cup({b},\infty)",
        rf"(-\infty,{a}]\cup({a},{b})\cup({b},\infty)",
    )  # fmt: skip
    return Made(rf"\mathbb{{R}} \setminus \{{{a}, {b}\}}", same, other, (a, b))


# -- relations, units, notations


@maker
def line(rng: random.Random) -> Made:
    m, b, k = rng.choice((-1, 1)) * rng.randint(2, 12), nonzero(rng), rng.choice((-3, -2, 2, 5))
    same = (
        f"{m}x+{b}=y", f"y-{m}x={b}", f"{k}y={k * m}x+{k * b}", f"{m}x-y+{b}=0", f"0={b}-y+{m}x",
        rf"\frac{{y}}{{{m}}}=x+\frac{{{b}}}{{{m}}}", f"y={m}(x+{tex(Fraction(b, m))})",
    )  # fmt: skip
    other = (
        f"y={m}x-{b}", f"y={-m}x+{b}", f"y={m + 1}x+{b}", f"y={m}x+{b + 1}", f"x={m}y+{b}", f"{m}x+{b}+y=0",
        f"y={m}x^2+{b}", f"y={m}x", f"y<{m}x+{b}", rf"y\ne {m}x+{b}", str(b), f"{m}",
    )  # fmt: skip
    clean = [tuple(t.replace("+-", "-").replace("--", "+") for t in texts) for texts in (same, other)]
    return Made(f"y={m}x+{b}".replace("+-", "-"), clean[0], clean[1], (m, b))


@maker
def conic(rng: random.Random) -> Made:
    a, b = rng.sample((2, 3, 4, 5, 6, 7), 2)
    sign = rng.choice("+-")
    same = (
        rf"{b * b}x^2{sign}{a * a}y^2={a * a * b * b}", rf"\frac{{x^2}}{{{a * a}}}{sign}\frac{{y^2}}{{{b * b}}}-1=0",
        rf"1=\frac{{1}}{{{a * a}}}x^2{sign}\left(\frac{{y}}{{{b}}}\right)^2",
        rf"\left(\frac{{x}}{{{a}}}\right)^{{2}}{sign}\frac{{y^{{2}}}}{{{b * b}}}=1",
    )  # fmt: skip
    flipped = "-" if sign == "+" else "+"
    other = (
        rf"\frac{{x^2}}{{{b * b}}}{sign}\frac{{y^2}}{{{a * a}}}=1",
        rf"\frac{{x^2}}{{{a * a}}}{flipped}\frac{{y^2}}{{{b * b}}}=1",
        rf"\frac{{x^2}}{{{a * a}}}{sign}\frac{{y^2}}{{{b * b}}}=-1",
        rf"\frac{{x^2}}{{{a}}}{sign}\frac{{y^2}}{{{b}}}=1", rf"\frac{{x^2}}{{{a * a}}}{sign}\frac{{y^2}}{{{b * b}}}",
        "1", rf"\frac{{x^2}}{{{a * a}}}{sign}\frac{{y^3}}{{{b * b}}}=1",
        rf"\frac{{x^2}}{{{a * a}}}{sign}\frac{{y^2}}{{{b * b}}}<1",
    )  # fmt: skip
    return Made(rf"\frac{{x^2}}{{{a * a}}}{sign}\frac{{y^2}}{{{b * b}}}=1", same, other, (a, b, sign))


@maker
def assigned(rng: random.Random) -> Made:
    value, name = ratio(rng), rng.choice("xyzabt")
    same = (
        tex(value), f"{tex(value)}={name}", f"{name} = {value.numerator}/{value.denominator}",
        rf"{name}=\frac{{{2 * value.numerator}}}{{{2 * value.denominator}}}={tex(value)}", rf"{name}\,=\,{tex(value)}",
    )  # fmt: skip
    other = (
        f"{name}={tex(value + 1)}", f"{name}={tex(-value)}", f"{'w' if name != 'w' else 'v'}={tex(value)}",
        f"{name}={tex(1 / value)}", name, f"{name}<{tex(value)}", rf"{name}\ne {tex(value)}",
        f"{name}={tex(value)}, {name}=1000", f"{name}^2={tex(value)}",
    )  # fmt: skip
    return Made(f"{name}={tex(value)}", same, other, (name, value))


@maker
def length(rng: random.Random) -> Made:
    n, squared = rng.randint(2, 500), rng.random() < 0.4
    suffix, factor = ("^2", 100) if squared else ("", 10)
    same = (
        f"{n}", rf"{n}\,\text{{cm}}{suffix}", f"{n} cm{suffix}", rf"{n * factor}\text{{ mm}}{suffix}",
        rf"{n}\ \mbox{{cm}}{suffix}", rf"{n}\text{{ {'square ' if squared else ''}centimeters}}",
    )  # fmt: skip
    other = (
        rf"{n + 1}\text{{ cm}}{suffix}", rf"{n}\text{{ m}}{suffix}", rf"{n}\text{{ mm}}{suffix}",
        rf"{n}\text{{ cm}}{'' if squared else '^2'}", rf"{n}\text{{ kg}}", rf"{n}\text{{ hours}}",
        rf"-{n}\text{{ cm}}{suffix}", f"{n * factor}", rf"{n}\text{{ cm}}^3", f"{n},{n}",
    )  # fmt: skip
    return Made(rf"{n}\text{{ cm}}{suffix}", same, other, (n, squared))


@maker
def degrees(rng: random.Random) -> Made:
    n = rng.randint(2, 300)
    same = (f"{n}", f"{n}°", rf"{n}^{{\circ}}", rf"{n}\text{{ degrees}}", f"{n} degrees", rf"{n}\,^\circ")
    return Made(rf"{n}^\circ", same, (rf"{n + 1}^\circ", rf"-{n}^\circ", rf"{n}\pi", rf"{n}0^\circ"), n)


@maker
def dollars(rng: random.Random) -> Made:
    n = rng.randint(2, 9000)
    same = (
        f"{n}",
        rf"{n}\text{{ dollars}}",
        f"{n} dollars",
        rf"\$ {n}.00",
        rf"{n}\$",
        rf"{100 * n}\text{{ cents}}",
    )
    other = (rf"\${n + 1}", rf"{n}\text{{ cents}}", rf"-\${n}", rf"\${n}.50", rf"{n}\text{{ hours}}", f"{100 * n}")
    return Made(rf"\${n}", same, other, n)


@maker
def duration(rng: random.Random) -> Made:
    n = rng.randint(2, 300)
    same = (f"{n}", f"{n} hours", rf"{60 * n}\text{{ minutes}}", rf"{n}\text{{ hrs}}")
    other = (
        rf"{n}\text{{ minutes}}",
        rf"{n + 1}\text{{ hours}}",
        rf"{n}\text{{ days}}",
        f"{60 * n}",
        rf"{n}\text{{ feet}}",
    )
    return Made(rf"{n}\text{{ hours}}", same, other, n)


@maker
def percentage(rng: random.Random) -> Made:
    n = rng.randint(2, 300)
    same = (f"{n}", frac(n, 100), f"{n}%", rf"{n}\text{{ percent}}", tex(Fraction(n, 100)), rf"{n}\,\%")
    return Made(rf"{n}\%", same, (rf"{n + 1}\%", rf"-{n}\%", f"{n * 100}", frac(n, 1000), frac(n + 1, 100)), n)


@maker
def counted(rng: random.Random) -> Made:
    n = rng.randint(2, 300)
    same = (f"{n}", f"{n} apples", rf"{n}\mbox{{ apples}}", rf"{n}\text{{ red apples}}")
    other = (rf"{n + 1}\text{{ apples}}", f"{n}0", f"-{n}", rf"\frac{{1}}{{{n}}}\text{{ apples}}", rf"{n}!")
    return Made(rf"{n}\text{{ apples}}", same, other, n)


@maker
def based(rng: random.Random) -> Made:
    base = rng.randint(3, 9)
    digits = str(rng.randint(1, base - 1)) + "".join(str(rng.randint(0, base - 1)) for _ in range(rng.randint(2, 5)))
    words = ["three", "four", "five", "six", "seven", "eight", "nine"]
    same = (
        rf"{digits}_{{{base}}}", rf"{digits}_{{\text{{{words[base - 3]}}}}}",
        rf"{digits}_{{\text{{{words[base - 3].title()}}}}}", rf"{digits}\text{{ (base {base})}}", f"{digits}_{base}",
    )  # fmt: skip
    changed = digits[:-1] + str((int(digits[-1]) + 1) % base)
    other = (
        digits, f"{digits}_{base + 1}", f"{changed}_{base}", f"{digits}0_{base}", f"{digits[:-1]}_{base}",
        f"-{digits}_{base}", f"{changed}",
    )  # fmt: skip
    return Made(f"{digits}_{base}", same, other, (int(digits, base), base))


@maker
def named(rng: random.Random) -> Made:
    words = [
        "even",
        "odd",
        "circle",
        "ellipse",
        "parabola",
        "Monday",
        "Sunday",
        "Evelyn",
        "red",
        "yes",
        "no",
        "isosceles",
        "north",
    ]
    word, wrong = rng.sample(words, 2)
    same = (
        word, rf"\text{{{word}}}", rf"\text{{{word.upper()}}}", rf"\textbf{{{word}}}", rf"\mbox{{{word.title()}}}",
        rf"\mathrm{{{word}}}", f"**{word}**",
    )  # fmt: skip
    return Made(
        rf"\text{{{word}}}", same,
        (wrong, rf"\text{{{wrong}}}", "7", rf"\text{{not {word}}}", word[:-1], rf"\text{{{word} or {wrong}}}"),
        word,
    )  # fmt: skip


@maker
def choice(rng: random.Random) -> Made:
    letter, wrong = rng.sample("ABCDE", 2)
    same = (
        letter, f"({letter})", rf"\text{{{letter}}}", rf"\textbf{{({letter})}}", rf"\mathrm{{({letter})}}",
        rf"\text{{({letter})}}",
    )  # fmt: skip
    return Made(
        rf"\text{{({letter})}}", same,
        (wrong, f"({wrong})", rf"\textbf{{({wrong})}}", "7", f"{letter},{wrong}", rf"\text{{({letter}) or ({wrong})}}"),
        letter,
    )  # fmt: skip


@maker
def clock(rng: random.Random) -> Made:
    hour, minute = rng.randint(1, 12), rng.randint(10, 59)
    same = (
        f"{hour}:{minute}", rf"{hour}\!:\!{minute}", rf"{hour}:{minute} \text{{ p.m.}}", f"{hour}:{minute} PM",
        rf"\text{{{hour}:{minute} p.m.}}",
    )  # fmt: skip
    other = (
        f"{hour % 12 + 1}:{minute}", f"{hour}:{minute - 1}", f"{minute}:{hour}", f"{hour}{minute}",
        f"{hour}:{minute}, 5:00", f"-{hour}:{minute}",
    )  # fmt: skip
    return Made(f"{hour}:{minute}", same, other, (hour, minute))


@maker
def family(rng: random.Random) -> Made:
    p, q, m = rng.randint(1, 5), rng.choice((7, 11, 13)), rng.choice((1, 2, 3))
    period = rf"{m if m > 1 else ''}"
    text = rf"\frac{{{p}\pi}}{{{q}}}+{period}k\pi"
    same = (
        rf"\frac{{{p}\pi}}{{{q}}}+{period}n\pi", rf"{period}k\pi+\frac{{{p}\pi}}{{{q}}}",
        rf"x=\frac{{{p}}}{{{q}}}\pi+{period}\pi k, k\in\mathbb{{Z}}",
        rf"\frac{{{p}\pi}}{{{q}}}+{period}m\pi \text{{ where m is an integer}}",
    )  # fmt: skip
    other = (
        rf"\frac{{{p + 1}\pi}}{{{q}}}+{period}k\pi", rf"\frac{{{p}\pi}}{{{q}}}+{m + 1}k\pi",
        rf"\frac{{{p}\pi}}{{{q}}}", rf"-\frac{{{p}\pi}}{{{q}}}+{period}k\pi", rf"{period}k\pi",
        rf"\frac{{{p}\pi}}{{{q}}}+{period}k", rf"\frac{{{p}\pi}}{{{q}}}+\frac{{k\pi}}{{2}}",
    )  # fmt: skip
    return Made(text, same, other, (p, q, m))


# -- typesetting, which never matters


WRAPPINGS = (
    "${}$", "$${}$$", r"\({}\)", r"\[{}\]", r"\boxed{{{}}}", r"$\boxed{{{}}}$.", r"\fbox{{{}}}", "{}.", " {} ",
    r"\,{}\;", r"\displaystyle {}", r"\quad {}~", r"\!{}\,", "{{{}}}", "The answer is ${}$.",
    r"So we find \boxed{{{}}}. Done.", "**Final answer:** ${}$", "Some steps with $x=99$.\n\nThus the answer is ${}$.",
    r"First \boxed{{99}}. No: \boxed{{{}}}", r"\boxed{{\displaystyle {}}}", r"\boxed{{ ${}$ }}", "\n{}\n",
)  # fmt: skip
SYMBOLS = {
    r"\pi": "π", r"\infty": "∞", r"\cup": "∪", r"\le": "≤", r"\ge": "≥", r"\in": "∈", r"\pm": "±", r"\cdot": "·",
    r"\times": "×", r"\ne": "≠", "-": "−", r"^\circ": "°", r"\setminus": "∖", r"\emptyset": "∅",
}  # fmt: skip


def unicode_symbols(text: str) -> str:
    """Every command that has a character of its own as that character."""
    for command, symbol in SYMBOLS.items():
        text = re.sub(re.escape(command) + (r"(?![A-Za-z])" if command[-1].isalpha() else ""), symbol, text)
    return text


def spaced(text: str) -> str:
    """Spacing commands around signs, and around commas that are no part of a number."""
    return re.sub(r"(?<![\\^_{(\[,<>=+-])([+=<>-]|,(?!\d{3}))(?=[^\\!,])", r"\\; \1 \\,", text)


def growing(text: str) -> str:
    """Brackets that grow with what they hold, where all brackets of the text are plain ones."""
    if re.search(r"\\left|\\right|\\[{}]|_\{\(|\\sqrt\[|\\text|\\\\\[", text):
        return text
    return re.sub(r"([)\]])", r"\\right\1", re.sub(r"([(\[])", r"\\left\1", text))


REWRITINGS: dict[str, Callable[[str], str]] = {
    "display fractions": lambda t: t.replace(r"\frac", r"\dfrac"),
    "text fractions": lambda t: t.replace(r"\frac", r"\tfrac"),
    "short fractions": lambda t: re.sub(r"\\frac\{(\d)\}\{(\d)\}", r"\\frac\1\2", t),
    "short roots": lambda t: re.sub(r"\\sqrt\{(\d)\}(?!\d)", r"\\sqrt\1", t),
    "braced exponents": lambda t: re.sub(r"\^(\d)(?!\d)", r"^{\1}", t),
    "short exponents": lambda t: re.sub(r"\^\{(\d)\}(?!\d)", r"^\1", t),
    "growing brackets": growing,
    "sized brackets": lambda t: re.sub(r"([()])", r"\\big\1", t) if r"\left" not in t and r"\right" not in t else t,
    "unicode": unicode_symbols,
    "spaced": spaced,
    "crosses": lambda t: t.replace(r"\cdot", r"\times"),
    "thin": lambda t: t.replace(", ", r",\ ").replace("+", r"+\!"),
    "doubled spaces": lambda t: t.replace(" ", "  "),
    "roots as characters": lambda t: re.sub(r"\\sqrt\{(\d+)\}", r"√\1", t),
    "upright": lambda t: rf"\text{{{t}}}" if t.isdigit() else t,
    "bold": lambda t: rf"\mathbf{{{t}}}" if t.isdigit() else t,
}  # fmt: skip


@functools.cache
def made(kind: str, rounds: int = ROUNDS) -> tuple[Made, ...]:
    """Answers of one kind, always the same ones."""
    rng = random.Random(f"answers of kind {kind}")
    return tuple(MAKERS[kind](rng) for _ in range(rounds))


def typeset(kind: str) -> Iterator[tuple[str, str]]:
    """Answers of a kind, and the same typeset in other ways."""
    rng = random.Random(f"typesetting of {kind}")
    for one in made(kind):
        yield from ((one.text, wrapping.format(one.text)) for wrapping in rng.sample(WRAPPINGS, 5))
        for rewrite in REWRITINGS.values():
            for text in (one.text, rng.choice(one.same)):
                if (rewritten := rewrite(text)) != text:
                    yield one.text, rewritten
                    break


def disagreements(pairs: Iterator[tuple[str, str]], equal: bool) -> list[tuple[str, str]]:
    """Pairs whose grade is not the given one, in one direction or the other."""
    wrong = []
    for reference, answer in pairs:
        verdicts = [grade(answer, reference)]
        if not re.search(r"boxed|fbox|answer|\n", answer):
            verdicts.append(grade(reference, answer))
        assert not [v for v in verdicts if v.method in ("fault", "crash")], (reference, answer)
        if any(verdict.correct is not equal for verdict in verdicts):
            wrong.append((reference, answer))
    return wrong


@pytest.mark.parametrize("kind", MAKERS)
def test_typesetting_keeps_an_answer_correct(kind: str) -> None:
    """Dollars, boxes, sizes, spaces, braces, unicode: as an answer, and as a reference where it is no response."""
    assert disagreements(typeset(kind), equal=True) == []


@pytest.mark.parametrize("kind", MAKERS)
def test_another_way_to_say_it_keeps_an_answer_correct(kind: str) -> None:
    """Commuted, expanded, factored, converted, reordered where order does not matter; whichever is the reference."""
    assert disagreements(((one.text, text) for one in made(kind) for text in one.same), equal=True) == []


@pytest.mark.parametrize("kind", MAKERS)
def test_a_small_change_makes_an_answer_wrong(kind: str) -> None:
    """A digit, sign, bracket, exponent, base, order, one element more or fewer; whichever is the reference."""
    assert disagreements(((one.text, text) for one in made(kind) for text in one.other), equal=False) == []


def test_there_are_enough_cases() -> None:
    """The tests above grade thousands of different pairs."""
    keeping = {pair for kind in MAKERS for pair in typeset(kind)}
    keeping |= {(one.text, text) for kind in MAKERS for one in made(kind) for text in one.same}
    flipping = {(one.text, text) for kind in MAKERS for one in made(kind) for text in one.other}
    assert len(keeping) > 3000
    assert len(flipping) > 2000


def test_answers_of_different_value_are_never_equal() -> None:
    """No false equality among random pairs of one kind, in any of their notations."""
    rng = random.Random("pairs of one kind")
    wrong = []
    for kind in MAKERS:
        answers = made(kind, 24)
        pairs = [(a, b) for a, b in itertools.combinations(answers, 2) if a.value != b.value]
        for a, b in rng.sample(pairs, min(len(pairs), 60)):
            texts = rng.choice((a.text, *a.same)), rng.choice((b.text, *b.same))
            if a.text not in b.same and b.text not in a.same and grade(texts[0], texts[1]).correct:
                wrong.append((kind, *texts))
    assert wrong == []


ALIKE = (
    {
        "integer", "fraction", "multiple_of_pi", "scientific", "repeating", "assigned", "length", "degrees", "dollars",
        "duration", "percentage", "counted", "power", "exponential", "logarithm",
    },
    {"listed", "braced_set", "roots", "point", "points", "interval", "radical"},
    {"polynomial", "line", "assigned", "rational_function", "two_letters"},
    {"ray", "interval", "union", "without_points"},
    {"point", "matrix", "interval"},
    {"named", "choice"},
)  # fmt: skip
"""Kinds of which two answers might say the same."""


def test_answers_of_unlike_kinds_are_never_equal() -> None:
    """No false equality among random pairs of two kinds that have nothing in common."""
    rng = random.Random("pairs of unlike kinds")
    answers = {kind: made(kind) for kind in MAKERS}
    wrong = []
    for _ in range(1200):
        one, two = rng.sample(list(MAKERS), 2)
        if any({one, two} <= kinds for kinds in ALIKE):
            continue
        a, b = rng.choice(answers[one]), rng.choice(answers[two])
        if grade(a.text, b.text).correct:
            wrong.append((one, a.text, two, b.text))
    assert wrong == []


@pytest.mark.parametrize(
    ("reference", "answer"),
    [
        (r"15\text{ m}", "15"),
        (r"15\text{ m}", r"15\text{ meters}"),
        (r"15\text{ g}", r"15\text{ grams}"),
        (r"34\text{ hours}", r"34\text{ h}"),
        (r"34\text{ hours}", r"34\ \mathrm{h}"),
    ],
)
def test_a_unit_of_one_letter_is_a_unit(reference: str, answer: str) -> None:
    """Letters set upright after a number are its unit, however short; a variable is not set upright."""
    assert grade(answer, reference).correct
    assert grade(reference, answer).correct


@pytest.mark.parametrize(
    ("reference", "answer"),
    [
        (r"50^\circ", r"50\text{ cents}"),
        (r"50^\circ", r"50\text{ cm}"),
        (r"50^\circ", r"50\text{ hours}"),
        (r"50^\circ", r"50\%"),
        (r"\$50", r"50\%"),
        (r"\$50", r"50^\circ"),
        (r"50\text{ cm}", r"50\%"),
    ],
)
def test_two_different_units_are_different(reference: str, answer: str) -> None:
    """A sign may be left out on one side; a degree, percent or currency sign does not stand for another unit."""
    assert not grade(answer, reference).correct
    assert not grade(reference, answer).correct


@pytest.mark.parametrize(
    ("reference", "answer"),
    [
        ("18000", r"\$18,000"),
        (r"\$18000", r"\$18,000"),
        ("18000.5", r"\$18,000.50"),
        ("18000", "18,000 dollars"),
        ("18000", r"18,000\text{ dollars}"),
        (r"18000\text{ cm}^2", r"18,000\text{ cm}^2"),
        ("18000", r"18,000\%"),
        ("18000", r"18,000^\circ"),
        ("18000", "x=18,000"),
        (r"18000\pi", r"18,000\pi"),
        (r"18000\sqrt{2}", r"18,000\sqrt{2}"),
        ("18000x", "18,000x"),
        ("18000+x", "18,000+x"),
    ],
)
def test_a_thousands_separator_beside_something_else_is_no_list(reference: str, answer: str) -> None:
    """Three digits after a comma belong to the number before it, with a unit, a sign or a factor as without."""
    assert grade(answer, reference).correct
    assert grade(rf"So it is $\boxed{{{answer}}}$.", reference).correct
    assert grade(reference, answer).correct


@pytest.mark.parametrize("answer", ["5\\ ", r"\boxed{5\ }", r"\boxed{x+1\ }", "5\\ \n", r"The answer is 5\ "])
def test_a_closing_control_space_is_spacing(answer: str) -> None:
    """Stripping the blank of a final control space leaves a backslash, which must not spoil the answer."""
    assert grade(answer, "x+1" if "x+1" in answer else "5").correct


@pytest.mark.parametrize(
    "remark",
    [
        r", \text{ where } m \text{ is an integer}",
        r" \text{ for any integer } m",
        r", m \text{ an integer}",
        r"\text{ for } m \in \mathbb{Z}",
        r" (m \in \mathbb{Z})",
        r", \quad m = 0, \pm 1, \pm 2, \ldots",
    ],
)
def test_a_remark_about_the_free_integer_does_not_matter(remark: str) -> None:
    """However it is said that the letter is a whole number."""
    assert grade(r"\frac{\pi}{6}+2m\pi" + remark, r"\frac{\pi}{6}+2k\pi").correct


def references() -> list[str]:
    """Reference answers of the published problems, each once; skips the test when the files are not there."""
    paths = [FOLDER / name for name in ("math500.jsonl", "math_train.jsonl")]
    found = {
        json.loads(line)["answer"]
        for path in paths
        if path.is_file()
        for line in path.read_text(encoding="utf-8").splitlines()
    }
    if not found:
        pytest.skip(f"no references in {FOLDER}; set ARBITRAGE_DATA to the folder with the data files")
    return sorted(found)


def skeleton(reference: str) -> object:
    """A reference without what the contract ignores, by rules of this test alone; numbers as their value."""
    text = re.sub(r"\\(?:text\w*|mbox)\s*\{\s*\(?([A-Z](?:, ?[A-Z])*)\)?\s*\}", r"\1", reference)
    text = re.sub(
        r"\\(?:text\w*|mbox)\s*\{[^{}]*\}(?:\^\{?\d\}?)?|\\mathbf|\^\{?\\circ\}?|\\[%$]|\{,\}|\\[!,;]|\s", "", text
    )
    text = re.sub(r"\\[dt]frac", r"\\frac", text).replace(r"\left", "").replace(r"\right", "").rstrip(".,")
    text = re.sub(r"\\(frac|sqrt)(\d)", r"\\\1{\2}", text)
    text = re.sub(r"\\frac(\{(?:[^{}]|\{[^{}]*\})*\})(\d)", r"\\frac\1{\2}", text)
    text = re.sub(r"^[A-Za-z]=", "", re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text))
    if column := re.fullmatch(r"\\begin\{pmatrix\}([^&]*)\\end\{pmatrix\}", text):
        text = f"({column[1]})".replace("\\\\", ",")
    plain = re.sub(r"\\frac\{(\d+)\}\{(\d+)\}", r"\1/\2", text)
    try:
        return Fraction(plain)
    except (ValueError, ZeroDivisionError):
        return sorted(re.split(r"[+](?![^{(]*[})])", text))  # a sum in any order


def test_different_references_of_published_problems_are_never_equal() -> None:
    """Random pairs, neighbours in the alphabet and pairs made of the same digits; the grade is the same both ways."""
    found = references()
    rng = random.Random("pairs of references")
    sorted_by_skeleton = sorted(found, key=lambda text: str(skeleton(text)))
    same_digits: dict[str, list[str]] = {}
    for text in found:
        same_digits.setdefault("".join(sorted(re.findall(r"\d", text))), []).append(text)
    groups = [group for group in same_digits.values() if len(group) > 1]
    starts = rng.sample(range(len(found) - 1), 1000)
    pairs = [(sorted_by_skeleton[k], sorted_by_skeleton[k + 1]) for k in starts]
    pairs += [(a, b) for a, b in (rng.sample(rng.choice(groups), 2) for _ in range(1000))]
    pairs += [(a, b) for a, b in (rng.sample(found, 2) for _ in range(1000))]
    wrong, lopsided = [], []
    for a, b in pairs:
        forward, back = grade(a, b).correct, grade(b, a).correct
        if forward is not back:
            lopsided.append((a, b))
        if forward and skeleton(a) != skeleton(b):
            wrong.append((a, b))
    assert len(pairs) == 3000
    assert wrong == []
    assert lopsided == []


@pytest.mark.parametrize(
    ("reference", "answer"),
    [
        (r"2\pi r+4\pi", r"2\pi r"),
        (r"2\pi r", r"-2\pi r"),
        (r"\pi-t", r"\pi+t"),
        (r"\{x\in\mathbb{Z}\mid 1<x<5\}", "(1,5)"),
        (r"\{x\in\mathbb{N}\mid x^2=4\}", r"\{2,-2\}"),
        (r"\{x\mid x^2=4\}", r"\{2,2\}"),
        (r"\text{gain 5}", r"\text{gain -5}"),
        (r"\text{Room 1.2}", r"\text{Room 12}"),
        (r"\frac{(n^2+2)(n^2+1)}{6}", r"1+4+\ldots+n^2"),
        ("199", r"1+2+4+\ldots+100"),
        ("(2,6)", "|x-1+3|<2"),
        ("x=1,y=2", "2,1"),
    ],
)
def test_what_only_looks_alike_is_not_equal(reference: str, answer: str) -> None:
    """Near misses that a reader of the code found."""
    assert not grade(answer, reference).correct
    assert not grade(reference, answer).correct


def test_values_may_leave_their_names_out_in_order() -> None:
    """The names' order is the values'."""
    assert grade("1,2", "x=1,y=2").correct
