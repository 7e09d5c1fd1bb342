"""What the head's outputs on held-out steps are worth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arbitrage.backends.hf.readout import described
from arbitrage.harness.router.labels import Labelling
from arbitrage.harness.router.measures import ranking_report, router_report, thresholds


def scores_of(outputs: NDArray[np.float32], labelling: Labelling) -> list[float]:
    """Scores in [0, 1] as inference reads them; `outputs` has shape (steps, outputs of the head)."""
    readout = described(labelling.readout()).readout
    return [readout.score(row) for row in outputs]


def measure(outputs: NDArray[np.float32], labelling: Labelling, values: Sequence[float]) -> dict[str, float]:
    """The two measures that need no threshold; none where all steps are of one kind."""
    scores = scores_of(outputs, labelling)
    if len(set(scores)) < 2 or len({value > 0 for value in values}) < 2:
        return {}
    found: dict[str, Any] = dict(ranking_report(scores, values))
    return {name: float(found[name]) for name in ("spearman", "auc")}


def final_report(
    outputs: NDArray[np.float32], labelling: Labelling, values: Sequence[float]
) -> tuple[dict[str, Any], dict[str, float]]:
    """All measures, and the calibration table (escalation rate to threshold).

    Measures are left out where all held-out steps are of one kind; a table needs some steps, of any kind.
    """
    scores = scores_of(outputs, labelling)
    report = router_report(scores, values) if measure(outputs, labelling, values) else {}
    return dict(report), thresholds(scores, escalates_above=True)
