"""What every session that sees logits shares: counting written tokens in, writing one by one, checking a proposal.

Knows sampling and step boundaries. Knows nothing of devices, caches or file formats.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from arbitrage.boundary import StepBoundary
from arbitrage.interfaces import Continuation, LanguageModel, Session, Stop, StopReason, TextCodec
from arbitrage.sampling import Logits, Sampling, TokenLogprobs, choose


class Writing:
    """The tokens of one call of `generate` and why it ends."""

    def __init__(self, codec: TextCodec, stop: Stop, room: int) -> None:
        """Start at the beginning of a step.

        Args:
            codec: tells ends of sequence and of steps.
            stop: what ends the call.
            room: tokens that the context still holds.

        Raises:
            ValueError: `stop` allows no token.
        """
        if stop.max_tokens < 1:
            raise ValueError(f"max_tokens must be at least 1, not {stop.max_tokens}")
        self.limit = min(stop.max_tokens, room)
        self.boundary = StepBoundary(codec)
        self.logprobs = TokenLogprobs()
        self.reason: StopReason | None = StopReason.CONTEXT if room < 1 else None
        self._eos_ids, self._at_separator = codec.eos_ids, stop.at_separator
        self._at_limit = StopReason.LENGTH if stop.max_tokens <= room else StopReason.CONTEXT

    @property
    def left(self) -> int:
        """Tokens that may still be written."""
        return self.limit - len(self.logprobs)

    def take(self, row: Logits, token: int) -> bool:
        """Count in `token`, chosen from `row`; whether more may follow."""
        self.logprobs.add(row, token)
        if token in self._eos_ids:
            self.reason = StopReason.EOS
        elif self.boundary.push(token) and self._at_separator:
            self.reason = StopReason.SEPARATOR
        elif len(self.logprobs) == self.limit:
            self.reason = self._at_limit
        return self.reason is None

    def end(self, ids: Sequence[int], **counts: int) -> Continuation:
        """What the call returns, once there is a reason to end.

        Args:
            ids: the sequence from where the call began.
            counts: further fields of `Continuation`.
        """
        assert self.reason is not None
        return Continuation(tuple(ids), self.logprobs.values(), self.reason, **counts)


def write_plainly(session: Session, writing: Writing, count: int, sampling: Sampling, rng: np.random.Generator) -> None:
    """Write up to `count` tokens of `session`, one pass each."""
    newest: tuple[int, ...] = ()
    for _ in range(count):
        rows = session.extend(newest, logits=1)
        assert rows is not None
        token = choose(rows[0], sampling, rng)
        newest = (token,)
        if not writing.take(rows[0], token):
            break
    session.extend(newest)


class LogitsSession(Session):
    """A session whose `generate` is built on its `extend` and `rewind`."""

    model: LanguageModel

    def generate(
        self, stop: Stop, sampling: Sampling, rng: np.random.Generator, proposal: Sequence[int] = ()
    ) -> Continuation:
        """See `Session.generate`. A proposal is checked in one pass by the fixed-proposal rule."""
        start = len(self.ids)
        writing = Writing(self.model.codec, stop, self.model.context_length - start)
        kept = 0
        proposed = list(proposal)[: max(0, writing.limit - 1)]
        if proposed:
            rows = self.extend(proposed, logits=len(proposed) + 1)
            assert rows is not None
            for i in range(len(proposed) + 1):
                token = choose(rows[i], sampling, rng, proposed[i] if i < len(proposed) else None)
                agreed = i < len(proposed) and token == proposed[i]
                kept += agreed
                if not writing.take(rows[i], token) or not agreed:
                    self.rewind(start + kept)
                    self.extend(() if agreed else (token,))
                    break
        if writing.reason is None:
            write_plainly(self, writing, writing.left, sampling, rng)
        return writing.end(self.ids[start:], proposal_kept=kept)
