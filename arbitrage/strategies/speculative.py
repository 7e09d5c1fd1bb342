"""Token-level speculative decoding as a model: a drop-in for its target, usable inside every strategy.

Leviathan et al., arXiv:2211.17192; Chen et al., arXiv:2302.01318. Greedy output equals the target's token for token (up
to floating-point ties), sampled output has the target's law.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from arbitrage.decoding import Writing, write_plainly
from arbitrage.interfaces import (
    Capability,
    Continuation,
    LanguageModel,
    Session,
    Stop,
    Usage,
)
from arbitrage.sampling import Logits, Probabilities, Sampling, probabilities
from arbitrage.strategies.draft_length import DraftLength, Round
from arbitrage.strategies.probability import verify, verify_fixed
from arbitrage.strategies.proposers import Proposal, Proposer
from arbitrage.types import Role

ProposerFactory = Callable[[Sequence[int]], Proposer]
"""Makes the proposer of one sequence from its prompt."""
DraftLengthFactory = Callable[[bool], DraftLength]
"""Makes a chooser of draft lengths; the argument tells whether clocks may steer it."""


class SpeculativeModel(LanguageModel):
    """A target whose tokens are proposed by somebody cheaper and checked several at a time."""

    def __init__(self, target: LanguageModel, proposer: ProposerFactory, draft_length: DraftLengthFactory) -> None:
        """Wrap `target`.

        Args:
            target: whose output is reproduced; needs the capabilities logits and rewind.
            proposer: makes the proposer of each sequence.
            draft_length: makes a chooser of draft lengths; told whether clocks may steer it. Greedy sequences share one
                that they may, so that what one has learnt of acceptance and cost serves the next. A sampled sequence
                has its own that they may not, so that it depends on its seed alone.
        """
        self.target = target
        self.name = target.name
        self.codec = target.codec
        self.capabilities = frozenset({Capability.REWIND, Capability.LOGITS})
        self.context_length = target.context_length
        self.instruction = target.instruction
        self._proposer, self._draft_length = proposer, draft_length
        self._shared_length = draft_length(True)

    def open(self, prompt: Sequence[int]) -> SpeculativeSession:
        """A session over the target with its own proposer."""
        return SpeculativeSession(
            self.target, prompt, self._proposer(prompt), self._shared_length, self._draft_length(False)
        )

    def describe(self) -> dict[str, object]:
        """The target's facts."""
        return self.target.describe()


class SpeculativeSession(Session):
    """One sequence of a `SpeculativeModel`."""

    def __init__(
        self,
        target: LanguageModel,
        prompt: Sequence[int],
        proposer: Proposer,
        greedy_length: DraftLength,
        sampled_length: DraftLength,
    ) -> None:
        self._model = target
        self._session = target.open(prompt)
        self._proposer = proposer
        self._greedy_length, self._sampled_length = greedy_length, sampled_length

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
        start = len(self.ids)
        writing = Writing(self._model.codec, stop, self._model.context_length - start)
        kept_of_proposal = drafted = accepted = drafts = 0
        first = Proposal(tuple(proposal[: max(0, writing.limit - 1)]), None) if proposal else None
        length = self._greedy_length if sampling.greedy else self._sampled_length
        meter = _Meter(self._session, self._proposer)
        while writing.reason is None:
            if first is None and (plain := length.plain() or writing.left < 2):
                length.observe_plain(*self._write_plainly(writing, plain, sampling, rng))
                continue
            meter.begin()
            suggested = first
            if suggested is None:
                steps = writing.boundary if stop.at_separator else None
                asked = min(length.next(), writing.left - 1)
                suggested = self._proposer.propose(self._session.ids, asked, steps, sampling, rng)
                meter.proposed()
            tokens = suggested.tokens
            base = len(self._session.ids)
            rows = self._session.extend(tokens, logits=len(tokens) + 1)
            assert rows is not None
            kept, token = _check(rows, suggested, sampling, rng)
            taken = 0
            for row, candidate in zip(rows, (*tokens[:kept], token), strict=False):
                taken += 1
                if not writing.take(row, candidate):
                    break
            kept = min(kept, taken)
            if kept < len(tokens):
                self._session.rewind(base + kept)
            if taken > kept:
                self._session.extend((token,))
            if first is not None:
                kept_of_proposal, first = kept, None
                continue
            drafts += bool(tokens)
            drafted += len(tokens)
            accepted += kept
            if (done := meter.end(len(tokens), kept)) is not None:
                length.observe(done)
        return writing.end(
            self.ids[start:], proposal_kept=kept_of_proposal, drafted=drafted, drafted_accepted=accepted, drafts=drafts
        )

    def _write_plainly(
        self, writing: Writing, count: int, sampling: Sampling, rng: np.random.Generator
    ) -> tuple[int, float | None]:
        """Write up to `count` tokens without a draft; how many it became, and their time.

        The first token of a call stands alone: a prompt or a step may be encoded with it.
        """
        before, encoded, started = writing.left, self._session.usage.tokens, time.perf_counter()
        count = min(count, before) if len(writing.logprobs) else 1
        write_plainly(self._session, writing, count, sampling, rng)
        written = before - writing.left
        alone = self._session.usage.tokens - encoded == written
        return written, time.perf_counter() - started if alone else None


class _Meter:
    """Time and work of the rounds of one sequence."""

    def __init__(self, target: Session, proposer: Proposer) -> None:
        self._target, self._proposer = target, proposer

    def begin(self) -> None:
        draft = self._proposer.usage
        self._encoded, self._draft_passes, self._draft_tokens = self._target.usage.tokens, draft.calls, draft.tokens
        self._started = self._proposed = time.perf_counter()

    def proposed(self) -> None:
        self._proposed = time.perf_counter()

    def end(self, drafted: int, accepted: int) -> Round | None:
        """The round; None when the target also encoded a prompt, which says nothing about other rounds."""
        if self._target.usage.tokens - self._encoded != drafted + 1:
            return None
        draft = self._proposer.usage
        passes, tokens = draft.calls - self._draft_passes, draft.tokens - self._draft_tokens
        now = time.perf_counter()
        return Round(drafted, accepted, passes, tokens, now - self._proposed, self._proposed - self._started)


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
