"""Remainders, powers modulo a number, greatest common divisors."""

from __future__ import annotations

import random

from arbitrage.harness.synthetic.worked import Worked, divide_with_remainder, scaled, worked


def remainder(rng: random.Random, level: int) -> Worked:
    """Remainder of ab+c: reduce first, then multiply the residues."""
    m = rng.randint(3, scaled(level, 6, 9))
    top = scaled(level, 25, 80)
    a, b, c = (rng.randint(m + 1, top) for _ in range(3))
    product = (a % m) * (b % m)
    total = product + c % m
    steps = [
        divide_with_remainder(a, m),
        divide_with_remainder(b, m),
        divide_with_remainder(c, m),
        f"{a % m}\\cdot{b % m}={product}",
        f"{product}+{c % m}={total}",
        divide_with_remainder(total, m),
    ]
    return worked(f"Find the remainder when ${a}\\cdot{b}+{c}$ is divided by ${m}$.", steps, str(total % m))


def power(rng: random.Random, level: int) -> Worked:
    """Remainder of a power, one factor at a time."""
    m = rng.randint(3, scaled(level, 6, 9))
    base = rng.randint(m + 1, scaled(level, 30, 80))
    exponent = rng.randint(3, scaled(level, 4, 6))
    residue = base % m
    steps = [divide_with_remainder(base, m)]
    value = residue
    for k in range(2, exponent + 1):
        product = value * residue
        steps.append(f"Power {k}: {value}\\cdot{residue}={product}={m}\\cdot{product // m}+{product % m}")
        value = product % m
    return worked(f"Find the remainder when ${base}^{{{exponent}}}$ is divided by ${m}$.", steps, str(value))


def gcd(rng: random.Random, level: int) -> Worked:
    """Greatest common divisor by Euclid's algorithm, at least two divisions long."""
    top = scaled(level, 50, 200)
    while True:
        g = rng.randint(1, scaled(level, 9, 16))
        a, b = sorted((g * rng.randint(2, top // g), g * rng.randint(2, top // g)), reverse=True)
        steps, x, y = [], a, b
        while y:
            steps.append(divide_with_remainder(x, y))
            x, y = y, x % y
        if 2 < len(steps) < 8:
            return worked(f"Find the greatest common divisor of ${a}$ and ${b}$.", steps, str(x))
