"""Several strategies on the same problems: paired differences against the baseline, and one folder for all of it.

Reads results; runs nothing. All intervals are 95 % and resample problems.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from arbitrage.errors import RunError
from arbitrage.harness import run_folder, statistics
from arbitrage.harness.results import BenchmarkResult, problem_groups
from arbitrage.harness.rows import Key, Row, StepScores, WarmUp
from arbitrage.harness.statistics import Estimate
from arbitrage.types import Problem

if TYPE_CHECKING:
    from rich.console import Group

    from arbitrage.harness.curves import Sweep

BASELINE = "target-only"
"""Registered name of the strategy that stands in every table."""
BOUNDS = frozenset({"arbitrage-oracle"})
"""Strategies that bound others and do the work of several: their latency is not a method's latency."""
DIFFERENT_TOKENIZERS = "different"
"""Value of `identity.tokenizers` in the manifest when draft and target exchange text instead of token ids."""


@dataclass(frozen=True, slots=True)
class Versus:
    """One strategy against the baseline, paired by problem and repeat."""

    problems: int
    """Problems that both have a row for."""
    accuracy_difference: Estimate
    """Ours minus the baseline's."""
    mcnemar_p: float
    """Exact two-sided p-value for equal accuracy."""
    speed_up: Estimate | None
    """Baseline's mean latency over ours; None when no problem was solved by both."""
    median_speed_up: Estimate | None
    """Baseline's median latency over ours."""
    geometric_speed_up: Estimate | None
    """Geometric mean of the problems' own speed-ups."""
    identical_share: float | None
    """Share of solutions that equal the baseline's token for token."""
    throughput_ratio: Estimate | None = None
    """Our problems per second over the baseline's, on those that both solved; None where all were solved one at a
    time, so that `speed_up` says it."""

    @classmethod
    def of(cls, ours: Iterable[Row], baseline: Iterable[Row]) -> Versus | None:
        """Pair the rows and compare; None when nothing can be paired."""
        others = {(row.problem_id, row.repeat): row for row in baseline}
        pairs = [(row, others[key]) for row in ours if (key := (row.problem_id, row.repeat)) in others]
        if not pairs:
            return None
        groups = problem_groups(row for row, _ in pairs)
        right = [float(row.correct) for row, _ in pairs]
        base_right = [float(other.correct) for _, other in pairs]
        timed = [(row, other) for row, other in pairs if not row.failed and not other.failed]
        return cls(
            problems=len(set(groups)),
            accuracy_difference=statistics.accuracy_difference(right, base_right, groups),
            mcnemar_p=statistics.mcnemar(right, base_right, groups),
            speed_up=_speed_up(timed, "mean"),
            median_speed_up=_speed_up(timed, "median"),
            geometric_speed_up=_speed_up(timed, "geometric"),
            identical_share=_identical(timed),
            throughput_ratio=_throughput_ratio(timed),
        )


