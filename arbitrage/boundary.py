"""Where a step ends: the first token whose text completes a blank line.

Works on token ids, because ids are the truth and text is derived. Knows nothing of models.
"""

from __future__ import annotations

from arbitrage.interfaces import TextCodec
from arbitrage.types import SEPARATOR


class StepBoundary:
    """Follows one step token by token and tells the token that ends it."""

    def __init__(self, codec: TextCodec) -> None:
        self._codec = codec
        self._tail = ""

    def push(self, token: int) -> bool:
        """Take the next token of the step; true when its text completes the separator."""
        text = self._tail + self._codec.piece(token)
        # Only a run of newlines at the very end can be completed by the next token.
        self._tail = "\n" if text.endswith("\n") else ""
        return SEPARATOR in text

    def copy(self) -> StepBoundary:
        """An independent follower in the same state, for looking ahead."""
        other = StepBoundary(self._codec)
        other._tail = self._tail
        return other


def step_text(decoded: str) -> str:
    """The text of a step without the separator that ended it."""
    return decoded.rstrip("\n")
