"""What the rows of one strategy amount to: accuracy, latency, acceptance, shares. Reads rows; measures nothing.

Every share is None, not 0, where its denominator is empty. The definitions are printed under every table
(`arbitrage.harness.report`).
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import final

import numpy as np

from arbitrage.harness.rows import Row, RowStatus, WarmUp
from arbitrage.harness.statistics import Estimate, mean_estimate, wilson
from arbitrage.types import Problem, StepRecord

__all__ = ["BenchmarkResult", "LatencySummary", "Row", "RowStatus", "Throughput", "WarmUp", "problem_groups"]

COMPONENTS = ("draft", "target", "prm", "router")


@dataclass(frozen=True, slots=True)
class LatencySummary:
    """Latency of the rows that were solved; error rows do not count. All None when there are none."""

    mean_s: float | None
    median_s: float | None
    p90_s: float | None
    tokens_per_s: float | None
    """Committed tokens of all rows over their summed latency."""

    @classmethod
    def of(cls, rows: Iterable[Row]) -> LatencySummary:
        """Summarise the latencies of `rows`."""
        solved = [row for row in rows if not row.failed]
        if not solved:
            return cls(None, None, None, None)
        seconds = np.array([row.latency_s for row in solved])
        tokens = sum(row.tokens for row in solved)
        return cls(
            float(seconds.mean()),
            float(np.median(seconds)),
            float(np.quantile(seconds, 0.9)),
            _share(tokens, float(seconds.sum())),
        )


@dataclass(frozen=True, slots=True)
class Throughput:
    """What was done a second while the machine worked on the rows of one strategy; error rows only take time."""

    problems_per_s: float
    """Solved problems, whether right or not."""
    tokens_per_s: float
    """Committed tokens."""
    busy_s: float
    """Seconds in which rows were in work: the sum of what each took of the machine."""
    in_work: float
    """How many rows were in work at a time, on average: fewer than asked for where a block of problems ends."""

    @classmethod
    def of(cls, rows: Iterable[Row]) -> Throughput | None:
        """Add up `rows`; None when they took no time."""
        listed = list(rows)
        busy = sum(row.machine_s for row in listed)
        if not busy:
            return None
        solved = [row for row in listed if not row.failed]
        tokens = sum(row.tokens for row in solved)
        return cls(len(solved) / busy, tokens / busy, busy, sum(row.latency_s for row in listed) / busy)


@final
@dataclass(frozen=True, slots=True)
class BenchmarkResult:
    """All rows of one strategy in one run."""

    strategy: str
    """Label of the strategy."""
    rows: tuple[Row, ...] = field(repr=False)
    """In the order of the plan: repeat by repeat, problem by problem."""
    description: Mapping[str, object] = field(default_factory=dict, repr=False)
    """Name and parameters of the strategy."""
    manifest: Mapping[str, object] = field(default_factory=dict, repr=False)
    """Facts of the run: seeds, versions, machine, models, data set."""
    warm_ups: tuple[WarmUp, ...] = field(default=(), repr=False)
    baseline: BenchmarkResult | None = field(default=None, repr=False)
    """The target-only result of the same run; None when there was no target."""
    problems: Mapping[str, Problem] = field(default_factory=dict, repr=False)
    """What was solved, by id."""

    @property
    def name(self) -> str:
        """Registered name of the strategy."""
        return str(self.description.get("name", self.strategy))

    @property
    def accuracy(self) -> float | None:
        """Share of problems solved, mean over repeats. Every status but `correct` counts as not solved."""
        by_problem = _by_problem(self.rows)
        return _mean([_mean([float(row.correct) for row in rows]) or 0.0 for rows in by_problem.values()])

    @property
    def accuracy_interval(self) -> Estimate | None:
        """Accuracy with Wilson's 95 % interval; the number of trials is the number of problems, not of rows."""
        accuracy = self.accuracy
        return None if accuracy is None else wilson(accuracy, len(_by_problem(self.rows)))

    @property
    def latency(self) -> LatencySummary:
        """Latency of the solved rows."""
        return LatencySummary.of(self.rows)

    @property
    def latency_interval(self) -> Estimate | None:
        """Mean latency in seconds with its 95 % bootstrap interval over problems."""
        solved = [row for row in self.rows if not row.failed]
        return mean_estimate([row.latency_s for row in solved], problem_groups(solved)) if solved else None

    @property
    def concurrency(self) -> int:
        """How many problems were solved at once."""
        identity = self.manifest.get("identity")
        found = identity.get("concurrency", 1) if isinstance(identity, Mapping) else 1
        return found if isinstance(found, int) else 1

    @property
    def throughput(self) -> Throughput | None:
        """What was done a second, however many problems were solved at once; None without rows."""
        return Throughput.of(self.rows)

    @property
    def statuses(self) -> Mapping[RowStatus, int]:
        """How many rows ended how."""
        return Counter(row.status for row in self.rows)

    @property
    def step_routing(self) -> bool:
        """Whether the draft proposed whole steps (else acceptance is about tokens, or there is none)."""
        return any(step.author == "draft" or step.escalated for step in self._steps())

    @property
    def acceptance_rate(self) -> float | None:
        """Accepted steps over steps; for token-level methods accepted draft tokens over drafted tokens."""
        if not self.step_routing:
            return self.draft_token_acceptance
        return _ratio(self._steps(), lambda step: step.author == "draft", lambda step: 1)

    @property
    def token_acceptance_rate(self) -> float | None:
        """Committed tokens written by the draft over committed tokens; token-level methods as `acceptance_rate`."""
        if not self.step_routing:
            return self.draft_token_acceptance
        return _ratio(self._steps(), lambda step: step.tokens * (step.author == "draft"), lambda step: step.tokens)

    @property
    def draft_token_acceptance(self) -> float | None:
        """Token-level speculation only: proposed tokens that were kept over proposed tokens."""
        return _ratio(self._steps(), lambda step: step.drafted_accepted, lambda step: step.drafted)

    @property
    def mean_acceptance_length(self) -> float | None:
        """Token-level speculation only: 1 + accepted / drafts, the bonus token counts."""
        per_draft = _ratio(self._steps(), lambda step: step.drafted_accepted, lambda step: step.drafts)
        return None if per_draft is None else 1 + per_draft

    @property
    def escalation_rate(self) -> float | None:
        """Escalated steps over steps; None for strategies that do not route steps."""
        return _ratio(self._steps(), lambda step: step.escalated, lambda step: 1) if self.step_routing else None

    @property
    def target_share(self) -> float | None:
        """Share of committed steps written by the target."""
        return _ratio(self._steps(), lambda step: step.author == "target", lambda step: 1)

    @property
    def target_token_share(self) -> float | None:
        """Share of committed tokens written by the target."""
        return _ratio(self._steps(), lambda step: step.tokens * (step.author == "target"), lambda step: step.tokens)

    @property
    def wasted_share(self) -> float | None:
        """Share of escalated steps, both rewards known, in which the target's reward was no better than the draft's."""
        return _ratio(
            (step for step in self._steps() if step.escalated), lambda step: _advantage(step) <= 0, _has_both_rewards
        )

    @property
    def confirmed_share(self) -> float | None:
        """Share of escalated steps that a greedy target wrote again token for token: waste, proven without rewards."""
        return _ratio((step for step in self._steps() if step.escalated), lambda step: step.confirmed, lambda step: 1)

    @property
    def truncated_share(self) -> float | None:
        """Share of solutions cut by the token or step budget; above a few percent the accuracy is about the budget."""
        solved = [row for row in self.rows if not row.failed]
        return _share(sum(row.truncated for row in solved), len(solved))

    @property
    def time_shares(self) -> Mapping[str, float]:
        """Share of the latency spent inside each component's forward passes; components never called are left out."""
        solved = [row for row in self.rows if not row.failed]
        total = sum(row.latency_s for row in solved)
        names = sorted({name for row in solved for name in row.time_s}, key=_component_order)
        shares = {name: _share(sum(row.time_s.get(name, 0.0) for row in solved), total) for name in names}
        return {name: share for name, share in shares.items() if share}

    @property
    def overhead_share(self) -> float | None:
        """1 - model seconds / latency; negative only where components ran at the same time."""
        return 1 - sum(self.time_shares.values()) if self.latency.mean_s else None

    @property
    def read_per_kept(self) -> Mapping[str, float]:
        """Tokens that each model read / tokens of its final stream: 1 where nothing was taken back."""
        read, dropped = self._counted("forwarded_tokens"), self._counted("dropped_tokens")
        names = sorted((name for name in read if read[name] > dropped[name]), key=_component_order)
        return {name: read[name] / (read[name] - dropped[name]) for name in names}

    @property
    def repeated_tokens(self) -> Mapping[str, int]:
        """Tokens that each model read although it had read them at the same place before; a cache saves them all."""
        return dict(self._counted("repeated_tokens"))

    def _counted(self, name: str) -> Counter[str]:
        """A count by component, over all rows that tell what was taken back."""
        total: Counter[str] = Counter()
        for row in self.rows:
            if row.dropped_tokens:
                total.update(getattr(row, name))
        return total

    @property
    def tokens_per_step(self) -> float | None:
        """Mean length of a committed step."""
        return _ratio(self._steps(), lambda step: step.tokens, lambda step: 1)

    @property
    def dataset(self) -> Mapping[str, object]:
        """The manifest's facts about the data set."""
        found = self.manifest.get("dataset")
        return found if isinstance(found, Mapping) else {}

    @property
    def limited_to(self) -> int | None:
        """How many problems a limit left over; None when the whole data set was run."""
        limit = self.dataset.get("limited_to")
        return limit if isinstance(limit, int) else None

    def seconds(self, component: str) -> float:
        """Seconds inside one component's forward passes, all rows together."""
        return sum(row.time_s.get(component, 0.0) for row in self.rows)

    def summary(self) -> dict[str, object]:
        """Every number above, ready for JSON."""
        latency, throughput = self.latency, self.throughput if self.concurrency > 1 else None
        return {
            "strategy": self.strategy,
            "description": dict(self.description),
            "dataset": self.dataset.get("name"),
            "limited_to": self.limited_to,
            "problems": len(_by_problem(self.rows)),
            "rows": len(self.rows),
            "statuses": {str(status): count for status, count in sorted(self.statuses.items())},
            "end_reasons": dict(sorted(Counter(str(row.end_reason) for row in self.rows if row.end_reason).items())),
            "accuracy": self.accuracy,
            "accuracy_95": _ends(self.accuracy_interval),
            "accuracy_by_level": _accuracy_by(self.rows, "level"),
            "accuracy_by_subject": _accuracy_by(self.rows, "subject"),
            "latency_mean_s": latency.mean_s,
            "latency_mean_95_s": _ends(self.latency_interval),
            "latency_median_s": latency.median_s,
            "latency_p90_s": latency.p90_s,
            "tokens_per_s": latency.tokens_per_s,
            "concurrency": self.concurrency,
            "throughput": None if throughput is None else asdict(throughput),
            "tokens": sum(row.tokens for row in self.rows),
            "steps": sum(len(row.steps) for row in self.rows),
            "tokens_per_step": self.tokens_per_step,
            "acceptance_rate": self.acceptance_rate,
            "token_acceptance_rate": self.token_acceptance_rate,
            "draft_token_acceptance": self.draft_token_acceptance,
            "mean_acceptance_length": self.mean_acceptance_length,
            "escalation_rate": self.escalation_rate,
            "target_share": self.target_share,
            "target_token_share": self.target_token_share,
            "wasted_share": self.wasted_share,
            "confirmed_share": self.confirmed_share,
            "truncated_share": self.truncated_share,
            "time_shares": dict(self.time_shares),
            "overhead_share": self.overhead_share,
            "read_per_kept": dict(self.read_per_kept),
            "repeated_tokens": dict(self.repeated_tokens),
            "warm_up_s": [warm_up.latency_s for warm_up in self.warm_ups],
        }

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the run folder: manifest, rows, summary, table, and (with matplotlib) the chart; the baseline with it.

        Raises:
            RunError: the folder holds another run.
        """
        from arbitrage.harness.comparison import Comparison

        return Comparison.of(self).save(path)

    def _steps(self) -> Sequence[StepRecord]:
        return [step for row in self.rows for step in row.steps]


def problem_groups(rows: Iterable[Row]) -> list[int]:
    """Index of each row's problem, from 0 without gaps, in the order of first appearance."""
    indices: dict[str, int] = {}
    return [indices.setdefault(row.problem_id, len(indices)) for row in rows]


