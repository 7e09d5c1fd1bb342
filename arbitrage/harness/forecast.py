"""Latency and cost of recorded strategies in another setting, and how wrong the same predictor is about this one.

The trace says which model did how much; a setting says what that costs. Accuracy is not predicted: other models write
and route otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from arbitrage.errors import RunError
from arbitrage.harness import statistics
from arbitrage.harness.costs import WRITERS, Costs, components, fit_costs, work
from arbitrage.harness.replay import break_even_rate, solutions
from arbitrage.harness.statistics import Estimate
from arbitrage.harness.trace import Place, Trace, Traced, mean_seconds, speed_up


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
        errors.append(mean_seconds(predicted, some) / mean_seconds(measured, some) - 1)
        before, after = (speed_up(trace, label, seconds, part) for seconds in (measured, predicted))
        if before and after:
            speed_up_errors.append(after.value / before.value - 1)
    before, after = (speed_up(trace, label, seconds) for seconds in (measured, predicted))
    return Checked(
        strategy=label,
        rows=len(rows),
        measured_s=mean_seconds(measured, rows),
        predicted_s=mean_seconds(predicted, rows),
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
    latency, gpus = mean_seconds(seconds, rows), setting.held(used)
    spent = {name: _component_s(rows, name, setting) for name in used}
    steps = [step for one in rows for step in one.row.steps]
    # A judge that never escalates still routes; draft-only, with the draft alone, does not.
    routing = len(used) > 1 and any(step.author == "draft" or step.escalated for step in steps)
    return Forecast(
        strategy=label,
        rows=len(rows),
        latency_s=latency,
        time_s={name: total / len(rows) for name, total in spent.items()},
        speed_up=speed_up(trace, label, seconds),
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
    drafted, committed = sum(s.draft_tokens + s.ahead_tokens for s in steps), sum(s.tokens for s in steps)
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
