"""A language model as a judge of steps: how surprised is it by what it reads?

Every causal language model that can solve problems of a kind can judge their solutions: a wrong step holds a token that
it would not have written. Surprise is −log p(token | what came before), in nats; the end of a step counts as expected
when the model expected either another step or the end of the solution.

As process reward model (`Calibration`): with M the largest surprise over all tokens of all steps so far, the reward is
σ(offset − slope · M), offset and slope fitted to labelled steps. It never rises along a solution: what was wrong once
stays wrong. As router (`AdvantageHead`): a small network on the reading of the newest step and of what lies before it,
trained on step pairs. Related: Yuan et al., arXiv:2412.01981 (process rewards from likelihoods).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from math import log1p
from operator import attrgetter
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from arbitrage.backends.hf.codec import HFCodec
from arbitrage.backends.hf.readout import sigmoid
from arbitrage.backends.hf.scorer import HFScoreSession, HFStepScorer, StreamEncoder, StreamFormat
from arbitrage.errors import ModelLoadError
from arbitrage.sampling import Logits
from arbitrage.types import Author


@dataclass(frozen=True, slots=True)
class StepReading:
    """How the model took one step."""

    surprise: float
    """The largest of its tokens, in nats."""
    total: float
    """The sum over its tokens."""
    doubt: float
    """Entropy of the model's own expectation where the surprise was largest."""
    length: int
    """Tokens, the separator included."""

    @classmethod
    def of(cls, rows: Logits, ids: Sequence[int], ends: Sequence[int]) -> StepReading:
        """Read one step.

        Args:
            rows: the logits before each token, shape (len(ids), vocabulary).
            ids: the step's tokens, its separator last.
            ends: tokens that the separator stands for: itself and the ends of sequence.
        """
        wide = rows.astype(np.float64)
        top = wide.max(-1)
        weights = np.exp(wide - top[:, None])
        sums = weights.sum(-1)
        surprises = top + np.log(sums) - wide[np.arange(len(ids)), list(ids)]
        surprises[-1] = np.log(sums[-1]) - np.log(max(weights[-1, list(ends)].sum(), 1e-300))
        worst = int(surprises.argmax())
        law = weights[worst] / sums[worst]
        doubt = -float((law * np.log(np.maximum(law, 1e-300))).sum())
        return cls(float(surprises[worst]), float(surprises.sum()), doubt, len(ids))


@dataclass(frozen=True, slots=True)
class Reading:
    """The newest step and what lies before it, as numbers of similar size."""

    surprise: float
    total: float
    doubt: float
    length: float
    before: float
    """The largest surprise of all earlier steps."""
    index: float
    """How many steps there are before this one."""
    by_target: float
    """Share of those that the target wrote."""
    log_surprise: float
    log_before: float

    @classmethod
    def of(cls, step: StepReading, before: float, index: int, by_target: int) -> Reading:
        """Put together: `before` is the largest earlier surprise, `by_target` the earlier steps by the target."""
        share = by_target / index if index else 0.0
        logs = log1p(step.surprise), log1p(before)
        return cls(step.surprise, step.total, step.doubt, float(step.length), before, float(index), share, *logs)


FEATURES = tuple(field.name for field in fields(Reading))
_values = attrgetter(*FEATURES)


class Readout(Protocol):
    """Turns a reading into a score in [0, 1]."""

    def score(self, reading: Reading) -> float:
        """The score."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """From the largest surprise so far to the probability that the solution is right."""

    offset: float
    slope: float

    def reward(self, surprise: float) -> float:
        """σ(offset − slope · surprise)."""
        return sigmoid(self.offset - self.slope * surprise)

    def score(self, reading: Reading) -> float:
        """See `Readout.score`."""
        return self.reward(max(reading.surprise, reading.before))


@dataclass(frozen=True, slots=True)
class AdvantageHead:
    """A network with one hidden layer: the probability that the target's version of the step would be rewarded more."""

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    """Features are standardised by these, shape (features,)."""
    hidden: NDArray[np.float64]
    """Shape (units, features + 1): weights and bias, tanh behind them."""
    output: NDArray[np.float64]
    """Shape (units + 1,): weights and bias."""

    def score(self, reading: Reading) -> float:
        """See `Readout.score`."""
        values = (np.array(_values(reading)) - self.mean) / self.scale
        units = np.tanh(self.hidden @ np.append(values, 1.0))
        return sigmoid(float(self.output @ np.append(units, 1.0)))


