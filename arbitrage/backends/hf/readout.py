"""From the numbers that a model puts out at the end of a step to the step's score in [0, 1]."""

from __future__ import annotations

import math
from typing import Protocol, final

import numpy as np
from numpy.typing import NDArray


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


def sigmoid(x: float) -> float:
    """1 / (1 + exp(−x)), without overflow."""
    return 0.5 + 0.5 * math.tanh(x / 2)
