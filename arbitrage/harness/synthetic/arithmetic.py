"""Chains of integer operations: named quantities, and the same in words."""

from __future__ import annotations

import random

from arbitrage.harness.synthetic.worked import Worked, scaled, worked

_ALPHABETS = ("abcdefgh", "pqrstuvw", "mnpqrstu", "uvwxyzab")
_NAMES = ("Ann", "Ben", "Mia", "Leo", "Eva", "Tom", "Ida", "Max")
_THINGS = ("pens", "books", "cards", "coins", "apples", "stamps")


def chain(rng: random.Random, level: int) -> Worked:
    """Named quantities, each computed from earlier ones."""
    letters = rng.choice(_ALPHABETS)
    bound = scaled(level, 30, 120)
    addend = scaled(level, 9, 40)
    values = [rng.randint(2, scaled(level, 9, 25))]
    given = [f"{letters[0]}={values[0]}"]
    steps: list[str] = []
    for i in range(1, 1 + scaled(level, 3, 6)):
        last, name, previous = values[-1], letters[i], letters[i - 1]
        choices = ["add", "subtract", "times", "sum", "difference"]
        if i < 2:
            choices = ["add", "subtract", "times"]
        operation = rng.choice(choices)
        if operation == "times" and last * 2 <= bound:
            k = rng.randint(2, max(2, min(9, bound // max(last, 1))))
            formula, filled, value = f"{k}{previous}", f"{k}\\cdot{last}", k * last
        elif operation == "subtract" and last > 2:
            k = rng.randint(1, min(last - 1, addend))
            formula, filled, value = f"{previous}-{k}", f"{last}-{k}", last - k
        elif operation in ("sum", "difference") and i >= 2:
            j = rng.randrange(i - 1)
            if operation == "difference" and last > values[j]:
                formula, filled, value = f"{previous}-{letters[j]}", f"{last}-{values[j]}", last - values[j]
            else:
                formula, filled, value = f"{previous}+{letters[j]}", f"{last}+{values[j]}", last + values[j]
        else:
            k = rng.randint(1, addend)
            formula, filled, value = f"{previous}+{k}", f"{last}+{k}", last + k
        values.append(value)
        given.append(f"{name}={formula}")
        steps.append(f"{name}={formula}={filled}={value}")
    last_name = letters[len(values) - 1]
    return worked(f"Let ${', '.join(given)}$. Find ${last_name}$.", steps, str(values[-1]))


def story(rng: random.Random, level: int) -> Worked:
    """A short word problem: a stock of things that grows and shrinks."""
    name, thing = rng.choice(_NAMES), rng.choice(_THINGS)
    addend = scaled(level, 9, 40)
    bound = scaled(level, 40, 160)
    stock = rng.randint(5, scaled(level, 12, 40))
    sentences = [f"{name} has {stock} {thing}."]
    steps: list[str] = []
    for _ in range(scaled(level, 3, 6)):
        event = rng.choice(("finds", "loses", "packs", "multiple", "shares"))
        if event == "packs" and stock < bound:
            packs, size = rng.randint(2, 9), rng.randint(2, scaled(level, 5, 9))
            bought = packs * size
            sentences.append(f"{name} buys {packs} packs of {size} {thing}.")
            steps.append(f"Packs: {packs}\\cdot{size}={bought}, so {stock}+{bought}={stock + bought}")
            stock += bought
        elif event == "loses" and stock > 2:
            lost = rng.randint(1, min(stock - 1, addend))
            sentences.append(f"{name} loses {lost} {thing}.")
            steps.append(f"Loses: {stock}-{lost}={stock - lost}")
            stock -= lost
        elif event == "multiple" and stock * 2 <= bound:
            k = rng.randint(2, min(5, bound // stock))
            sentences.append(f"Then the number of {thing} grows {k} times.")
            steps.append(f"Grows: {k}\\cdot{stock}={k * stock}")
            stock *= k
        elif event == "shares" and any(stock % k == 0 and stock > k for k in (2, 3, 4, 5)):
            k = rng.choice([k for k in (2, 3, 4, 5) if stock % k == 0 and stock > k])
            sentences.append(f"{name} splits the {thing} into {k} equal parts and keeps one.")
            steps.append(f"Splits: {stock}/{k}={stock // k}")
            stock //= k
        else:
            found = rng.randint(1, addend)
            sentences.append(f"{name} finds {found} {thing}.")
            steps.append(f"Finds: {stock}+{found}={stock + found}")
            stock += found
    sentences.append(f"How many {thing} does {name} have now?")
    return worked(" ".join(sentences), steps, str(stock))
