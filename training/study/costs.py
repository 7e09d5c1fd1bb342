"""What a decision costs at batch 1, in the library's own sessions: medians, everything measured in turn.

In seconds of the processor, not of the clock: a busy machine then tells nearly the same as an idle one.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import groupby
from statistics import median

import numpy as np

from arbitrage.backends.hf.likelihood import FEATURES, AdvantageHead, Reading
from arbitrage.backends.loading import load_models
from arbitrage.harness.router.pairs import StepPair
from arbitrage.interfaces import Continuation, Stop
from arbitrage.sampling import Sampling
from training.study.features import looked
from training.study.world import Look

PROBLEMS = 60
EXAMPLE = Reading(*[0.0] * len(FEATURES))


def written(continuation: object) -> int:
    """Tokens of one call of `generate`."""
    assert isinstance(continuation, Continuation)
    return len(continuation.ids)


def measure(pairs: Sequence[StepPair], head: AdvantageHead, threads: int = 1) -> dict[str, float]:
    """Milliseconds of processor time by name.

    Args:
        pairs: whole solutions, step by step.
        head: the shipped one, as an example of what a head costs.
        threads: of the models.
    """
    models = load_models("hf", dtype="float32", threads=threads)
    assert models.draft is not None
    assert models.target is not None
    assert models.router is not None
    assert models.prm is not None
    found: dict[str, list[float]] = defaultdict(list)
    rng = np.random.default_rng(0)

    def timed(name: str, work: Callable[[], object], units: Callable[[object], int] = lambda _: 1) -> object:
        started = time.process_time()
        result = work()
        found[name].append(1000 * (time.process_time() - started) / units(result))
        return result

    solutions = [list(group) for _, group in groupby(pairs, key=lambda pair: pair.problem_id)][: PROBLEMS + 3]
    for number, solution in enumerate(solutions):
        if number == 3:
            found.clear()  # warm-up
        scorers = {"router": models.router.open(solution[0].statement), "prm": models.prm.open(solution[0].statement)}
        for pair in solution:
            for name, writer in (("draft", models.draft), ("target", models.target)):
                with writer.open(pair.prefix_ids) as session:
                    session.extend((), logits=1)
                    stop = Stop(max_tokens=len(pair.draft_ids))
                    timed(f"{name} token", lambda w=session, p=stop: w.generate(p, Sampling(), rng), written)
            with models.target.open(pair.prefix_ids) as session:
                session.extend((), logits=1)
                ids = pair.draft_ids
                rows = timed("target pass over the step", lambda s=session, i=ids: s.extend(i, logits=len(i)))
            look = timed("log-probs and entropies", lambda r=rows, i=ids: Look.of(r, i))
            timed("features", lambda o=look: looked(o))
            timed("head", lambda: head.score(EXAMPLE))
            for name, scorer in scorers.items():
                timed(name, lambda s=scorer, p=pair: s.score(p.draft, "draft"))
                if pair.committed == "draft":
                    scorer.commit()
                else:
                    scorer.discard()
                    scorer.append(pair.targets[0], "target")
        for scorer in scorers.values():
            scorer.close()
    return {name: round(median(values), 4) for name, values in found.items()}
