"""A scorer's opinion of the draft's step of every pair, through the same sessions that strategies use."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from arbitrage.errors import ContextOverflowError
from arbitrage.harness.router.pairs import HistoryStep, StepPair
from arbitrage.harness.statistics import Floats
from arbitrage.interfaces import ScoreSession, StepScorer


def score_pairs(
    scorer: StepScorer,
    pairs: Sequence[StepPair],
    *,
    concurrency: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Floats:
    """Score each draft step behind its history.

    Pairs of one solution that stand in the order of its steps share a session, so nothing is encoded twice.

    Args:
        scorer: router or PRM.
        pairs: in any order.
        concurrency: how many solutions are scored at once.
        progress: told how many pairs are done, and of how many.

    Returns:
        Shape (pairs,); NaN where problem and step are too long for the scorer.
    """
    scores = np.full(len(pairs), np.nan)
    walks, done = list(_walks(pairs)), 0
    with ThreadPoolExecutor(concurrency) as pool:
        try:
            for walk, found in zip(walks, pool.map(lambda walk: _walk_scores(scorer, pairs, walk), walks), strict=True):
                scores[walk] = found
                done += len(walk)
                if progress is not None:
                    progress(done, len(pairs))
        except BaseException:  # what has not begun is not wanted any more
            pool.shutdown(cancel_futures=True)
            raise
    return scores


def _walks(pairs: Sequence[StepPair]) -> Iterator[list[int]]:
    """Neighbouring pairs of one solution: each history begins with that of the pair before it."""
    walk: list[int] = []
    for index, pair in enumerate(pairs):
        if walk and not _continues(pairs[walk[-1]], pair):
            yield walk
            walk = []
        walk.append(index)
    if walk:
        yield walk


def _continues(before: StepPair, pair: StepPair) -> bool:
    same = (before.problem_id, before.statement) == (pair.problem_id, pair.statement)
    return same and pair.history[: len(before.history)] == before.history


def _walk_scores(scorer: StepScorer, pairs: Sequence[StepPair], walk: Sequence[int]) -> list[float]:
    found: list[float] = []
    while len(found) < len(walk):  # a step that is too long ends its session, and the next one may fit again
        try:
            for score in _session_scores(scorer, [pairs[index] for index in walk[len(found) :]]):
                found.append(score)
        except ContextOverflowError:
            found.append(float("nan"))
    return found


def _session_scores(scorer: StepScorer, pairs: Sequence[StepPair]) -> Iterator[float]:
    behind: tuple[HistoryStep, ...] = ()
    candidate: str | None = None
    with scorer.open(pairs[0].statement) as session:
        for pair in pairs:
            _catch_up(session, candidate, pair.history[len(behind) :])
            behind, candidate = pair.history, pair.draft
            yield session.score(pair.draft, "draft")


def _catch_up(session: ScoreSession, candidate: str | None, steps: Sequence[HistoryStep]) -> None:
    """Commit `steps`; the first of them is not encoded again where it is the candidate."""
    for index, step in enumerate(steps):
        if index == 0 and candidate is not None and step == HistoryStep(candidate, "draft"):
            session.commit()
        else:
            session.append(step.text, step.author)
