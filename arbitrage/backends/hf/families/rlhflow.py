"""RLHFlow Llama-3.1-8B PRMs: a conversation in which the user tells a step and the assistant answers "+" or "-".

Stream: the chat template's text; the first user turn is problem, space, first step, each later one is a step, and every
step before the newest was answered "+". Score: at the end of the assistant's opening, softmax over "+" and "-", at "+".
"""

from __future__ import annotations

from typing import final

from arbitrage.backends.hf.codec import HFCodec
from arbitrage.backends.hf.families.family import Family
from arbitrage.backends.hf.families.shepherd import language_model_class, plus_or_minus
from arbitrage.backends.hf.scorer import StreamFormat
from arbitrage.errors import ModelLoadError
from arbitrage.types import Author

_TOLD, _ANSWERED, _TOLD_NEXT = "FIRST-STEP", "ANSWER", "SECOND-STEP"


@final
class RLHFlowEncoder:
    """See the module. Template and contents are tokenised apart: special tokens and line ends lie between them."""

    def __init__(self, codec: HFCodec, stream: StreamFormat) -> None:
        self.codec = codec
        opening, to_answer, to_next = _turns(codec)
        self._opening = codec.markup(opening)
        self._to_answer = codec.markup(to_answer)
        self._to_next = [*codec.encode("+")[-1:], *codec.markup(to_next)]

    def problem(self, statement: str) -> list[int]:
        """See `Encoder.problem`."""
        return [*self._opening, *self.codec.encode(statement.strip())]

    def step(self, text: str, author: Author, first: bool = False) -> list[int]:
        """See `Encoder.step`."""
        text = text.strip()
        if first:
            return [*(self.codec.continued(" " + text) if text else []), *self._to_answer]
        return [*self._to_next, *self.codec.encode(text), *self._to_answer]


def _turns(codec: HFCodec) -> tuple[str, str, str]:
    """The chat template's text before a user's words, from there to the answer, and from the answer to the next words.

    Raises:
        ModelLoadError: there is no template, or turns do not simply follow one another in it.
    """
    if not codec.tokenizer.chat_template:
        raise ModelLoadError("PRMs of the family rlhflow read conversations, but this tokenizer has no chat template")
    messages = [
        {"role": "user", "content": _TOLD},
        {"role": "assistant", "content": _ANSWERED},
        {"role": "user", "content": _TOLD_NEXT},
    ]
    text: str = codec.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    opening, _, rest = text.partition(_TOLD)
    to_answer, _, rest = rest.partition(_ANSWERED)
    to_next, _, end = rest.partition(_TOLD_NEXT)
    if not to_answer or end != to_answer:
        raise ModelLoadError("the chat template of this tokenizer does not open every answer alike; rlhflow needs that")
    return opening, to_answer, to_next


RLHFLOW = Family(
    name="rlhflow",
    module_class=language_model_class,
    encoder=RLHFlowEncoder,
    readout=plus_or_minus,
)
