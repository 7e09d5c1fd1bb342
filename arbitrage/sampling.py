"""From logits to probabilities to a token: the one place where temperature, top-k and top-p are applied."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Logits = NDArray[np.float32]
"""Unnormalised scores, shape (positions, vocabulary)."""
Probabilities = NDArray[np.float64]
"""Normalised probabilities; the last axis is the vocabulary."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a token is chosen from logits. The default is greedy."""

    temperature: float = 0.0
    """0 is greedy (arg max, first of equals)."""
    top_k: int = 0
    """Keep the k most likely tokens; 0 keeps all."""
    top_p: float = 1.0
    """Keep the smallest set of most likely tokens whose mass reaches top_p."""

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < float("inf"):
            raise ValueError(f"temperature must be 0 (greedy) or positive, not {self.temperature}")
        if self.top_k < 0:
            raise ValueError(f"top_k must be 0 (off) or positive, not {self.top_k}")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must be in (0, 1], not {self.top_p}")

    @property
    def greedy(self) -> bool:
        """Whether the most likely token is always taken."""
        return self.temperature == 0


def probabilities(logits: Logits, sampling: Sampling) -> Probabilities:
    """The law that `sampling` draws from.

    Args:
        logits: shape (..., vocabulary). Minus infinity marks impossible tokens.

    Returns:
        Shape (..., vocabulary), each row sums to 1. Greedy gives all mass to the first maximum.

    Raises:
        ValueError: a row contains NaN.
    """
    scores = np.array(logits, dtype=np.float64)
    best = scores.max(-1, keepdims=True)
    if np.isnan(best).any():
        raise ValueError("the model produced NaN logits; load it with dtype='float32'")
    if sampling.greedy:
        result: Probabilities = np.zeros_like(scores)
        np.put_along_axis(result, scores.argmax(-1, keepdims=True), 1.0, axis=-1)
        return result
    scores -= best
    scores /= sampling.temperature
    if 0 < sampling.top_k < scores.shape[-1]:
        kept = np.argpartition(scores, -sampling.top_k, axis=-1)[..., -sampling.top_k :]
        mask = np.full(scores.shape, -np.inf)
        np.put_along_axis(mask, kept, 0.0, axis=-1)
        scores += mask
    result = np.exp(scores, out=scores)
    result /= result.sum(-1, keepdims=True)
    if sampling.top_p < 1:
        for law in result.reshape(-1, result.shape[-1]):
            _keep_nucleus(law, sampling.top_p)
        result /= result.sum(-1, keepdims=True)
    return result


def _keep_nucleus(law: Probabilities, top_p: float) -> None:
    """Set all but the most likely tokens of `law`, shape (vocabulary,), to 0 once these reach `top_p`."""
    # The others' mass cannot reach 1 - top_p, so the nucleus is among these: a few of many to sort.
    likely = np.flatnonzero(law >= (1 - top_p) / (2 * law.size))
    order = likely[np.argsort(-law[likely], kind="stable")]
    ranked = law[order]
    # A token stays when the mass before it has not yet reached top_p: the first one always does.
    stays = (np.cumsum(ranked) - ranked) < top_p
    law[:] = 0
    law[order[stays]] = ranked[stays]


def draw(law: Probabilities, u: float) -> int:
    """The token whose slice of the cumulated law contains `u`.

    Args:
        law: shape (vocabulary,), sums to 1 up to rounding.
        u: uniform number in [0, 1).
    """
    cumulated = np.cumsum(law)
    token = int(np.searchsorted(cumulated, u * cumulated[-1], side="right"))
    return token if token < law.size else int(np.flatnonzero(law)[-1])


class Best(NamedTuple):
    """What greedy decoding wants to know of one row of logits."""

    token: int
    """The most likely one, the first of equals."""
    logprob: float
    """Its natural-log probability at temperature 1."""


def choose(row: Logits | Best, sampling: Sampling, rng: np.random.Generator) -> int:
    """The next token from one row of logits, shape (vocabulary,); takes one number of `rng` unless greedy."""
    if isinstance(row, Best):
        return row.token
    if sampling.greedy:
        return int(row.argmax())
    return draw(probabilities(row, sampling), rng.random())


class TokenLogprobs:
    """Natural-log probabilities of written tokens at temperature 1.

    Rows of small vocabularies are put together before they are normalised: for a tiny model one call a token would be
    a noticeable share of its time.
    """

    _TOGETHER = 65_536
    """Logits held at most before they are normalised."""

    def __init__(self) -> None:
        self._done: list[float] = []
        self._rows: list[Logits] = []
        self._tokens: list[int] = []

    def __len__(self) -> int:
        return len(self._done) + len(self._rows)

    def add(self, row: Logits | Best, token: int) -> None:
        """Count in `token`, written from one row of logits of shape (vocabulary,) that will not change any more."""
        if isinstance(row, Best):
            self._normalise()
            self._done.append(row.logprob)
            return
        self._rows.append(row)
        self._tokens.append(token)
        if len(self._rows) * row.size >= self._TOGETHER:
            self._normalise()

    def values(self) -> tuple[float, ...]:
        """One number a token, in order."""
        self._normalise()
        return tuple(self._done)

    def _normalise(self) -> None:
        if not self._rows:
            return
        rows = np.stack(self._rows)
        rows -= rows.max(-1, keepdims=True)
        chosen = rows[np.arange(len(rows)), self._tokens]
        self._done.extend((chosen - np.log(np.exp(rows, out=rows).sum(-1))).tolist())
        self._rows, self._tokens = [], []
