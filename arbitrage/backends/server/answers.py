"""From what reward endpoints answer to one row of numbers, the one at the newest token. What comes in is untrusted."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from arbitrage.errors import ServerError

Row = NDArray[np.float32]


def pooled_row(answer: Any, outputs: int) -> Row:
    """The last row of a pooling, embeddings or classify answer.

    Servers answer a row a token, a row a step, or the last row only, in `data` or in `embedding`; the last one is at
    the newest token in every case.

    Args:
        answer: decoded JSON.
        outputs: how many numbers a row has.

    Raises:
        ServerError: there is no such row in it.
    """
    found = answer
    if isinstance(found, Mapping) and "data" in found:
        found = found["data"]
    if isinstance(found, list) and found and isinstance(found[0], Mapping):
        found = found[0]
    if isinstance(found, Mapping):
        found = next((found[key] for key in ("data", "embedding", "probs") if key in found), None)
    if isinstance(found, list) and found and isinstance(found[-1], list):
        found = found[-1]
    elif isinstance(found, list) and outputs == 1:
        found = found[-1:]
    return _numbers(found, outputs)


def sign_row(answer: Any, good: int, bad: int) -> Row:
    """Log-probabilities of two tokens from a completions answer whose tokens are told as `token_id:N`.

    A sign that is not among the likeliest tokens counts as likely as the last of them, which it cannot exceed.

    Raises:
        ServerError: neither sign is among them.
    """
    try:
        likeliest = answer["choices"][0]["logprobs"]["top_logprobs"][0]
        told = {str(token): value for token, value in likeliest.items()}
    except (KeyError, IndexError, TypeError, AttributeError):
        raise ServerError("the server's answer holds no log-probabilities; it must be a completions endpoint") from None
    signs = [f"token_id:{token}" for token in (good, bad)]
    if not any(sign in told for sign in signs):
        raise ServerError(f"the server's model expects neither of the signs {good} and {bad}; is the family right?")
    floor = min(float(value) for value in _numbers(list(told.values()), len(told)))
    return _numbers([told.get(sign, floor) for sign in signs], 2)


def _numbers(found: Any, count: int) -> Row:
    if not isinstance(found, list) or len(found) != count:
        what = f"{len(found)} numbers" if isinstance(found, list) else "nothing of the kind"
        raise ServerError(f"the server's answer should end in a row of {count} numbers, but there is {what}")
    for value in found:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ServerError("the server's answer holds something that is not a finite number")
    return np.array(found, dtype=np.float32)


@final
class Probabilities:
    """Scores that the server has put through softmax or sigmoid already: the last number of the row."""

    def score(self, row: Row) -> float:
        """See `RowReadout.score`."""
        if row.min() < 0 or row.max() > 1 or (len(row) > 1 and abs(float(row.sum()) - 1) > 0.01):
            raise ServerError("the server answered logits where probabilities were expected; add scores=logits")
        return float(row[-1])
