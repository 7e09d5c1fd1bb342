"""Scripted models: test a strategy without weights, torch or a GPU.

    models = Models(draft=ScriptedModel(["1+1=3", "so 3"]), target=ScriptedModel(["1+1=2", "so 2"]))
    RandomRoute(rate=0.5).solve(problem, models, np.random.default_rng(0))

Everything is exact and repeatable, and every call is written down in `.calls`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from arbitrage.decoding import LogitsSession
from arbitrage.errors import ContextOverflowError
from arbitrage.interfaces import Capability, LanguageModel, ScoreSession, StepScorer, TextCodec, Usage
from arbitrage.sampling import Logits
from arbitrage.types import SEPARATOR, Author

END = 3
"""Id of the scripted vocabulary's end-of-sequence token."""
VOCABULARY = 128


class CharacterCodec(TextCodec):
    """One token per ASCII character; id 3 ends a sequence."""

    @property
    def eos_ids(self) -> frozenset[int]:
        """The one end of sequence."""
        return frozenset({END})

    def encode(self, text: str) -> list[int]:
        """Code points; what is not ASCII becomes a question mark."""
        return [ord(c) if ord(c) < VOCABULARY else ord("?") for c in text]

    def decode(self, ids: Sequence[int]) -> str:
        """Characters, the end of sequence left out."""
        return "".join(chr(i) for i in ids if i != END)

    def piece(self, token: int) -> str:
        """The character."""
        return chr(token)

    def render(self, messages: Sequence[Mapping[str, str]]) -> list[int]:
        """Contents, one line each."""
        return self.encode("".join(m["content"] + "\n" for m in messages))

    def vocabulary(self) -> Mapping[str, int]:
        """Characters to code points."""
        return {chr(i): i for i in range(VOCABULARY)}


class ScriptedModel(LanguageModel):
    """Writes given steps, whatever the earlier ones were, then ends."""

    capabilities = frozenset({Capability.LOGITS, Capability.REWIND})

    def __init__(
        self,
        steps: Sequence[str] | Callable[[str], str],
        name: str = "scripted",
        confidence: float = 0.99,
        context_length: int = 4096,
    ) -> None:
        """Script a model.

        Args:
            steps: the steps to write; or a function from the text of the finished steps to the next one ('' ends).
            name: how tables call it.
            confidence: probability of each scripted token; the rest is spread evenly.
            context_length: most tokens of a session.
        """
        self.name, self.codec, self.context_length = name, CharacterCodec(), context_length
        self.calls: list[tuple[str, str]] = []
        """What was run, in order: ('forward', the new text that the pass encoded)."""
        self._steps = steps
        rest = (1 - confidence) / (VOCABULARY - 1)
        self._low, self._high = np.float32(np.log(rest)), np.float32(np.log(confidence))

    def open(self, prompt: Sequence[int]) -> ScriptedSession:
        """A session that starts with `prompt`."""
        if len(prompt) >= self.context_length:
            raise ContextOverflowError(f"the prompt has {len(prompt)} tokens but the model holds {self.context_length}")
        return ScriptedSession(self, prompt)

    def next_token(self, written: str) -> int:
        """The scripted token after `written`, the text that follows the prompt."""
        *done, current = written.split(SEPARATOR)
        if callable(self._steps):
            step, last = self._steps(SEPARATOR.join(done)), False
        else:
            step = self._steps[len(done)] if len(done) < len(self._steps) else ""
            last = len(done) + 1 >= len(self._steps)
        if not step:
            return END
        whole = step if last else step + SEPARATOR
        return ord(whole[len(current)]) if len(current) < len(whole) else END if last else ord("\n")

    def row(self, written: str) -> Logits:
        """Logits of the token after `written`, shape (vocabulary,)."""
        row = np.full(VOCABULARY, self._low, dtype=np.float32)
        row[self.next_token(written)] = self._high
        return row


