"""The decode loop shared by sessions that can return logits: everything but the forward pass.

Knows sampling and step boundaries. Knows nothing of devices, caches or file formats.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from arbitrage.boundary import StepBoundary
from arbitrage.interfaces import Continuation, LanguageModel, Session, Stop, StopReason
from arbitrage.sampling import Logits, Sampling, TokenLogprobs, draw, probabilities


class LogitsSession(Session):
    """A session whose `generate` is built on its `extend` and `rewind`."""

    model: LanguageModel

    def generate(
        self, stop: Stop, sampling: Sampling, rng: np.random.Generator, proposal: Sequence[int] = ()
    ) -> Continuation:
        """See `Session.generate`. A proposal is checked in one pass by the fixed-proposal rule."""
        if stop.max_tokens < 1:
            raise ValueError(f"max_tokens must be at least 1, not {stop.max_tokens}")
        boundary = StepBoundary(self.model.codec)
        start = len(self.ids)
        room = self.model.context_length - start
        logprobs = TokenLogprobs()
        reason: StopReason | None = None

        def take(token: int, row: Logits) -> StopReason | None:
            """Count `token` in; why the call ends with it, or None."""
            logprobs.add(row, token)
            if token in self.model.codec.eos_ids:
                return StopReason.EOS
            if boundary.push(token) and stop.at_separator:
                return StopReason.SEPARATOR
            if len(logprobs) == stop.max_tokens:
                return StopReason.LENGTH
            return StopReason.CONTEXT if len(logprobs) == room else None

        kept = 0
        if room < 1:
            reason = StopReason.CONTEXT
        proposed = list(proposal)[: max(0, min(stop.max_tokens, room) - 1)]
        if proposed and reason is None:
            rows = self.extend(proposed, logits=len(proposed) + 1)
            assert rows is not None
            for i in range(len(proposed) + 1):
                token = choose(rows[i], sampling, rng, proposed[i] if i < len(proposed) else None)
                agreed = i < len(proposed) and token == proposed[i]
                kept += agreed
                reason = take(token, rows[i])
                if not agreed or reason is not None:
                    self.rewind(start + kept)
                    self.extend(() if agreed else (token,))
                    break
        newest: tuple[int, ...] = ()
        while reason is None:
            rows = self.extend(newest, logits=1)
            assert rows is not None
            token = choose(rows[0], sampling, rng)
            newest = (token,)
            reason = take(token, rows[0])
        self.extend(newest)
        return Continuation(tuple(self.ids[start:]), logprobs.values(), reason, proposal_kept=kept)


def choose(row: Logits, sampling: Sampling, rng: np.random.Generator, proposed: int | None = None) -> int:
    """The next token from one row of logits, shape (vocabulary,).

    A proposed token y is taken with probability p(y), and otherwise one is drawn from p without y: again exactly p.
    """
    if sampling.greedy:
        return int(row.argmax())
    law = probabilities(row, sampling)
    if proposed is not None and proposed < law.size:
        if rng.random() < law[proposed]:
            return proposed
        law[proposed] = 0.0
    return draw(law, rng.random())
