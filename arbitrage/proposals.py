"""Tokens that somebody suggests for the next places of a sequence, and who may suggest them without a model.

A proposer suggests; it never decides. What is suggested is checked in `decoding`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np

from arbitrage.boundary import StepBoundary
from arbitrage.interfaces import Usage
from arbitrage.sampling import Probabilities, Sampling


@dataclass(frozen=True, slots=True)
class Proposal:
    """Tokens suggested for the next places of a sequence."""

    tokens: tuple[int, ...]
    laws: Probabilities | None = None
    """What each token was drawn from, shape (tokens, vocabulary); None for fixed tokens (greedy, looked up)."""


class Proposer(ABC):
    """Suggests tokens for one growing sequence."""

    usage: Usage
    free: ClassVar[bool] = False
    """Whether a suggestion takes no model, so that asking in vain costs nothing."""

    @abstractmethod
    def propose(
        self,
        ids: Sequence[int],
        unchanged: int,
        limit: int,
        boundary: StepBoundary | None,
        sampling: Sampling,
        rng: np.random.Generator,
    ) -> Proposal:
        """Suggest up to `limit` tokens to follow `ids`; fewer (or none) when it is not worth more.

        Args:
            ids: the sequence so far.
            unchanged: how many of its first tokens are those of the last call; 0 in the first.
            limit: most tokens to suggest.
            boundary: where in the current step the sequence stands, when steps matter; nothing needs to be suggested
                past a step's end or an end of sequence.
            sampling: the target's sampling; drafted tokens are drawn under the same temperature, top-k and top-p.
            rng: source of randomness, unused when greedy.
        """

    def close(self) -> None:  # noqa: B027 - most proposers hold nothing
        """Free what the proposer holds."""


@final
class NgramIndex:
    """Every place of a growing sequence by the n tokens before it. A token more or less costs O(1)."""

    def __init__(self, longest: int, shortest: int) -> None:
        """Index n-grams of `shortest` to `longest` tokens."""
        self.ids: list[int] = []
        self.longest, self.shortest = longest, shortest
        self._places: dict[tuple[int, ...], list[int]] = {}

    def follow(self, ids: Sequence[int], unchanged: int) -> None:
        """Become the index of `ids`, whose first `unchanged` tokens are those that stand here already."""
        mine, places = self.ids, self._places
        while len(mine) > unchanged:
            for gram in self._grams():
                places[gram].pop()
            mine.pop()
        for token in ids[len(mine) :]:
            mine.append(token)
            for gram in self._grams():
                places.setdefault(gram, []).append(len(mine))

    def places(self, gram: tuple[int, ...]) -> Sequence[int]:
        """Positions right behind each occurrence of `gram`, ascending."""
        return self._places.get(gram, ())

    def _grams(self) -> list[tuple[int, ...]]:
        """The n-grams that end the sequence, longest first."""
        mine = self.ids
        return [tuple(mine[-n:]) for n in range(min(self.longest, len(mine)), self.shortest - 1, -1)]


@final
class NgramProposer(Proposer):
    """Suggests what followed the latest earlier occurrence of the newest tokens (prompt lookup).

    Costs no model at all; pays where solutions repeat the problem or themselves.
    """

    free = True

    def __init__(self, longest: int = 3, shortest: int = 2) -> None:
        if not 1 <= shortest <= longest:
            raise ValueError(f"need 1 <= shortest <= longest, not {shortest} and {longest}")
        self.usage = Usage()
        self._index = NgramIndex(longest, shortest)

    def propose(
        self,
        ids: Sequence[int],
        unchanged: int,
        limit: int,
        boundary: StepBoundary | None,
        sampling: Sampling,
        rng: np.random.Generator,
    ) -> Proposal:
        """See `Proposer.propose`. The longest n-gram that has an earlier occurrence wins."""
        index = self._index
        index.follow(ids, unchanged)
        for n in range(index.longest, index.shortest - 1, -1):
            places = index.places(tuple(index.ids[-n:]))
            if len(places) > 1:  # the last one is the end itself
                return Proposal(tuple(index.ids[places[-2] : places[-2] + limit]))
        return Proposal(())


@final
class StepLookup(Proposer):
    """Suggests a step that somebody else wrote from the same prefix, and finds back to it after a difference.

    The step's last token is never suggested: the pass over those before it tells whether it stands.
    """

    free = True
    _LONGEST, _SHORTEST = 3, 2
    """Newest tokens by which the place in the step is found again."""

    def __init__(self, step: Sequence[int], start: int) -> None:
        """Suggest `step` for the places of a sequence from `start` on."""
        self.usage = Usage()
        self._step = tuple(step)
        self._read = start
        self._newest: tuple[int, ...] = ()
        self._at: int | None = 0
        """Place in the step that corresponds to the next token; None while it is lost."""
        self._lost = 0
        """Where it was lost."""
        self._index: NgramIndex | None = None

    def propose(
        self,
        ids: Sequence[int],
        unchanged: int,
        limit: int,
        boundary: StepBoundary | None,
        sampling: Sampling,
        rng: np.random.Generator,
    ) -> Proposal:
        """See `Proposer.propose`. The sequence may only grow between calls."""
        for token in ids[self._read :]:
            self._take(token)
        self._read = len(ids)
        if self._at is None:
            return Proposal(())
        return Proposal(self._step[self._at : min(self._at + limit, len(self._step) - 1)])

    def _take(self, token: int) -> None:
        self._newest = (*self._newest[1 - self._LONGEST :], token)
        at = self._at
        if at is not None:
            if at < len(self._step) and self._step[at] == token:
                self._at = at + 1
                return
            self._lost = at
        self._at = self._found()

    def _found(self) -> int | None:
        """The place behind the newest tokens: the nearest after where it was lost, or else the last one before."""
        if self._index is None:
            self._index = NgramIndex(self._LONGEST, self._SHORTEST)
            self._index.follow(self._step, 0)
        for n in range(len(self._newest), self._SHORTEST - 1, -1):
            if places := self._index.places(self._newest[-n:]):
                return places[min(bisect_left(places, self._lost + n), len(places) - 1)]
        return None
