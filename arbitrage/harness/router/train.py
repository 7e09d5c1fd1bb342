"""Train a router on step pairs (arXiv:2512.05033, section 5): one call, which goes on where it was stopped."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from transformers import TrainingArguments, set_seed

from arbitrage.harness.router.fitting import (
    RouterTrainer,
    Say,
    arguments_for,
    check_installed,
    fit,
    last_checkpoint,
    recompute_activations,
    with_adapters,
)
from arbitrage.harness.router.held_out import measure
from arbitrage.harness.router.initial import Initial
from arbitrage.harness.router.pairs import PairsError, digest, read_manifest, read_pairs
from arbitrage.harness.router.preparation import Counts, Prepared, prepare
from arbitrage.harness.router.saving import curve_of, save_router
from arbitrage.harness.router.settings import NOT_IDENTITY, TrainingError, TrainingSettings
from arbitrage.harness.run_folder import check_same_run, write_json

RECORD = "training.json"
"""File in a router's folder that says how it was trained."""
CHECKPOINTS = "checkpoints"
"""Folder in it, while the training goes on."""
_FEW_STEPS = 30


@dataclass(frozen=True, slots=True)
class TrainedRouter:
    """A finished training."""

    path: Path
    """Its folder: load it by `load_models(router="hf:PATH")`."""
    counts: Counts
    """Pairs."""
    steps: int
    """Optimizer steps."""
    seconds: float
    """Spent training, over all sittings."""
    measures: Mapping[str, Any]
    """On the held-out steps, unbalanced; empty without any."""


def train_router(
    pairs: Path | str,
    init: str,
    out: Path | str,
    settings: TrainingSettings | None = None,
    say: Say | None = None,
) -> TrainedRouter:
    """Train a router. The same call again goes on with a training that was stopped, and returns one that is finished.

    Args:
        pairs: folder of step pairs.
        init: what to begin with: a PRM, any other language model, or a router; a directory, a hub id, or
            'bundled:NAME'.
        out: folder for the router.
        settings: everything else.
        say: takes lines about the progress; None says nothing.

    Raises:
        PairsError: there are no pairs, or nothing to tell apart in them.
        ModelLoadError: `init` cannot be loaded.
        TrainingError: `out` is in use by something else, or the settings do not fit the machine.
        RunError: `out` holds a training with other settings, pairs or initial model.
        MissingExtraError: torch, transformers, matplotlib or (for LoRA) peft is not installed.
    """
    source, folder, asked, tell = Path(pairs), Path(out), settings or TrainingSettings(), say or (lambda line: None)
    check_installed(asked)
    initial = Initial.of(init, asked)
    record = _claim(folder, _identity(source, init, asked))
    if record.get("finished"):
        tell(f"{folder} holds this router already; nothing to do")
        return _trained(folder, record)
    prepared = prepare(read_pairs(source), initial.encoder(), _longest(initial, asked), asked)
    _tell_counts(prepared.counts, tell)
    arguments = arguments_for(asked, len(prepared.training), bool(prepared.held_out), folder / CHECKPOINTS)
    trainer, facts = _trainer(initial, prepared, asked, arguments, tell)
    checkpoint = last_checkpoint(folder / CHECKPOINTS)
    if checkpoint is not None:
        tell(f"goes on after {checkpoint.name.replace('-', ' ')}")
    begun = time.monotonic()
    try:
        fit(trainer, checkpoint)
    finally:
        record["seconds"] = round(record.get("seconds", 0.0) + time.monotonic() - begun, 1)
        if trainer.is_world_process_zero():
            write_json(folder / RECORD, record)
    steps = trainer.state.global_step
    if steps < _FEW_STEPS:
        tell(f"there were only {steps} optimizer steps; a smaller batch or more epochs may teach it more")
    record |= {"init": facts, "counts": asdict(prepared.counts), "steps": steps, "pairs": _about(source)}
    record["curve"] = curve_of(trainer.state.log_history)
    record["measures"] = save_router(folder, trainer, prepared, initial, asked, record)
    if trainer.is_world_process_zero():
        write_json(folder / RECORD, record | {"finished": True})
        shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)
    return _trained(folder, record)