def readout(settings: Mapping[str, Any]) -> Readout:
    """What the `likelihood` entry of a sidecar describes.

    Raises:
        ModelLoadError: it describes neither a calibration nor a head on the features of this version.
    """
    try:
        if "features" not in settings:
            return Calibration(float(settings["offset"]), float(settings["slope"]))
        arrays = {key: np.array(settings[key], dtype=np.float64) for key in ("mean", "scale", "hidden", "output")}
        fits = arrays["hidden"].shape == (len(arrays["output"]) - 1, len(FEATURES) + 1)
        if tuple(settings["features"]) != FEATURES or not fits:
            raise ValueError(f"its features are not {FEATURES}")
    except (KeyError, TypeError, ValueError) as error:
        raise ModelLoadError(f"the likelihood entry of arbitrage.json cannot be used: {error!r}") from error
    return AdvantageHead(**arrays)


class LikelihoodScorer(HFStepScorer):
    """A causal language model that reads steps, and what is made of its reading."""

    def __init__(
        self,
        name: str,
        module: Any,
        codec: HFCodec,
        stream: StreamFormat,
        readout: Readout,
        facts: dict[str, object] | None = None,
        lean: bool = True,
    ) -> None:
        """Wrap a loaded causal language model; see `StreamFormat` for how it reads."""
        self.stream = StreamEncoder(codec, stream)
        super().__init__(name, module, codec, stream, facts, lean, encoder=self.stream)
        self.readout = readout

    def open(self, problem: str) -> LikelihoodSession:
        """See `StepScorer.open`."""
        return LikelihoodSession(self, problem)


class LikelihoodSession(HFScoreSession):
    """One solution; each token is read once, and its surprise is kept."""

    def __init__(self, scorer: LikelihoodScorer, problem: str) -> None:
        super().__init__(scorer, problem)
        self._reader = scorer
        self._ends = sorted({*scorer.stream.separator, *scorer.stream.codec.eos_ids})
        self._unread: list[list[int]] = []
        """Committed steps that have not been through the model."""
        self._worst = 0.0
        """Over all committed steps that have."""
        self._expected: NDArray[np.float32] | None = None
        """The rows that are known before the unread tokens, first to last: one more than unread tokens are encoded.
        None while the statement itself is unread."""
        self._worst_after = 0.0
        """What `_worst` becomes when the candidate is committed."""
        self._candidate_rows: NDArray[np.float32] = np.empty((0, 0), dtype=np.float32)
        """The rows before each of the candidate's tokens, and the one behind them."""
        self._author: Author = "draft"
        self._count = self._by_target = 0

    def score(self, step: str, author: Author) -> float:
        """See `ScoreSession.score`."""
        score = super().score(step, author)
        self._author = author
        return score

    def _read(self, candidate: Sequence[int]) -> float:
        """The score of the candidate, which stands at the end of the sequence."""
        waiting = self._unread
        count = sum(map(len, waiting)) + len(candidate)
        known = 0 if self._expected is None else len(self._expected)
        rows = self._expected
        if known <= count:
            fresh = self._sequence.outputs(count + 1 - known)
            rows = fresh if rows is None else np.concatenate([rows, fresh])
        assert rows is not None
        self._unread = []
        started = time.perf_counter()
        at = 0
        for step in waiting:
            self._worst = max(self._worst, StepReading.of(rows[at : at + len(step)], step, self._ends).surprise)
            at += len(step)
        newest = StepReading.of(rows[at : at + len(candidate)], candidate, self._ends)
        self._worst_after = max(self._worst, newest.surprise)
        self._candidate_rows = rows[at:].copy()
        score = self._reader.readout.score(Reading.of(newest, self._worst, self._count, self._by_target))
        self.usage.seconds += time.perf_counter() - started  # reading the rows is the model's work too
        return score

    def commit(self) -> None:
        """See `ScoreSession.commit`."""
        super().commit()
        self._worst, self._expected = self._worst_after, self._candidate_rows[-1:]
        self._committed(self._author)

    def _reusable(self, ids: Sequence[int]) -> int:
        """See `HFScoreSession._reusable`. The rows of what is encoded are known."""
        kept = super()._reusable(ids)
        if self._trailing:
            self._expected = self._candidate_rows[: kept + 1]
        return kept

    def append(self, step: str, author: Author) -> None:
        """See `ScoreSession.append`."""
        super().append(step, author)
        self._unread.append(self._steps[-1])
        self._committed(author)

    def _committed(self, author: Author) -> None:
        self._count += 1
        self._by_target += author == "target"

    def _restart(self) -> None:
        """See `HFScoreSession._restart`. What was read stays known; unread steps that had to go are not missed."""
        super()._restart()
        self._expected = None
        self._unread = [step for step in self._unread if any(step is kept for kept in self._steps)]
