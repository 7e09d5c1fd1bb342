"""Small networks on features: which of them, and nothing else, is what the study compares."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from training.family.router import balanced

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a head is fitted: full batches of AdamW, cosine decay."""

    units: int = 16
    """Hidden units (tanh); 0 for a linear head."""
    steps: int = 1000
    learning_rate: float = 1e-2
    weight_decay: float = 1e-4


SMALL = Recipe()
LINEAR = Recipe(units=0)
WIDE = Recipe(units=32, steps=300, learning_rate=3e-3, weight_decay=0.3)
"""For hundreds of features: they can be learnt by heart."""


class Head:
    """A fitted head; its scores are in [0, 1]."""

    def __init__(self, mean: Tensor, scale: Tensor, net: nn.Module) -> None:
        self._mean, self._scale, self._net = mean, scale, net

    @torch.inference_mode()
    def scores(self, x: Floats) -> Floats:
        """One score a row of `x`, shape (rows, features)."""
        logits: Tensor = self._net((torch.tensor(x, dtype=torch.float32) - self._mean) / self._scale)[:, 0]
        scores: Floats = logits.double().sigmoid().numpy()
        return scores


def fit(x: Floats, labels: NDArray[np.bool_], recipe: Recipe, seed: int) -> Head:
    """Fit to the labels, balanced by random downsampling."""
    kept = balanced(labels.tolist(), seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        inputs = torch.tensor(x[kept], dtype=torch.float32)
        wanted = torch.tensor(labels[kept], dtype=torch.float32)
        mean, scale = inputs.mean(0), inputs.std(0) + 1e-6
        inputs = (inputs - mean) / scale
        net = _network(x.shape[1], recipe.units)
        for _ in _steps(net, recipe):
            binary_cross_entropy_with_logits(net(inputs)[:, 0], wanted).backward()
    return Head(mean, scale, net)


class TokenHead:
    """A network on each token of a step; the step is as suspicious as its most suspicious token (log-sum-exp)."""

    def __init__(self, mean: Tensor, scale: Tensor, net: nn.Module) -> None:
        self._mean, self._scale, self._net = mean, scale, net

    @torch.inference_mode()
    def scores(self, tokens: NDArray[np.float32], lengths: NDArray[np.int64]) -> Floats:
        """One score a step; `tokens` of shape (tokens of all steps, features)."""
        inputs = (torch.tensor(tokens) - self._mean) / self._scale
        scores: Floats = _most(self._net(inputs)[:, 0], torch.tensor(lengths)).double().sigmoid().numpy()
        return scores


def fit_tokens(
    tokens: NDArray[np.float32], lengths: NDArray[np.int64], labels: NDArray[np.bool_], recipe: Recipe, seed: int
) -> TokenHead:
    """Fit to the labels of steps, balanced by random downsampling."""
    kept = sorted(balanced(labels.tolist(), seed))
    starts = np.cumsum([0, *lengths[:-1]])
    rows = np.concatenate([np.arange(starts[i], starts[i] + lengths[i]) for i in kept])
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        inputs, counts = torch.tensor(tokens[rows]), torch.tensor(lengths[kept])
        wanted = torch.tensor(labels[kept], dtype=torch.float32)
        mean, scale = inputs.mean(0), inputs.std(0) + 1e-6
        inputs = (inputs - mean) / scale
        net = _network(tokens.shape[1], recipe.units)
        for _ in _steps(net, recipe):
            binary_cross_entropy_with_logits(_most(net(inputs)[:, 0], counts), wanted).backward()
    return TokenHead(mean, scale, net)


def _most(logits: Tensor, lengths: Tensor) -> Tensor:
    """Log-sum-exp of each step's tokens, shape (steps,)."""
    owner = torch.repeat_interleave(torch.arange(len(lengths)), lengths)
    exps = torch.zeros(len(lengths)).index_add(0, owner, logits.clamp(max=30).exp())
    return exps.clamp(min=1e-12).log()


def _network(features: int, units: int) -> nn.Module:
    if not units:
        return nn.Linear(features, 1)
    return nn.Sequential(nn.Linear(features, units), nn.Tanh(), nn.Linear(units, 1))


def _steps(net: nn.Module, recipe: Recipe) -> Iterator[int]:
    optimizer = torch.optim.AdamW(net.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, recipe.steps)
    for step in range(recipe.steps):
        optimizer.zero_grad()
        yield step
        optimizer.step()
        decay.step()
