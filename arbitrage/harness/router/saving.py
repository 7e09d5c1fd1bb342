"""A trained router or PRM as a folder: weights, tokenizer, sidecar, model card, learning curve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from arbitrage.backends.hf.families.token_classification import TOKEN_CLASSIFICATION
from arbitrage.backends.hf.loading import load_tokenizer
from arbitrage.backends.sidecar import SIDECAR
from arbitrage.harness.router.card import card
from arbitrage.harness.router.fitting import RouterTrainer
from arbitrage.harness.router.initial import Initial
from arbitrage.harness.router.learning_curve import save_curve
from arbitrage.harness.router.preparation import Prepared
from arbitrage.harness.router.settings import TrainingSettings
from arbitrage.harness.run_folder import write_json, write_whole

CARD = "README.md"
CURVE = "curves.png"


@dataclass(frozen=True, slots=True)
class Fitted:
    """A training's result, in memory."""

    module: Any
    """The plain module; its weights may be older."""
    weights: dict[str, torch.Tensor]
    """In the format to be saved."""
    outputs: NDArray[np.float32] | None
    """Of the head at the held-out labels, shape (labels, outputs); None without any."""
    first: bool
    """Whether this is the process that writes."""
    steps: int = 0
    """Optimizer steps."""
    curve: dict[str, list[dict[str, float]]] | None = None
    """See `curve_of`."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """For the record."""
    dtype: str | None = None
    """Number format in which `outputs` were computed, where the loader has to take the same."""


def of_trainer(trainer: RouterTrainer, prepared: Prepared, dtype: str) -> Fitted:
    """What a trainer has made; every process of a training takes part."""
    outputs = trainer.outputs(prepared.held_out) if prepared.held_out else None
    module, weights = _weights(trainer, dtype)
    state = trainer.state
    first = trainer.is_world_process_zero()
    return Fitted(module, weights, outputs, first, state.global_step, curve_of(state.log_history))


def save_router(
    folder: Path,
    fitted: Fitted,
    prepared: Prepared,
    initial: Initial,
    settings: TrainingSettings,
    record: Mapping[str, Any],
) -> dict[str, Any]:
    """Measure, calibrate, and write in the one process that writes.

    Returns:
        Measures on the held-out steps.
    """
    measures: dict[str, Any] = {}
    table: dict[str, float] = {}
    if fitted.outputs is not None:
        measures, table = prepared.report.report(fitted.outputs)
    if not fitted.first:
        return measures
    stream, module = initial.stream, fitted.module
    told: dict[str, Any] = {"separator": stream.separator, "annotated": stream.annotated, "chat": stream.chat}
    if settings.max_length is not None:
        told["max_length"] = settings.max_length
    unseen = min(settings.held_out, initial.kept or settings.held_out)
    facts = {"held_out": unseen, "init": record["init"]["source"], "pairs": record["identity"]["pairs"]}
    if settings.purpose == "prm":
        meaning = {"family": TOKEN_CLASSIFICATION.name, "training": {**facts, "label": "outcome"}}
    else:
        meaning = {"readout": prepared.labelling.readout(), "training": {**facts, "label": settings.label}}
    sidecar = {"stream": told, **meaning, "thresholds": table}
    if fitted.dtype is not None:
        sidecar["dtype"] = fitted.dtype
    write_json(folder / SIDECAR, sidecar)  # before the weights: without it they would be read wrongly
    module.config.__dict__.pop("auto_map", None)  # code of the initial model, which this one does not need
    module.save_pretrained(folder, state_dict=fitted.weights)
    load_tokenizer(initial.source, initial.options).save_pretrained(folder)
    if fitted.curve is not None:
        save_curve(fitted.curve, folder / CURVE)
    write_whole(
        folder / CARD, card(folder.resolve().name, settings, sidecar, {**record, "measures": measures}).encode()
    )
    return measures


def curve_of(history: Sequence[Mapping[str, Any]]) -> dict[str, list[dict[str, float]]]:
    """A trainer's log as two lists of points: 'training' (step, loss) and 'held_out' (step, loss, measures)."""
    training = [{"step": one["step"], "loss": one["loss"]} for one in history if "loss" in one]
    names = ("loss", "spearman", "auc")
    held_out = [
        {"step": one["step"], **{name: one[f"eval_{name}"] for name in names if f"eval_{name}" in one}}
        for one in history
        if "eval_loss" in one
    ]
    return {"training": training, "held_out": held_out}


def _weights(trainer: RouterTrainer, dtype: str) -> tuple[Any, dict[str, torch.Tensor]]:
    """The plain module, and its weights in the format of the computation; adapters are merged."""
    module = trainer.accelerator.unwrap_model(trainer.model)
    if hasattr(module, "merge_and_unload"):
        module = module.merge_and_unload()
        weights = module.state_dict()
    else:
        weights = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    kept = getattr(torch, dtype)
    module.config.dtype = kept
    return module, {key: value.to(kept) if value.is_floating_point() else value for key, value in weights.items()}
