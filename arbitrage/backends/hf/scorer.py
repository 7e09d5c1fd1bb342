"""Process reward models and routers over `transformers` models, scored incrementally.

A solution is a stream of token ids: its head holds the problem, then comes one run of ids for each step, and the score
is read at the newest id. What the ids are is the encoder's business (`StreamEncoder`, or one of `families`), what the
outputs there mean is the readout's. Append-only and causal, so a cached prefix stays exact.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from arbitrage.backends.cached import CachedSequence, KVCache
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
    max_length: int | None = None
    """Longest stream in tokens, where it was trained on shorter ones than its context; older steps are dropped."""
    thresholds: Mapping[float, float] = field(default_factory=dict)
    """Calibration: escalation rate to threshold."""


class Encoder(Protocol):
    """Turns a problem and its steps into token ids. What it returned once must not depend on what comes later."""

    codec: HFCodec

    def problem(self, statement: str) -> list[int]:
        """Ids of the head of the stream, at least one."""

    def step(self, text: str, author: Author, first: bool = False) -> list[int]:
        """Ids of one step, the one at which the score is read at the end.

        Args:
            text: without the separator.
            author: who wrote it.
            first: whether it stands right behind the head.
        """


class StreamNetwork(Protocol):
    """What runs the model: `engine.Network`, or a server."""

    context_length: int

    @property
    def forward_kind(self) -> str:
        """Whose forward pass runs, for the manifest."""

    def new_cache(self) -> KVCache:
        """An empty sequence."""


class StreamEncoder:
    """The stream of TRL-style token classifiers and of our routers; training and inference share it.

    Problem text + newline (or the problem rendered by the chat template, for scorers grown from a model that reads it
    so), then for each step its ids (tokenised on its own, after the author's tag where the scorer was trained with
    tags) and the separator's last id. No BOS.
    """

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

    def step(self, text: str, author: Author, first: bool = False) -> list[int]:
        """Ids of one step, the separator's last id at the end; the same wherever it stands."""
        return [*self.codec.encode(self._tags.get(author, "") + text), *self.separator]


class StreamScorer(StepScorer):
    """A scorer that reads streams: encoder, network and readout put together."""

    def __init__(
        self,
        name: str,
        network: StreamNetwork,
        encoder: Encoder,
        readout: RowReadout,
        thresholds: Mapping[float, float],
        facts: dict[str, object],
    ) -> None:
        """Put together; `facts` are for the manifest."""
        self.name = name
        self.network, self.encoder, self.row_readout = network, encoder, readout
        self.thresholds = dict(thresholds)
        self._facts = {**facts, "forward": network.forward_kind}

    def open(self, problem: str) -> HFScoreSession:
        """See `StepScorer.open`."""
        return HFScoreSession(self, problem)

    def describe(self) -> dict[str, object]:
        """Source, dtype, device, parameters, hashes."""
        return {"name": self.name, **self._facts}


class HFStepScorer(StreamScorer):
    """A `transformers` model that is read at the end of each step."""

    network: Network

    def __init__(
        self,
        name: str,
        module: Any,
        codec: HFCodec,
        stream: StreamFormat,
        facts: dict[str, object] | None = None,
        lean: bool = True,
        readout: RowReadout | None = None,
        encoder: Encoder | None = None,
    ) -> None:
        """Wrap a loaded model.

        Args:
            name: how tables call it.
            module: in evaluation mode; its outputs are what the readout reads.
            codec: its tokenizer.
            stream: how it reads, where the encoder is not given.
            facts: for the manifest.
            lean: whether our own forward pass may stand in for the module's.
            readout: what the outputs mean; without one there are two labels.
            encoder: what the stream looks like; without one, as in `StreamEncoder`.
        """
        network = Network(module, name, lean)
        network.context_length = min(network.context_length, stream.max_length or network.context_length)
        encoder = encoder or StreamEncoder(codec, stream)
        super().__init__(name, network, encoder, readout or TwoLabels(), stream.thresholds, facts or {})
        self.cpu_threads = threads_on(network.device)


class HFScoreSession(ScoreSession):
    """One solution's stream and its cache; a step costs its own tokens, not the solution's."""

    def __init__(self, scorer: StreamScorer, problem: str) -> None:
        self._scorer = scorer
        self._head = scorer.encoder.problem(problem)
        self._steps: list[list[int]] = []
        self._told: list[tuple[str, Author]] = []
        """The same steps as text: the first one may have to be encoded anew when those before it are dropped."""
        self._asked: tuple[str, Author] = ("", "draft")
        """The candidate as text."""
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
        candidate = self._encode(step, author)
        if len(self._sequence.ids) - len(self._trailing) + len(candidate) > self._scorer.network.context_length:
            self._make_room(max(len(candidate), len(self._scorer.encoder.step(step, author, first=True))))
            candidate = self._encode(step, author)
        kept = self._follow(candidate)
        try:
            score = self._read(candidate)
        except BaseException:  # as if it had never been asked
            self._sequence.truncate(len(self._sequence.ids) - len(candidate) + kept)
            self._trailing = candidate[:kept]
            raise
        self._candidate = self._trailing = candidate
        self._asked = (step, author)
        return score

    def _encode(self, step: str, author: Author) -> list[int]:
        """Ids of `step` behind the committed ones."""
        return self._scorer.encoder.step(step, author, first=not self._steps)

    def _read(self, candidate: Sequence[int]) -> float:
        """The score of the candidate, which stands at the end of the sequence."""
        return self._scorer.row_readout.score(self._sequence.outputs(1)[0])

    def commit(self) -> None:
        """See `ScoreSession.commit`."""
        if self._candidate is None:
            raise RuntimeError("there is no candidate to commit; call score() first, or append() a step unscored")
        self._steps.append(self._candidate)
        self._told.append(self._asked)
        self._candidate, self._trailing = None, []

    def discard(self) -> None:
        """See `ScoreSession.discard`."""
        self._candidate = None  # what the next step begins with too will not be encoded again

    def append(self, step: str, author: Author) -> None:
        """See `ScoreSession.append`."""
        ids = self._encode(step, author)
        self._follow(ids)
        self._steps.append(ids)
        self._told.append((step, author))

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
            del self._steps[0], self._told[0]
            if self._steps:
                as_first = self._scorer.encoder.step(*self._told[0], first=True)
                if as_first != self._steps[0]:
                    self._steps[0] = as_first
        self._restart()

    def _restart(self) -> None:
        """Begin anew with the problem and the steps that are left."""
        self._candidate, self._trailing = None, []
        self._sequence.truncate(len(self._head))
        for ids in self._steps:
            self._sequence.append(ids)
