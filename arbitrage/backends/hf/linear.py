"""Matrix products of a forward pass: as they come, joined, or packed for small models in float32 on a CPU.

At batch 1 a small model's products take 5 to 100 microseconds each, and the way the weights lie in memory matters more
than the arithmetic: for one row, columns first; for several, oneDNN's own layout (`benchmarks/forward_pass.py` has the
difference for whole passes).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

_TRANSPOSED_UP_TO = 1 << 20
"""Weights of a matrix that is also kept columns first: for larger ones oneDNN is as fast with one row."""


class Product(Protocol):
    """x ↦ x·Wᵀ + b."""

    def __call__(self, x: Tensor) -> Tensor:
        """Shape (tokens, inputs) to (tokens, outputs)."""

    def onto(self, x: Tensor, residual: Tensor) -> Tensor:
        """The product added to `residual`, shape (tokens, outputs)."""


class Plain:
    """Weights as they come."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        """Share `weight`, shape (outputs, inputs), and `bias`, shape (outputs,)."""
        self.weight, self.bias = weight, bias

    def __call__(self, x: Tensor) -> Tensor:
        """See `Product`."""
        return functional.linear(x, self.weight, self.bias)

    def onto(self, x: Tensor, residual: Tensor) -> Tensor:
        """See `Product`."""
        return residual + functional.linear(x, self.weight, self.bias)


class Opaque:
    """Layers of other kinds (quantised ones), one after the other, their outputs side by side."""

    def __init__(self, layers: Sequence[Callable[[Tensor], Tensor]]) -> None:
        self._layers = list(layers)

    def __call__(self, x: Tensor) -> Tensor:
        """See `Product`."""
        outputs = [layer(x) for layer in self._layers]
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs, -1)

    def onto(self, x: Tensor, residual: Tensor) -> Tensor:
        """See `Product`."""
        return residual + self(x)


class Stacked:
    """A product and what follows it, such as a head of two layers."""

    def __init__(self, first: Product, rest: Sequence[Callable[[Tensor], Tensor]]) -> None:
        self._first, self._rest = first, list(rest)

    def __call__(self, x: Tensor) -> Tensor:
        """See `Product`."""
        x = self._first(x)
        for layer in self._rest:
            x = layer(x)
        return x

    def onto(self, x: Tensor, residual: Tensor) -> Tensor:
        """See `Product`."""
        return residual + self(x)


class Packed:
    """A copy of the weights in the layouts that are fastest for one row and for several."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        """Copy `weight`, shape (outputs, inputs), float32 on the CPU, and `bias`, shape (outputs,)."""
        self._many = _reordered(weight)
        small = weight.numel() <= _TRANSPOSED_UP_TO
        self._one = weight.t().contiguous() if small or self._many is None else None
        self._bias = bias

    def __call__(self, x: Tensor) -> Tensor:
        """See `Product`."""
        if self._one is not None and (x.shape[0] == 1 or self._many is None):
            return torch.mm(x, self._one) if self._bias is None else torch.addmm(self._bias, x, self._one)
        return torch.ops.mkldnn._linear_pointwise(x, self._many, self._bias, "none", [], "")  # type: ignore[no-any-return]

    def onto(self, x: Tensor, residual: Tensor) -> Tensor:
        """See `Product`."""
        if self._bias is None and self._one is not None and x.shape[0] == 1:
            return torch.addmm(residual, x, self._one)
        return residual + self(x)


def _reordered(weight: Tensor) -> Any:
    """`weight` in oneDNN's layout for a few rows; None where this build of torch has no oneDNN."""
    reorder = getattr(torch.ops.mkldnn, "_reorder_linear_weight", None)
    if reorder is None or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return None
    try:
        return reorder(weight.contiguous(), 8)
    except (RuntimeError, NotImplementedError):
        return None


def join(layers: Sequence[nn.Linear]) -> Plain:
    """One product for several layers with the same input. They keep working, on parts of the joined weights."""
    biases = [None if layer.bias is None else layer.bias.detach() for layer in layers]
    if len(layers) == 1:
        return Plain(layers[0].weight.detach(), biases[0])
    weight = torch.cat([layer.weight.detach() for layer in layers])
    parts = torch.split(weight, [layer.out_features for layer in layers])
    for layer, part in zip(layers, parts, strict=True):
        layer.weight = nn.Parameter(part, requires_grad=False)
    if all(bias is None for bias in biases):
        return Plain(weight, None)
    given = [weight.new_zeros(len(part)) if bias is None else bias for part, bias in zip(parts, biases, strict=True)]
    return Plain(weight, torch.cat(given))
