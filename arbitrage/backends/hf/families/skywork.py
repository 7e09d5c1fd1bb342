"""Skywork-o1-Open-PRM: Qwen2.5 with a value head (`v_head.summary`) in the place of the vocabulary.

Stream: BOS (where the tokenizer has one), problem, newline; then each step's ids and the separator's last id, where the
value stands. Score: its sigmoid. The model card separates steps by a newline, RSD and Arbitrage by a blank line.
"""

from __future__ import annotations

from typing import Any, final

from arbitrage.backends.hf.codec import HFCodec
from arbitrage.backends.hf.families.family import Family
from arbitrage.backends.hf.readout import Value
from arbitrage.backends.hf.scorer import StreamFormat
from arbitrage.types import Author


@final
class SkyworkEncoder:
    """See the module."""

    def __init__(self, codec: HFCodec, stream: StreamFormat) -> None:
        self.codec = codec
        bos = codec.tokenizer.bos_token_id
        self._bos = [] if bos is None else [int(bos)]
        self._separator = codec.encode(stream.separator)[-1:]

    def problem(self, statement: str) -> list[int]:
        """See `Encoder.problem`."""
        return [*self._bos, *self.codec.encode(statement + "\n")]

    def step(self, text: str, author: Author, first: bool = False) -> list[int]:
        """See `Encoder.step`."""
        return [*self.codec.encode(text), *self._separator]


def _module_class() -> Any:
    from transformers import AutoModelForTokenClassification

    return AutoModelForTokenClassification


SKYWORK = Family(
    name="skywork",
    module_class=_module_class,
    encoder=SkyworkEncoder,
    readout=lambda codec: Value(),
    labels=1,
    separated=True,
    renamed={"pretrained_model.": "", "v_head.summary.": "score."},
    overrides={"num_labels": 1},
)
