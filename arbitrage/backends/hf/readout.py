"""From the numbers that a model puts out at the end of a step to the step's score in [0, 1]."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, final

import numpy as np
from numpy.typing import NDArray

from arbitrage.errors import ModelLoadError


class RowReadout(Protocol):
    """Reads one row of outputs."""

    def score(self, row: NDArray[np.float32]) -> float:
        """The score.

        Args:
            row: shape (outputs of the head,), at the last token of the step.
        """


@final
class TwoLabels:
    """Softmax over the labels no and yes, at yes (index 1)."""

    def score(self, row: NDArray[np.float32]) -> float:
        """See `RowReadout.score`."""
        no, yes = row.tolist()
        return sigmoid(yes - no)


@final
class Value:
    """One number, a logit: its sigmoid."""

    def score(self, row: NDArray[np.float32]) -> float:
        """See `RowReadout.score`."""
        return sigmoid(float(row[0]))


@final
class TokenPair:
    """Softmax over two tokens of a language model's vocabulary, at the good one."""

    def __init__(self, good: int, bad: int) -> None:
        """By their ids."""
        self.good, self.bad = good, bad

    def score(self, row: NDArray[np.float32]) -> float:
        """See `RowReadout.score`."""
        return sigmoid(float(row[self.good]) - float(row[self.bad]))


@final
class Classes:
    """Softmax over K classes of growing advantage; the expected class as a share of the highest one."""

    def score(self, row: NDArray[np.float32]) -> float:
        """See `RowReadout.score`."""
        weights = np.exp(row.astype(np.float64) - float(row.max()))
        return float(weights @ np.arange(len(row)) / weights.sum() / (len(row) - 1))


@final
class Ordinal:
    """K − 1 outputs, each the log-odds that the class is above k; the expected class as a share of the highest one."""

    def score(self, row: NDArray[np.float32]) -> float:
        """See `RowReadout.score`."""
        return math.fsum(map(sigmoid, row.tolist())) / len(row)


@final
class Advantage:
    """One output, the advantage Δ itself; (Δ + 1) / 2, so that 0.5 stands for no difference."""

    def score(self, row: NDArray[np.float32]) -> float:
        """See `RowReadout.score`."""
        return min(1.0, max(0.0, (float(row[0]) + 1) / 2))


@dataclass(frozen=True, slots=True)
class Described:
    """What the `readout` entry of a sidecar says of a head."""

    readout: RowReadout
    outputs: int
    """Labels that the head must have."""


def described(settings: Mapping[str, Any]) -> Described:
    """What a `readout` entry describes; an empty one describes two labels.

    Raises:
        ModelLoadError: its kind is unknown, or its number of classes is none.
    """
    kind, classes = settings.get("kind", "binary"), settings.get("classes")
    if kind == "binary":
        return Described(TwoLabels(), 2)
    if kind == "regression":
        return Described(Advantage(), 1)
    if kind not in ("classes", "ordinal"):
        raise ModelLoadError(
            f"the readout entry of arbitrage.json is of kind {kind!r:.40}; known: binary, classes, ordinal, regression"
        )
    if type(classes) is not int or classes < 2:
        raise ModelLoadError(f"the readout entry of arbitrage.json has {classes!r:.40} classes; it needs two or more")
    return Described(Classes(), classes) if kind == "classes" else Described(Ordinal(), classes - 1)


def sigmoid(x: float) -> float:
    """1 / (1 + exp(−x)), without overflow."""
    return 0.5 + 0.5 * math.tanh(x / 2)
