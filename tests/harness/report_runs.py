"""Runs for the tests of the page and of the figures, made of rows that nobody had to compute."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from arbitrage.harness.comparison import Comparison
from arbitrage.harness.rows import Row, RowStatus
from arbitrage.types import EndReason, Problem, StepRecord

STRATEGIES: Mapping[str, Mapping[str, object]] = {
    "target-only": {"name": "target-only"},
    "draft-only": {"name": "draft-only"},
    "token-sd": {"name": "token-sd"},
    "random-route (rate=0.3)": {"name": "random-route", "rate": 0.3},
    "rsd (τ=0.7)": {"name": "rsd", "threshold": 0.7},
    "arbitrage-oracle": {"name": "arbitrage-oracle", "threshold": 0.0},
    "arbitrage-router (τ=0.5)": {"name": "arbitrage-router", "threshold": 0.5},
}
WORDS = (
    *("hence", "the", "sum", "of", "all", "such", "integers", "is", "therefore", "$x^2+3x$", "and", "we", "find"),
    *("that", "\\(\\frac{1}{2}\\)", "times", "equals", "divided", "by", "remainder", "gives", "prime", "factor", "a"),
)


def problem(index: int, text: str = "Find all roots of $x^2+x-30=0$.", **fields: Any) -> Problem:
    """A problem with a level and a subject."""
    settings = {"answers": ("\\frac{1}{2}",), "level": index % 5 + 1, "subject": ("algebra", "geometry")[index % 2]}
    return Problem(f"p{index}", text, **(settings | fields))


def row(strategy: str, of: Problem, steps: Sequence[StepRecord], **fields: Any) -> Row:
    """A row whose numbers fit its steps."""
    components = sorted({name for step in steps for name in step.time_s})
    settings: dict[str, Any] = {
        "repeat": 0,
        "status": RowStatus.CORRECT,
        "reference": of.answer,
        "started_at": "2026-01-01T00:00:00+00:00",
        "latency_s": sum(step.latency_s for step in steps) + 0.01,
        "answer": of.answer,
        "method": "string",
        "reason": "the same text",
        "token_ids": tuple(range(sum(step.tokens for step in steps))),
        "steps": tuple(steps),
        "end_reason": EndReason.EOS,
        "time_s": {name: sum(step.time_s.get(name, 0.0) for step in steps) for name in components},
        "level": of.level,
        "subject": of.subject,
    }
    return Row(strategy=strategy, problem_id=of.id, **(settings | fields))


def comparison(
    rows: Sequence[Row],
    problems: Sequence[Problem],
    strategies: Mapping[str, Mapping[str, object]] = STRATEGIES,
    **manifest: Any,
) -> Comparison:
    """The rows as a finished run."""
    told = {
        "schema": 2,
        "created": "2026-01-01T00:00:00+00:00",
        "identity": {"strategies": strategies, "repeats": 1, "seed": 0},
        "dataset": {"name": "synthetic", "problems": len(problems)},
        "rows": len(rows),
        "sessions": [{"warnings": []}],
    }
    return Comparison.from_rows(told | manifest, rows, problems={one.id: one for one in problems})


def run(problems: int, steps: int = 6, characters: int = 60, seed: int = 0) -> Comparison:
    """All strategies on synthetic problems: every kind of step, some wrong, some cut, some with errors."""
    rng = random.Random(seed)
    asked = [problem(index) for index in range(problems)]
    rows = [_solved(rng, label, one, steps, characters) for one in asked for label in STRATEGIES]
    return comparison(rows, asked)


def _solved(rng: random.Random, label: str, of: Problem, steps: int, characters: int) -> Row:
    name = STRATEGIES[label]["name"]
    if rng.random() < 0.02:
        return row(
            label, of, [], status=RowStatus.ERROR, end_reason=None, answer=None, error="Traceback: out of memory"
        )
    right = rng.random() < (0.5 if name in ("draft-only", "random-route") else 0.85)
    fields: dict[str, Any] = {} if right else {"status": RowStatus.INCORRECT, "answer": "\\frac{1}{3}"}
    if not right and rng.random() < 0.2:
        fields["end_reason"] = EndReason.MAX_TOKENS
    made = [_step(rng, str(name), index, _text(rng, characters), characters) for index in range(steps)]
    return row(label, of, made, **fields)


def _step(rng: random.Random, name: str, index: int, text: str, characters: int) -> StepRecord:
    length = max(1, characters // 4)
    if name in ("target-only", "token-sd"):
        return StepRecord(
            index, text, "target", length, target_tokens=length, latency_s=1.05, time_s={"target": 1.0},
            **({"drafted": 9, "drafted_accepted": 7, "drafts": 2} if name == "token-sd" else {}),
        )  # fmt: skip
    if name == "draft-only":
        return StepRecord(index, text, "draft", length, draft_tokens=length, latency_s=0.21, time_s={"draft": 0.2})
    score, reward = rng.random(), rng.random()
    escalated = rng.random() < 0.3
    both = escalated or name == "arbitrage-oracle"
    return StepRecord(
        index, text, "target" if escalated else "draft", length,
        draft_tokens=length, target_tokens=length * both, score=score,
        draft_reward=reward, target_reward=min(1.0, reward + rng.uniform(-0.2, 0.4)) if both else None,
        router_score=score if name == "arbitrage-router" else None,
        rejected_text=_text(rng, characters) if escalated else None,
        unused_target_text=_text(rng, characters) if both and not escalated else None,
        latency_s=1.3 if both else 0.3,
        time_s={"draft": 0.2, "prm": 0.05} | ({"target": 1.0} if both else {}),
    )  # fmt: skip


def _text(rng: random.Random, characters: int) -> str:
    words: list[str] = []
    while sum(map(len, words)) + len(words) < characters:
        words.append(rng.choice(WORDS) if rng.random() < 0.8 else str(rng.randrange(10**4)))
    return " ".join(words)[:characters]


def hostile(payload: str) -> Comparison:
    """A run with `payload` in every field of text that a page or a figure shows."""
    label, bound = f"rsd {payload}", f"oracle {payload}"
    strategies: dict[str, dict[str, object]] = {
        "target-only": {"name": "target-only"},
        label: {"name": f"rsd {payload}", "threshold": 0.7, "note": payload},
        bound: {"name": "arbitrage-oracle"},
    }
    problems = [
        Problem(f"{index} {payload}", payload, (payload, f"${payload}$"), level=index + 1, subject=f"{index}{payload}")
        for index in range(2)
    ]
    texts: list[dict[str, Any]] = [
        {"author": "draft", "unused_target_text": payload},
        {"author": "target", "rejected_text": f"$${payload}$$"},
        {"author": "draft", "unused_target_text": f"\\[{payload}\\] \\boxed{{{payload}}} \\({payload}\\) ${payload}$"},
    ]
    steps = [
        StepRecord(
            index, payload, tokens=10, latency_s=0.2, time_s={"draft": 0.1, payload[:50]: 0.05},
            draft_reward=0.4, target_reward=0.3, router_score=0.5, score=0.5, **fields,
        )
        for index, fields in enumerate(texts)
    ]  # fmt: skip
    told: dict[str, Any] = {"answer": payload, "method": payload, "reason": payload, "reference": payload}
    rows = [row(one, asked, steps, **told) for asked in problems for one in strategies]
    failed = row(label, problems[0], [], **told, repeat=1, status=RowStatus.ERROR, end_reason=None, error=payload)
    unsteady = row(label, problems[1], [], **told, repeat=1, status=RowStatus.UNPARSED, text=payload)
    machine = {"cpu": payload, "platform": payload, "python": payload, "accelerators": [payload, {"name": payload}]}
    identity = {
        "strategies": strategies,
        "repeats": 2,
        "grader": payload,
        "models": {payload: {"backend": payload, "source": payload, "dtype": payload}},
        "versions": {payload: payload},
        "settings": {"max_tokens": payload, "sampling": {"temperature": payload}},
    }
    return comparison(
        [*rows, failed, unsteady],
        problems,
        strategies,
        created=payload,
        identity=identity,
        dataset={"name": payload, "limited_to": payload, "available": payload},
        sessions=[{"warnings": [payload], "machine": machine, "commit": {"commit": payload}}],
    )
