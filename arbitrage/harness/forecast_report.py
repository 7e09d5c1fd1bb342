"""What `arbitrage plan` shows: the check, the forecast, and what has to be said under each. Predicts nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from arbitrage.harness.costs import Costs, ModelCost
from arbitrage.harness.forecast import Checked, Forecast, Setting, size_check
from arbitrage.harness.report import NONE, rich_lines
from arbitrage.harness.trace import Trace
from arbitrage.text import one_line

if TYPE_CHECKING:
    from rich.console import Group


_SAME_TIME = 1.01
"""Seconds in models over seconds of the row, from which they worked side by side and not one after the other."""


@dataclasses.dataclass(frozen=True, slots=True)
class Planned:
    """Everything that a plan says."""

    trace: Trace
    checked: Sequence[Checked]
    measured: Costs
    """Fitted on all rows of the trace."""
    setting: Setting
    forecasts: Sequence[Forecast]
    missing: Mapping[str, Sequence[str]]
    """Strategies without a forecast, and the components that have no cost."""
    assumed: Sequence[str] = ()
    """What the setting's costs assume; empty when they were measured."""
    elsewhere: bool = False
    """Whether the setting is another one than that of the trace."""

    def summary(self) -> dict[str, object]:
        """All numbers, ready for JSON."""
        checked = [
            dataclasses.asdict(one) | {"error": one.error, "speed_up_error": one.speed_up_error} for one in self.checked
        ]
        sized = size_check(self.trace, self.measured)
        return {
            "check": checked,
            "size_check": None if sized is None else dataclasses.asdict(sized) | {"error": sized.error},
            "measured_costs": dataclasses.asdict(self.measured),
            "setting": dataclasses.asdict(self.setting),
            "forecast": [dataclasses.asdict(one) for one in self.forecasts],
            "left_out": {label: list(names) for label, names in self.missing.items()},
            "notes": [*self.check_notes(), *self.forecast_notes()],
        }

    def check_table(self) -> Group:
        """Measured and predicted latency and speed-up of each strategy."""
        titles = ["strategy", "rows", "measured s", "predicted s", "worst error"]
        titles += ["speed-up", "predicted", "worst error"]
        cells = [
            [
                one.strategy,
                str(one.rows),
                _seconds(one.measured_s),
                _seconds(one.predicted_s),
                f"{one.error:+.1%}",
                _times(one.measured_speed_up),
                _times(one.predicted_speed_up),
                NONE if one.speed_up_error is None else f"{one.speed_up_error:+.1%}",
            ]
            for one in self.checked
        ]
        return rich_lines(
            "check: mean latency of problems that the costs were not fitted on", titles, cells, self.check_notes()
        )

    def check_notes(self) -> list[str]:
        """How the check was made, what it found, and the costs."""
        notes = [
            f"predicted = recorded passes, tokens and turns times costs fitted on the other {self.trace.split}; "
            "speed-up = target-only's mean latency / the strategy's; worst error = the larger one of the parts, each "
            "predicted by itself",
            self._largest_errors(),
            f"costs measured here: {_told(self.measured)}",
        ]
        sized = size_check(self.trace, self.measured)
        if sized is not None:
            notes.append(
                "by size alone, from the draft's pass and both models' bytes, a pass of the target would take "
                f"{_ms(sized.predicted_s)} here: {sized.error:+.0%}. Sizes explain passes that are bound by memory; "
                "those of very small models are bound by something else"
            )
        overlapped = [
            label
            for label, rows in self.trace.strategies.items()
            if any(sum(one.row.time_s.values()) > _SAME_TIME * one.row.latency_s for one in rows)
        ]
        if overlapped:
            notes.append(f"models worked at the same time in {', '.join(overlapped)}: predictions add their seconds up")
        return [one_line(note) for note in notes]

    def _largest_errors(self) -> str:
        latency = max(self.checked, key=lambda one: abs(one.error))
        text = f"largest error: {latency.error:+.1%} of the latency ({latency.strategy})"
        others = [(one.speed_up_error, one.strategy) for one in self.checked if one.speed_up_error is not None]
        if others:
            error, label = max(others, key=lambda one: abs(one[0]))
            text += f", {error:+.1%} of the speed-up ({label})"
        return text

    def forecast_table(self) -> Group:
        """Latency, speed-up, cost and break-even rate of each strategy in the setting."""
        titles = ["strategy", "s per problem", "speed-up", "GPUs", "cost per 1000", "escalated", "break-even", "time"]
        cells = [
            [
                one.strategy,
                _seconds(one.latency_s),
                NONE if one.speed_up is None else one.speed_up.shown(".2f"),
                str(one.gpus),
                NONE if one.cost_per_1000 is None else f"{one.cost_per_1000:.2f}",
                NONE if one.escalation_rate is None else f"{one.escalation_rate:.0%}",
                _break_even(one),
                _shares(one),
            ]
            for one in self.forecasts
        ]
        kept = [index for index in range(len(titles)) if index < 2 or any(row[index] != NONE for row in cells)]
        where = "in the setting asked for" if self.elsewhere else "on this machine"
        return rich_lines(
            f"forecast {where}",
            [titles[index] for index in kept],
            [[row[index] for index in kept] for row in cells],
            self.forecast_notes(),
        )

    def forecast_notes(self) -> list[str]:
        """Costs of the setting, what is assumed, and how far the forecast reaches."""
        rows = [one.row for one in self.trace.strategies[self.trace.baseline]]
        tokens, steps = sum(row.tokens for row in rows), sum(len(row.steps) for row in rows)
        stretch = self.setting.stretch
        length = f"{stretch * tokens / len(rows):.0f} tokens a problem" + (
            f" and {stretch * tokens / steps:.0f} a step" if steps else ""
        )
        notes = [f"{label}: left out, no cost of {' and '.join(names)}" for label, names in self.missing.items()]
        if self.elsewhere:
            notes.append(f"costs: {_told(self.setting.costs)} (overhead as measured here)")
        notes += self.assumed
        notes += [
            f"texts are the recorded ones, {length} by target-only; models that write more or less are one factor away "
            "(--scale-tokens). Accuracy is not predicted: other models also solve and route otherwise",
            "break-even = escalation rate below which routing takes less time than the target alone on the same texts, "
            "everything counted; in parentheses by 1 - d/t - r/(L t)",
            "square brackets = 95% intervals over problems; the error of the check and of assumed times comes on top",
        ]
        if any(
            step.drafts
            for label in self.trace.strategies
            for one in self.trace.strategies[label]
            for step in one.row.steps
        ):
            notes.append("token-level speculation chose its draft lengths for the times of the recorded machine")
        if self.setting.price is not None:
            notes.append("cost = seconds × GPUs held × price, one problem at a time; all GPUs of a strategy are held")
        return [one_line(note) for note in notes]


