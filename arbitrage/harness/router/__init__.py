"""A router for any pair of models: step pairs, training, evaluation, calibration (arXiv:2512.05033, section 5)."""

from __future__ import annotations

from arbitrage.harness.router.collect import Collection, collect_pairs
from arbitrage.harness.router.pairs import HistoryStep, PairsError, StepPair, read_pairs, split
from arbitrage.harness.router.rescore import Rescored, rescore_pairs

__all__ = [
    "Collection",
    "HistoryStep",
    "PairsError",
    "Rescored",
    "StepPair",
    "collect_pairs",
    "read_pairs",
    "rescore_pairs",
    "split",
]
