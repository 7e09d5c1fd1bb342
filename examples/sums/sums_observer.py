"""An observer: writes one line for every step and every finished problem to the file in $SUMS_LOG."""

from __future__ import annotations

import json
import os
from pathlib import Path

from arbitrage import hookimpl
from arbitrage.harness.rows import Row
from arbitrage.hooks import StepDecided


@hookimpl
def step_decided(event: StepDecided) -> None:
    """Called in the middle of a timed solution: do little here. An exception silences this observer, not the run."""
    _write(strategy=event.strategy, problem=event.problem.id, step=event.step.index, author=event.step.author)


@hookimpl
def problem_finished(row: object) -> None:
    """Called when a row is solved, graded and stored, outside of the clock."""
    if isinstance(row, Row):
        _write(strategy=row.strategy, problem=row.problem_id, status=row.status.value, escalated=row.escalated_steps)


def _write(**facts: object) -> None:
    if path := os.environ.get("SUMS_LOG"):
        with Path(path).open("a", encoding="utf-8") as log:
            log.write(json.dumps(facts) + "\n")
