"""How well scores rank steps by what an escalation gains, with intervals over problems."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from arbitrage.harness.router.measures import Ranking
from arbitrage.harness.statistics import Counts, Estimate, Floats, bootstrap_each

RATES = (0.1, 0.2, 0.3, 0.5)
RESAMPLES = 400
MEASURES = ("spearman", "auc", *(f"captured@{rate}" for rate in RATES), "waste@0.3", "outcome captured@0.2")


def judge(
    seeds: Sequence[Floats], advantage: Floats, outcome: Floats, problems: NDArray[np.int64]
) -> dict[str, Estimate]:
    """All of `MEASURES`, each the mean over seeds, with 95 % bootstrap intervals over problems.

    Args:
        seeds: scores by each seed, each of shape (pairs,); higher is escalated first.
        advantage: Δ, shape (pairs,).
        outcome: change of the final answer's rightness by an escalation, shape (pairs,).
        problems: whose step it is, shape (pairs,), from 0 without gaps.
    """
    rankings = [(Ranking(s, advantage, problems), Ranking(s, outcome, problems)) for s in seeds]

    def statistics(counts: Counts) -> Floats:
        found = []
        for by_reward, by_answer in rankings:
            reading = by_reward.under(counts)
            columns = [reading.spearman()[:, None], reading.auc()[:, None], reading.captured(RATES)]
            columns += [reading.wasted((0.3,)), by_answer.under(counts).captured((0.2,))]
            found.append(np.concatenate(columns, 1))
        return np.asarray(np.mean(found, 0))

    estimates = bootstrap_each(statistics, int(problems.max()) + 1, resamples=RESAMPLES)
    return dict(zip(MEASURES, estimates, strict=True))
