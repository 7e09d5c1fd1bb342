"""A trained router as a folder: weights, tokenizer, sidecar, model card, learning curve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from arbitrage.backends.hf.loading import load_tokenizer
from arbitrage.backends.sidecar import SIDECAR
from arbitrage.harness.router.card import card
from arbitrage.harness.router.fitting import RouterTrainer, precision
from arbitrage.harness.router.held_out import final_report
from arbitrage.harness.router.initial import Initial
from arbitrage.harness.router.learning_curve import save_curve
from arbitrage.harness.router.preparation import Prepared
from arbitrage.harness.router.settings import TrainingSettings
from arbitrage.harness.run_folder import write_json, write_whole

CARD = "README.md"
CURVE = "curves.png"


def save_router(
    folder: Path,
    trainer: RouterTrainer,
    prepared: Prepared,
    initial: Initial,
    settings: TrainingSettings,
    record: Mapping[str, Any],
) -> dict[str, Any]:
    """Measure, calibrate and write; every process of a training takes part, the first one writes.

    Returns:
        Measures on the held-out steps.
    """
    measures: dict[str, Any] = {}
    table: dict[str, float] = {}
    if prepared.held_out:
        outputs = trainer.outputs(prepared.held_out)
        measures, table = final_report(outputs, prepared.labelling, prepared.held_out_values)
    module, weights = _weights(trainer, precision(settings))
    if not trainer.is_world_process_zero():
        return measures
    stream = initial.stream
    told = {"separator": stream.separator, "annotated": stream.annotated, "chat": stream.chat}
    facts = {"held_out": settings.held_out, "label": settings.label, "init": record["init"]["source"]}
    facts["pairs"] = record["identity"]["pairs"]
    sidecar = {"stream": told, "readout": prepared.labelling.readout(), "training": facts, "thresholds": table}
    write_json(folder / SIDECAR, sidecar)  # before the weights: without it they would be read wrongly
    module.save_pretrained(folder, state_dict=weights)
    load_tokenizer(initial.source, initial.options).save_pretrained(folder)
    save_curve(record["curve"], folder / CURVE)
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
    module.config.__dict__.pop("auto_map", None)  # code of the initial model, which this one does not need
    return module, {key: value.to(kept) if value.is_floating_point() else value for key, value in weights.items()}
