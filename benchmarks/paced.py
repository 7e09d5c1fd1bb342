"""Models whose steps have given lengths, whatever they write: the work is real, the text means nothing.

The sessions are those of the wrapped model, so its decoding and its caches are what is measured.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from arbitrage.interfaces import Continuation, LanguageModel, ScoreSession, Session, StepScorer, Stop, StopReason, Usage
from arbitrage.types import Author

if TYPE_CHECKING:
    import numpy as np

    from arbitrage.sampling import Logits, Sampling

Pace = Callable[[], tuple[int, StopReason]]
"""Tokens of the step that is due, and how it ends."""


class Paced(LanguageModel):
    """A language model whose every step is as long as `pace` says when it is written."""

    def __init__(self, model: LanguageModel, pace: Pace) -> None:
        """Wrap `model`, which must never end by itself: see `model_variants.endless`."""
        self.inner, self.pace = model, pace
        self.name, self.codec, self.capabilities = model.name, model.codec, model.capabilities
        self.context_length, self.instruction = model.context_length, model.instruction

    def open(self, prompt: Sequence[int]) -> Session:
        """See `LanguageModel.open`."""
        return _PacedSession(self, self.inner.open(prompt))

    def describe(self) -> dict[str, object]:
        """The wrapped model's facts."""
        return self.inner.describe()


class _PacedSession(Session):
    def __init__(self, model: Paced, session: Session) -> None:
        self.model, self._session = model, session

    @property
    def ids(self) -> Sequence[int]:
        return self._session.ids

    @property
    def usage(self) -> Usage:  # type: ignore[override]
        return self._session.usage

    def generate(
        self, stop: Stop, sampling: Sampling, rng: np.random.Generator, proposal: Sequence[int] = ()
    ) -> Continuation:
        length, reason = self.model.pace()
        bounded = Stop(min(length, stop.max_tokens), at_separator=False)
        written = self._session.generate(bounded, sampling, rng, proposal)
        cut = written.reason is not StopReason.LENGTH or length > stop.max_tokens
        return written if cut else replace(written, reason=reason)

    def extend(self, ids: Sequence[int], logits: int = 0) -> Logits | None:
        return self._session.extend(ids, logits)

    def catch_up(self) -> None:
        self._session.catch_up()

    def rewind(self, length: int) -> None:
        self._session.rewind(length)

    def close(self) -> None:
        self._session.close()


class Decided(StepScorer):
    """A scorer that reads every step and then says what it is told to say of a step at this place."""

    def __init__(self, scorer: StepScorer, verdict: Callable[[int], float]) -> None:
        """Wrap `scorer`; `verdict` gives the score of a step by its index."""
        self.inner, self.verdict, self.name = scorer, verdict, scorer.name

    def open(self, problem: str) -> ScoreSession:
        """See `StepScorer.open`."""
        return _DecidedSession(self, self.inner.open(problem))


class _DecidedSession(ScoreSession):
    def __init__(self, scorer: Decided, session: ScoreSession) -> None:
        self._scorer, self._session, self._steps = scorer, session, 0

    @property
    def usage(self) -> Usage:  # type: ignore[override]
        return self._session.usage

    def score(self, step: str, author: Author) -> float:
        self._session.score(step, author)
        return self._scorer.verdict(self._steps)

    def commit(self) -> None:
        self._session.commit()
        self._steps += 1

    def discard(self) -> None:
        self._session.discard()

    def append(self, step: str, author: Author) -> None:
        self._session.append(step, author)
        self._steps += 1

    def close(self) -> None:
        self._session.close()
