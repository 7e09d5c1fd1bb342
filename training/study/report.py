"""The study's tables, as Markdown for people and JSON for machines."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from arbitrage.harness import environment
from training.study.candidates import CANDIDATES, labels
from training.study.features import Floats, Table
from training.study.quality import MEASURES, RATES

Quality = Mapping[str, tuple[float, float, float]]
_AT = (0.1, 0.2, 0.3)
_RESAMPLES = 1000


def decision_cost(name: str, cost: Mapping[str, float]) -> float:
    """Milliseconds that a decision adds at batch 1, by what has to be run for it."""
    own = cost["log-probs and entropies"] + cost["features"] + cost["head"]
    if name.startswith("oracle"):
        return float("nan")
    if name.startswith(("−draft confidence", "random")):
        return 0.0
    if name.startswith("−s_d"):
        return cost["prm"]
    groups = CANDIDATES[name].groups if name in CANDIDATES else ()
    ms = 0.0
    if name.startswith(("text", "shipped")) or "reader" in groups:
        ms += cost["router"]
    if "target" in groups:
        ms += cost["target pass over the step"] + own
    elif "draft" in groups or "+" in name:
        ms += own
    elif groups:
        ms += cost["head"]
    return ms


def seconds(name: str, walked: Mapping[str, Floats], cost: Mapping[str, float]) -> Floats:
    """Modelled seconds of each problem: writing, decisions, and a target pass at each escalation.

    A policy that looks at the target's log-probabilities has had that pass when it decides.
    """
    looks = "target" in (CANDIDATES[name].groups if name in CANDIDATES else ())
    ms = (
        walked["drafted"] * cost["draft token"]
        + walked["rewritten"] * cost["target token"]
        + walked["steps"] * decision_cost(name, cost)
        + walked["escalated"] * (0.0 if looks else cost["target pass over the step"])
    )
    out: Floats = ms / 1000
    return out


def curve(arms: Sequence[Mapping[str, Floats]], name: str, cost: Mapping[str, float], at: Floats) -> Floats:
    """Escalation rate, accuracy and seconds of each arm over the problems drawn, shape (arms, 3)."""
    rows = []
    for one in arms:
        rate = one["escalated"][at].sum() / one["steps"][at].sum()
        rows.append([rate, one["correct"][at].mean(), seconds(name, one, cost)[at].mean()])
    return np.array(sorted(rows))


def _columns(walked: Mapping[str, Any]) -> dict[str, Floats]:
    return {key: np.array([row[key] for row in walked["walked"]], dtype=np.float64) for key in walked["walked"][0]}


def routing(walked: Mapping[str, Any], cost: Mapping[str, float]) -> tuple[list[str], list[dict[str, object]]]:
    """Accuracy and modelled seconds of each policy at equal escalation rates, read off between its own arms."""
    arms = {name: _columns(one) for name, one in walked.items()}
    policies = list(dict.fromkeys(one["policy"] for name, one in walked.items() if "@" in name))
    ends = arms["draft only"], arms["target only"]
    count = len(ends[0]["correct"])
    rng = np.random.default_rng(0)
    draws = [np.arange(count), *rng.integers(0, count, (_RESAMPLES, count))]

    def values(policy: str, at: Floats) -> Floats:
        own = [one for name, one in arms.items() if "@" in name and walked[name]["policy"] == policy]
        points = curve([ends[0], *own, ends[1]], policy, cost, at)
        read = [np.interp(_AT, points[:, 0], points[:, k]) for k in (1, 2)]
        return np.concatenate(read)

    reference = np.array([values("shipped arbitrage-router", at) for at in draws])
    lines = [
        "| policy | " + " | ".join(f"solved @ {r}, %" for r in _AT) + " | difference @ 0.1 | @ 0.2 | seconds @ 0.2 |",
        "|---|" + "--:|" * (len(_AT) + 3),
    ]
    facts: list[dict[str, object]] = []
    for policy in policies:
        drawn = np.array([values(policy, at) for at in draws])
        gain = 100 * (drawn - reference)
        low, high = np.quantile(gain[1:], [0.025, 0.975], axis=0)
        shown = [f"{gain[0, k]:+.1f} [{low[k]:.1f}, {high[k]:.1f}]" for k in (0, 1)]
        solved = [f"{100 * v:.1f}" for v in drawn[0, : len(_AT)]]
        lines.append(f"| {policy} | " + " | ".join([*solved, *shown, f"{drawn[0, len(_AT) + 1]:.3f}"]) + " |")
        facts.append(
            {"policy": policy, "solved": dict(zip(map(str, _AT), drawn[0, : len(_AT)].tolist(), strict=True))}
            | {"points_over_shipped": {str(r): [gain[0, k], low[k], high[k]] for k, r in enumerate(_AT)}}
            | {"seconds": dict(zip(map(str, _AT), drawn[0, len(_AT) :].tolist(), strict=True))}
        )
    for name in ("draft only", "oracle (Δ > 0)", "target only"):
        one = arms[name]
        rate = one["escalated"].sum() / one["steps"].sum()
        lines.append(f"| {name} (rate {rate:.2f}) | {100 * one['correct'].mean():.1f} |" + " |" * (len(_AT) + 2))
        facts.append({"policy": name, "rate": rate, "solved": one["correct"].mean()})
    return lines, facts


def signs(table: Table) -> tuple[list[str], dict[str, object]]:
    """How often the PRM and the final answer agree on what an escalation does."""
    found: dict[str, object] = {}
    lines = ["| sign of Δ (PRM) | outcome falls | same | rises |", "|---|--:|--:|--:|"]
    prm = np.sign(table.advantage)
    for k, who in enumerate(("draft", "target")):
        outcome = np.sign(table.outcome_advantage(k))
        counts = [[int(((prm == a) & (outcome == b)).sum()) for b in (-1, 0, 1)] for a in (-1, 0, 1)]
        found[f"{who} goes on"] = counts
        for sign, row in zip("−0+", counts, strict=True):
            lines.append(f"| {sign}, the {who} goes on | " + " | ".join(map(str, row)) + " |")
    return lines, found


def table(quality: Mapping[str, Quality], cost: Mapping[str, float]) -> list[str]:
    """All candidates on the same held-out pairs."""
    heads = ["Spearman", "AUC", *(f"captured @ {r}" for r in RATES), "waste @ 0.3", "outcome captured @ 0.2"]
    lines = ["| router | ms a decision | " + " | ".join(heads) + " |", "|---|" + "--:|" * (len(heads) + 1)]
    for name, found in quality.items():
        ms = decision_cost(name, cost)
        cells = [_cell(found[measure], measure in ("spearman", "auc", "captured@0.2")) for measure in MEASURES]
        lines.append(f"| {name} | {'—' if np.isnan(ms) else f'{ms:.2f}'} | " + " | ".join(cells) + " |")
    return lines


def _cell(found: tuple[float, float, float], interval: bool) -> str:
    value, low, high = found
    return f"{value:.3f} [{low:.3f}, {high:.3f}]" if interval else f"{value:.3f}"


def write(
    out: Path,
    arguments: Mapping[str, object],
    quality: Mapping[str, Quality],
    held_out: Table,
    training: Table,
    walked: Mapping[str, Any],
    own: Mapping[str, Any],
    cost: Mapping[str, float],
) -> None:
    """table.md and results.json."""
    routing_lines, routing_facts = routing(walked, cost)
    sign_lines, sign_facts = signs(held_out)
    replayed = len(next(iter(walked.values()))["walked"])
    sizes = {
        name: {
            "problems": len(np.unique(one.problems)),
            "pairs": len(one.common),
            "positive": {key: float((value > 0).mean()) for key, value in labels(one).items()},
            "ties": float((one.advantage == 0).mean()),
        }
        for name, one in (("training", training), ("held out", held_out))
    }
    lines = [
        f"Held-out steps of {sizes['held out']['problems']} problems ({len(held_out.common)} step pairs), unbalanced.",
        "",
        *table(quality, cost),
        "",
        f"Routed for real: {replayed} problems, at equal escalation rates; differences to the shipped router, points.",
        "",
        *routing_lines,
        "",
        "What the PRM and the final answer say of an escalation, held-out step pairs.",
        "",
        *sign_lines,
        "",
        "Pairs on the router's own prefixes added (DAgger).",
        "",
        "| router, trained on, judged on | AUC | captured @ 0.2 |",
        "|---|--:|--:|",
        *(
            f"| {k} | {_cell(v['auc'], True)} | {_cell(v['captured@0.2'], True)} |".replace(" | ", ", ", 2)
            for k, v in own.items()
            if isinstance(v, dict)
        ),
    ]
    out.mkdir(parents=True, exist_ok=True)
    (out / "table.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    content = {
        "arguments": {key: str(value) if isinstance(value, Path) else value for key, value in arguments.items()},
        "sizes": sizes,
        "quality": quality,
        "routing": routing_facts,
        "signs": sign_facts,
        "own_prefixes": own,
        "cost_ms": cost,
        **environment.surroundings(),
    }
    (out / "results.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print("\n".join(lines))
