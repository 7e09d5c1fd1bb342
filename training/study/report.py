"""The study's tables, as Markdown for people and JSON for machines."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from arbitrage.harness import environment
from arbitrage.harness.statistics import Counts, Estimate, bootstrap_each, ratio
from training.study.candidates import CANDIDATES, labels
from training.study.features import Floats, Table
from training.study.quality import MEASURES, RATES, RESAMPLES

Quality = Mapping[str, Sequence[float | None]]
"""Value, lower and upper end of each measure."""
AT = (0.1, 0.2, 0.3)
NEARLY = 0.97
"""Share of target-only's accuracy at which policies are compared by their seconds."""


def decision_cost(name: str, cost: Mapping[str, float]) -> float:
    """Milliseconds that a decision adds at batch 1, by what has to be run for it."""
    own = cost["log-probs and entropies"] + cost["features"] + cost["head"]
    if name.startswith("oracle"):
        return float("nan")
    if name.startswith(("−draft", "random")):
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


def _columns(walked: Mapping[str, Any]) -> dict[str, Floats]:
    return {key: np.array([row[key] for row in walked["walked"]], dtype=np.float64) for key in walked["walked"][0]}


def routing(walked: Mapping[str, Any], cost: Mapping[str, float]) -> tuple[list[str], list[dict[str, object]]]:
    """Each policy between its own arms: at equal escalation rates, and where it solves nearly what the target does."""
    arms = {name: _columns(one) for name, one in walked.items()}
    policies = list(dict.fromkeys(one["policy"] for name, one in walked.items() if "@" in name))
    ends = [arms["draft only"], arms["target only"]]
    count = len(ends[0]["correct"])

    def read(policy: str, counts: Counts) -> Floats:
        """Solved shares, then seconds at `AT`, then seconds to `NEARLY`; shape (k, 2 · rates + 1)."""
        own = [one for name, one in arms.items() if "@" in name and walked[name]["policy"] == policy]
        points = []
        for one in [ends[0], *own, ends[1]]:
            rate = (counts @ one["escalated"]) / (counts @ one["steps"])
            points.append([rate, counts @ one["correct"] / count, counts @ seconds(policy, one, cost) / count])
        found = []
        for one in np.array(points).transpose(2, 1, 0):  # one weighting, shape (3, arms)
            rate, solved, spent = one[:, np.argsort(one[0])]
            nearly = np.interp(NEARLY * solved[-1], np.maximum.accumulate(solved), spent)
            found.append([*np.interp(AT, rate, solved), *np.interp(AT, rate, spent), nearly])
        return np.array(found)

    head = [*(f"solved @ {r}, %" for r in AT), *(f"difference @ {r}" for r in AT[:2])]
    head += ["ms @ 0.2", f"ms to {100 * NEARLY:.0f} % of the target", "in ms of the shipped"]
    lines = ["| policy | " + " | ".join(head) + " |", "|---|" + "--:|" * len(head)]
    facts: list[dict[str, object]] = []
    for policy in policies:

        def statistics(counts: Counts, policy: str = policy) -> Floats:
            ours, theirs = read(policy, counts), read("shipped arbitrage-router", counts)
            gained = 100 * (ours - theirs)[:, : len(AT)]
            return np.concatenate([ours, gained, (ours / theirs)[:, -1:]], 1)

        found = bootstrap_each(statistics, count, resamples=RESAMPLES)
        solved, spent, rest = found[: len(AT)], found[len(AT) : 2 * len(AT)], found[2 * len(AT) :]
        nearly, gained, share = rest[0], rest[1:-1], rest[-1]
        cells = [f"{100 * one.value:.1f}" for one in solved] + [one.shown("+.1f") for one in gained[:2]]
        cells += [f"{1000 * one.value:.1f}" for one in (spent[AT.index(0.2)], nearly)] + [share.shown(".2f")]
        lines.append(f"| {policy} | " + " | ".join(cells) + " |")
        values = {"solved": solved, "seconds": spent, "points_over_shipped": gained}
        facts.append(
            {"policy": policy, "seconds_to_nearly": _ends(nearly), "of_shipped": _ends(share)}
            | {key: {str(r): _ends(one) for r, one in zip(AT, many, strict=True)} for key, many in values.items()}
        )
    for name in ("draft only", "oracle (Δ > 0)", "target only"):
        one = arms[name]
        rate, right = one["escalated"].sum() / one["steps"].sum(), one["correct"].mean()
        spent_s = seconds("random", one, cost).mean()
        shown = "" if name.startswith("oracle") else f", {1000 * spent_s:.1f} ms"
        label = "always escalate" if name == "target only" else name
        lines.append(f"| {label}: {100 * right:.1f} % at rate {rate:.2f}{shown} |" + " |" * len(head))
        facts.append({"policy": name, "rate": rate, "solved": right})
    for name, one in walked.items():
        columns = arms[name]
        rate, right = columns["escalated"].sum() / columns["steps"].sum(), columns["correct"].mean()
        facts.append(
            {"arm": name, "rate": rate, "solved": right, "ms": 1000 * seconds(one["policy"], columns, cost).mean()}
        )
    return lines, facts


def _ends(one: Estimate) -> list[float | None]:
    return [one.value, one.low, one.high]


def clocked(clock: Mapping[str, Any]) -> list[str]:
    """Solved problems and processor time of each strategy, against target-only."""
    lines = ["| strategy | solved, % | escalated, % | ms a problem | × target-only |", "|---|--:|--:|--:|--:|"]
    plain = [one["ms"] for one in clock["target-only"]]
    for name, rows in clock.items():
        solved, escalated, ms = (np.mean([one[key] for one in rows]) for key in ("correct", "escalated", "ms"))
        faster = ratio(plain, [one["ms"] for one in rows], range(len(rows)))
        lines.append(f"| {name} | {100 * solved:.1f} | {100 * escalated:.0f} | {ms:.1f} | {faster.shown('.2f')} |")
    return lines


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


def _cell(found: Sequence[float | None], interval: bool) -> str:
    value, low, high = found
    return f"{value:.3f} [{low:.3f}, {high:.3f}]" if interval and low is not None else f"{value:.3f}"


def write(
    out: Path,
    arguments: Mapping[str, object],
    quality: Mapping[str, Quality],
    held_out: Table,
    training: Table,
    walked: Mapping[str, Any],
    own: Mapping[str, Any],
    cost: Mapping[str, float],
    clock: Mapping[str, Any],
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
        f"Routed for real: {replayed} problems; differences to the shipped router in points; ms from measured costs.",
        "",
        *routing_lines,
        "",
        "The library itself on some of them, everything in turn on each problem.",
        "",
        *clocked(clock),
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
        "command": "python -m training.study.run",
        "arguments": {key: value for key, value in arguments.items() if not isinstance(value, Path)},
        "sizes": sizes,
        "quality": quality,
        "routing": routing_facts,
        "signs": sign_facts,
        "own_prefixes": own,
        "cost_ms": cost,
        "clock": clock,
        **environment.surroundings(),
    }
    (out / "results.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print("\n".join(lines))
