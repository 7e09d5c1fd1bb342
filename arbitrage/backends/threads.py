"""CPU threads chosen by measuring (`threads="auto"`): the fewest of the fastest, on this machine, with these models.

Torch has one number of threads for the whole process, llama.cpp one for each model. What is made small is therefore the
sum, over the models that share their threads, of the seconds of a decode pass over one token and of one over eight
(a scorer: of one over a step), all weighted equally, after a short prompt.

Numbers of threads take turns, so that a burst of load hits all alike. The time of a pass is a mean, and not a median:
where other processes keep cores busy, one pass in ten on all cores may take forty times as long as the others, because
its threads wait for one that does not run. Solutions pay for those too; no median shows them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import cycle
from statistics import fmean
from typing import Literal

from arbitrage.cpu import CpuThreads, ThreadChoice, granted_cores
from arbitrage.interfaces import Capability, LanguageModel, Models, Settings, StepScorer
from arbitrage.types import Role

AUTO: Literal["auto"] = "auto"
_TIE = 0.05
"""Of the fastest time: fewer threads that need this much more are taken all the same."""
_TOKENS = (1, 8)
_FEWEST_ROUNDS, _MOST_ROUNDS = 3, 500
_PATIENCE_S = 3.0
"""After the fewest rounds no further one is begun when this much time has passed."""
_ODD = 20
"""One in so many of the times, the slowest, is left out."""
_STATEMENT = "What is the sum of the first ten odd numbers?"
_STEPS = ("The numbers are 1, 3, 5, 7 and so on.", "A sum of odd numbers is a square.")

Pass = Callable[[], object]


def choose_threads(models: Models, cores: int | None = None, clock: Callable[[], float] = time.perf_counter) -> Models:
    """Set the threads of `models` to the fastest numbers.

    Args:
        models: loaded; those on a GPU, and those that cannot be measured, are left alone.
        cores: most threads to try; None: all that this process is granted.
        clock: seconds.

    Returns:
        The same models, with what was chosen as `Models.threads`.
    """
    shared: dict[CpuThreads, list[Role]] = {}
    for role in Role:
        model: LanguageModel | StepScorer | None = getattr(models, role.value)
        if model is not None and model.cpu_threads is not None:
            shared.setdefault(model.cpu_threads, []).append(role)
    counts = candidates(cores or granted_cores())
    choices = []
    for threads, roles in shared.items():
        with ExitStack() as stack:
            passes = [one for role in roles for one in _passes(getattr(models, role.value), stack)]
            if passes:
                seconds = measure(threads, passes, counts, clock)
                best = fewest_of_fastest(seconds)
                threads.use(best)
                choices.append(ThreadChoice(threads.name, tuple(roles), best, seconds))
    return replace(models, threads=tuple(choices))


def candidates(cores: int) -> list[int]:
    """Numbers of threads to try: powers of two, and all cores."""
    return [*(1 << k for k in range((cores - 1).bit_length())), cores]


def fewest_of_fastest(seconds: Mapping[int, float]) -> int:
    """The smallest number of threads that is as fast as the fastest, but for a twentieth."""
    least = min(seconds.values())
    return min(count for count, each in seconds.items() if each <= (1 + _TIE) * least)


def measure(
    threads: CpuThreads, passes: Sequence[Pass], counts: Sequence[int], clock: Callable[[], float]
) -> dict[int, float]:
    """The sum of the passes' mean seconds on each number of threads."""
    taken: dict[int, list[list[float]]] = {count: [[] for _ in passes] for count in counts}
    started = clock()
    for done in range(_MOST_ROUNDS):
        if done >= _FEWEST_ROUNDS and clock() - started > _PATIENCE_S:
            break
        for count in counts:
            threads.use(count)
            for run in passes:  # starts the threads, and moves what they need
                run()
            for own, run in zip(taken[count], passes, strict=True):
                before = clock()
                run()
                own.append(clock() - before)
    return {count: sum(map(_mean, each)) for count, each in taken.items()}


def _mean(seconds: Sequence[float]) -> float:
    return fmean(sorted(seconds)[: len(seconds) - len(seconds) // _ODD])


def _passes(model: LanguageModel | StepScorer, stack: ExitStack) -> list[Pass]:
    """What is measured of a model; `stack` closes its session."""
    if isinstance(model, StepScorer):
        scoring, steps = stack.enter_context(model.open(_STATEMENT)), cycle(_STEPS)
        return [lambda: scoring.score(next(steps), "draft")]
    if not {Capability.LOGITS, Capability.REWIND} <= model.capabilities:
        return []
    prompt = Settings().prompt(_STATEMENT, model)
    session = stack.enter_context(model.open(prompt))
    session.catch_up()

    def decode(count: int) -> None:
        session.extend([prompt[0]] * count, logits=count)
        session.rewind(len(prompt))

    return [lambda count=count: decode(count) for count in _TOKENS]  # type: ignore[misc]
