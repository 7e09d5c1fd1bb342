"""Keys and values of one sequence in all layers: one growing buffer, rolled back by moving an index."""

from __future__ import annotations

import torch
from torch import Tensor

_LEAST_STEP = 32
"""Positions that a full buffer grows by at least; long ones grow by an eighth."""
_LEAST_STATIC = 512
"""Positions of a buffer on CUDA, where growing costs new recordings: there it doubles."""


class KeyValues:
    """The encoded prefix of one sequence. Not safe for use by two threads at once."""

    def __init__(self, layers: int, heads: int, width: int, dtype: torch.dtype, device: torch.device) -> None:
        """An empty prefix of a model with so many layers and key-value heads of this width."""
        self._shape = layers, 2 * heads, width
        self._dtype, self._device = dtype, device
        self._buffer = torch.empty(layers, 2 * heads, 0, width, dtype=dtype, device=device)
        self.layers: tuple[Tensor, ...] = ()
        """A view a layer, shape (2 heads, capacity, width): keys first, then values."""
        self.length = 0
        """Positions held."""
        self.recordings: dict[int, object] = {}
        """What was recorded over this buffer (`graphs`); gone when it is replaced by a larger one."""

    @property
    def capacity(self) -> int:
        """Positions there is room for."""
        return self._buffer.shape[2]

    @property
    def bytes(self) -> int:
        """Memory of the buffer."""
        return self._buffer.numel() * self._buffer.element_size()

    def reserve(self, length: int) -> None:
        """Make room for `length` positions in all; what is held is kept."""
        if length <= self.capacity:
            return
        layers, heads, width = self._shape
        static = self._device.type == "cuda"
        # Static passes read the whole buffer, so there must be numbers in it, and it is recorded anew when it grows.
        capacity = max(_LEAST_STATIC, 2 * length) if static else length + max(_LEAST_STEP, length // 8)
        make = torch.zeros if static else torch.empty
        larger = make(layers, heads, capacity, width, dtype=self._dtype, device=self._device)
        larger[:, :, : self.length] = self._buffer[:, :, : self.length]
        self._buffer, self.layers = larger, larger.unbind(0)
        self.recordings.clear()

    def views(self, start: int, end: int) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...], tuple[Tensor, ...]]:
        """By layer: positions from `start` to `end` of keys and values, all keys to `end`, all values to `end`.

        Cut for all layers at once: one layer after the other would take as long as the arithmetic of a small model.
        """
        heads = self._shape[1] // 2
        room = self._buffer[:, :, start:end].unbind(0)
        return room, self._buffer[:, :heads, :end].unbind(0), self._buffer[:, heads:, :end].unbind(0)

    def clear(self) -> None:
        """Forget everything; what was computed goes too, so that no number that is not finite is left behind."""
        self.length = 0
        with torch.inference_mode():
            self._buffer.zero_()

    def truncate(self, length: int) -> None:
        """Forget everything from position `length` on."""
        self.length = min(self.length, length)
