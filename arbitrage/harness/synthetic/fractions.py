"""Sums and differences of fractions over a common denominator."""

from __future__ import annotations

import math
import random

from arbitrage.harness.synthetic.worked import Worked, frac, reduced, scaled, signed, worked


def fractions(rng: random.Random, level: int) -> Worked:
    """Two fractions (three from level 4 on) added or subtracted, and the result reduced."""
    count = 2 if level < 4 else 3
    top = scaled(level, 6, 9)
    while True:
        denominators = [rng.randint(2, top) for _ in range(count)]
        common = math.lcm(*denominators)
        if common <= scaled(level, 30, 60) and len(set(denominators)) > 1:
            break
    numerators = [rng.randint(1, d - 1) * (1 if i == 0 else rng.choice((1, -1))) for i, d in enumerate(denominators)]
    terms = [frac(n, d) for n, d in zip(numerators, denominators, strict=True)]
    expression = terms[0] + "".join(t if t.startswith("-") else f"+{t}" for t in terms[1:])
    steps = [f"The common denominator is {common}"]
    raised = []
    for n, d in zip(numerators, denominators, strict=True):
        k = common // d
        raised.append(n * k)
        steps.append(f"{common}/{d}={k}, so {frac(n, d)}={frac(n * k, common)}")
    total = sum(raised)
    steps.append(f"{raised[0]}{''.join(signed(r) for r in raised[1:])}={total}")
    answer = reduced(total, common)
    steps.append(f"{frac(total, common)}={answer}")
    return worked(f"Compute ${expression}$.", steps, answer)
