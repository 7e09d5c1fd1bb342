"""Made-up rows whose counts are those of the step loop and whose seconds follow known costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from arbitrage.harness.costs import Costs, ModelCost, Overhead, components, work
from arbitrage.harness.rows import Row, RowStatus
from arbitrage.harness.run_folder import SCHEMA, open_run
from arbitrage.types import Author, EndReason, StepRecord

COSTS = Costs(
    {
        "draft": ModelCost(0.004, 0.0002, 0.001),
        "target": ModelCost(0.05, 0.003, 0.02),
        "router": ModelCost(0.01, 0.0005),
        "prm": ModelCost(0.03, 0.0007),
    },
    Overhead(0.01, 0.002, 0.0003),
)
PROMPT = 20


@dataclass(frozen=True)
class Step:
    """A step of a made-up solution."""

    length: int
    author: Author = "draft"
    rejected: int = 0
    """Length of the draft's version that was discarded."""


def solved(strategy: str, problem: str, steps: Sequence[Step], scorer: str | None = None, costs: Costs = COSTS) -> Row:
    """A row with the passes and tokens that the step loop makes for `steps`, and the seconds of `costs`.

    A model is forwarded every token but its last one; the scorer reads the problem and every step.
    """
    records = []
    calls, tokens = {"draft": 0, "target": 0}, {"draft": PROMPT - 1, "target": PROMPT - 1}
    routed = scorer is not None or any(step.rejected for step in steps)
    heard = PROMPT
    unread = {"draft": 0, "target": 0}
    for index, step in enumerate(steps):
        drafted = step.rejected or (step.length if step.author == "draft" else 0)
        targeted = step.length if step.author == "target" else 0
        for name, written in (("draft", drafted), ("target", targeted)):
            if written:
                calls[name] += written
                tokens[name] += unread[name] + written
                unread[name] = 0
        if step.author == "draft":
            unread["target"] += step.length
        elif drafted:
            unread["draft"] += step.length - 1
        if scorer:
            heard += drafted + (step.length if step.author == "target" and index < len(steps) - 1 else 0)
        records.append(
            StepRecord(
                index, "x", step.author, step.length, draft_tokens=drafted, target_tokens=targeted,
                rejected_text="y" if step.rejected else None,
            )
        )  # fmt: skip
    used = {name: count for name, count in calls.items() if count}
    if scorer:
        used[scorer], tokens[scorer] = len(steps), heard
    assert routed or len(used) == 1
    row = Row(
        strategy=strategy, problem_id=problem, repeat=0, status=RowStatus.CORRECT, reference="1", latency_s=1.0,
        started_at="2026-01-01T00:00:00+00:00", end_reason=EndReason.EOS, prompt_tokens=PROMPT, steps=tuple(records),
        token_ids=tuple(range(sum(step.length for step in steps))), calls=used,
        forwarded_tokens={name: tokens[name] for name in used},
    )  # fmt: skip
    return timed(row, costs)


def timed(row: Row, costs: Costs) -> Row:
    """The row as it is measured where models cost this much."""
    spent = {name: costs.models[name].seconds(work(row, name)) for name in components(row)}
    return replace(row, latency_s=costs.seconds(row), time_s=spent)


def trio(problem: int, costs: Costs = COSTS) -> list[Row]:
    """One problem by target-only, draft-only and a router that escalates every third step; lengths vary by problem."""
    lengths = [5 + (7 * problem + 3 * k) % 11 for k in range(4 + problem % 5)]
    routed = [
        Step(length, "target", rejected=length - 1) if (k + problem) % 3 == 0 else Step(length)
        for k, length in enumerate(lengths)
    ]
    name = f"p{problem}"
    return [
        solved("target-only", name, [Step(length, "target") for length in lengths], costs=costs),
        solved("draft-only", name, [Step(length) for length in lengths], costs=costs),
        solved("arbitrage-router (τ=0.5)", name, routed, "router", costs),
    ]


NAMES: Mapping[str, Mapping[str, object]] = {
    "target-only": {"name": "target-only"},
    "draft-only": {"name": "draft-only"},
    "arbitrage-router (τ=0.5)": {"name": "arbitrage-router", "threshold": 0.5},
}


def recorded(
    folder: Path,
    rows: Sequence[Row],
    models: Mapping[str, object] | None = None,
    cpu: str = "a",
    names: Mapping[str, Mapping[str, object]] = NAMES,
) -> Path:
    """The folder of a finished run of these rows."""
    manifest = {
        "schema": SCHEMA,
        "created": "2026-01-01T00:00:00+00:00",
        "identity": {"strategies": names, "repeats": 1, "seed": 0, "models": models or {}},
        "dataset": {"name": "made-up", "problems": len({row.problem_id for row in rows})},
        "rows": len(rows),
        "sessions": [{"warnings": [], "machine": {"cpu": cpu}}],
    }
    with open_run(folder, manifest, [row.key for row in rows], (), resume=False) as run:
        for row in rows:
            run.append(row)
    return folder
