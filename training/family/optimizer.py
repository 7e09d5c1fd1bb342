"""Muon for the matrices inside the layers, AdamW for everything else, one schedule over both."""

from __future__ import annotations

import torch
from torch import nn


class Optimizer:
    """Both optimizers behind one `step`; the learning rate warms up, stays, and decays linearly to zero."""

    def __init__(self, model: nn.Module, learning_rate: float, warmup: float = 0.01, decay: float = 0.8) -> None:
        inside = [p for n, p in model.named_parameters() if p.ndim == 2 and ".layers." in n]
        rest = [p for n, p in model.named_parameters() if not (p.ndim == 2 and ".layers." in n)]
        self._parts: list[torch.optim.Optimizer] = [
            torch.optim.Muon(inside, lr=learning_rate, weight_decay=0.02, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(rest, lr=learning_rate / 2, betas=(0.9, 0.98), weight_decay=0.0, fused=True),
        ]
        self._base = [learning_rate, learning_rate / 2]
        self._warmup, self._decay = warmup, decay
        self._parameters = [*inside, *rest]

    def step(self, progress: float) -> None:
        """One update; `progress` is the part of the budget used so far, 0 to 1."""
        scale = min(1.0, (progress + 1e-4) / self._warmup, max(0.0, (1 - progress) / self._decay))
        torch.nn.utils.clip_grad_norm_(self._parameters, 1.0)
        for part, base in zip(self._parts, self._base, strict=True):
            for group in part.param_groups:
                group["lr"] = base * scale
            part.step()
            part.zero_grad(set_to_none=True)

    def state_dict(self) -> list[dict[str, object]]:
        """State of both parts."""
        return [part.state_dict() for part in self._parts]

    def load_state_dict(self, states: list[dict[str, object]]) -> None:
        """Continue from `state_dict()`."""
        for part, state in zip(self._parts, states, strict=True):
            part.load_state_dict(state)
