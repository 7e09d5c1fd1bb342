"""Token classifiers with two labels that TRL's `PRMTrainer` trained.

Stream: BOS (where the tokenizer has one), problem; then each step's ids and all ids of the separator. Score: softmax of
the two logits at the separator's last id, label 1. The trainer keeps the separator to itself; its default is a newline.
"""

from __future__ import annotations

from dataclasses import replace
from typing import final

from arbitrage.backends.hf.codec import HFCodec
from arbitrage.backends.hf.families.token_classification import TOKEN_CLASSIFICATION
from arbitrage.backends.hf.scorer import StreamFormat
from arbitrage.types import Author


@final
class TrlEncoder:
    """See the module."""

    def __init__(self, codec: HFCodec, stream: StreamFormat) -> None:
        self.codec = codec
        bos = codec.tokenizer.bos_token_id
        self._bos = [] if bos is None else [int(bos)]
        self._separator = codec.encode(stream.separator)

    def problem(self, statement: str) -> list[int]:
        """See `Encoder.problem`."""
        return [*self._bos, *self.codec.encode(statement)]

    def step(self, text: str, author: Author, first: bool = False) -> list[int]:
        """See `Encoder.step`."""
        return [*self.codec.encode(text), *self._separator]


TRL = replace(TOKEN_CLASSIFICATION, name="trl", encoder=TrlEncoder, separator="\n")
