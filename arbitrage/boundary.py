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
        self._piece = codec.piece
        self._after_newline = False

    def push(self, token: int) -> bool:
        """Take the next token of the step; true when its text completes the separator."""
        piece = self._piece(token)
        if "\n" not in piece:
            self._after_newline = self._after_newline and not piece
            return False
        # Only a newline at the very end can be completed by the next token.
        ends = SEPARATOR in piece or (self._after_newline and piece[0] == "\n")
        self._after_newline = piece[-1] == "\n"
        return ends

    def copy(self) -> StepBoundary:
        """An independent follower in the same state, for looking ahead."""
        other = StepBoundary(self._codec)
        other._after_newline = self._after_newline
        return other


def step_text(decoded: str) -> str:
    """The text of a step without the separator that ended it."""
    return decoded.rstrip("\n")
