"""Token-level speculative decoding as a model: a drop-in for its target, usable inside every strategy.

Leviathan et al., arXiv:2211.17192; Chen et al., arXiv:2302.01318. Greedy output equals the target's token for token (up
to floating-point ties), sampled output has the target's law.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from arbitrage.boundary import StepBoundary
from arbitrage.interfaces import (
    Capability,
    Continuation,
    LanguageModel,
    Session,
    Stop,
    StopReason,
    Usage,
)
from arbitrage.sampling import Logits, Probabilities, Sampling, probabilities, token_logprob
from arbitrage.strategies.draft_length import DraftLength
from arbitrage.strategies.probability import verify, verify_fixed
from arbitrage.strategies.proposers import Proposal, Proposer
from arbitrage.types import Role

ProposerFactory = Callable[[Sequence[int]], Proposer]
"""Makes the proposer of one sequence from its prompt."""


class SpeculativeModel(LanguageModel):
    """A target whose tokens are proposed by somebody cheaper and checked several at a time."""

    def __init__(
        self, target: LanguageModel, proposer: ProposerFactory, draft_length: Callable[[], DraftLength]
    ) -> None:
        """Wrap `target`.

        Args:
            target: whose output is reproduced; needs the capabilities logits and rewind.
            proposer: makes the proposer of each sequence.
            draft_length: makes the chooser of the draft length of each sequence.
        """
        self.target = target
        self.name = target.name
        self.codec = target.codec
        self.capabilities = frozenset({Capability.REWIND, Capability.LOGITS})
        self.context_length = target.context_length
        self.instruction = target.instruction
        self._proposer, self._draft_length = proposer, draft_length

    def open(self, prompt: Sequence[int]) -> SpeculativeSession:
        """A session over the target with its own proposer."""
        return SpeculativeSession(self.target, prompt, self._proposer(prompt), self._draft_length())

    def describe(self) -> dict[str, object]:
        """The target's facts."""
        return self.target.describe()


class SpeculativeSession(Session):
    """One sequence of a `SpeculativeModel`."""

    def __init__(self, target: LanguageModel, prompt: Sequence[int], proposer: Proposer, length: DraftLength) -> None:
        self._model = target
        self._session = target.open(prompt)
        self._proposer = proposer
        self._length = length
        self._drafted_tokens = 0

    @property
    def ids(self) -> Sequence[int]:
        """See `Session.ids`."""
        return self._session.ids

    @property
    def usage(self) -> Usage:  # type: ignore[override]
        """Work of the target alone; `usage_by_role` tells the draft's."""
        return self._session.usage

    def usage_by_role(self, role: Role) -> Mapping[Role, Usage]:
        """The target's work under `role`, the proposer's under draft."""
        return {role: self._session.usage, Role.DRAFT: self._proposer.usage}

    def extend(self, ids: Sequence[int], logits: int = 0) -> Logits | None:
        """See `Session.extend`; the proposer catches up when it is next asked."""
        return self._session.extend(ids, logits)

    def rewind(self, length: int) -> None:
        """See `Session.rewind`."""
        self._session.rewind(length)

    def close(self) -> None:
        """Close target and proposer."""
        self._session.close()
        self._proposer.close()

    def generate(
        self, stop: Stop, sampling: Sampling, rng: np.random.Generator, proposal: Sequence[int] = ()
    ) -> Continuation:
        """See `Session.generate`. The first round checks the caller's proposal, if there is one."""
        if stop.max_tokens < 1:
            raise ValueError(f"max_tokens must be at least 1, not {stop.max_tokens}")
        start = len(self.ids)
        room = self._model.context_length - start
        if room < 1:
            return Continuation((), (), StopReason.CONTEXT)
        limit = min(stop.max_tokens, room)
        boundary = StepBoundary(self._model.codec)
        logprobs: list[float] = []
        kept_of_proposal = drafted = accepted = drafts = 0
        reason: StopReason | None = None
        first = Proposal(tuple(proposal[: limit - 1]), None) if proposal else None
        while reason is None:
            room_for_draft = limit - len(logprobs) - 1
            suggested = first or self._draft(room_for_draft, boundary if stop.at_separator else None, sampling, rng)
            base = len(self.ids)
            rows = self._session.extend(suggested.tokens, logits=len(suggested.tokens) + 1)
            assert rows is not None
            kept, token = _check(rows, suggested, sampling, rng)
            taken = 0
            for i, candidate in enumerate((*suggested.tokens[:kept], token)):
                taken += 1
                logprobs.append(token_logprob(rows[i], candidate))
                reason = self._stops(candidate, boundary, stop, len(logprobs) == limit)
                if reason is not None:
                    break
            kept = min(kept, taken)
            self._session.rewind(base + kept)
            if taken > kept:
                self._session.extend((token,))
            if first is not None:
                kept_of_proposal, first = kept, None
            else:
                drafts += bool(suggested.tokens)
                drafted += len(suggested.tokens)
                accepted += kept
                self._learn(len(suggested.tokens), kept, sampling)
        if reason is StopReason.LENGTH and limit < stop.max_tokens:
            reason = StopReason.CONTEXT
        ids = tuple(self.ids[start:])
        return Continuation(ids, tuple(logprobs), reason, kept_of_proposal, drafted, accepted, drafts)

    def _draft(
        self, room: int, boundary: StepBoundary | None, sampling: Sampling, rng: np.random.Generator
    ) -> Proposal:
        length = min(self._length.next(), room)
        if length < 1:
            return Proposal((), None)
        return self._proposer.propose(self.ids, length, boundary, sampling, rng)

    def _learn(self, drafted: int, kept: int, sampling: Sampling) -> None:
        """Tell the chooser how the round went. Clocks may only steer greedy decoding, whose output cannot change."""
        self._length.observe(drafted, kept)
        self._drafted_tokens += drafted
        target, draft = self._session.usage, self._proposer.usage
        if sampling.greedy and target.seconds > 0 and target.calls >= 4 and self._drafted_tokens >= 4:
            self._length.measure((draft.seconds / self._drafted_tokens) / (target.seconds / target.calls))

    def _stops(self, token: int, boundary: StepBoundary, stop: Stop, full: bool) -> StopReason | None:
        if token in self._model.codec.eos_ids:
            return StopReason.EOS
        if boundary.push(token) and stop.at_separator:
            return StopReason.SEPARATOR
        return StopReason.LENGTH if full else None


def _check(rows: Logits, suggested: Proposal, sampling: Sampling, rng: np.random.Generator) -> tuple[int, int]:
    """How many suggested tokens stand, and the token after them."""
    tokens = suggested.tokens
    if sampling.greedy:
        best = rows.argmax(-1)
        kept = next((i for i, token in enumerate(tokens) if best[i] != token), len(tokens))
        return kept, int(best[kept])
    p = probabilities(rows, sampling)
    uniforms = rng.random(len(tokens) + 1)
    if suggested.laws is None:
        return verify_fixed(_widen(p, max(tokens, default=0) + 1), tokens, list(uniforms))
    width = max(p.shape[-1], suggested.laws.shape[-1])
    return verify(_widen(p, width), _widen(suggested.laws, width), tokens, list(uniforms))


def _widen(laws: Probabilities, width: int) -> Probabilities:
    """Vocabularies padded to different sizes: ids that one side does not have get probability 0 there."""
    missing = width - laws.shape[-1]
    return np.pad(laws, ((0, 0), (0, missing))) if missing > 0 else laws
