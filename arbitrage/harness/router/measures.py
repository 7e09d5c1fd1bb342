"""How good a scorer is, on held-out unbalanced steps (algorithms: evaluation of routers)."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
RATES = tuple(round(0.05 * k, 2) for k in range(1, 20))


def spearman(scores: Sequence[float], advantages: Sequence[float]) -> float:
    """Rank correlation."""
    return float(import_module("scipy.stats").spearmanr(scores, advantages).statistic)


def auc(scores: Sequence[float], labels: Sequence[bool]) -> float:
    """Chance that a positive is scored above a negative (ties count half)."""
    ranks, positive = import_module("scipy.stats").rankdata(scores), np.asarray(labels, dtype=bool)
    n = int(positive.sum())
    return float((ranks[positive].sum() - n * (n + 1) / 2) / (n * (len(positive) - n)))


def calibration_error(scores: Sequence[float], labels: Sequence[bool], bins: int = 10) -> float:
    """Expected calibration error over equally filled bins."""
    order = np.argsort(scores)
    score, label = np.asarray(scores)[order], np.asarray(labels, dtype=float)[order]
    parts = np.array_split(np.arange(len(score)), bins)
    return float(sum(len(p) * abs(score[p].mean() - label[p].mean()) for p in parts if len(p)) / len(score))


def captured(scores: Sequence[float], advantages: Sequence[float]) -> dict[str, float]:
    """Share of all positive advantage that is escalated, for each escalation rate, highest scores first."""
    gain = np.maximum(np.asarray(advantages, dtype=np.float64)[np.argsort(-np.asarray(scores), kind="stable")], 0)
    total = gain.sum()
    return {str(rate): round(float(gain[: round(rate * len(gain))].sum() / total), 4) for rate in RATES}


def wasted(scores: Sequence[float], advantages: Sequence[float], threshold: float) -> float:
    """Share of escalated steps in which the target is not better."""
    escalated = np.asarray(scores) > threshold
    return float((np.asarray(advantages)[escalated] <= 0).mean()) if escalated.any() else 0.0


def thresholds(scores: Sequence[float], escalates_above: bool) -> dict[str, float]:
    """Escalation rate to threshold: the quantile of held-out scores beyond which that share of steps lies."""
    array = np.asarray(scores)
    return {str(r): float(np.quantile(array, 1 - r if escalates_above else r)) for r in RATES}


def router_report(scores: Sequence[float], advantages: Sequence[float]) -> dict[str, object]:
    """All measures of one score that should rise with the advantage."""
    label = np.asarray(advantages) > 0
    high = np.asarray(scores) > 0.5
    return {
        "spearman": round(spearman(scores, advantages), 4),
        "auc": round(auc(scores, label.tolist()), 4),
        "accuracy_label_0": round(float((~high[~label]).mean()), 4),
        "accuracy_label_1": round(float(high[label].mean()), 4),
        "calibration_error": round(calibration_error(scores, label.tolist()), 4),
        "waste_at_0.5": round(wasted(scores, advantages, 0.5), 4),
        "captured_advantage": captured(scores, advantages),
    }


def ranking_report(scores: Sequence[float], advantages: Sequence[float]) -> dict[str, object]:
    """The measures that need no probability: for baselines such as -s_d and draft confidence."""
    label = np.asarray(advantages) > 0
    return {
        "spearman": round(spearman(scores, advantages), 4),
        "auc": round(auc(scores, label.tolist()), 4),
        "captured_advantage": captured(scores, advantages),
    }
