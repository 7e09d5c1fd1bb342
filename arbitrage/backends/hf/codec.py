"""A transformers tokenizer as strategies need it."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

from tokenizers import Tokenizer

from arbitrage.interfaces import TextCodec

# Ends of a turn that chat models write although their configuration names another end of sequence.
_TURN_ENDS = ("<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|end_of_text|>", "<end_of_turn>")


class HFCodec(TextCodec):
    """Wraps a fast transformers tokenizer; templates are rendered by transformers in a sandboxed environment.

    Threads may share it. transformers' object they may not: whether special tokens are parsed is a setting of it that
    every call changes. Text is encoded by a copy of the tokenizer underneath, which is also several times quicker.
    """

    def __init__(self, tokenizer: Any, extra_eos_ids: Sequence[int] = ()) -> None:
        """Wrap `tokenizer`; `extra_eos_ids` come from the model's generation config."""
        self.tokenizer = tokenizer
        self._rendering = threading.Lock()
        self._plain = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
        self._plain.no_truncation()
        self._plain.no_padding()
        self._plain.encode_special_tokens = True
        self._vocabulary: dict[str, int] = tokenizer.get_vocab()
        self._pieces: dict[int, str] = {}
        ends = {*extra_eos_ids, *(self._vocabulary[t] for t in _TURN_ENDS if t in tokenizer.added_tokens_encoder)}
        if tokenizer.eos_token_id is not None:
            ends.add(tokenizer.eos_token_id)
        self._eos_ids = frozenset(ends)

    @property
    def eos_ids(self) -> frozenset[int]:
        """See `TextCodec.eos_ids`."""
        return self._eos_ids

    def encode(self, text: str) -> list[int]:
        """See `TextCodec.encode`."""
        ids: list[int] = self._plain.encode(text, add_special_tokens=False).ids
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """See `TextCodec.decode`."""
        text: str = self._plain.decode(list(ids), skip_special_tokens=True)
        return text

    def piece(self, token: int) -> str:
        """See `TextCodec.piece`."""
        if token not in self._pieces:
            self._pieces[token] = self.tokenizer.decode([token], clean_up_tokenization_spaces=False)
        return self._pieces[token]

    def render(self, messages: Sequence[Mapping[str, str]]) -> list[int]:
        """See `TextCodec.render`. Without a chat template the contents are joined by blank lines."""
        tokenizer = self.tokenizer
        if tokenizer.chat_template:
            text = tokenizer.apply_chat_template(
                [dict(m) for m in messages], tokenize=False, add_generation_prompt=True
            )
        else:
            text = "\n\n".join(m["content"] for m in messages) + "\n\n"
        bos = tokenizer.bos_token_id
        with self._rendering:
            ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
            adds_bos = bos is not None and tokenizer("")["input_ids"][:1] == [bos]
        return [bos, *ids] if adds_bos and ids[:1] != [bos] else ids

    def vocabulary(self) -> Mapping[str, int]:
        """See `TextCodec.vocabulary`."""
        return self._vocabulary
