"""Writing with logits: one pass a token, or several proposed tokens checked in one pass.

Every session that sees logits writes here. Knows sampling, step boundaries and proposals. Knows nothing of devices,
caches or file formats.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import final
from weakref import WeakKeyDictionary

import numpy as np

from arbitrage.boundary import StepBoundary
from arbitrage.draft_length import AdaptiveLength, DraftLength, Round
from arbitrage.interfaces import Continuation, LanguageModel, Session, Stop, StopReason, TextCodec
from arbitrage.probability import verify
from arbitrage.proposals import Proposal, Proposer, StepLookup
from arbitrage.sampling import Best, Logits, Probabilities, Sampling, TokenLogprobs, choose, probabilities


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
        self.left = min(stop.max_tokens, room)
        """Tokens that may still be written."""
        self.reason: StopReason | None = StopReason.CONTEXT if room < 1 else None
        self._boundary, self._logprobs = StepBoundary(codec), TokenLogprobs()
        self._eos_ids, self._at_separator, self._cancelled = codec.eos_ids, stop.at_separator, stop.cancelled
        self._at_limit = StopReason.LENGTH if stop.max_tokens <= room else StopReason.CONTEXT

    @property
    def boundary(self) -> StepBoundary | None:
        """Where in its step the sequence stands; None when the call does not end with steps."""
        return self._boundary if self._at_separator else None

    def take(self, row: Logits | Best, token: int) -> bool:
        """Count in `token`, chosen from `row`; whether more may follow."""
        self._logprobs.add(row, token)
        self.left -= 1
        if token in self._eos_ids:
            self.reason = StopReason.EOS
        elif self._at_separator and self._boundary.push(token):
            self.reason = StopReason.SEPARATOR
        elif self.left == 0:
            self.reason = self._at_limit
        elif self._cancelled is not None and self._cancelled():
            self.reason = StopReason.CANCELLED
        return self.reason is None

    def end(self, ids: Sequence[int], **counts: int) -> Continuation:
        """What the call returns, once there is a reason to end.

        Args:
            ids: the sequence from where the call began.
            counts: further fields of `Continuation`.
        """
        assert self.reason is not None
        return Continuation(tuple(ids), self._logprobs.values(), self.reason, **counts)


@dataclass(slots=True)
class Source:
    """Somebody who proposes tokens for one sequence, and how many of them it is worth to check at once."""

    proposer: Proposer
    length: DraftLength
    counted: bool = True
    """Whether its tokens count as drafted; those of a caller's proposal do not."""
    unchanged: int = 0
    """First tokens of the sequence that are as the proposer saw them last."""


def rows_for(session: Session, ids: Sequence[int], count: int, sampling: Sampling) -> Logits | Sequence[Best]:
    """Append `ids` and run one pass: the last `count` rows, or what `sampling` needs of them."""
    if sampling.greedy:
        return session.extend_greedily(ids, count)
    rows = session.extend(ids, logits=count)
    assert rows is not None
    return rows


def write_plainly(
    session: Session,
    writing: Writing,
    count: int,
    sampling: Sampling,
    rng: np.random.Generator,
    until: Callable[[], bool] | None = None,
) -> None:
    """Write up to `count` tokens of `session`, one pass each; fewer when `until` says so after a token."""
    newest: tuple[int, ...] = ()
    for _ in range(count):
        row = rows_for(session, newest, 1, sampling)[0]
        token = choose(row, sampling, rng)
        newest = (token,)
        if not writing.take(row, token):
            break
        if until is not None:
            session.extend(newest)
            newest = ()
            if until():
                break
    session.extend(newest)


