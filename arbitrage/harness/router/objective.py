"""What a router's head is trained to make small, for each kind of label."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from arbitrage.harness.router.labels import Kind


def losses(kind: Kind, outputs: Tensor, labels: Tensor) -> Tensor:
    """Loss of each example.

    Binary and quantile: cross-entropy; a binary label may be a probability. Ordinal: binary cross-entropy of "the
    class is above k", summed over k.
    Regression: squared error, whose minimum is the expected advantage, which is what routing should rank by.

    Args:
        kind: of the labels.
        outputs: of the head, shape (examples, outputs).
        labels: see `Labelling.label`, shape (examples,).

    Returns:
        Shape (examples,).
    """
    if kind == "regression":
        return functional.mse_loss(outputs[:, 0], labels, reduction="none")
    if kind == "ordinal":
        above = labels[:, None] > torch.arange(outputs.shape[1], device=labels.device)  # (examples, outputs)
        return functional.binary_cross_entropy_with_logits(outputs, above.to(outputs), reduction="none").sum(1)
    if kind == "binary":
        odds = outputs[:, 1] - outputs[:, 0]
        return functional.binary_cross_entropy_with_logits(odds, labels.to(odds), reduction="none")
    return functional.cross_entropy(outputs, labels.long(), reduction="none")
