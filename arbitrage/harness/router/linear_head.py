"""A linear head on states that are given: fitted to the end in seconds, its weight decay chosen by cross-validation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from arbitrage.harness.router.labels import Kind
from arbitrage.harness.router.objective import losses
from arbitrage.harness.router.pairs import held_out

DECAYS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0)
"""Tried; times half the squared weights of states scaled to variance 1."""
FOLDS = 4
"""Of the training problems; each is judged by a head that was fitted to the others."""
_ITERATIONS = 200


@dataclass(frozen=True, slots=True)
class Head:
    """What a linear layer holds."""

    weight: Tensor
    """Shape (outputs, width)."""
    bias: Tensor
    """Shape (outputs,)."""
    decay: float
    loss: float
    """Mean over the training labels, each judged by a head that never saw its problem."""


@dataclass(frozen=True, slots=True)
class Task:
    """What the head is to learn."""

    states: Tensor
    """Shape (labels, width)."""
    labels: Tensor
    """Shape (labels,)."""
    folds: NDArray[np.intp]
    """Of each label's problem, shape (labels,)."""
    kind: Kind
    outputs: int
    """Of the head."""


def fit_head(task: Task, decays: Sequence[float] = DECAYS) -> Head:
    """Choose the decay by the loss on problems that were left out, then fit all labels."""
    mean, scale = task.states.mean(0), task.states.std(0, correction=0)
    scale = torch.where(scale > 1e-6 * scale.max(), scale, torch.ones_like(scale))
    scaled = (task.states - mean) / scale
    loss, decay = min((_left_out_loss(task, scaled, decay), decay) for decay in decays)
    weight, bias = fitted(task.kind, task.outputs, scaled, task.labels, decay)
    weight = weight / scale
    return Head(weight, bias - weight @ mean, decay, loss)


def folds_of(problems: Sequence[str]) -> NDArray[np.intp]:
    """Fold of each problem, by its id alone."""
    bounds = [(k + 1) / FOLDS for k in range(FOLDS)]
    return np.array(
        [next(k for k, bound in enumerate(bounds) if held_out(f"fold {one}", bound)) for one in problems],
        dtype=np.intp,
    )


def fitted(kind: Kind, outputs: int, states: Tensor, labels: Tensor, decay: float) -> tuple[Tensor, Tensor]:
    """The weight and bias with the least mean loss plus decay/2 times the squared weights, by L-BFGS."""
    weight = torch.zeros(outputs, states.shape[1], dtype=states.dtype, requires_grad=True)
    bias = torch.zeros(outputs, dtype=states.dtype, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weight, bias],
        max_iter=_ITERATIONS,
        tolerance_grad=1e-7,
        tolerance_change=1e-10,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = losses(kind, states @ weight.T + bias, labels).mean() + decay / 2 * weight.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    return weight.detach(), bias.detach()


def _left_out_loss(task: Task, scaled: Tensor, decay: float) -> float:
    """Mean loss of each label under the head that was fitted to the other folds."""
    fit = partial(fitted, task.kind, task.outputs)
    total = 0.0
    for fold in np.unique(task.folds):
        out = torch.from_numpy(task.folds == fold)
        rest = out if bool(out.all()) else ~out  # a single fold has nothing else to be fitted to
        weight, bias = fit(scaled[rest], task.labels[rest], decay)
        total += float(losses(task.kind, scaled[out] @ weight.T + bias, task.labels[out]).sum())
    return total / len(task.labels)