class ScriptedSession(LogitsSession):
    """One sequence of a `ScriptedModel`."""

    def __init__(self, model: ScriptedModel, prompt: Sequence[int]) -> None:
        self.model = model
        self.usage = Usage()
        self._script = model
        self._ids = list(prompt)
        self._prompt = len(prompt)
        self._encoded = 0

    @property
    def ids(self) -> Sequence[int]:
        """The sequence so far."""
        return self._ids

    def extend(self, ids: Sequence[int], logits: int = 0) -> Logits | None:
        """See `Session.extend`."""
        if len(self._ids) + len(ids) > self.model.context_length:
            raise ContextOverflowError(f"the context holds {self.model.context_length} tokens")
        self._ids.extend(ids)
        if logits == 0:
            return None
        start = len(self._ids) - logits
        self._encoded = min(self._encoded, start)
        self._encode()
        codec = self.model.codec
        texts = (codec.decode(self._ids[self._prompt : start + k + 1]) for k in range(logits))
        return np.stack([self._script.row(text) for text in texts])

    def catch_up(self) -> None:
        """See `Session.catch_up`."""
        if self._encoded < len(self._ids):
            self._encode()

    def _encode(self) -> None:
        self._script.calls.append(("forward", self.model.codec.decode(self._ids[self._encoded :])))
        self.usage.calls += 1
        self.usage.tokens += len(self._ids) - self._encoded
        self._encoded = len(self._ids)

    def rewind(self, length: int) -> None:
        """See `Session.rewind`."""
        if not 0 <= length <= len(self._ids):
            raise ValueError(f"cannot rewind to {length}: the sequence has {len(self._ids)} tokens")
        del self._ids[length:]
        self._encoded = min(self._encoded, length)

    def close(self) -> None:
        """Nothing to free."""


class ScriptedScorer(StepScorer):
    """Scores steps by a table or a function."""

    def __init__(
        self,
        scores: Mapping[str, float] | Callable[[str, Author], float],
        default: float = 0.5,
        thresholds: Mapping[float, float] | None = None,
    ) -> None:
        """Script a scorer.

        Args:
            scores: step text to score, or a function of text and author.
            default: score of steps that the table does not hold.
            thresholds: calibration, escalation rate to threshold.
        """
        self.name = "scripted-scorer"
        self.thresholds = thresholds or {}
        self.calls: list[tuple[str, str, Author]] = []
        """What happened, in order: ('score' | 'commit' | 'discard' | 'append', step text, author)."""
        self._scores, self._default = scores, default

    def open(self, problem: str) -> ScriptedScoreSession:
        """An empty solution."""
        return ScriptedScoreSession(self)

    def value(self, step: str, author: Author) -> float:
        """The scripted score."""
        if callable(self._scores):
            return self._scores(step, author)
        return self._scores.get(step, self._default)


class ScriptedScoreSession(ScoreSession):
    """One solution of a `ScriptedScorer`."""

    def __init__(self, scorer: ScriptedScorer) -> None:
        self.usage = Usage()
        self.steps: list[tuple[str, Author]] = []
        self._scorer = scorer
        self._candidate: tuple[str, Author] | None = None

    def score(self, step: str, author: Author) -> float:
        """See `ScoreSession.score`."""
        self.discard()
        self._candidate = (step, author)
        self._scorer.calls.append(("score", step, author))
        self.usage.calls += 1
        return self._scorer.value(step, author)

    def commit(self) -> None:
        """See `ScoreSession.commit`."""
        if self._candidate is None:
            raise RuntimeError("there is no candidate to commit")
        self._scorer.calls.append(("commit", *self._candidate))
        self.steps.append(self._candidate)
        self._candidate = None

    def discard(self) -> None:
        """See `ScoreSession.discard`."""
        if self._candidate is not None:
            self._scorer.calls.append(("discard", *self._candidate))
            self._candidate = None

    def append(self, step: str, author: Author) -> None:
        """See `ScoreSession.append`."""
        self.discard()
        self._scorer.calls.append(("append", step, author))
        self.steps.append((step, author))

    def close(self) -> None:
        """Nothing to free."""