def _told(costs: Costs) -> str:
    around = costs.overhead
    parts = [f"{name} {_model(one)}" for name, one in costs.models.items()]
    outside = ((around.row_s, "a problem"), (around.step_s, "a step"), (around.pass_s, "a pass"))
    parts.append("overhead " + (" + ".join(f"{_ms(cost)} {each}" for cost, each in outside if cost) or "0"))
    return "; ".join(parts)


def _model(cost: ModelCost) -> str:
    each = ((cost.further_s, "each further token"), (cost.turn_s, "a turn"))
    return " + ".join([f"{_ms(cost.pass_s)} a pass", *(f"{_ms(one)} {what}" for one, what in each if one)])


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.3g} ms"


def _seconds(value: float) -> str:
    return f"{value:.2f}" if value >= 1 else f"{value:.3g}"


def _times(value: float | None) -> str:
    return NONE if value is None else f"{value:.2f}×"


def _break_even(one: Forecast) -> str:
    if one.escalation_rate is None:
        return NONE
    told = "none" if one.break_even is None else f"{one.break_even:.0%}"
    return told + ("" if one.break_even_formula is None else f" ({one.break_even_formula:.0%})")


def _shares(one: Forecast) -> str:
    left = one.latency_s - sum(one.time_s.values())
    named = [*one.time_s.items(), ("overhead", left)]
    return ", ".join(f"{name} {seconds / one.latency_s:.0%}" for name, seconds in named if seconds)
