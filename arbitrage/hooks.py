"""What a plugin may implement: four hooks that register things and two that watch a run.

A plugin is any module (or object) named by an entry point of the group `arbitrage`; its functions carry `@hookimpl`.
This module knows only the shapes of the hooks. Who calls them, and what happens to clashes, is `arbitrage.registry`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import pluggy

if TYPE_CHECKING:
    from arbitrage.types import Problem, StepRecord

GROUP = "arbitrage"
"""Name of the entry-point group, and of the pluggy project."""

hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)


class PluginWarning(UserWarning):
    """A plugin was left out, or one of its observers was silenced; everything else keeps working."""


class Register(Protocol):
    """What the registering hooks receive."""

    def __call__(self, name: str, target: object, summary: str = "") -> None:
        """Offer `target` under `name`.

        Args:
            name: what users type; letters, digits, dots, dashes and underscores.
            target: a string `"package.module:attribute"`, imported on first use, or the object itself.
            summary: one line for `arbitrage ls`.

        Raises:
            PluginError: the name is taken, or name or target cannot be used.
        """


@dataclass(frozen=True, slots=True)
class StepDecided:
    """A step was committed to a solution."""

    problem: Problem
    step: StepRecord
    strategy: str
    """Label of the strategy that is solving the problem."""


@hookspec
def register_strategies(register: Register) -> None:
    """Register `Strategy` classes, or callables that return a strategy and take keyword parameters only."""


@hookspec
def register_backends(register: Register) -> None:
    """Register `Backend` classes (called without arguments) or instances."""


@hookspec
def register_scorers(register: Register) -> None:
    """Register callables `(source, device=None, **options) -> StepScorer`, used like a backend's `scorer`."""


@hookspec
def register_datasets(register: Register) -> None:
    """Register callables `(path=None, limit=None) -> sequence of Problem`; `path` is None for the default place."""


@hookspec
def step_decided(event: StepDecided) -> None:
    """Watch: a step was committed. Called in the middle of a timed solution, so be quick.

    Where several problems are solved at once it is called soon after, by the same thread as `problem_finished`.
    """


@hookspec
def problem_finished(row: object) -> None:
    """Watch: a problem of a run is solved, graded and stored; `row` is the stored row."""
