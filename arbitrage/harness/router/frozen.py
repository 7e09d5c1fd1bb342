"""Training without touching the backbone: its states are computed once, then only a linear head is fitted to them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from arbitrage.backends.hf.loading import SMALL_BYTES, default_device
from arbitrage.harness.router.fitting import Say
from arbitrage.harness.router.hidden_states import merged, stored_states
from arbitrage.harness.router.initial import Initial
from arbitrage.harness.router.layers import keep_layers, layer_count
from arbitrage.harness.router.linear_head import Head, Task, fit_head, folds_of
from arbitrage.harness.router.preparation import Prepared
from arbitrage.harness.router.saving import Fitted
from arbitrage.harness.router.settings import TrainingError, TrainingSettings


def fit_frozen(
    initial: Initial, prepared: Prepared, settings: TrainingSettings, folder: Path, tell: Say
) -> tuple[Fitted, dict[str, Any]]:
    """Fit a head at each of the layers that were asked for, and keep the one that does best on problems left out.

    Args:
        initial: where the backbone comes from.
        prepared: examples of both splits.
        settings: what was asked for.
        folder: keeps the states until the training is finished.
        tell: takes lines about the progress.

    Returns:
        The result, and the facts of the initial model.

    Raises:
        TrainingError: the backbone or its head is not of the common kind.
    """
    if os.environ.get("WORLD_SIZE", "1") != "1":
        raise TrainingError("a frozen backbone is read by one process: start the command without torchrun")
    module, facts = initial.module(prepared.labelling)
    layers = settings.layers or (layer_count(module),)
    keep_layers(module, max(layers))
    if not isinstance(getattr(module, "score", None), torch.nn.Linear) or module.score.bias is None:
        raise TrainingError(f"{type(module).__name__} has no linear head with a bias; train it without --frozen")
    module = module.to(settings.device or default_device(), dtype=_dtype(module, settings))
    tell(f"reads with {facts['source']} ({facts['architecture']}, {module.dtype}), {_named(layers)}")
    examples = [*prepared.training, *prepared.held_out]
    streams, rows = merged(examples)
    tell(f"{len(rows):,} states in {len(streams):,} streams, {sum(len(one.ids) for one in streams):,} tokens")
    states = stored_states(
        module,
        streams,
        layers,
        folder,
        settings.micro_batch,
        lambda done, total: tell(f"states of {done:,} of {total:,} streams"),
    )
    module = module.to("cpu")
    heads: list[tuple[Head, NDArray[np.float32]]] = []
    told: dict[str, Any] = {}
    for index, layer in enumerate(layers):
        read = torch.from_numpy(states.layer(index)[rows])  # (labels, width)
        task = _task(prepared, read)
        head = fit_head(task)
        _put(module, head, task.states)
        with torch.inference_mode():
            outputs = module.score(read[len(task.labels) :].to(module.dtype)).float().numpy()
        heads.append((head, outputs))
        measured = prepared.report.measure(outputs) if prepared.held_out else {}
        told[str(layer)] = {"loss": round(head.loss, 4), "decay": head.decay, **measured}
        shown = "".join(f"  {key} {value:.3f}" for key, value in measured.items())
        tell(
            f"layer {layer}: loss {head.loss:.4f} on problems left out, weight decay {head.decay:g}"
            + (f"; held out:{shown}" if shown else "")
        )
    best = min(range(len(layers)), key=lambda i: (heads[i][0].loss, layers[i]))
    head, outputs = heads[best]
    keep_layers(module, layers[best])
    _put(module, head, _task(prepared, torch.from_numpy(states.layer(best)[rows])).states)
    module.config.dtype = module.dtype
    fitted = Fitted(
        module,
        dict(module.state_dict()),
        outputs if prepared.held_out else None,
        first=True,
        facts={"layer": layers[best], "layers": told},
        dtype=str(module.dtype).removeprefix("torch."),
    )
    return fitted, {**facts, "new_head": True}


def _dtype(module: Any, settings: TrainingSettings) -> torch.dtype:
    """As asked for; else float32 for what is small. The loader is told, so that it computes the same states."""
    if settings.dtype is not None:
        found: torch.dtype = getattr(torch, settings.dtype)
        return found
    small = 4 * sum(weight.numel() for weight in module.parameters()) < SMALL_BYTES
    return torch.float32 if small and (settings.device or default_device()) == "cpu" else torch.bfloat16


def _task(prepared: Prepared, states: torch.Tensor) -> Task:
    """The training split's; `states` are those of both splits, shape (labels, width)."""
    labels = np.concatenate([one.labels for one in prepared.training])
    problems = [one.problem_id for one in prepared.training for _ in one.places]
    labelling = prepared.labelling
    return Task(states[: len(labels)], torch.from_numpy(labels), folds_of(problems), labelling.kind, labelling.outputs)


def _put(module: Any, head: Head, states: torch.Tensor) -> None:
    """Write the head into the module; what the weights lose by rounding, the bias makes up for on average."""
    weight = head.weight.to(module.dtype)
    bias = head.bias + (head.weight - weight.float()) @ states.mean(0)
    module.score.weight.data, module.score.bias.data = weight, bias.to(module.dtype)


def _named(layers: tuple[int, ...]) -> str:
    return f"layer{'s' if len(layers) > 1 else ''} {', '.join(map(str, layers))}"
