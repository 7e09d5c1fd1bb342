"""Drafted tokens that come from a smaller model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import final

import numpy as np

from arbitrage.boundary import StepBoundary
from arbitrage.interfaces import LanguageModel, Session, Usage
from arbitrage.proposals import Proposal, Proposer
from arbitrage.sampling import Best, Logits, Probabilities, Sampling, choose, draw, probabilities


@final
class DraftProposer(Proposer):
    """Suggests what a smaller model with the same tokenizer would write."""

    def __init__(self, model: LanguageModel, prompt: Sequence[int], min_confidence: float) -> None:
        """The draft's session over `prompt` is opened when it is first asked: plain decoding does not need it."""
        self._model, self._prompt = model, prompt
        self._opened: Session | None = None
        self._unused = Usage()
        self._min_confidence = min_confidence
        self._agreed = 0
        """How many of the sequence's first tokens are known to be the draft's too."""

    @property
    def usage(self) -> Usage:  # type: ignore[override]
        """Work of the draft model."""
        return self._unused if self._opened is None else self._opened.usage

    def propose(
        self,
        ids: Sequence[int],
        unchanged: int,
        limit: int,
        boundary: StepBoundary | None,
        sampling: Sampling,
        rng: np.random.Generator,
    ) -> Proposal:
        """See `Proposer.propose`. Stops early when the draft is less sure of a token than `min_confidence`.

        Beyond the draft's context nothing is proposed: the target then writes alone.
        """
        self._agreed = min(self._agreed, unchanged)
        limit = min(limit, self._model.context_length - len(ids))
        if limit < 1:
            return Proposal(())
        session = self._follow(ids)
        ahead = boundary.copy() if boundary else None
        ends = self._model.codec.eos_ids
        tokens: list[int] = []
        laws: list[Probabilities] = []
        newest: tuple[int, ...] = ()
        while len(tokens) < limit:
            if sampling.greedy:
                row = session.extend_greedily(newest, 1)[0]
                token = choose(row, sampling, rng)
                sure = self._min_confidence <= 0 or _confidence(row, token) >= self._min_confidence
            else:
                rows = session.extend(newest, logits=1)
                assert rows is not None
                law = probabilities(rows[0], sampling)
                token = draw(law, rng.random())
                # Stopping must not depend on the token that was drawn: that would bias what is suggested.
                sure = float(law.max()) >= self._min_confidence
                laws.append(law)
            newest = ()
            if not sure:
                del laws[len(tokens) :]
                break
            tokens.append(token)
            newest = (token,)
            if token in ends or (ahead is not None and ahead.push(token)):
                break
        session.extend(newest)
        return Proposal(tuple(tokens), np.stack(laws) if laws else None)

    def _follow(self, ids: Sequence[int]) -> Session:
        """Bring the draft's sequence to `ids`, keeping the cache of the common prefix."""
        if self._opened is None:
            self._opened = self._model.open(self._prompt)
        session = self._opened
        mine = session.ids
        # Behind what is known to be the same stand this draft's own suggestions, and some of them were kept.
        common, shorter = self._agreed, min(len(mine), len(ids))
        while common < shorter and mine[common] == ids[common]:
            common += 1
        if common < len(mine):
            session.rewind(common)
        if common < len(ids):
            session.extend(ids[common:])
        self._agreed = len(ids)
        return session

    def close(self) -> None:
        """Close the draft's session."""
        if self._opened is not None:
            self._opened.close()


def _confidence(row: Logits | Best, best: int) -> float:
    """Probability of the most likely token, from one row of logits of shape (vocabulary,)."""
    if isinstance(row, Best):
        return math.exp(row.logprob)
    return 1.0 / float(np.exp(row - row[best]).sum())
