"""A key-value cache that can be rolled back: preallocated, grown by doubling, cropped by moving an index."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import Cache, PretrainedConfig
from transformers.cache_utils import DynamicCache, DynamicLayer

from arbitrage.errors import ModelLoadError

_FIRST_CAPACITY = 256


class GrowingLayer(DynamicLayer):  # type: ignore[no-untyped-call]
    """One attention layer's keys and values in a buffer; appending copies only what is new."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._length = 0
        self._key_buffer: Tensor | None = None
        self._value_buffer: Tensor | None = None

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Append new states, shape (1, heads, new, width), and return all, shape (1, heads, length, width)."""
        start, end = self._length, self._length + key_states.shape[-2]
        self._key_buffer = _with_room(self._key_buffer, key_states, start, end)
        self._value_buffer = _with_room(self._value_buffer, value_states, start, end)
        self._key_buffer[:, :, start:end] = key_states
        self._value_buffer[:, :, start:end] = value_states
        self._length = end
        self.keys, self.values = self._key_buffer[:, :, :end], self._value_buffer[:, :, :end]
        self.is_initialized = True
        return self.keys, self.values

    def get_seq_length(self) -> int:
        """Positions held."""
        return self._length

    def truncate(self, length: int) -> None:
        """Forget everything from position `length` on."""
        self._length = min(self._length, length)


def _with_room(buffer: Tensor | None, states: Tensor, used: int, needed: int) -> Tensor:
    """`buffer`, or a larger copy of its used part when `needed` positions do not fit."""
    capacity = 0 if buffer is None else buffer.shape[-2]
    if needed <= capacity:
        assert buffer is not None
        return buffer
    batch, heads, _, width = states.shape
    larger = torch.empty(
        (batch, heads, max(needed, 2 * capacity, _FIRST_CAPACITY), width), dtype=states.dtype, device=states.device
    )
    if buffer is not None:
        larger[:, :, :used] = buffer[:, :, :used]
    return larger


class RewindableCache(Cache):
    """The caches of all layers of one sequence."""

    def __init__(self, layers: int) -> None:
        self._growing = [GrowingLayer() for _ in range(layers)]
        super().__init__(layers=list(self._growing))

    @property
    def length(self) -> int:
        """Positions held."""
        return self._growing[0].get_seq_length()

    def truncate(self, length: int) -> None:
        """Forget everything from position `length` on."""
        for layer in self._growing:
            layer.truncate(length)


def attention_layers(config: PretrainedConfig, source: str) -> int:
    """Number of layers, if every one of them is attention and can be rolled back exactly.

    Raises:
        ModelLoadError: the model has recurrent or other layers whose state cannot be rolled back.
    """
    text = config.get_text_config()
    kinds = {type(layer).__name__ for layer in DynamicCache(config=config).layers}
    allowed = {"DynamicLayer", "DynamicSlidingWindowLayer"}
    if kinds - allowed:
        raise ModelLoadError(
            f"{source}: layers of kind {', '.join(sorted(kinds - allowed))} keep a state that cannot be rolled back; "
            "use a model whose layers are all attention"
        )
    return int(text.num_hidden_layers)
