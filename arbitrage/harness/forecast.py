"""Latency and cost of recorded strategies in another setting, and how wrong the same predictor is about this one.

The trace says which model did how much; a setting says what that costs. Accuracy is not predicted: other models write
and route otherwise.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from arbitrage.errors import RunError
from arbitrage.harness import statistics
from arbitrage.harness.comparison import BASELINE, BOUNDS, Comparison, load_comparison
from arbitrage.harness.costs import WRITERS, Costs, components, fit_costs, work
from arbitrage.harness.replay import break_even_rate, solutions
from arbitrage.harness.results import problem_groups
from arbitrage.harness.rows import Row
from arbitrage.harness.statistics import Estimate

Place = tuple[int, str, str, int]
"""A row among several runs: index of its run folder, strategy label, problem id, repeat."""


_MOST = 2**53
"""Largest count that a float tells from the next one."""


@dataclass(frozen=True, slots=True)
class Traced:
    """A row, and where it stands among the others."""

    row: Row
    run: int
    """Index of its run folder."""
    part: int
    """Costs fitted on the other parts predict it in the check."""

    @property
    def place(self) -> Place:
        """Unique in the trace."""
        return (self.run, *self.row.key)


@dataclass(frozen=True, slots=True)
class Trace:
    """Rows by strategy, target-only first; failed rows and bounds are left out."""

    strategies: Mapping[str, tuple[Traced, ...]]
    split: str
    """What is left for the fit in the check, in words: other runs, or the other half of the problems."""
    weights: Mapping[str, float] = field(default_factory=dict)
    """Bytes of the weights by component, as far as the run tells."""

    @property
    def baseline(self) -> str:
        """Label of target-only."""
        return next(iter(self.strategies))

    @property
    def rows(self) -> list[Traced]:
        """All of them."""
        return [one for rows in self.strategies.values() for one in rows]

    @classmethod
    def read(cls, paths: Sequence[str | os.PathLike[str]]) -> Trace:
        """Read run folders. One is split into halves by problem; of several, each is a part.

        Raises:
            RunError: a folder holds no run, no rows of target-only, or no counts of forward passes; or the runs were
                made with other models or on other machines.
        """
        loaded = [(Path(path), load_comparison(path)) for path in paths]
        for folder, other in loaded[1:]:
            _check_alike(loaded[0], (folder, other))
        found: dict[str, list[Traced]] = {}
        for run, (folder, comparison) in enumerate(loaded):
            if comparison.baseline is None or not _usable(comparison.baseline.rows):
                raise RunError(
                    f"{folder} holds no solved rows of {BASELINE} with counts of forward passes, which the others are "
                    f"compared with; run it with `arbitrage bench --strategy {BASELINE},… --out FOLDER`"
                )
            places: dict[str, int] = {}
            for label, result in comparison.items():
                for row in _usable(result.rows) if result.name not in BOUNDS else ():
                    place = places.setdefault(row.problem_id, len(places))
                    found.setdefault(label, []).append(Traced(row, run, run if len(loaded) > 1 else place % 2))
        return cls(
            {label: tuple(rows) for label, rows in found.items()},
            "runs" if len(loaded) > 1 else "half of the problems",
            _weights(loaded[0][1]),
        )


def _usable(rows: Sequence[Row]) -> list[Row]:
    """Solved rows with counts that can be true; a folder from elsewhere may hold any number."""
    return [
        row
        for row in rows
        if not row.failed and row.latency_s > 0 and any(row.calls.values()) and row.time_s
        if all(0 <= count <= _MOST for count in _counts(row))
    ]


def _counts(row: Row) -> list[int]:
    return [row.prompt_tokens, *row.calls.values(), *row.forwarded_tokens.values()]


def _check_alike(first: tuple[Path, Comparison], other: tuple[Path, Comparison]) -> None:
    (folder, one), (another, two) = first, other
    if one.baseline is not None and two.baseline is not None and one.baseline.strategy != two.baseline.strategy:
        raise RunError(f"{folder} and {another} call target-only differently; plan from one of them at a time")
    for what, told in (("models", _models), ("machines", _machine)):
        if told(one) != told(two):
            raise RunError(f"{folder} and {another} were made with different {what}; plan from one of them at a time")


def _models(comparison: Comparison) -> Any:
    return comparison.manifest.get("identity", {}).get("models")


def _machine(comparison: Comparison) -> Any:
    machine = (comparison.manifest.get("sessions") or [{}])[-1].get("machine", {})
    return [machine.get(key) for key in ("cpu", "available_cores", "accelerators", "threads")]


def _weights(comparison: Comparison) -> dict[str, float]:
    """Bytes of each model: those of its file, or parameters in an unquantised format."""
    bits = {"float32": 32, "bfloat16": 16, "float16": 16}
    models = comparison.manifest.get("identity", {}).get("models")
    found = {}
    for name, told in (models if isinstance(models, dict) else {}).items():
        if not isinstance(told, dict):
            continue
        size, parameters, dtype = told.get("bytes"), told.get("parameters"), told.get("dtype")
        if size is None and told.get("backend") == "hf" and isinstance(parameters, int) and dtype in bits:
            size = parameters * bits[dtype] / 8
        if isinstance(size, int | float) and size > 0:
            found[name] = float(size)
    return found


@dataclass(frozen=True, slots=True)
class Checked:
    """One strategy as it was measured, and as costs from other problems predict it."""

    strategy: str
    rows: int
    measured_s: float
    """Mean latency."""
    predicted_s: float
    measured_speed_up: float | None
    """Target-only's mean latency over this one's, on the problems that both solved; None for target-only itself."""
    predicted_speed_up: float | None
    errors: tuple[float, ...]
    """Of the predicted mean latency, as a share of the measured one: of each part by itself, since costs that are too
    high for one part are too low for another."""
    speed_up_errors: tuple[float, ...]
    """Of the predicted speed-up, likewise."""

    @property
    def error(self) -> float:
        """The largest of the parts'."""
        return max(self.errors, key=abs)

    @property
    def speed_up_error(self) -> float | None:
        """The largest of the parts'; None without a speed-up."""
        return max(self.speed_up_errors, key=abs, default=None)