class Rounds:
    """Writes with help: somebody proposes, one pass checks; where nobody does or it does not pay, one pass a token."""

    def __init__(
        self,
        session: Session,
        writing: Writing,
        sources: Sequence[Source],
        sampling: Sampling,
        rng: np.random.Generator,
    ) -> None:
        """Write the tokens of one call.

        Args:
            session: whose tokens are written; its model offers logits and rewind.
            writing: counts them in.
            sources: who proposes; the one whose draft is expected to gain most is asked first, of equals the first.
            sampling: how tokens are chosen.
            rng: source of randomness. For fixed proposals it is used as without them, one number a token.
        """
        self._session, self._writing, self._sources = session, writing, sources
        self._sampling, self._rng = sampling, rng
        self._limit = writing.left
        self._drafted = self._accepted = self._drafts = 0

    def run(self) -> Mapping[str, int]:
        """Write until there is a reason to end; what was drafted, as fields of `Continuation`."""
        while self._writing.reason is None:
            waits = [source.length.plain() for source in self._sources]
            ready = [source for source, wait in zip(self._sources, waits, strict=True) if not wait]
            if self._writing.left < 2 or not self._round(ready):
                self._plain(min(filter(None, waits), default=self._writing.left), ready)
        return {"drafted": self._drafted, "drafted_accepted": self._accepted, "drafts": self._drafts}

    def _round(self, ready: list[Source]) -> bool:
        """Have one source propose and check what it says; false when none has anything to say."""
        if len(ready) > 1:
            ready = sorted(ready, key=lambda source: -source.length.speedup())
        for source in ready:
            draft = source.proposer.usage
            passes, encoded, started = draft.calls, draft.tokens, time.perf_counter()
            proposal = self._ask(source, min(source.length.next(), self._writing.left - 1))
            if not proposal.tokens and source.proposer.free:
                continue
            proposed = time.perf_counter()
            count, before = len(proposal.tokens), self._session.usage.tokens
            kept = self._check(proposal)
            done = time.perf_counter()
            catch_up = self._session.usage.tokens - before - count - 1
            draft = source.proposer.usage
            passes, encoded = draft.calls - passes, draft.tokens - encoded
            source.length.observe(
                Round(count, kept, passes, encoded, done - proposed, proposed - started, max(0, catch_up))
            )
            if source.counted:
                self._drafted += count
                self._accepted += kept
                self._drafts += count > 0
            return True
        return False

    def _ask(self, source: Source, limit: int) -> Proposal:
        ids = self._session.ids
        boundary = self._writing.boundary
        proposal = source.proposer.propose(ids, source.unchanged, limit, boundary, self._sampling, self._rng)
        source.unchanged = len(ids)
        return proposal

    def _check(self, proposal: Proposal) -> int:
        """Write what one pass over the proposed tokens gives, at least one token; how many proposed ones were kept."""
        session, tokens, base = self._session, proposal.tokens, len(self._session.ids)
        if proposal.laws is None:
            found = rows_for(session, tokens, len(tokens) + 1, self._sampling)
            kept, token = take_fixed(self._writing, found, tokens, self._sampling, self._rng)
        else:
            rows = session.extend(tokens, logits=len(tokens) + 1)
            assert rows is not None
            kept, following = check_drawn(rows, tokens, proposal.laws, self._sampling, self._rng)
            kept, token = _take(self._writing, rows, tokens[:kept], following)
        if kept < len(tokens):
            session.rewind(base + kept)
        if token is not None:
            session.extend((token,))
        return kept

    def _plain(self, most: int, ready: Sequence[Source]) -> None:
        """Write up to `most` tokens without help, fewer when somebody in `ready` has something to propose again.

        The first token of a call stands alone: a prompt or a step may be encoded with it.
        """
        writing, session = self._writing, self._session
        before, encoded, started = writing.left, session.usage.tokens, time.perf_counter()
        watched = [source for source in ready if source.proposer.free]

        def offered() -> bool:
            return any(self._ask(source, 1).tokens for source in watched)

        most = 1 if before == self._limit else min(most, before)
        write_plainly(session, writing, most, self._sampling, self._rng, offered if watched else None)
        written = before - writing.left
        alone = session.usage.tokens - encoded == written
        seconds = time.perf_counter() - started if alone else None
        for source in self._sources:
            source.length.observe_plain(written, seconds)


def take_fixed(
    writing: Writing,
    rows: Logits | Sequence[Best],
    tokens: Sequence[int],
    sampling: Sampling,
    rng: np.random.Generator,
) -> tuple[int, int | None]:
    """Write from `rows` as if nothing had been proposed, as long as it agrees with the proposed tokens.

    Each token is drawn from its own law p, with one number of `rng`; a proposed y is thereby kept with probability
    p(y), and otherwise the token is one of p with y removed. The law is p whatever is proposed and however it was
    selected: min(1, p/q) would be biased for a step that stands here because it was rejected. Moreover the tokens
    themselves are those that would have been written without the proposal.

    Args:
        writing: counts the tokens in.
        rows: shape (n + 1, vocabulary): row i is for the place of `tokens[i]`, the last for the place behind them.
            When greedy, the best token of each will do.
        tokens: n proposed tokens.
        sampling: how tokens are chosen.
        rng: source of randomness, unused when greedy.

    Returns:
        (number of proposed tokens kept, the token that follows them; None when the call ends with the last kept one).
    """
    for i, row in enumerate(rows):
        token = choose(row, sampling, rng)
        more = writing.take(row, token)
        if i == len(tokens) or token != tokens[i]:
            return i, token
        if not more:
            return i + 1, None
    raise AssertionError("there is one row more than tokens")


