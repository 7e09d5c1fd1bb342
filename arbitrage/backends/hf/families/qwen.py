"""Qwen2.5-Math-PRM: Qwen2 with a head of two layers and two labels, read at `<extra_0>` behind each step.

Stream: the conversation by the chat template, system message and problem, opened for the assistant's turn; then each
step's ids and `<extra_0>`. Score: softmax, label 1. The checkpoints bring code of their own; it is not needed here.
"""

from __future__ import annotations

from typing import Any, final

from arbitrage.backends.hf.codec import HFCodec
from arbitrage.backends.hf.families.family import Family
from arbitrage.backends.hf.readout import TwoLabels
from arbitrage.backends.hf.scorer import StreamFormat
from arbitrage.errors import ModelLoadError
from arbitrage.interfaces import INSTRUCTION
from arbitrage.types import Author

STEP_TAG = "<extra_0>"


@final
class QwenEncoder:
    """See the module."""

    def __init__(self, codec: HFCodec, stream: StreamFormat) -> None:
        self.codec = codec
        if STEP_TAG not in codec.vocabulary() or not codec.tokenizer.chat_template:
            raise ModelLoadError(f"PRMs of the family qwen-prm have a chat template and a token {STEP_TAG}; it has not")
        self._tag = codec.vocabulary()[STEP_TAG]

    def problem(self, statement: str) -> list[int]:
        """See `Encoder.problem`."""
        return self.codec.render([{"role": "system", "content": INSTRUCTION}, {"role": "user", "content": statement}])

    def step(self, text: str, author: Author, first: bool = False) -> list[int]:
        """See `Encoder.step`."""
        return [*self.codec.encode(text), self._tag]


def _module_class() -> Any:
    from torch import nn
    from transformers import Qwen2ForTokenClassification

    base: Any = Qwen2ForTokenClassification

    class Qwen2ForProcessRewardModel(base):  # type: ignore[misc]
        """Qwen2 with a head of two layers."""

        def __init__(self, config: Any) -> None:
            super().__init__(config)
            width = config.hidden_size
            self.score = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, config.num_labels))
            self.post_init()

    return Qwen2ForProcessRewardModel


QWEN = Family(
    name="qwen-prm",
    module_class=_module_class,
    encoder=QwenEncoder,
    readout=lambda codec: TwoLabels(),
    labels=2,
)
