"""Linear equations, 2x2 systems, quadratics with integer roots."""

from __future__ import annotations

import random

from arbitrage.harness.synthetic.worked import (
    Worked,
    coefficient,
    difference,
    factor,
    nonzero,
    reduced,
    scaled,
    signed,
    worked,
)


def linear(rng: random.Random, level: int) -> Worked:
    """ax+b=cx+d; from level 4 on the left side is k(ax+b), and half of level 5 has a fractional root."""
    x = rng.randint(-scaled(level, 6, 12), scaled(level, 6, 12))
    a, c = rng.sample(range(1, scaled(level, 6, 9)), 2)
    b = nonzero(rng, scaled(level, 9, 20))
    steps = []
    if level >= 4:
        k = rng.randint(2, 3)
        left = f"{k}({coefficient(a)}x{signed(b)})"
        steps.append(f"{left}={k * a}x{signed(k * b)}")
        a, b = k * a, k * b
        if a == c:
            c += 1
    else:
        left = f"{coefficient(a)}x{signed(b)}"
    d = a * x + b - c * x
    numerator, divisor = d - b, a - c
    if level == 5 and rng.random() < 0.5 and divisor not in (1, -1):
        d, numerator = d + 1, numerator + 1
    answer = reduced(numerator, divisor)
    steps += [
        f"{a}x-{c}x={divisor}x",
        difference(d, b),
        f"{divisor}x={numerator}",
        f"x={answer}",
    ]
    return worked(f"Solve ${left}={coefficient(c)}x{signed(d)}$ for $x$.", steps, answer)


def system(rng: random.Random, level: int) -> Worked:
    """Two linear equations in x and y, solved by determinants; the answer is a pair."""
    bound = scaled(level, 3, 5)
    x, y = (rng.randint(-scaled(level, 3, 6), scaled(level, 3, 6)) for _ in range(2))
    while True:
        a, b, c, d = (nonzero(rng, bound) for _ in range(4))
        determinant = a * d - b * c
        if determinant and abs(determinant) <= scaled(level, 9, 24):
            break
    e, f = a * x + b * y, c * x + d * y

    def cross(name: str, p: int, q: int, r: int, s: int) -> str:
        """One 2x2 determinant, worked out."""
        terms = f"{p}\\cdot{factor(q)}-{factor(r)}\\cdot{factor(s)}"
        return f"{name}={terms}={difference(p * q, r * s)}"

    steps = [
        cross("D", a, d, b, c),
        cross("X", e, d, b, f),
        cross("Y", a, f, e, c),
        f"x={e * d - b * f}/{factor(determinant)}={x}",
        f"y={a * f - e * c}/{factor(determinant)}={y}",
    ]
    first = f"{coefficient(a)}x{'+' if b > 0 else ''}{coefficient(b)}y={e}"
    second = f"{coefficient(c)}x{'+' if d > 0 else ''}{coefficient(d)}y={f}"
    return worked(f"Solve ${first}$ and ${second}$. Give $(x,y)$.", steps, f"({x},{y})")


def quadratic(rng: random.Random, level: int) -> Worked:
    """ax^2+bx+c=0 with two different integer roots (a=1 below level 3); the answer is the set of roots."""
    bound = scaled(level, 6, 10)
    a = 1 if level < 3 else rng.randint(2, scaled(level, 2, 5))
    r, s = sorted(rng.sample([v for v in range(-bound, bound + 1) if v], 2))
    b, c = -(r + s), r * s
    square, four_c, root = b * b, 4 * c, s - r
    steps = []
    if a > 1:
        steps.append(f"Divide by {a}: b={a * b}/{a}={b}, c={a * c}/{a}={c}")
    steps += [
        f"b^2={factor(b)}^2={square}",
        f"4c=4\\cdot{factor(c)}={four_c}",
        f"b^2-4c={difference(square, four_c)}, \\sqrt{{{root * root}}}={root}",
        f"x=({-b}-{root})/2={2 * r}/2={r}",
        f"x=({-b}+{root})/2={2 * s}/2={s}",
    ]
    middle = f"{'+' if b > 0 else ''}{coefficient(a * b)}x" if b else ""
    return worked(f"Find all roots of ${coefficient(a)}x^2{middle}{signed(a * c)}=0$.", steps, f"\\{{{r},{s}\\}}")
