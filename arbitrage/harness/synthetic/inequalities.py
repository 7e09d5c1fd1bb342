"""Linear inequalities whose solution is an interval."""

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

_TURNED = {"<": ">", ">": "<", "\\le": "\\ge", "\\ge": "\\le"}


def two_sided(rng: random.Random, level: int) -> Worked:
    """Low < ax+b <= high with a positive a."""
    a, b = rng.randint(2, scaled(level, 4, 8)), nonzero(rng, scaled(level, 9, 20))
    low = rng.randint(-scaled(level, 6, 12), scaled(level, 3, 8))
    high = low + rng.randint(1, scaled(level, 6, 12))
    left, right = rng.choice(("<", "\\le")), rng.choice(("<", "\\le"))
    p, q = a * low + b, a * high + b
    steps = [
        f"Left: {difference(p, b)}",
        f"Right: {difference(q, b)}",
        f"{a * low}{_spaced(left)}{a}x{_spaced(right)}{a * high}",
        f"{low}{_spaced(left)}x{_spaced(right)}{high}",
    ]
    answer = f"{'(' if left == '<' else '['}{low},{high}{')' if right == '<' else ']'}"
    statement = f"{p}{_spaced(left)}{a}x{signed(b)}{_spaced(right)}{q}"
    return worked(f"Solve ${statement}$. Give an interval.", steps, answer)


def one_sided(rng: random.Random, level: int) -> Worked:
    """ax+b < cx+d, where dividing by a negative number turns the sign."""
    sign = rng.choice(tuple(_TURNED))
    a, c = rng.sample([v for v in range(-scaled(level, 4, 9), scaled(level, 5, 10)) if v], 2)
    k = a - c
    end, b = rng.randint(-scaled(level, 6, 10), scaled(level, 6, 10)), nonzero(rng, scaled(level, 9, 20))
    right = k * end
    d = right + b
    final = sign if k > 0 else _TURNED[sign]
    steps = [
        f"{a}x-{factor(c)}x={k}x",
        difference(d, b),
        f"{k}x{_spaced(sign)}{right}",
        f"{right}/{factor(k)}={end}, so x{_spaced(final)}{end}",
    ]
    answer = {
        "<": f"(-\\infty,{end})",
        "\\le": f"(-\\infty,{end}]",
        ">": f"({end},\\infty)",
        "\\ge": f"[{end},\\infty)",
    }[final]
    statement = f"{coefficient(a)}x{signed(b)}{_spaced(sign)}{coefficient(c)}x{signed(d)}"
    return worked(f"Solve ${statement}$. Give an interval.", steps, answer)


def absolute(rng: random.Random, level: int) -> Worked:
    """|ax+b| < c: a band around the middle, with fractional ends at higher levels."""
    a, b = rng.randint(2, scaled(level, 3, 6)), nonzero(rng, scaled(level, 9, 20))
    c = rng.randint(2, scaled(level, 12, 25))
    sign = rng.choice(("<", "\\le"))
    low, high = -c - b, c - b
    ends = [reduced(v, a) for v in (low, high)]
    steps = [
        f"-{c}{_spaced(sign)}{a}x{signed(b)}{_spaced(sign)}{c}",
        f"Left: {difference(-c, b)}",
        f"Right: {difference(c, b)}",
        f"{low}/{a}={ends[0]}",
        f"{high}/{a}={ends[1]}",
    ]
    answer = f"{'(' if sign == '<' else '['}{ends[0]},{ends[1]}{')' if sign == '<' else ']'}"
    return worked(f"Solve $|{a}x{signed(b)}|{_spaced(sign)}{c}$. Give an interval.", steps, answer)


def _spaced(sign: str) -> str:
    r"""A relation as written before a number or letter: '\le' needs a space before a letter."""
    return sign if sign in "<>" else f"{sign} "
