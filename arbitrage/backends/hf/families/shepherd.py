"""Math-Shepherd: a Mistral language model that says "+" or "-" behind the tag that ends each step.

Stream: what the tokenizer opens a text with, the problem, a space; then the steps, each ending in " ки", newlines
between them. Score: softmax over the ids of "+" and "-", at "+".
"""

from __future__ import annotations

from typing import Any, final

from arbitrage.backends.hf.codec import HFCodec
from arbitrage.backends.hf.families.family import Family
from arbitrage.backends.hf.readout import TokenPair
from arbitrage.backends.hf.scorer import StreamFormat
from arbitrage.errors import ModelLoadError
from arbitrage.types import Author

STEP_TAG = " ки"


@final
class ShepherdEncoder:
    """See the module. Pieces are tokenised apart, at places where no token spans: in front of a space or a newline."""

    def __init__(self, codec: HFCodec, stream: StreamFormat) -> None:
        self.codec = codec

    def problem(self, statement: str) -> list[int]:
        """See `Encoder.problem`."""
        return [*self.codec.opening, *self.codec.encode(statement.strip())]

    def step(self, text: str, author: Author, first: bool = False) -> list[int]:
        """See `Encoder.step`."""
        return self.codec.continued((" " if first else "\n") + text.strip() + STEP_TAG)


def plus_or_minus(codec: HFCodec) -> TokenPair:
    """The readout of language models that judge by a sign.

    Raises:
        ModelLoadError: the tokenizer cannot tell the signs apart.
    """
    good, bad = codec.encode("+")[-1:], codec.encode("-")[-1:]
    if not good or good == bad:
        raise ModelLoadError('a PRM of this family answers "+" and "-", but this tokenizer does not tell them apart')
    return TokenPair(good[0], bad[0])


def language_model_class() -> Any:
    """Of families that keep the vocabulary."""
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM


SHEPHERD = Family(
    name="math-shepherd",
    module_class=language_model_class,
    encoder=ShepherdEncoder,
    readout=plus_or_minus,
)
