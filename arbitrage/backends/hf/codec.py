"""A transformers tokenizer as strategies need it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tokenizers import Tokenizer

from arbitrage.interfaces import TextCodec

# Ends of a turn that chat models write although their configuration names another end of sequence.
_TURN_ENDS = ("<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|end_of_text|>", "<end_of_turn>")


class HFCodec(TextCodec):
    """Wraps a fast transformers tokenizer; templates are rendered by transformers in a sandboxed environment.

    Threads may share it. transformers' object they may not: whether special tokens are parsed is a setting of it that
    every call changes. So text is encoded by copies of the tokenizer underneath, which is also several times quicker.
    """

    def __init__(self, tokenizer: Any, extra_eos_ids: Sequence[int] = ()) -> None:
        """Wrap `tokenizer`; `extra_eos_ids` come from the model's generation config."""
        self.tokenizer = tokenizer
        self._plain, self._special = _copy(tokenizer), _copy(tokenizer)
        self._plain.encode_special_tokens = True  # as text
        bos = tokenizer.bos_token_id
        self._bos = bos if bos is not None and tokenizer("")["input_ids"][:1] == [bos] else None
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

    def continued(self, text: str) -> list[int]:
        """Token ids of `text` behind other text: without the space that some tokenizers put in front of everything."""
        opening, ids = self.encode("\n"), self.encode("\n" + text)
        return ids[len(opening) :] if ids[: len(opening)] == opening else self.encode(text)

    def markup(self, text: str) -> list[int]:
        """Token ids of a part of a template: special tokens inside it are parsed."""
        ids: list[int] = self._special.encode(text, add_special_tokens=False).ids
        return ids

    @property
    def opening(self) -> list[int]:
        """What the tokenizer puts in front of a text: the BOS id, or nothing."""
        return [] if self._bos is None else [self._bos]

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
        ids = self.markup(text)
        return [self._bos, *ids] if self._bos is not None and ids[:1] != [self._bos] else ids

    def vocabulary(self) -> Mapping[str, int]:
        """See `TextCodec.vocabulary`."""
        return self._vocabulary


def _copy(tokenizer: Any) -> Tokenizer:
    """The tokenizer underneath, for whole texts."""
    copy = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    copy.no_truncation()
    copy.no_padding()
    copy.encode_special_tokens = False
    return copy
