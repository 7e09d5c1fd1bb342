"""Train a router on step pairs (arXiv:2512.05033, section 5), or a process reward model on graded solutions.

One call, which goes on where it was stopped.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import chain
from pathlib import Path
from typing import Any

from transformers import set_seed

from arbitrage.errors import RunError
from arbitrage.harness.router.fitting import (
    RouterTrainer,
    Say,
    arguments_for,
    check_installed,
    fit,
    last_checkpoint,
    precision,
    recompute_activations,
    with_adapters,
)
from arbitrage.harness.router.frozen import fit_frozen
from arbitrage.harness.router.graded import is_run, read_graded, source_digest
from arbitrage.harness.router.initial import Initial
from arbitrage.harness.router.layers import keep_layers
from arbitrage.harness.router.pairs import PairsError, read_manifest, read_pairs
from arbitrage.harness.router.preparation import Counts, Prepared, prepare
from arbitrage.harness.router.prm_preparation import prepare_prm
from arbitrage.harness.router.saving import of_trainer, save_router
from arbitrage.harness.router.settings import NOT_IDENTITY, Purpose, TrainingError, TrainingSettings
from arbitrage.harness.run_folder import check_same_run, differences, write_json
from arbitrage.harness.run_folder import read_manifest as run_manifest

RECORD = "training.json"
"""File in a router's folder that says how it was trained."""
CHECKPOINTS = "checkpoints"
"""Folder in it, while the training goes on."""
STATES = "states"
"""The same, where the backbone is frozen."""
_FEW_STEPS = 30
_BEGUN_WITH = "init_version"
"""Entry of the identity that `Initial.version` fills."""


@dataclass(frozen=True, slots=True)
class TrainedRouter:
    """A finished training, of a router or a PRM."""

    path: Path
    """Its folder: load it by `load_models(router="hf:PATH")`, or `prm=`."""
    counts: Counts
    """Pairs, or steps."""
    steps: int
    """Optimizer steps; 0 where only a head was fitted."""
    seconds: float
    """Spent training, over all sittings."""
    measures: Mapping[str, Any]
    """On the held-out steps, unbalanced; empty without any."""


def train_router(
    pairs: Path | str | Sequence[Path | str],
    init: str,
    out: Path | str,
    settings: TrainingSettings | None = None,
    say: Say | None = None,
) -> TrainedRouter:
    """Train a router or a PRM. The same call again goes on with a training that was stopped, or returns its result.

    Args:
        pairs: folder of step pairs, or several; for a PRM also runs, as `arbitrage bench --out` writes them.
        init: what to begin with: a PRM, any other language model, or a router; a directory, a hub id, a .gguf file,
            or 'bundled:NAME'.
        out: folder for the result.
        settings: everything else.
        say: takes lines about the progress; None says nothing.

    Raises:
        PairsError: there are no pairs, or nothing to tell apart in them.
        RunError: a run cannot be read; or `out` holds a training with other settings, pairs or initial model.
        ModelLoadError: `init` cannot be loaded.
        TrainingError: `out` is in use by something else, or the settings do not fit the machine or the model.
        MissingExtraError: torch, transformers, matplotlib or (for LoRA) peft is not installed.
    """
    sources = [Path(one) for one in ([pairs] if isinstance(pairs, Path | str) else pairs)]
    folder, asked, tell = Path(out), settings or TrainingSettings(), say or (lambda line: None)
    check_installed(asked)
    initial = Initial.of(init, asked)
    record = _claim(folder, _identity(sources, init, initial, asked))
    if record.get("finished"):
        tell(f"{folder} holds this {asked.purpose} already; nothing to do")
        return _trained(folder, record)
    kept = initial.kept
    if kept is not None and kept < asked.held_out:
        tell(
            f"warning: {init} itself kept {kept:g} of the problems from its training; of the {asked.held_out:g} that "
            f"are held out now it may have learnt some, which flatters measures and thresholds; --held-out {kept:g} "
            "avoids that"
        )
    prepared = _prepared(sources, initial, asked)
    _tell_counts(prepared.counts, asked.purpose, tell)
    begun = time.monotonic()
    first = True
    try:
        if asked.frozen:
            fitted, facts = fit_frozen(initial, prepared, asked, folder / STATES, tell)
        else:
            trainer, facts = _trainer(initial, prepared, asked, folder / CHECKPOINTS, tell)
            first = trainer.is_world_process_zero()
            fit(trainer, _checkpoint(folder / CHECKPOINTS, tell))
            fitted = of_trainer(trainer, prepared, precision(asked))
    finally:
        record["seconds"] = round(record.get("seconds", 0.0) + time.monotonic() - begun, 1)
        if first:
            write_json(folder / RECORD, record)
    if fitted.steps < _FEW_STEPS and not asked.frozen:
        tell(f"there were only {fitted.steps} optimizer steps; a smaller batch or more epochs may teach it more")
    record |= {"init": facts, "counts": asdict(prepared.counts), "steps": fitted.steps, "pairs": _about(sources[0])}
    record |= {"curve": fitted.curve, **fitted.facts}
    record["measures"] = save_router(folder, fitted, prepared, initial, asked, record)
    if fitted.first:
        write_json(folder / RECORD, record | {"finished": True})
        for left in (CHECKPOINTS, STATES):
            shutil.rmtree(folder / left, ignore_errors=True)
    return _trained(folder, record)