def _by_problem(rows: Iterable[Row]) -> dict[str, list[Row]]:
    grouped: dict[str, list[Row]] = {}
    for row in rows:
        grouped.setdefault(row.problem_id, []).append(row)
    return grouped


def _accuracy_by(rows: Iterable[Row], attribute: str) -> dict[str, dict[str, float]]:
    """Accuracy and number of rows for each value of `level` or `subject`; rows without one are left out."""
    groups: dict[str, list[float]] = {}
    for row in rows:
        value = getattr(row, attribute)
        if value is not None:
            groups.setdefault(str(value), []).append(float(row.correct))
    return {value: {"accuracy": sum(hits) / len(hits), "rows": len(hits)} for value, hits in sorted(groups.items())}


def _has_both_rewards(step: StepRecord) -> bool:
    return step.draft_reward is not None and step.target_reward is not None


def _advantage(step: StepRecord) -> float:
    """Target reward minus draft reward; infinite where one is unknown, so that such a step is never waste."""
    if step.draft_reward is None or step.target_reward is None:
        return float("inf")
    return step.target_reward - step.draft_reward


def _component_order(name: str) -> tuple[int, str]:
    return (COMPONENTS.index(name) if name in COMPONENTS else len(COMPONENTS), name)


def _ends(estimate: Estimate | None) -> list[float | None] | None:
    return None if estimate is None else [estimate.low, estimate.high]


def _mean(values: Sequence[float]) -> float | None:
    return _share(sum(values), len(values))


def _ratio(
    steps: Iterable[StepRecord], part: Callable[[StepRecord], float], whole: Callable[[StepRecord], float]
) -> float | None:
    listed = list(steps)
    return _share(sum(map(part, listed)), sum(map(whole, listed)))


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None
