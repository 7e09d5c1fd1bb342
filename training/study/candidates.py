"""The routers that look at numbers: what they see, what they learn from, and their scores on other pairs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from arbitrage.backends.bundled import bundled_path
from arbitrage.backends.hf.likelihood import AdvantageHead, Reading, readout
from training.study import heads
from training.study.features import Floats, Table
from training.study.heads import Recipe

Scorer = Callable[[Table], Floats]
"""Scores of all pairs of a table; higher is escalated first."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A head on some columns."""

    groups: tuple[str, ...]
    """Which columns; see `columns`. "tokens": a head on each token of the step instead."""
    label: str = "advantage"
    """What it learns the sign of; see `labels`."""
    recipe: Recipe = heads.SMALL

    def fit(self, table: Table, seed: int) -> Scorer:
        """The scorer learnt from these pairs."""
        label = labels(table)[self.label] > 0
        if self.groups == ("tokens",):
            tokens = heads.fit_tokens(per_token(table), table.lengths, label, self.recipe, seed)
            return lambda other: tokens.scores(per_token(other), other.lengths)
        head = heads.fit(columns(table, self.groups), label, self.recipe, seed)
        return lambda other: head.scores(columns(other, self.groups))


def labels(table: Table) -> Mapping[str, Floats]:
    """What an escalation gains, each of shape (pairs,)."""
    return {
        "advantage": table.advantage,
        "expected": table.expected_advantage,
        "outcome, draft goes on": table.outcome_advantage(0),
        "outcome, target goes on": table.outcome_advantage(1),
    }


def columns(table: Table, groups: tuple[str, ...]) -> Floats:
    """The columns of these groups side by side, shape (pairs, features)."""
    flat = {
        "common": table.common,
        "draft": table.draft,
        "target": table.target,
        "reader": table.reader,
        "states": table.states.reshape(len(table.states), -1),
    } | {
        f"{layer} {pool}": table.states[:, at, of]
        for at, layer in enumerate(("middle", "upper"))
        for of, pool in enumerate(("last", "mean", "after"))
    }
    return np.concatenate([flat[group].astype(np.float64) for group in groups], 1)


def per_token(table: Table) -> NDArray[np.float32]:
    """The draft's state, log-probability and entropy at each token, shape (tokens, hidden + 2)."""
    return np.concatenate([table.token_states.astype(np.float32), table.token_looks], 1)


PROBE = heads.WIDE
TOKENS = Recipe(units=16, steps=150, learning_rate=1e-2, weight_decay=0.1)

CANDIDATES = {
    "draft's log-probs and entropies": Candidate(("common", "draft"), recipe=heads.LINEAR),
    "draft's log-probs, 16 units": Candidate(("common", "draft")),
    "draft's state, step mean": Candidate(("upper mean",), recipe=PROBE),
    "draft's state, before last token": Candidate(("upper last",), recipe=PROBE),
    "draft's state, after last token": Candidate(("upper after",), recipe=PROBE),
    "draft's states, both layers, all": Candidate(("states",), recipe=PROBE),
    "draft's states + log-probs": Candidate(("common", "draft", "states"), recipe=PROBE),
    "draft's state at each token": Candidate(("tokens",), recipe=TOKENS),
    "reader (as shipped, fitted here)": Candidate(("reader",)),
    "reader + draft's log-probs": Candidate(("reader", "draft")),
    "target's log-probs": Candidate(("common", "target")),
    "target's + draft's log-probs": Candidate(("common", "target", "draft")),
    "target's log-probs + reader": Candidate(("target", "reader")),
    "draft's log-probs; label m=4": Candidate(("common", "draft"), "expected", heads.LINEAR),
    "reader; label m=4": Candidate(("reader",), "expected"),
    "target's log-probs; label m=4": Candidate(("common", "target"), "expected"),
    "draft's log-probs; outcome, draft goes on": Candidate(("common", "draft"), "outcome, draft goes on", heads.LINEAR),
    "reader; outcome, draft goes on": Candidate(("reader",), "outcome, draft goes on"),
    "target's log-probs; outcome, draft goes on": Candidate(("common", "target"), "outcome, draft goes on"),
    "draft's log-probs; outcome, target goes on": Candidate(
        ("common", "draft"), "outcome, target goes on", heads.LINEAR
    ),
    "reader; outcome, target goes on": Candidate(("reader",), "outcome, target goes on"),
    "target's log-probs; outcome, target goes on": Candidate(("common", "target"), "outcome, target goes on"),
}


def shipped_head() -> AdvantageHead:
    """The bundled router's head."""
    head = readout(json.loads((bundled_path("router") / "arbitrage.json").read_text())["likelihood"])
    assert isinstance(head, AdvantageHead)
    return head


def references(head: AdvantageHead) -> dict[str, Scorer]:
    """Scores that need no fitting; `head` is the shipped router's."""
    return {
        "shipped arbitrage-router": lambda t: np.array([head.score(Reading(*row)) for row in t.reader]),
        "−s_d (RSD)": lambda t: -t.rewards[:, 0],
        "−draft confidence (mean log-prob)": lambda t: -t.draft[:, 0],
        "−draft's lowest log-prob": lambda t: -t.draft[:, 1],
        "oracle (Δ itself)": lambda t: t.advantage,
    }