def _prepared(sources: Sequence[Path], initial: Initial, settings: TrainingSettings) -> Prepared:
    encoder, longest = initial.encoder(), _longest(initial, settings)
    if settings.purpose == "prm":
        return prepare_prm(chain.from_iterable(map(read_graded, sources)), encoder, longest, settings)
    return prepare(chain.from_iterable(map(read_pairs, sources)), encoder, longest, settings)


def _checkpoint(folder: Path, tell: Say) -> Path | None:
    found = last_checkpoint(folder)
    if found is not None:
        tell(f"goes on after {found.name.replace('-', ' ')}")
    return found


def _trainer(
    initial: Initial, prepared: Prepared, settings: TrainingSettings, folder: Path, tell: Say
) -> tuple[RouterTrainer, dict[str, Any]]:
    """The trainer, and the facts of the model that it begins with; `folder` is for checkpoints."""
    arguments = arguments_for(settings, len(prepared.training), bool(prepared.held_out), folder)
    set_seed(settings.seed)
    module, facts = initial.module(prepared.labelling)
    for layer in settings.layers:
        keep_layers(module, layer)
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
        prepared.report.measure,
        tell,
    )
    return trainer, facts


def _longest(initial: Initial, settings: TrainingSettings) -> int:
    context = initial.context_length()
    return context if settings.max_length is None else min(context, settings.max_length)


def _identity(sources: Sequence[Path], init: str, initial: Initial, settings: TrainingSettings) -> dict[str, Any]:
    """Everything that decides what comes out. A name may come to stand for other weights, so they are in it too."""
    chosen = {key: value for key, value in asdict(settings).items() if key not in NOT_IDENTITY}
    found = [source_digest(source) for source in sources]
    return {**chosen, "init": init, _BEGUN_WITH: initial.version(), "pairs": found[0] if len(found) == 1 else found}


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
            _check_same_weights(stored["identity"], identity, folder)
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


def _check_same_weights(stored: Mapping[str, Any], identity: Mapping[str, Any], folder: Path) -> None:
    """Say it in words where one name stands for two models.

    Raises:
        RunError: it does.
    """
    before, now = stored.get(_BEGUN_WITH), identity[_BEGUN_WITH]
    if stored["init"] != identity["init"] or not (changed := differences(before, now)):
        return
    if before is None:
        raise RunError(f"{folder}: this training does not say which weights it began with; choose another folder")
    raise RunError(
        f"{folder}: {identity['init']} has changed since this training began with it: {changed}. Choose another "
        "folder, or put the former model back"
    )


def _about(source: Path) -> dict[str, Any]:
    """How the pairs or solutions were made, as far as their folder says."""
    try:
        manifest = run_manifest(source) if is_run(source) else read_manifest(source)
    except (PairsError, RunError):
        return {}
    told: dict[str, Any] = manifest.get("identity", {})
    return told


def _tell_counts(counts: Counts, purpose: Purpose, tell: Say) -> None:
    what, good = ("steps", "good") if purpose == "prm" else ("pairs", "with a gain")
    lacking = "solutions without a label" if purpose == "prm" else "unlabelled"
    reasons = ((counts.unlabelled, lacking), (counts.too_long, "too long"), (counts.repeated, "of held-out texts"))
    left_out = [f"{n:,} {why}" for n, why in reasons if n]
    tell(
        f"{counts.pairs:,} {what} of {counts.problems:,} problems"
        + (f" ({', '.join(left_out)}: left out)" if left_out else "")
        + f": {counts.training:,} to train on ({counts.gain:,} {good}), of which {counts.trained_on:,} are used; "
        f"{counts.held_out:,} held out"
    )
    if not counts.held_out:
        tell("nothing is held out: there will be no measures and no calibration, so rate= will not work")


def _trained(folder: Path, record: Mapping[str, Any]) -> TrainedRouter:
    known = {field.name for field in fields(Counts)}
    counts = Counts(**{"repeated": 0} | {key: value for key, value in record["counts"].items() if key in known})
    return TrainedRouter(folder, counts, record["steps"], record["seconds"], record["measures"])
