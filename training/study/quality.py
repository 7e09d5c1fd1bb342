"""How well scores rank steps by what an escalation gains, with intervals over problems."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

Floats = NDArray[np.float64]
RATES = (0.1, 0.2, 0.3, 0.5)
RESAMPLES = 300
MEASURES = ("spearman", "auc", *(f"captured@{rate}" for rate in RATES), "waste@0.3", "captured_outcome@0.2")


def measures(scores: Floats, advantage: Floats, outcome: Floats) -> Floats:
    """All of `MEASURES`; steps of equal score are escalated in equal shares.

    Args:
        scores: higher is escalated first, shape (pairs,).
        advantage: Δ, shape (pairs,).
        outcome: change of the final answer's rightness by an escalation, shape (pairs,).
    """
    ranks, label = rankdata(scores), advantage > 0
    positive = int(label.sum())
    negative = len(label) - positive
    auc = (ranks[label].sum() - positive * (positive + 1) / 2) / max(positive * negative, 1)
    with np.errstate(invalid="ignore"):
        spearman = np.corrcoef(ranks, rankdata(advantage))[0, 1]
    gain = np.maximum(advantage, 0)
    caught = [(escalated(scores, rate) @ gain) / max(gain.sum(), 1e-12) for rate in RATES]
    third = escalated(scores, 0.3)
    helped = (escalated(scores, 0.2) @ outcome) / max(outcome.sum(), 1e-12)
    return np.array([spearman, auc, *caught, (third @ ~label) / third.sum(), helped])


def escalated(scores: Floats, rate: float) -> Floats:
    """Share of each step that is escalated when the highest scores are, `rate` of all; shape (pairs,)."""
    room = rate * len(scores)
    threshold = np.sort(scores)[::-1][min(int(room), len(scores) - 1)]
    above, level = scores > threshold, scores == threshold
    out: Floats = above + level * (room - above.sum()) / level.sum()
    return out


def with_intervals(
    seeds: Sequence[Floats], advantage: Floats, outcome: Floats, problems: NDArray[np.int64]
) -> dict[str, tuple[float, float, float]]:
    """Value (mean over seeds) and 95 % bootstrap interval over problems of each measure."""
    value = np.mean([measures(s, advantage, outcome) for s in seeds], 0)
    rng = np.random.default_rng(0)
    rows = [np.flatnonzero(problems == p) for p in range(int(problems.max()) + 1)]
    drawn = []
    for _ in range(RESAMPLES):
        at = np.concatenate([rows[p] for p in rng.integers(0, len(rows), len(rows))])
        drawn.append(np.mean([measures(s[at], advantage[at], outcome[at]) for s in seeds], 0))
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    return {name: (float(v), float(a), float(b)) for name, v, a, b in zip(MEASURES, value, low, high, strict=True)}
