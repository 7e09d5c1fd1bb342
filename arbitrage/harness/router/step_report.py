"""What a process reward model's scores of held-out steps are worth, held against how their solutions ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arbitrage.backends.hf.readout import TwoLabels
from arbitrage.harness.router.calibrate import threshold_table
from arbitrage.harness.router.measures import BINS, Ranking, auc, equally_filled
from arbitrage.harness.statistics import Floats, bootstrap

_LAST_POSITION = 5
"""Steps from here on are one line of the table."""
_RESAMPLES = 2000


@dataclass(frozen=True, slots=True)
class StepReport:
    """Held-out steps; every array has shape (steps,)."""

    labels: Floats
    """Chance of a right answer behind the step."""
    problems: NDArray[np.intp]
    """Index of the problem, from 0 without gaps."""
    positions: NDArray[np.intp]
    """Index of the step in its solution."""
    drafts: NDArray[np.bool_]
    """Whether the draft wrote it."""
    ends: NDArray[np.bool_]
    """Whether it is the last step of what is known of its solution."""

    def measure(self, outputs: NDArray[np.float32]) -> dict[str, float]:
        """The AUC; nothing where all steps are of one kind. `outputs` has shape (steps, 2)."""
        found = self._auc(scores_of(outputs), np.full(len(self.labels), True))
        return {} if found is None else {"auc": found}

    def report(self, outputs: NDArray[np.float32]) -> tuple[dict[str, Any], dict[str, float]]:
        """All measures, and the threshold below which the draft's steps escalate, by rate.

        AUC: chance that a step of a solution that ends well is scored above one of a solution that does not; with a
        95 % bootstrap interval over problems. Calibration error: distance of mean score and mean label, over ten bins.
        """
        scores = scores_of(outputs)
        of_drafts = scores[self.drafts] if self.drafts.any() else scores
        table = threshold_table(of_drafts, "prm")
        everything = np.full(len(scores), True)
        parts = {"auc_last_step": self.ends, "auc_draft": self.drafts, "auc_target": ~self.drafts}
        parts = {name: part for name, part in parts.items() if not part.all()}
        found = {name: self._auc(scores, part) for name, part in {"auc": everything, **parts}.items()}
        told: dict[str, Any] = {name: value for name, value in found.items() if value is not None}
        if "auc" in told:
            ranking = Ranking(scores, self.labels - 0.5, self.problems)
            interval = bootstrap(lambda counts: ranking.under(counts).auc(), ranking.problems, resamples=_RESAMPLES)
            if interval.low is not None and interval.high is not None:
                told |= {"auc_low": round(interval.low, 4), "auc_high": round(interval.high, 4)}
        told["share_good"] = round(float(self.labels.mean()), 4)
        told["calibration_error"] = round(calibration_error(scores, self.labels), 4)
        told["brier"] = round(float(np.mean((scores - self.labels) ** 2)), 4)
        places = {
            f"{i}+" if i == _LAST_POSITION else str(i): self._auc(scores, self.positions.clip(max=_LAST_POSITION) == i)
            for i in range(_LAST_POSITION + 1)
        }
        told["auc_at_position"] = {place: value for place, value in places.items() if value is not None}
        return told, table

    def _auc(self, scores: Floats, part: NDArray[np.bool_]) -> float | None:
        good = self.labels[part] > 0.5
        return None if good.all() or not good.any() else round(auc(scores[part], good), 4)


def scores_of(outputs: NDArray[np.float32]) -> Floats:
    """Scores in [0, 1] as inference reads them; `outputs` has shape (steps, 2)."""
    readout = TwoLabels()
    return np.array([readout.score(row) for row in outputs])


def calibration_error(scores: Floats, labels: Floats) -> float:
    """Mean distance of mean score and mean label over bins with equally many steps; shapes (steps,)."""
    bins = equally_filled(scores, BINS)
    gaps = np.bincount(bins, weights=scores - labels)
    return float(np.abs(gaps).sum() / len(scores))
