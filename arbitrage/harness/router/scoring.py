"""A scorer's opinion of steps of stored pairs, through the same sessions that strategies use."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Self, final

import numpy as np

from arbitrage.errors import ContextOverflowError
from arbitrage.harness.router.pairs import HistoryStep, StepPair
from arbitrage.harness.statistics import Floats
from arbitrage.interfaces import StepScorer
from arbitrage.types import Author

Version = tuple[str, Author]
"""Text of a step, and who wrote it."""


@final
class Reader:
    """A scorer reading one solution: several versions of each next step, and then the one that it goes on with."""

    def __init__(self, scorer: StepScorer, statement: str) -> None:
        self._session = scorer.open(statement)
        self._candidate: Version | None = None

    def scores(self, versions: Sequence[Version]) -> list[float]:
        """Of each version of the next step; the very same text has the very same score."""
        known: dict[str, float] = {}
        for text, author in versions:
            if text not in known:
                self._candidate = text, author
                known[text] = self._session.score(text, author)
        return [known[text] for text, _ in versions]

    def committed(self, step: str, author: Author) -> None:
        """Take in the step that the solution goes on with; what was scored last is not encoded again."""
        if self._candidate == (step, author):
            self._session.commit()
        else:
            self._session.append(step, author)
        self._candidate = None

    def close(self) -> None:
        """Free the session."""
        self._session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def score_pairs(
    scorer: StepScorer,
    pairs: Sequence[StepPair],
    *,
    concurrency: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Floats:
    """Score each draft step behind its history.

    Args:
        scorer: router or PRM.
        pairs: in any order.
        concurrency: how many solutions are scored at once.
        progress: told how many pairs are done, and of how many.

    Returns:
        Shape (pairs,); NaN where problem and step are too long for the scorer.
    """
    found = score_versions(scorer, pairs, _drafted, concurrency=concurrency, progress=progress)
    return np.array([np.nan if scores is None else scores[0] for scores in found])


def score_versions(
    scorer: StepScorer,
    pairs: Sequence[StepPair],
    versions: Callable[[StepPair], Iterable[Version]],
    *,
    concurrency: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> list[list[float] | None]:
    """Score some versions of each pair's step behind its history.

    Pairs of one solution that stand in the order of its steps share a session, so nothing is encoded twice.

    Args:
        scorer: router or PRM.
        pairs: in any order.
        versions: which steps of a pair are scored.
        concurrency: how many solutions are scored at once.
        progress: told how many pairs are done, and of how many.

    Returns:
        For each pair the scores of its versions; None where one of them is too long for the scorer.
    """
    scores: list[list[float] | None] = [None] * len(pairs)
    walks, done = list(_walks(pairs)), 0

    def walked(walk: Sequence[int]) -> list[list[float] | None]:
        return _walk_scores(scorer, [pairs[index] for index in walk], versions)

    with ThreadPoolExecutor(concurrency) as pool:
        try:
            for walk, found in zip(walks, pool.map(walked, walks), strict=True):
                for index, one in zip(walk, found, strict=True):
                    scores[index] = one
                done += len(walk)
                if progress is not None:
                    progress(done, len(pairs))
        except BaseException:  # what has not begun is not wanted any more
            pool.shutdown(cancel_futures=True)
            raise
    return scores


def _drafted(pair: StepPair) -> list[Version]:
    return [(pair.draft, "draft")]


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


def _walk_scores(
    scorer: StepScorer, walk: Sequence[StepPair], versions: Callable[[StepPair], Iterable[Version]]
) -> list[list[float] | None]:
    found: list[list[float] | None] = []
    while len(found) < len(walk):  # a step that is too long ends its session, and the next one may fit again
        try:
            for scores in _session_scores(scorer, walk[len(found) :], versions):
                found.append(scores)
        except ContextOverflowError:
            found.append(None)
    return found


def _session_scores(
    scorer: StepScorer, pairs: Sequence[StepPair], versions: Callable[[StepPair], Iterable[Version]]
) -> Iterator[list[float]]:
    behind: tuple[HistoryStep, ...] = ()
    with Reader(scorer, pairs[0].statement) as reader:
        for pair in pairs:
            for step in pair.history[len(behind) :]:
                reader.committed(step.text, step.author)
            behind = pair.history
            yield reader.scores(list(versions(pair)))
