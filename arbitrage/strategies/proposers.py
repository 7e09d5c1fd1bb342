"""Where drafted tokens come from: a draft model, or text that the sequence already holds.

A proposer suggests; it never decides. All proposers share the verify path of `speculative`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from arbitrage.boundary import StepBoundary
from arbitrage.interfaces import LanguageModel, Session, Usage
from arbitrage.sampling import Probabilities, Sampling, draw, probabilities


@dataclass(frozen=True, slots=True)
class Proposal:
    """Tokens suggested for the next places of a sequence."""

    tokens: tuple[int, ...]
    laws: Probabilities | None
    """What each token was drawn from, shape (tokens, vocabulary); None when the tokens are fixed (greedy, n-gram)."""


class Proposer(ABC):
    """Suggests tokens for one growing sequence."""

    usage: Usage

    @abstractmethod
    def propose(
        self,
        ids: Sequence[int],
        limit: int,
        boundary: StepBoundary | None,
        sampling: Sampling,
        rng: np.random.Generator,
    ) -> Proposal:
        """Suggest up to `limit` tokens to follow `ids`; fewer (or none) when it is not worth more.

        Args:
            ids: the sequence so far; it may have changed in any way since the last call.
            limit: most tokens to suggest.
            boundary: where in the current step the sequence stands, when steps matter; nothing is suggested past a
                step's end or an end of sequence.
            sampling: the target's sampling; drafted tokens are drawn under the same temperature, top-k and top-p.
            rng: source of randomness, unused when greedy.
        """

    @abstractmethod
    def close(self) -> None:
        """Free what the proposer holds."""


class DraftProposer(Proposer):
    """Suggests what a smaller model with the same tokenizer would write."""

    def __init__(self, model: LanguageModel, prompt: Sequence[int], min_confidence: float) -> None:
        """The draft's session over `prompt` is opened when it is first asked: plain decoding does not need it."""
        self._model, self._prompt = model, prompt
        self._opened: Session | None = None
        self._unused = Usage()
        self._min_confidence = min_confidence

    @property
    def usage(self) -> Usage:  # type: ignore[override]
        """Work of the draft model."""
        return self._unused if self._opened is None else self._opened.usage

    def propose(
        self,
        ids: Sequence[int],
        limit: int,
        boundary: StepBoundary | None,
        sampling: Sampling,
        rng: np.random.Generator,
    ) -> Proposal:
        """See `Proposer.propose`. Stops early when the draft is less sure of a token than `min_confidence`.

        Beyond the draft's context nothing is proposed: the target then writes alone.
        """
        limit = min(limit, self._model.context_length - len(ids))
        if limit < 1:
            return Proposal((), None)
        session = self._follow(ids)
        ahead = boundary.copy() if boundary else None
        tokens: list[int] = []
        laws: list[Probabilities] = []
        while len(tokens) < limit:
            rows = session.extend((), logits=1)
            assert rows is not None
            if sampling.greedy:
                token = int(rows[0].argmax())
                confidence = 1.0 / float(np.exp(rows[0] - rows[0][token]).sum())
            else:
                law = probabilities(rows[0], sampling)
                token = draw(law, rng.random())
                # Stopping must not depend on the token that was drawn: that would bias what is suggested.
                confidence = float(law.max())
                laws.append(law)
            if confidence < self._min_confidence:
                del laws[len(tokens) :]
                break
            tokens.append(token)
            session.extend((token,))
            if token in self._model.codec.eos_ids or (ahead is not None and ahead.push(token)):
                break
        return Proposal(tuple(tokens), np.stack(laws) if laws else None)

    def _follow(self, ids: Sequence[int]) -> Session:
        """Bring the draft's sequence to `ids`, keeping the cache of the common prefix."""
        if self._opened is None:
            self._opened = self._model.open(self._prompt)
        session = self._opened
        mine = session.ids
        common = min(len(mine), len(ids))
        # Sequences differ at their newest tokens only; look back from the end of the shorter one.
        while common and mine[common - 1] != ids[common - 1]:
            common -= 1
        if common and list(mine[:common]) != list(ids[:common]):
            common = next(i for i in range(common) if mine[i] != ids[i])
        if common < len(mine):
            session.rewind(common)
        if common < len(ids):
            session.extend(ids[common:])
        return session

    def close(self) -> None:
        """Close the draft's session."""
        if self._opened is not None:
            self._opened.close()


class NgramProposer(Proposer):
    """Suggests what followed the latest earlier occurrence of the newest tokens (prompt lookup).

    Costs no model at all; pays where solutions repeat the problem or themselves.
    """

    def __init__(self, longest: int = 3, shortest: int = 2) -> None:
        if not 1 <= shortest <= longest:
            raise ValueError(f"need 1 <= shortest <= longest, not {shortest} and {longest}")
        self._longest, self._shortest = longest, shortest
        self.usage = Usage()

    def propose(
        self,
        ids: Sequence[int],
        limit: int,
        boundary: StepBoundary | None,
        sampling: Sampling,
        rng: np.random.Generator,
    ) -> Proposal:
        """See `Proposer.propose`. The longest n-gram that has an earlier occurrence wins."""
        known = list(ids)
        for n in range(min(self._longest, len(known) - 1), self._shortest - 1, -1):
            tail = known[-n:]
            for start in range(len(known) - n - 1, -1, -1):
                if known[start : start + n] == tail:
                    return Proposal(tuple(known[start + n : start + n + limit]), None)
        return Proposal((), None)

    def close(self) -> None:
        """Nothing to free."""
