"""Process reward models and routers over `transformers` token classifiers, scored incrementally.

The stream of a solution is: problem text + newline (or the problem rendered by the chat template, for scorers grown
from a model that reads it so), then for each step its ids (tokenised on its own, after the author's tag where the
scorer was trained with tags) and the separator's last id. The score is the softmax of the two logits there, at label
1. No BOS. Append-only and causal, so a cached prefix stays exact.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from arbitrage.backends.cached import CachedSequence
from arbitrage.backends.hf.codec import HFCodec
from arbitrage.backends.hf.engine import Network
from arbitrage.backends.hf.readout import RowReadout, TwoLabels
from arbitrage.backends.hf.threads import threads_on
from arbitrage.decoding import common_prefix
from arbitrage.errors import ContextOverflowError
from arbitrage.interfaces import ScoreSession, StepScorer, Usage
from arbitrage.types import SEPARATOR, Author

AUTHOR_TAGS: Mapping[str, str] = {"draft": "Model 0: ", "target": "Model 1: "}
"""The annotation of the paper's router: who wrote each step."""


@dataclass(frozen=True, slots=True)
class StreamFormat:
    """How a scorer reads a solution."""

    separator: str = SEPARATOR
    """The last token id of this text ends each step."""
    annotated: bool = False
    """Whether each step starts with its author's tag (routers)."""
    chat: bool = False
    """Whether the problem is rendered by the chat template, as language models read it."""
    thresholds: Mapping[float, float] = field(default_factory=dict)
    """Calibration: escalation rate to threshold."""


class StreamEncoder:
    """Turns a problem and its steps into token ids; training and inference share it."""

    def __init__(self, codec: HFCodec, stream: StreamFormat) -> None:
        self.codec = codec
        self._tags = AUTHOR_TAGS if stream.annotated else {}
        self._chat = stream.chat
        self.separator = codec.encode(stream.separator)[-1:]
        """What every step ends with: one token id."""

    def problem(self, statement: str) -> list[int]:
        """Ids of the head of the stream."""
        if self._chat:
            return self.codec.render([{"role": "user", "content": statement}])
        return self.codec.encode(statement + "\n")

    def step(self, text: str, author: Author) -> list[int]:
        """Ids of one step, the separator's last id at the end."""
        return [*self.codec.encode(self._tags.get(author, "") + text), *self.separator]


class HFStepScorer(StepScorer):
    """A token classifier read at the separators."""

    def __init__(
        self,
        name: str,
        module: Any,
        codec: HFCodec,
        stream: StreamFormat,
        facts: dict[str, object] | None = None,
        lean: bool = True,
        readout: RowReadout | None = None,
    ) -> None:
        """Wrap a loaded classifier; see `StreamFormat` for how it reads. Without a readout it has two labels."""
        self.name = name
        self.row_readout = readout or TwoLabels()
        self.thresholds = dict(stream.thresholds)
        self.encoder = StreamEncoder(codec, stream)
        self.network = Network(module, name, lean)
        self.cpu_threads = threads_on(self.network.device)
        self._facts = {**(facts or {}), "forward": self.network.forward_kind}

    def open(self, problem: str) -> HFScoreSession:
        """See `StepScorer.open`."""
        return HFScoreSession(self, problem)

    def describe(self) -> dict[str, object]:
        """Source, dtype, device, parameters, hashes."""
        return {"name": self.name, **self._facts}


class HFScoreSession(ScoreSession):
    """One solution's stream and its cache; a step costs its own tokens, not the solution's."""

    def __init__(self, scorer: HFStepScorer, problem: str) -> None:
        self._scorer = scorer
        self._head = scorer.encoder.problem(problem)
        self._steps: list[list[int]] = []
        self._candidate: list[int] | None = None
        self._trailing: list[int] = []
        """What is encoded behind the committed steps: the candidate, or one that was dropped."""
        self._sequence = CachedSequence(scorer.network.new_cache())
        self._sequence.append(self._head)

    @property
    def usage(self) -> Usage:  # type: ignore[override]
        """Work done by this session."""
        return self._sequence.usage

    def score(self, step: str, author: Author) -> float:
        """See `ScoreSession.score`."""
        candidate = self._scorer.encoder.step(step, author)
        if len(self._sequence.ids) - len(self._trailing) + len(candidate) > self._scorer.network.context_length:
            self._make_room(len(candidate))
        kept = self._follow(candidate)
        try:
            score = self._read(candidate)
        except BaseException:  # as if it had never been asked
            self._sequence.truncate(len(self._sequence.ids) - len(candidate) + kept)
            self._trailing = candidate[:kept]
            raise
        self._candidate = self._trailing = candidate
        return score

    def _read(self, candidate: Sequence[int]) -> float:
        """The score of the candidate, which stands at the end of the sequence."""
        return self._scorer.row_readout.score(self._sequence.outputs(1)[0])

    def commit(self) -> None:
        """See `ScoreSession.commit`."""
        if self._candidate is None:
            raise RuntimeError("there is no candidate to commit; call score() first, or append() a step unscored")
        self._steps.append(self._candidate)
        self._candidate, self._trailing = None, []

    def discard(self) -> None:
        """See `ScoreSession.discard`."""
        self._candidate = None  # what the next step begins with too will not be encoded again

    def append(self, step: str, author: Author) -> None:
        """See `ScoreSession.append`."""
        ids = self._scorer.encoder.step(step, author)
        self._follow(ids)
        self._steps.append(ids)

    def close(self) -> None:
        """See `ScoreSession.close`."""
        self._sequence.close()

    def _follow(self, ids: Sequence[int]) -> int:
        """Put `ids` behind the committed steps; how many were there already and stay encoded."""
        kept = self._reusable(ids)
        self._sequence.truncate(len(self._sequence.ids) - len(self._trailing) + kept)
        self._sequence.append(ids[kept:])
        self._candidate, self._trailing = None, []
        return kept

    def _reusable(self, ids: Sequence[int]) -> int:
        """How many of `ids` are encoded already."""
        return common_prefix(self._trailing, ids)

    def _make_room(self, needed: int) -> None:
        """Keep the problem and drop the oldest steps until `needed` more tokens fit."""
        room = self._scorer.network.context_length - needed
        if len(self._head) > room:
            raise ContextOverflowError(
                f"problem and step together exceed the context of {self._scorer.name!r}, "
                f"{self._scorer.network.context_length} tokens"
            )
        while self._steps and len(self._head) + sum(map(len, self._steps)) > room:
            del self._steps[0]
        self._restart()

    def _restart(self) -> None:
        """Begin anew with the problem and the steps that are left."""
        self._candidate, self._trailing = None, []
        self._sequence.truncate(len(self._head))
        for ids in self._steps:
            self._sequence.append(ids)