def _trainer(
    initial: Initial, prepared: Prepared, settings: TrainingSettings, arguments: TrainingArguments, tell: Say
) -> tuple[RouterTrainer, dict[str, Any]]:
    """The trainer, and the facts of the model that it begins with."""
    set_seed(settings.seed)
    module, facts = initial.module(prepared.labelling)
    tell(
        f"begins with {facts['source']} ({facts['architecture']}, {facts['parameters']:,} parameters, "
        f"{'a new head' if facts['new_head'] else 'its own head'})"
    )
    if settings.gradient_checkpointing:
        recompute_activations(module)
    if settings.lora:
        module = with_adapters(module, settings.lora)
    trainer = RouterTrainer(
        module,
        prepared.training,
        prepared.held_out,
        prepared.labelling.kind,
        arguments,
        lambda outputs: measure(outputs, prepared.labelling, prepared.held_out_values),
        tell,
    )
    return trainer, facts


def _longest(initial: Initial, settings: TrainingSettings) -> int:
    context = initial.context_length()
    return context if settings.max_length is None else min(context, settings.max_length)


def _identity(source: Path, init: str, settings: TrainingSettings) -> dict[str, Any]:
    """Everything that decides what comes out."""
    chosen = {key: value for key, value in asdict(settings).items() if key not in NOT_IDENTITY}
    return {**chosen, "init": init, "pairs": digest(source)}


def _claim(folder: Path, identity: dict[str, Any]) -> dict[str, Any]:
    """What the folder says of this training so far; a new folder becomes this training's.

    Raises:
        TrainingError: it holds something else.
        RunError: it holds another training, or cannot be written.
    """
    record: dict[str, Any] = {"format": 1, "identity": identity}
    file = folder / RECORD
    there = [one.name for one in folder.iterdir()] if folder.is_dir() else []
    if file.is_file() and there != [RECORD]:  # alone, it is of a training that stored nothing
        try:
            stored = json.loads(file.read_text(encoding="utf-8"))
            check_same_run(stored["identity"], identity, folder)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise TrainingError(f"{file} cannot be read ({error!r}); choose another folder") from error
        return {**stored, "identity": identity}
    if os.environ.get("RANK", "0") != "0":  # the first process claims it for all
        return record
    if (there and there != [RECORD]) or (folder.exists() and not folder.is_dir()):
        raise TrainingError(f"{folder} holds something else already; choose a new folder for the router")
    folder.mkdir(parents=True, exist_ok=True)
    write_json(file, record)
    return record


def _about(source: Path) -> dict[str, Any]:
    """How the pairs were made, as far as their folder says."""
    try:
        told: dict[str, Any] = read_manifest(source).get("identity", {})
    except PairsError:
        return {}
    return told


def _tell_counts(counts: Counts, tell: Say) -> None:
    left_out = [f"{n:,} {why}" for n, why in ((counts.unlabelled, "unlabelled"), (counts.too_long, "too long")) if n]
    tell(
        f"{counts.pairs:,} pairs of {counts.problems:,} problems"
        + (f" ({' and '.join(left_out)}: left out)" if left_out else "")
        + f": {counts.training:,} to train on ({counts.gain:,} with a gain), of which {counts.trained_on:,} are used; "
        f"{counts.held_out:,} held out"
    )
    if not counts.held_out:
        tell("nothing is held out: there will be no measures and no calibration, so rate= will not work")


def _trained(folder: Path, record: Mapping[str, Any]) -> TrainedRouter:
    known = {field.name for field in fields(Counts)}
    counts = Counts(**{key: value for key, value in record["counts"].items() if key in known})
    return TrainedRouter(folder, counts, record["steps"], record["seconds"], record["measures"])
