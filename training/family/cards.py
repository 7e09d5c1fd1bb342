"""Model cards of the bundled family, written from the recorded curves and reports: no figure is typed by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from arbitrage.backends.hf.likelihood import FEATURES
from training.family import prm, router
from training.family.shapes import SHAPES

_HEAD = """---
license: apache-2.0
library_name: transformers
tags: [speculative-decoding, reasoning, synthetic]
---
# arbitrage bundled {name}

{what} Part of the bundled family of [`arbitrage-decoding`]: tiny models that make every strategy runnable on a laptop.
They solve the `bundled` data set (procedurally generated problems in MATH style) and nothing else.

- **Rebuild everything**: `python -m training.family.build`
- **Hardware of the shipped weights**: 2 x86-64 CPU cores (AVX-512), no GPU; bf16 autocast, one thread a model
"""


def _language_card(name: str, what: str, curves: Path) -> str:
    shape = SHAPES[name]
    curve = [json.loads(line) for line in (curves / f"{name}.jsonl").open()]
    last = curve[-1]
    kinds = "\n".join(f"| {key.removeprefix('kind ')} | {last[key]:.0%} |" for key in sorted(last) if "kind" in key)
    levels = " | ".join(f"{last[f'level {n}']:.0%}" for n in range(1, 6))
    return f"""{_HEAD.format(name=name, what=what)}- **Architecture**: Llama, {shape.layers} layers, hidden {shape.hidden}, feed-forward \
{shape.feed_forward}, {shape.heads} heads ({shape.kv_heads} key-value), vocabulary 512
- **Data**: fresh problems of the split `train`, seed {shape.seed}; {last["tokens"]:,} tokens, each problem seen once; no
  problem of the test split
- **Seed** {shape.seed}; Muon (matrices) and AdamW (the rest), peak learning rate {shape.learning_rate:g}, 8192 tokens a step

## Scores
Held-out problems (split `held-out`, seed 0, 300 problems) whose worked solution is the model's own greedy output:
**{last["solved"]:.0%}**, loss {last["loss"]:.4f}. By level 1-5: {levels}.

| kind | solved |
|---|---|
{kinds}

The learning curve is in `training/family/curves/{name}.jsonl`.
"""


def _table(report: dict[str, Any]) -> str:
    rows = "\n".join(
        f"| {key.replace('_', ' ')} | {value} |" for key, value in report.items() if key != "captured_advantage"
    )
    return f"| measure | value |\n|---|---|\n{rows}"


def _prm_card(curves: Path) -> str:
    report = json.loads((curves / "prm.json").read_text())["held_out"]
    reader = SHAPES["reader"]
    solved = [json.loads(line) for line in (curves / "reader.jsonl").open()][-1]["solved"]
    what = "Process reward model: the probability that a solution is right up to and including its newest step."
    return f"""{_HEAD.format(name="prm", what=what)}- **Architecture**: Llama causal language model, {reader.layers} layers, hidden {reader.hidden}; the reward is
  σ(offset − slope · M), M the largest surprise −log p(token) over all steps so far
- **Language model** (`reader`): the target's lower {reader.layers} layers, trained on for {reader.tokens:,} tokens of fresh problems (split `train`,
  seed {reader.seed}); its own greedy output is the worked solution of {solved:.0%} of held-out problems
- **Calibration**: offset {report["offset"]}, slope {report["slope"]}, by logistic regression on {report["calibration_steps"]:,} steps of
  {prm.DRAFT_SOLUTIONS:,} solutions by the draft and {prm.TARGET_SOLUTIONS:,} by the target for problems of the split `prm`, each step labelled by the
  exact checker

## Scores on {prm.HELD_OUT} held-out problems, solutions of both models
{_table(report)}
"""


def _router_card(curves: Path) -> str:
    report = json.loads((curves / "router.json").read_text())["held_out"]
    what = "Router: the probability that the target's version of the draft's newest step would be rewarded more."
    parts = "\n\n".join(
        f"### {title}\n{_table(report[key])}"
        for title, key in (
            ("The router", "router"),
            ("What RSD sees: −s_d on the same steps", "minus_draft_reward"),
            ("The draft's own doubt (minus mean log-probability) on the same steps", "minus_draft_confidence"),
            ("The steps, by the exact checker (after right prefixes)", "regime"),
        )
    )
    captured = report["router"]["captured_advantage"]
    rows = "\n".join(
        f"| {rate} | {captured[rate]} | {report['minus_draft_reward']['captured_advantage'][rate]} "
        f"| {report['minus_draft_confidence']['captured_advantage'][rate]} |"
        for rate in captured
        if rate in ("0.1", "0.2", "0.3", "0.4", "0.5", "0.7")
    )
    return f"""{_HEAD.format(name="router", what=what)}- **Architecture**: the PRM's language model; a network of {router.UNITS} hidden units on {len(FEATURES)} numbers that it reads off the
  draft's newest step and what lies before it ({", ".join(FEATURES)})
- **Data**: step pairs of {router.PROBLEMS:,} problems of the split `router`, better-of-two roll-in, balanced by downsampling:
  {report["training_steps"]:,} steps
- **Seed** {router.SEED}, {router.STEPS} full-batch steps of AdamW, peak learning rate {router.LEARNING_RATE:g}

## Scores on {router.HELD_OUT} held-out problems, unbalanced steps
{parts}

### Share of the positive advantage captured at an escalation rate
| rate | router | −s_d | −confidence |
|---|---|---|---|
{rows}
"""


def write_cards(models: Path, curves: Path) -> None:
    """One README.md in each model's directory."""
    draft = "Draft language model: fast, shallow, often wrong in arithmetic."
    target = "Target language model: deep, slower, right far more often."
    (models / "draft/README.md").write_text(_language_card("draft", draft, curves))
    (models / "target/README.md").write_text(_language_card("target", target, curves))
    (models / "prm/README.md").write_text(_prm_card(curves))
    (models / "router/README.md").write_text(_router_card(curves))
