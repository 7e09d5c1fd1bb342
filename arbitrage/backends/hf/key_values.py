"""Keys and values of one sequence in all layers: one buffer, grown in small steps, rolled back by moving an index."""

from __future__ import annotations

import torch
from torch import Tensor

_LEAST_STEP = 32
"""Positions that a full buffer grows by at least; long ones grow by an eighth."""


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
        capacity = length + max(_LEAST_STEP, length // 8)
        # Static passes read the whole buffer, so there must be numbers in it.
        make = torch.zeros if self._device.type == "cuda" else torch.empty
        larger = make(layers, heads, capacity, width, dtype=self._dtype, device=self._device)
        larger[:, :, : self.length] = self._buffer[:, :, : self.length]
        self._buffer, self.layers = larger, larger.unbind(0)
        self.recordings.clear()

    def truncate(self, length: int) -> None:
        """Forget everything from position `length` on."""
        self.length = min(self.length, length)