@final
@dataclass(frozen=True, eq=False)
class Comparison(Mapping[str, BenchmarkResult]):
    """Results by strategy label, from one run; the baseline comes first."""

    results: Mapping[str, BenchmarkResult] = field(repr=False)
    manifest: Mapping[str, Any] = field(default_factory=dict, repr=False)
    complete: bool = True
    """Whether every row of the plan is there."""
    problems: Mapping[str, Problem] = field(default_factory=dict, repr=False)
    """What was solved, by id; empty when a folder of an early version does not tell."""
    scores: Mapping[Key, StepScores] = field(default_factory=dict, repr=False)
    """What a PRM and a router said after the run; in the rows already."""
    unscored: Mapping[Key, Row] = field(default_factory=dict, repr=False)
    """The rows that have scores, as they were without them."""

    @classmethod
    def of(cls, result: BenchmarkResult) -> Comparison:
        """One result and, if its run had one, the baseline."""
        found = [result] if result.baseline is None else [result.baseline, result]
        results = {one.strategy: one for one in found}
        identity = dict(result.manifest.get("identity", {}))  # type: ignore[call-overload]
        identity["strategies"] = {label: dict(one.description) for label, one in results.items()}
        rows = sum(len(one.rows) for one in found)
        return cls(results, {**result.manifest, "identity": identity, "rows": rows}, problems=result.problems)

    @classmethod
    def from_rows(
        cls,
        manifest: Mapping[str, Any],
        rows: Iterable[Row],
        warm_ups: Iterable[WarmUp] = (),
        complete: bool = True,
        problems: Mapping[str, Problem] | None = None,
    ) -> Comparison:
        """Sort rows by strategy.

        Args:
            manifest: its `identity.strategies` lists the strategies, baseline or not.
            rows: of all strategies.
            warm_ups: of all strategies.
            complete: whether the rows are all there.
            problems: what was solved, by id.
        """
        problems = problems or {}
        by_label: dict[str, list[Row]] = {label: [] for label in manifest["identity"]["strategies"]}
        for row in rows:
            by_label.setdefault(row.strategy, []).append(row)
        warmed = list(warm_ups)
        described: Mapping[str, Mapping[str, object]] = manifest["identity"]["strategies"]
        order = sorted(by_label, key=lambda label: described.get(label, {}).get("name") != BASELINE)
        baseline: BenchmarkResult | None = None
        results = {}
        for label in order:
            result = BenchmarkResult(
                strategy=label,
                rows=tuple(by_label[label]),
                description=described.get(label, {}),
                manifest=manifest,
                warm_ups=tuple(one for one in warmed if one.strategy == label),
                baseline=baseline,
                problems=problems,
            )
            if baseline is None and result.name == BASELINE:
                baseline = result
            results[label] = result
        return cls(results, manifest, complete, problems)

    def __getitem__(self, label: str) -> BenchmarkResult:
        return self.results[label]

    def __iter__(self) -> Iterator[str]:
        return iter(self.results)

    def __len__(self) -> int:
        return len(self.results)

    @property
    def concurrency(self) -> int:
        """How many problems were solved at once."""
        return max((result.concurrency for result in self.results.values()), default=1)

    @property
    def mixed_tokenizers(self) -> bool:
        """Whether draft and target have different tokenizers: steps are then re-encoded as text on commit."""
        identity: Mapping[str, object] = self.manifest.get("identity", {})
        return identity.get("tokenizers") == DIFFERENT_TOKENIZERS

    @property
    def baseline(self) -> BenchmarkResult | None:
        """The target-only result; None when the run had no target."""
        return next((result for result in self.results.values() if result.name == BASELINE), None)

    def versus(self, label: str) -> Versus | None:
        """The strategy against the baseline; None without a baseline, or when nothing can be paired."""
        baseline = self.baseline
        return None if baseline is None else Versus.of(self[label].rows, baseline.rows)

    def break_even(self, label: str) -> float | None:
        """Escalation rate below which this strategy beats target-only (algorithm notes, speed): 1 - d/t - r/(L t).

        d: draft seconds per drafted token, those written ahead in vain included, r: PRM and router seconds per step,
        L: tokens per step, all of this strategy; t: target seconds per token of target-only. None where one of them was
        not measured.
        """
        ours, baseline = self[label], self.baseline
        if baseline is None or not ours.step_routing:
            return None
        steps = [step for row in ours.rows for step in row.steps]
        drafted = sum(step.draft_tokens + step.ahead_tokens for step in steps)
        written = sum(row.tokens for row in baseline.rows)
        target_s, length = baseline.seconds("target"), ours.tokens_per_step
        if not (drafted and written and target_s and length):
            return None
        return statistics.break_even_escalation(
            ours.seconds("draft") / drafted,
            target_s / written,
            (ours.seconds("prm") + ours.seconds("router")) / len(steps),
            length,
        )

    @cached_property
    def sweep(self) -> Sweep:
        """The methods that were run at several rates, as curves; false where there are none."""
        from arbitrage.harness.curves import Sweep

        return Sweep(self)

    def summary(self) -> dict[str, object]:
        """Everything that the table shows and more, ready for JSON."""
        from arbitrage.harness.report import comparison_summary

        return comparison_summary(self)

    def table(self) -> Group:
        """The table for a terminal, definitions in its footer: print it with a `rich.console.Console`."""
        from arbitrage.harness.report import rich_table

        return rich_table(self)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write manifest, rows, summary, table and (with matplotlib) chart into a folder.

        Raises:
            RunError: the folder holds another run.
        """
        folder = Path(path)
        keys = [row.key for result in self.values() for row in result.rows]
        there = (folder / run_folder.MANIFEST).exists()
        manifest = {key: value for key, value in self.manifest.items() if key != "scored" or self.scores}
        with run_folder.open_run(folder, manifest, keys, self.problems.values(), resume=there) as run:
            stored = {row.key for row in run.rows()}
            warmed = run.warm_ups()
            for result in self.values():
                for row in result.rows:
                    if row.key not in stored:
                        run.append(self.unscored.get(row.key, row))
                for warm_up in result.warm_ups:
                    if warm_up not in warmed:
                        run.append_warm_up(warm_up)
            for key in self.scores.keys() - run.scores().keys():
                run.append_scores(self.scores[key])
        self.save_report(folder)
        return folder

    def save_report(self, folder: Path) -> None:
        """Write what is derived from the rows: summary, table, and the chart where matplotlib is installed."""
        from arbitrage.harness.report import save_report

        save_report(self, folder)


def load_comparison(path: str | os.PathLike[str]) -> Comparison:
    """Read a run folder back; of a run that was stopped, what there is.

    Raises:
        RunError: the folder holds no run, or is damaged.
    """
    folder = Path(path)
    manifest = run_folder.read_manifest(folder)
    strategies = manifest["identity"].get("strategies")
    planned = manifest.get("rows")
    if not isinstance(strategies, dict) or not isinstance(planned, int):
        raise RunError(f"{folder / run_folder.MANIFEST} lists no strategies or rows; it is not a manifest of a run")
    rows = run_folder.read_rows(folder)
    warm_ups, problems = run_folder.read_warm_ups(folder), run_folder.read_problems(folder)
    places = {problem: place for place, problem in enumerate(problems)}
    rows.sort(key=lambda row: (row.repeat, places.get(row.problem_id, 0)))  # of several at once, any may end first
    scores = run_folder.read_scores(folder)
    unscored = {row.key: row for row in rows if row.key in scores}
    shown = [scores[row.key].applied(row) if row.key in scores else row for row in rows]
    comparison = Comparison.from_rows(manifest, shown, warm_ups, len(rows) >= planned, problems)
    return replace(comparison, scores={key: scores[key] for key in unscored}, unscored=unscored)


def _speed_up(pairs: list[tuple[Row, Row]], of: statistics.Centre) -> Estimate | None:
    if not pairs or any(row.latency_s <= 0 for pair in pairs for row in pair):
        return None
    groups = problem_groups(row for row, _ in pairs)
    return statistics.ratio([base.latency_s for _, base in pairs], [row.latency_s for row, _ in pairs], groups, of=of)


def _throughput_ratio(pairs: list[tuple[Row, Row]]) -> Estimate | None:
    """Each problem weighs with what it took of the machine."""
    if all(row.share_s is None for pair in pairs for row in pair):
        return None
    if any(row.machine_s <= 0 for pair in pairs for row in pair):
        return None
    groups = problem_groups(row for row, _ in pairs)
    return statistics.ratio([base.machine_s for _, base in pairs], [row.machine_s for row, _ in pairs], groups)


def _identical(pairs: list[tuple[Row, Row]]) -> float | None:
    return sum(row.token_ids == other.token_ids for row, other in pairs) / len(pairs) if pairs else None
