"""Token-level speculative decoding as a model: a drop-in for its target, usable inside every strategy.

Leviathan et al., arXiv:2211.17192; Chen et al., arXiv:2302.01318. Greedy output equals the target's token for token (up
to floating-point ties), sampled output has the target's law.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from arbitrage.decoding import Rounds, Source, Writing, common_prefix, step_source
from arbitrage.draft_length import DraftLength, FixedLength
from arbitrage.interfaces import Capability, Continuation, LanguageModel, Session, Stop, Usage
from arbitrage.proposals import Proposer
from arbitrage.sampling import Logits, Sampling
from arbitrage.types import Role


@dataclass(frozen=True, slots=True)
class Drafting:
    """One way to propose tokens for the sequences of a model."""

    proposer: Callable[[Sequence[int]], Proposer]
    """Makes the proposer of one sequence from its prompt."""
    draft_length: Callable[[bool], DraftLength]
    """Makes a chooser of draft lengths; the argument tells whether clocks may steer it."""


class SpeculativeModel(LanguageModel):
    """A target whose tokens are proposed by somebody cheaper and checked several at a time."""

    def __init__(self, target: LanguageModel, drafting: Sequence[Drafting]) -> None:
        """Wrap `target`.

        Args:
            target: whose output is reproduced; needs the capabilities logits and rewind.
            drafting: who proposes. Greedy sequences share their choosers of draft lengths, which clocks may steer, so
                that what one has learnt of acceptance and cost serves the next. A sampled sequence has its own that
                they may not, so that it depends on its seed alone.
        """
        self.target = target
        self.name = target.name
        self.codec = target.codec
        self.capabilities = frozenset({Capability.REWIND, Capability.LOGITS})
        self.context_length = target.context_length
        self.instruction = target.instruction
        self._drafting = [(one, one.draft_length(True)) for one in drafting]

    def open(self, prompt: Sequence[int]) -> SpeculativeSession:
        """A session over the target with its own proposers."""
        made = [(one.proposer(prompt), shared, one.draft_length(False)) for one, shared in self._drafting]
        return SpeculativeSession(self.target, prompt, made)

    def describe(self) -> dict[str, object]:
        """The target's facts."""
        return self.target.describe()


class SpeculativeSession(Session):
    """One sequence of a `SpeculativeModel`."""

    def __init__(
        self,
        target: LanguageModel,
        prompt: Sequence[int],
        drafting: Sequence[tuple[Proposer, DraftLength, DraftLength]],
    ) -> None:
        """Open a session of `target`; each proposer comes with its lengths for greedy and for sampled decoding."""
        self._model = target
        self._session = target.open(prompt)
        self._greedy = [Source(proposer, length) for proposer, length, _ in drafting]
        self._sampled = [Source(proposer, length) for proposer, _, length in drafting]

    @property
    def ids(self) -> Sequence[int]:
        """See `Session.ids`."""
        return self._session.ids

    @property
    def usage(self) -> Usage:  # type: ignore[override]
        """Work of the target alone; `usage_by_role` tells the draft's."""
        return self._session.usage

    def usage_by_role(self, role: Role) -> Mapping[Role, Usage]:
        """The target's work under `role`, the proposers' under draft."""
        drafts = Usage()
        for source in self._greedy:
            drafts.add(source.proposer.usage)
        return {role: self._session.usage, Role.DRAFT: drafts}

    def extend(self, ids: Sequence[int], logits: int = 0) -> Logits | None:
        """See `Session.extend`; proposers catch up when they are next asked."""
        return self._session.extend(ids, logits)

    def catch_up(self) -> None:
        """See `Session.catch_up`; the target alone."""
        self._session.catch_up()

    def rewind(self, length: int) -> None:
        """See `Session.rewind`."""
        self._session.rewind(length)
        for source in (*self._greedy, *self._sampled):
            source.unchanged = min(source.unchanged, length)

    def close(self) -> None:
        """Close target and proposers."""
        self._session.close()
        for source in self._greedy:
            source.proposer.close()

    def generate(
        self, stop: Stop, sampling: Sampling, rng: np.random.Generator, proposal: Sequence[int] = ()
    ) -> Continuation:
        """See `Session.generate`. A caller's proposal is one more source of tokens."""
        start = len(self.ids)
        writing = Writing(self._model.codec, stop, self._model.context_length - start)
        sources = self._greedy if sampling.greedy else self._sampled
        if proposal:
            source = step_source(self._model, proposal, start, sampling)
            # A fixed length is meant for every draft. Any other would wait for plain tokens, which nobody writes here.
            fixed = next((own.length for own in sources if isinstance(own.length, FixedLength)), source.length)
            sources = [replace(source, length=fixed), *sources]
        done = Rounds(self._session, writing, sources, sampling, rng).run()
        written = self.ids[start:]
        return writing.end(written, proposal_kept=common_prefix(written, proposal), **done)