def check(trace: Trace) -> list[Checked]:
    """Predict every row from costs that were fitted without its part of the trace.

    Raises:
        RunError: there are too few problems to leave some out.
    """
    predicted: dict[Place, float] = {}
    for part in sorted({one.part for one in trace.rows}):
        costs = fit_costs(one.row for one in trace.rows if one.part != part)
        for one in trace.rows:
            if one.part == part:
                unknown = set(components(one.row)) - costs.models.keys()
                if unknown:
                    raise RunError(
                        f"too few problems for a check: the other {trace.split} do not tell what "
                        f"{', '.join(sorted(unknown))} costs; record more problems (20 or more)"
                    )
                predicted[one.place] = costs.seconds(one.row)
    measured = {one.place: one.row.latency_s for one in trace.rows}
    return [_checked(trace, label, measured, predicted) for label in trace.strategies]


def _checked(trace: Trace, label: str, measured: Mapping[Place, float], predicted: Mapping[Place, float]) -> Checked:
    rows, errors, speed_up_errors = trace.strategies[label], [], []
    for part in sorted({one.part for one in rows}):
        some = [one for one in rows if one.part == part]
        errors.append(_mean(predicted, some) / _mean(measured, some) - 1)
        before, after = (_speed_up(trace, label, seconds, part) for seconds in (measured, predicted))
        if before and after:
            speed_up_errors.append(after.value / before.value - 1)
    before, after = (_speed_up(trace, label, seconds) for seconds in (measured, predicted))
    return Checked(
        strategy=label,
        rows=len(rows),
        measured_s=_mean(measured, rows),
        predicted_s=_mean(predicted, rows),
        measured_speed_up=None if before is None else before.value,
        predicted_speed_up=None if after is None else after.value,
        errors=tuple(errors),
        speed_up_errors=tuple(speed_up_errors),
    )


@dataclass(frozen=True, slots=True)
class SizeCheck:
    """The target's pass on the recorded machine, if the draft's told how fast weights are read."""

    measured_s: float
    predicted_s: float
    """The draft's, times the target's bytes over the draft's."""

    @property
    def error(self) -> float:
        """As a share of the measured one."""
        return self.predicted_s / self.measured_s - 1


def size_check(trace: Trace, measured: Costs) -> SizeCheck | None:
    """How well sizes alone explain the two models here; None where a size or a cost is not known."""
    draft, target = (measured.models.get(name) for name in WRITERS)
    sizes = [trace.weights.get(name) for name in WRITERS]
    if not (draft and target and draft.pass_s and target.pass_s and sizes[0] and sizes[1]):
        return None
    return SizeCheck(target.pass_s, draft.pass_s * sizes[1] / sizes[0])


def _mean(seconds: Mapping[Place, float], rows: Sequence[Traced]) -> float:
    return sum(seconds[one.place] for one in rows) / len(rows)


def _speed_up(trace: Trace, label: str, seconds: Mapping[Place, float], part: int | None = None) -> Estimate | None:
    """Target-only's seconds over the strategy's, on the problems that both solved; of one part, or of all."""
    if label == trace.baseline:
        return None
    others = {(one.run, one.row.problem_id, one.row.repeat): one for one in trace.strategies[trace.baseline]}
    pairs = [
        (one.row, seconds[one.place], seconds[other.place])
        for one in trace.strategies[label]
        if part in (None, one.part) and (other := others.get((one.run, one.row.problem_id, one.row.repeat))) is not None
    ]
    if not pairs or not all(ours > 0 and theirs > 0 for _, ours, theirs in pairs):
        return None
    rows, ours, theirs = zip(*pairs, strict=True)
    return statistics.ratio(theirs, ours, problem_groups(rows))


