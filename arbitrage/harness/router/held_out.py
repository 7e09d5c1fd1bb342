"""What the head's outputs on held-out steps are worth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arbitrage.backends.hf.readout import described
from arbitrage.harness.router.calibrate import threshold_table
from arbitrage.harness.router.labels import Labelling
from arbitrage.harness.router.measures import ranking_report, router_report


@dataclass(frozen=True, slots=True)
class RouterReport:
    """Held-out pairs of a router."""

    labelling: Labelling
    values: tuple[float, ...]
    """What each pair's label was made of: the gain of the target's step."""

    def measure(self, outputs: NDArray[np.float32]) -> dict[str, float]:
        """The two measures that need no threshold; none where all steps are of one kind."""
        scores = self._scores(outputs)
        if len(set(scores)) < 2 or len({value > 0 for value in self.values}) < 2:
            return {}
        found: dict[str, Any] = dict(ranking_report(scores, self.values))
        return {name: float(found[name]) for name in ("spearman", "auc")}

    def report(self, outputs: NDArray[np.float32]) -> tuple[dict[str, Any], dict[str, float]]:
        """All measures, and the calibration table (escalation rate to threshold).

        Measures are left out where all held-out steps are of one kind, and those of a probability where the score is
        none; a table needs some steps, of any kind.
        """
        scores = self._scores(outputs)
        report = {}
        if self.measure(outputs):
            binary = self.labelling.kind == "binary"
            report = router_report(scores, self.values) if binary else ranking_report(scores, self.values)
        return dict(report), threshold_table(scores)

    def _scores(self, outputs: NDArray[np.float32]) -> list[float]:
        """Scores in [0, 1] as inference reads them; `outputs` has shape (steps, outputs of the head)."""
        readout = described(self.labelling.readout()).readout
        return [readout.score(row) for row in outputs]
