"""What a forward pass costs: fitted to the seconds of a recorded run, and applied to the work of a row.

Seconds of a model in one row are linear in three counts: passes, further tokens in a pass, and turns. A turn begins
when the model works after another one did: its weights have left the cache, and it reads what the others wrote. Knows
rows; knows no hardware and no files.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from arbitrage.harness.results import COMPONENTS
from arbitrage.harness.rows import Row
from arbitrage.types import StepRecord

WRITERS = ("draft", "target")
"""Components that write text; the others read it."""


@dataclass(frozen=True, slots=True)
class Work:
    """What one model did in one row. Expected values may be fractions."""

    passes: float
    """Forward passes."""
    tokens: float
    """Tokens pushed through the model in these passes."""
    turns: float = 0.0
    """How often it began to work after another model had worked; 0 for scorers, each of whose passes is one."""

    @property
    def further(self) -> float:
        """Tokens beyond the first of each pass."""
        return max(0.0, self.tokens - self.passes)


@dataclass(frozen=True, slots=True)
class ModelCost:
    """Seconds that a model takes for its work."""

    pass_s: float
    """Of a pass over one token; for a writer, its time per token."""
    further_s: float = 0.0
    """Of each further token in a pass."""
    turn_s: float = 0.0
    """Of each turn, beside its passes."""

    def seconds(self, work: Work) -> float:
        """Seconds of `work`."""
        return self.pass_s * work.passes + self.further_s * work.further + self.turn_s * work.turns


@dataclass(frozen=True, slots=True)
class Overhead:
    """Seconds of a row outside of model calls: Python, sampling, step boundaries."""

    row_s: float = 0.0
    """Once a row."""
    step_s: float = 0.0
    """Of each step."""
    pass_s: float = 0.0
    """Of each forward pass, whoever's."""

    def seconds(self, steps: float, passes: float) -> float:
        """Seconds of a row of `steps` steps in which the models made `passes` passes."""
        return self.row_s + self.step_s * steps + self.pass_s * passes


@dataclass(frozen=True, slots=True)
class Costs:
    """What predicts the latency of a row: the models by component, and what stands around them."""

    models: Mapping[str, ModelCost] = field(default_factory=dict)
    overhead: Overhead = Overhead()

    def seconds(self, row: Row, stretch: float = 1.0) -> float:
        """Predicted latency of `row`: its models one after the other, and the overhead.

        Args:
            row: what was done.
            stretch: factor on the length of every step.

        Raises:
            KeyError: a component of the row has no cost.
        """
        done = {component: work(row, component, stretch) for component in components(row)}
        models = sum(self.models[component].seconds(one) for component, one in done.items())
        return models + self.overhead.seconds(len(row.steps), sum(one.passes for one in done.values()))


def components(row: Row) -> list[str]:
    """Who worked in `row`, usual components first."""
    listed = [*COMPONENTS, *sorted(row.calls.keys() - set(COMPONENTS))]
    return [component for component in listed if row.calls.get(component)]


def work(row: Row, component: str, stretch: float = 1.0) -> Work:
    """What `component` did in `row`, had each of its steps been `stretch` times as long.

    Prompts keep their length, scorers their passes. A scorer's problem counts as long as the prompt. Of a writer's text
    the last token is not read, so the prompt is one token less beside as many tokens as were written.
    """
    passes, tokens = row.calls.get(component, 0), row.forwarded_tokens.get(component, 0)
    prompt = min(row.prompt_tokens, tokens)
    if component in WRITERS:
        prompt = max(0, prompt - 1)
    stretched = prompt + stretch * (tokens - prompt)
    if component not in WRITERS:
        return Work(passes, stretched)
    if len(components(row)) == 1:
        return Work(stretch * passes, stretched, 1)
    return Work(stretch * passes, stretched, sum(_turns(step, component, stretch) for step in row.steps))


def _turns(step: StepRecord, component: str, stretch: float) -> float:
    """One for writing the step, and one for each round of token-level speculation, which starts at the draft."""
    rounds = stretch * step.drafts
    if component == "draft":
        return (step.draft_tokens > 0) + rounds
    return max(float(step.target_tokens > 0), rounds)


def fit_costs(rows: Iterable[Row]) -> Costs:
    """Costs that explain the seconds of `rows` best: least squares without negative costs.

    Seconds are not weighted, so that mean latencies come right rather than each problem's. A component that no row
    tells calls and seconds of has no cost.
    """
    listed = [row for row in rows if not row.failed]
    models = {}
    for component in sorted({component for row in listed for component in components(row)}):
        timed = [row for row in listed if row.calls.get(component) and component in row.time_s]
        done = [work(row, component) for row in timed]
        if done:
            counts = [(one.passes, one.further, one.turns) for one in done]
            models[component] = ModelCost(*_fit(counts, [row.time_s[component] for row in timed]))
    around = [(1.0, len(row.steps), sum(row.calls.values())) for row in listed]
    outside = [row.latency_s - sum(row.time_s.values()) for row in listed]
    return Costs(models, Overhead(*_fit(around, outside)) if listed else Overhead())


def _fit(counts: Sequence[tuple[float, ...]], seconds: Sequence[float]) -> list[float]:
    """Non-negative factors of the columns of `counts` (rows, 3) whose sums come closest to `seconds` (rows,)."""
    matrix: NDArray[np.float64] = np.asarray(counts, dtype=np.float64)
    scale = np.maximum(matrix.max(axis=0), 1.0)  # counts differ by orders of magnitude, the solver's tolerance does not
    factors, _ = importlib.import_module("scipy.optimize").nnls(matrix / scale, np.asarray(seconds, dtype=np.float64))
    return [float(one) for one in factors / scale]