@dataclass(frozen=True, slots=True)
class Setting:
    """What a forecast is for."""

    costs: Costs
    gpus: Mapping[str, int] = field(default_factory=dict)
    """GPUs of each component; 0: it shares another one's."""
    price: float | None = None
    """Of one GPU for an hour, in any currency."""
    stretch: float = 1.0
    """Factor on the length of every step."""

    def held(self, used: Sequence[str]) -> int:
        """GPUs that a strategy with these components keeps busy or waiting; at least one."""
        return max(1, sum(self.gpus.get(component, 0) for component in used))


@dataclass(frozen=True, slots=True)
class Forecast:
    """One strategy in a setting."""

    strategy: str
    rows: int
    latency_s: float
    """Mean over the rows of the trace."""
    time_s: Mapping[str, float]
    """Mean seconds by component; what is left of the latency is overhead."""
    speed_up: Estimate | None
    """Target-only's mean latency over this one's; the interval is over problems, not over what is assumed."""
    gpus: int
    """GPUs held while a problem is solved."""
    cost_per_1000: float | None
    """Of 1000 problems one after the other, in the currency of the price; None without a price."""
    escalation_rate: float | None
    """In the trace; None for strategies that do not route steps."""
    break_even: float | None
    """Escalation rate below which routing takes less time than the target alone on the same texts; None when there is
    none, or no routing."""
    break_even_formula: float | None
    """The same by 1 - d/t - r/(L t); negative when routing cannot pay."""


def forecast(trace: Trace, setting: Setting) -> tuple[list[Forecast], dict[str, list[str]]]:
    """Every strategy of the trace in another setting.

    Returns:
        Forecasts of the strategies whose components all have a cost, and of the others the components that lack one.

    Raises:
        RunError: target-only cannot be predicted, because the target has no cost.
    """
    known, missing = setting.costs.models, {}
    for label in trace.strategies:
        if lacking := [name for name in _used(trace, label) if name not in known]:
            missing[label] = lacking
    if trace.baseline in missing:
        raise RunError(f"{trace.baseline} needs the target's cost: give --target or --target-ms")
    told = [label for label in trace.strategies if label not in missing]
    seconds = {
        one.place: setting.costs.seconds(one.row, setting.stretch) for label in told for one in trace.strategies[label]
    }
    return [_forecast(trace, label, setting, seconds) for label in told], missing


def _used(trace: Trace, label: str) -> list[str]:
    """Components that worked in any row of a strategy."""
    return sorted({name for one in trace.strategies[label] for name in components(one.row)})


def _forecast(trace: Trace, label: str, setting: Setting, seconds: Mapping[Place, float]) -> Forecast:
    rows, used = trace.strategies[label], _used(trace, label)
    latency, gpus = _mean(seconds, rows), setting.held(used)
    spent = {name: _component_s(rows, name, setting) for name in used}
    steps = [step for one in rows for step in one.row.steps]
    # A judge that never escalates still routes; draft-only, with the draft alone, does not.
    routing = len(used) > 1 and any(step.author == "draft" or step.escalated for step in steps)
    return Forecast(
        strategy=label,
        rows=len(rows),
        latency_s=latency,
        time_s={name: total / len(rows) for name, total in spent.items()},
        speed_up=_speed_up(trace, label, seconds),
        gpus=gpus,
        cost_per_1000=None if setting.price is None else 1000 * latency / 3600 * gpus * setting.price,
        escalation_rate=sum(step.escalated for step in steps) / len(steps) if routing else None,
        break_even=_break_even(trace, label, setting) if routing else None,
        break_even_formula=_formula(trace, label, setting, spent) if routing else None,
    )


def _component_s(rows: Sequence[Traced], name: str, setting: Setting) -> float:
    """Seconds of one component in all rows together."""
    return sum(setting.costs.models[name].seconds(work(one.row, name, setting.stretch)) for one in rows)


def _break_even(trace: Trace, label: str, setting: Setting) -> float | None:
    return break_even_rate(solutions([one.row for one in trace.strategies[label]], setting.stretch), setting.costs)


def _formula(trace: Trace, label: str, setting: Setting, spent: Mapping[str, float]) -> float | None:
    """As `Comparison.break_even`, with predicted seconds: d of this strategy's draft, t of target-only."""
    steps = [step for one in trace.strategies[label] for step in one.row.steps]
    drafted, committed = sum(step.draft_tokens for step in steps), sum(step.tokens for step in steps)
    base = trace.strategies[trace.baseline]
    written, alone = sum(one.row.tokens for one in base), _component_s(base, "target", setting)
    if not (drafted and committed and written and alone):
        return None
    scoring = sum(seconds for name, seconds in spent.items() if name not in WRITERS)
    return statistics.break_even_escalation(
        spent.get("draft", 0.0) / (drafted * setting.stretch),
        alone / (written * setting.stretch),
        scoring / len(steps),
        committed * setting.stretch / len(steps),
    )
