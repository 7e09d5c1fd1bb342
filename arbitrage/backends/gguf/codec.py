"""The tokenizer inside a GGUF file as strategies need it."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import llama_cpp

from arbitrage.backends.gguf.engine import Weights
from arbitrage.errors import ModelLoadError
from arbitrage.interfaces import TextCodec

if TYPE_CHECKING:
    from jinja2 import Template

_UNUSED, _CONTROL = llama_cpp.LLAMA_TOKEN_ATTR_UNUSED, llama_cpp.LLAMA_TOKEN_ATTR_CONTROL


class GGUFCodec(TextCodec):
    """Wraps llama.cpp's tokenizer; chat templates are rendered in a sandbox."""

    def __init__(self, weights: Weights, chat_template: str | None, name: str) -> None:
        """Wrap the vocabulary of `weights`.

        Args:
            weights: kept alive by this object.
            chat_template: Jinja source; None joins messages by blank lines.
            name: for messages.
        """
        self._weights, self._template, self._name = weights, chat_template, name
        self._vocab = vocab = weights.vocab
        count = weights.vocabulary_size
        self._eos_ids = frozenset(i for i in range(count) if llama_cpp.llama_vocab_is_eog(vocab, i))
        self._bos = llama_cpp.llama_vocab_bos(vocab) if llama_cpp.llama_vocab_get_add_bos(vocab) else None
        self._bytes: dict[int, bytes] = {}
        self._vocabulary: dict[str, int] | None = None

    @property
    def eos_ids(self) -> frozenset[int]:
        """See `TextCodec.eos_ids`."""
        return self._eos_ids

    def encode(self, text: str) -> list[int]:
        """See `TextCodec.encode`."""
        return self._tokenize(text, special=False)

    def decode(self, ids: Sequence[int]) -> str:
        """See `TextCodec.decode`."""
        return b"".join(self._piece(token) for token in ids if not self._is(token, _CONTROL)).decode(errors="replace")

    def piece(self, token: int) -> str:
        """See `TextCodec.piece`."""
        return self._piece(token).decode(errors="replace")

    def render(self, messages: Sequence[Mapping[str, str]]) -> list[int]:
        """See `TextCodec.render`. Without a chat template the contents are joined by blank lines."""
        if self._template:
            bos, eos = llama_cpp.llama_vocab_bos(self._vocab), llama_cpp.llama_vocab_eos(self._vocab)
            text = render_chat(self._template, messages, self._text(bos), self._text(eos))
        else:
            text = "\n\n".join(m["content"] for m in messages) + "\n\n"
        ids = self._tokenize(text, special=True)
        return [self._bos, *ids] if self._bos is not None and ids[:1] != [self._bos] else ids

    def vocabulary(self) -> Mapping[str, int]:
        """See `TextCodec.vocabulary`. Places that the file marks as unused are not tokens."""
        if self._vocabulary is None:
            count = self._weights.vocabulary_size
            self._vocabulary = {self._text(i): i for i in range(count) if not self._is(i, _UNUSED)}
        return self._vocabulary

    def _text(self, token: int) -> str:
        """As the vocabulary spells it."""
        if token < 0:
            return ""
        spelled: bytes = llama_cpp.llama_vocab_get_text(self._vocab, token) or b""
        return spelled.decode(errors="replace")

    def _is(self, token: int, attribute: int) -> bool:
        return bool(llama_cpp.llama_vocab_get_attr(self._vocab, token) & attribute)

    def _piece(self, token: int) -> bytes:
        if token not in self._bytes:
            size = 64
            buffer = ctypes.create_string_buffer(size)
            length = llama_cpp.llama_token_to_piece(self._vocab, token, buffer, size, 0, True)
            if length < 0:
                size = -length
                buffer = ctypes.create_string_buffer(size)
                length = llama_cpp.llama_token_to_piece(self._vocab, token, buffer, size, 0, True)
            self._bytes[token] = buffer.raw[:length]
        return self._bytes[token]

    def _tokenize(self, text: str, special: bool) -> list[int]:
        raw = text.encode("utf-8", errors="replace")
        room = len(raw) + 8
        while True:
            ids = (llama_cpp.llama_token * room)()
            count = llama_cpp.llama_tokenize(self._vocab, raw, len(raw), ids, room, False, special)
            if count >= 0:
                return list(map(int, ids[:count]))
            room = -count


def render_chat(template: str, messages: Sequence[Mapping[str, str]], bos: str, eos: str) -> str:
    """Text of a conversation by a Jinja chat template, ready for the assistant's turn, in a sandbox without I/O.

    Raises:
        ModelLoadError: the template is damaged, refuses the messages, or tries what a template may not.
    """
    from jinja2 import TemplateError

    def refuse(reason: str) -> None:
        raise TemplateError(reason)

    names: dict[str, Any] = {"bos_token": bos, "eos_token": eos, "raise_exception": refuse}
    try:
        return _compiled(template).render(messages=[dict(m) for m in messages], add_generation_prompt=True, **names)
    except (TemplateError, TypeError, ValueError, OverflowError, MemoryError, RecursionError) as error:
        raise ModelLoadError(f"the model's chat template cannot be rendered: {error}") from error


@lru_cache(maxsize=32)
def _compiled(template: str) -> Template:
    """Compiling takes longer than a small model takes for a step."""
    from jinja2.ext import loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
    return environment.from_string(template)
