"""The model card of a trained router or process reward model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from arbitrage.harness.router.settings import NOT_IDENTITY, TrainingSettings

_MEANING = {
    "binary": "the probability that the target's step {would}",
    "classes": "the expected quantile class of the advantage, as a share of the highest",
    "ordinal": "the expected quantile class of the advantage, as a share of the highest (cumulative logits)",
    "regression": "the expected advantage Δ as (Δ + 1) / 2",
}
_OF_BACKBONES = frozenset({"lr", "batch", "epochs", "warmup", "lora"})
"""Settings that mean nothing where only a head is fitted."""
_OF_ROUTERS = frozenset({"labels", "classes", "label", "balanced", "annotated"})
"""Settings that mean nothing to a PRM."""


def card(name: str, settings: TrainingSettings, sidecar: Mapping[str, Any], record: Mapping[str, Any]) -> str:
    """Markdown.

    Args:
        name: of the router.
        settings: it was trained with.
        sidecar: its `arbitrage.json`.
        record: counts, init, measures, steps, seconds, and what the manifest of the pairs says of them (`pairs`).
    """
    counts, init, prm = record["counts"], record["init"], settings.purpose == "prm"
    classed = settings.labels in ("quantile", "ordinal")
    idle = NOT_IDENTITY | (_OF_BACKBONES if settings.frozen else set()) | (_OF_ROUTERS if prm else set())
    idle |= set() if classed else {"classes"}
    chosen = {**asdict(settings), "lr": settings.learning_rate, **sidecar["stream"]}
    chosen |= {"layers": record["layer"] if settings.frozen else ", ".join(map(str, settings.layers)) or None}
    chosen = {key: value for key, value in chosen.items() if key not in idle and value is not None}
    head = "with a new head" if init["new_head"] else "its head kept"
    rate = "rate=0.3" if sidecar["thresholds"] else f"threshold={0.7 if prm else 0.5}"
    sections = [
        _FRONT.format(name=name, tag="process-reward-model" if prm else "router"),
        _PRM if prm else _ROUTER.format(meaning=_meaning(sidecar["readout"]["kind"], settings.label)),
        "## For which pair of models\n" + _table(_models(record["pairs"])),
        f"## Training\nBegan with `{init['source']}` ({init['architecture']}, {init['parameters']:,} parameters, "
        f"sha256 `{init['sha256']}`), {head}. {counts['trained_on']:,} steps, "
        f"{_effort(record, settings.frozen)}, {record['seconds']:,.0f} s.\n\n"
        f"{'Steps' if prm else 'Step pairs'}: {counts['pairs']:,} of {counts['problems']:,} problems; "
        f"{counts['training']:,} in the training split, {counts['gain']:,} of them {'good' if prm else 'with a gain'}; "
        f"{counts['held_out']:,} held out by problem; left out {counts['unlabelled']:,} without a label, "
        f"{counts['too_long']:,} too long and {counts['repeated']:,} of held-out texts.\n\n" + _table(chosen),
        "## Held-out steps, unbalanced\n" + (_table(measure_rows(record["measures"])) or "Nothing was held out."),
        _USE.format(use=f"rsd:{rate} --prm" if prm else f"arbitrage-router:{rate} --router"),
    ]
    return "\n\n".join(section.strip() for section in sections) + "\n"


def _meaning(kind: str, label: str) -> str:
    return _MEANING[kind].format(
        would="would lead to a right answer more often" if label == "outcome" else "would be rewarded more"
    )


def _effort(record: Mapping[str, Any], frozen: bool) -> str:
    return f"only the head, behind layer {record['layer']}" if frozen else f"{record['steps']:,} optimizer steps"


def _models(made: Mapping[str, Any]) -> dict[str, Any]:
    """What the manifest of the pairs says of its models and data, a line each."""
    found = {}
    for role, told in made.get("models", {}).items():
        shown = [f"{key} {told[key]}" for key in ("dtype", "revision", "sha256") if told.get(key)]
        found[role] = ", ".join([str(told.get("source") or told.get("name")), *shown])
    for part in ("dataset", "roll_in"):
        if name := made.get(part, {}).get("name"):
            found[part] = name
    if "samples" in made:
        found["samples of the target's step"] = made["samples"]
    return found or {"pair": "unknown: the folder of the pairs does not say"}


def measure_rows(measures: Mapping[str, Any]) -> dict[str, Any]:
    """Names and numbers worth a line each."""
    rows = {key: value for key, value in measures.items() if not isinstance(value, Mapping)}
    captured = measures.get("captured_advantage", {})
    rows |= {f"auc of step {place}": value for place, value in measures.get("auc_at_position", {}).items()}
    return rows | {
        f"positive advantage captured at rate {rate}": captured[rate]
        for rate in ("0.2", "0.3", "0.5")
        if rate in captured
    }


def _table(rows: Mapping[str, Any]) -> str:
    if not rows:
        return ""
    lines = [f"| {_cell(key.replace('_', ' '))} | {_cell(value)} |" for key, value in rows.items()]
    return "\n".join(["| | |", "|---|---|", *lines])


def _cell(value: object) -> str:
    if value is None:
        return "—"
    text = repr(value) if isinstance(value, str) and value != value.strip() else str(value)
    return text.replace("|", "\\|").replace("\n", " ")


_FRONT = """
---
library_name: transformers
pipeline_tag: token-classification
tags: [speculative-decoding, reasoning, {tag}]
---
# {name}
"""

_ROUTER = """
A step router: given a problem, the steps so far and the draft model's next step, its score is {meaning}. Above a
threshold the step is worth writing again by the target model (arXiv:2512.05033). It says nothing about whether an
answer is right.
"""

_PRM = """
A process reward model: given a problem, the steps so far and the next one, its score is the probability that a
solution with these steps ends in the right answer. It was learnt from the ends of solutions, not from judgements of
their steps.
"""

_USE = """
## Use

    arbitrage bench --strategy {use} hf:PATH

Made for the pair of models above, on problems like those it was trained on; for other pairs its scores mean nothing
before they have been measured. It reads text and returns a number.

## Licence

Not chosen. The licences of the initial model, of the models that wrote the steps and of the problems apply; add a
`license:` line to the head of this file before you publish it.
"""
