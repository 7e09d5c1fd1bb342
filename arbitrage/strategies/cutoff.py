"""Where a scored strategy draws its line: a raw threshold, or the escalation rate that it should lead to."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import final

import numpy as np

from arbitrage.errors import CapabilityError
from arbitrage.interfaces import LanguageModel, StepScorer


def check_rate(rate: float) -> float:
    """`rate` itself, if it is a share.

    Raises:
        ValueError: it is not within [0, 1].
    """
    if not 0 <= rate <= 1:
        raise ValueError(f"rate is the share of steps to escalate and must be in [0, 1], not {rate}")
    return rate


@final
class Cutoff:
    """A threshold on a scorer's opinion, given directly or as an escalation rate by the scorer's calibration."""

    def __init__(self, threshold: float | None, rate: float | None, default: float) -> None:
        """Take either argument; `default` is the threshold when neither is given."""
        if threshold is not None and rate is not None:
            raise ValueError("give threshold= or rate=, not both")
        if threshold is not None and math.isnan(threshold):
            raise ValueError("threshold must be a number")
        self.threshold = default if threshold is None and rate is None else threshold
        self.rate = None if rate is None else check_rate(rate)

    def resolve(self, scorer: StepScorer | LanguageModel, never: float, always: float) -> float:
        """The threshold to use with `scorer`.

        Args:
            scorer: router, PRM or draft, whose calibration table turns a rate into a threshold, linearly between the
                table's rates. Beyond its first and last rate the line ends where nothing or everything is escalated:
                at a score of 0 or 1.
            never: threshold at which nothing is escalated (rate 0).
            always: threshold at which everything is escalated (rate 1).

        Raises:
            CapabilityError: a rate was given and the scorer was never calibrated.
        """
        if self.rate is None:
            assert self.threshold is not None
            return self.threshold
        if self.rate in (0.0, 1.0):
            return always if self.rate else never
        table: Mapping[float, float] = scorer.thresholds
        if not table:
            raise CapabilityError(
                f"{scorer.name!r} has no calibration table, so rate={self.rate:g} cannot be turned into a threshold; "
                "pass threshold= instead, or make one with: arbitrage router calibrate"
            )
        rates = sorted(table)
        thresholds = [table[rate] for rate in rates]
        least, most = min(0.0, *thresholds), max(1.0, *thresholds)
        ends = [float(np.clip(end, least, most)) for end in (never, always)]
        return float(np.interp(self.rate, [0.0, *rates, 1.0], [ends[0], *thresholds, ends[1]]))

    def describe(self) -> dict[str, object]:
        """Both numbers, for the manifest."""
        return {"threshold": self.threshold, "rate": self.rate}

    @property
    def label(self) -> str:
        """As tables show it."""
        return f"rate={self.rate:g}" if self.rate is not None else f"τ={self.threshold:g}"