def check_drawn(
    rows: Logits, tokens: Sequence[int], laws: Probabilities, sampling: Sampling, rng: np.random.Generator
) -> tuple[int, int]:
    """Speculative sampling of tokens drawn from `laws`, shape (n, vocabulary); the rest as in `take_fixed`."""
    p = probabilities(rows, sampling)
    width = max(p.shape[-1], laws.shape[-1])
    return verify(_widen(p, width), _widen(laws, width), tokens, list(rng.random(len(tokens) + 1)))


def _take(writing: Writing, rows: Logits, tokens: Sequence[int], token: int) -> tuple[int, int | None]:
    """Write the kept `tokens` and the one behind them; returns what `take_fixed` returns."""
    for i, kept in enumerate(tokens):
        if not writing.take(rows[i], kept):
            return i + 1, None
    writing.take(rows[len(tokens)], token)
    return len(tokens), token


def _widen(laws: Probabilities, width: int) -> Probabilities:
    """Vocabularies padded to different sizes: ids that one side does not have get probability 0 there."""
    missing = width - laws.shape[-1]
    return np.pad(laws, ((0, 0), (0, missing))) if missing > 0 else laws


def proposal_length(clocked: bool = True) -> AdaptiveLength:
    """Chooses how many tokens of a caller's proposal to check at once: looking them up costs nothing."""
    return AdaptiveLength(longest=64, cost_ratio=0.0, clocked=clocked)


@final
class ProposalLengths:
    """What somebody has learnt of checking proposals, for each model that does it. Threads may share it."""

    def __init__(self) -> None:
        """Nothing is known of any model."""
        self._lock = threading.Lock()
        self._by_model: WeakKeyDictionary[LanguageModel, DraftLength] = WeakKeyDictionary()

    def of(self, model: LanguageModel) -> DraftLength:
        """The chooser for the sequences of `model`, always the same one."""
        with self._lock:
            length = self._by_model.get(model)
            if length is None:
                length = self._by_model[model] = proposal_length()
            return length


def step_source(session: Session, step: Sequence[int], sampling: Sampling) -> Source:
    """Looks up a caller's proposal for the places behind what `session` holds.

    What is learnt of acceptance and cost under greedy decoding is kept in the session's `proposal_length`. A sampled
    call learns for itself and without a clock: the chunks in which its tokens are checked, and with them every
    rounding, depend on its seed alone.
    """
    lookup = StepLookup(step, len(session.ids))
    if not sampling.greedy:
        return Source(lookup, proposal_length(clocked=False), counted=False)
    if session.proposal_length is None:
        session.proposal_length = proposal_length()
    return Source(lookup, session.proposal_length, counted=False)


def common_prefix(one: Sequence[int], other: Sequence[int]) -> int:
    """How many first tokens are the same."""
    shorter = min(len(one), len(other))
    return next((i for i in range(shorter) if one[i] != other[i]), shorter)


class LogitsSession(Session):
    """A session whose `generate` is built on its `extend` and `rewind`."""

    model: LanguageModel

    def generate(
        self, stop: Stop, sampling: Sampling, rng: np.random.Generator, proposal: Sequence[int] = ()
    ) -> Continuation:
        """See `Session.generate`. A proposal is checked several tokens a pass, where that pays."""
        start = len(self.ids)
        writing = Writing(self.model.codec, stop, self.model.context_length - start)
        if proposal:
            Rounds(self, writing, [step_source(self, proposal, sampling)], sampling, rng).run()
        elif writing.reason is None:
            write_plainly(self, writing, writing.left, sampling, rng)
        written = self.ids[start:]
        return writing.end(written, proposal_kept=common_prefix(written, proposal))
