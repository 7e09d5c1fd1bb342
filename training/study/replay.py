"""Routing for real: each policy walks through the problems with its own decisions, and its answers are graded.

All arms walk side by side; a prefix that several of them pass is worked out once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from arbitrage.harness.grading import grade
from arbitrage.types import Author, Problem
from training.study.features import Floats, Table
from training.study.world import State, Turn, World

_CHUNK = 100

Policy = Callable[[Sequence[State], Sequence[Turn]], Floats]
"""Scores of the drafted steps; higher is escalated first."""


@dataclass(frozen=True, slots=True)
class Arm:
    """A policy with its threshold."""

    policy: str
    threshold: float
    """Escalated is what scores above it."""


@dataclass(slots=True)
class Walked:
    """What one arm did with one problem."""

    correct: bool = False
    steps: int = 0
    escalated: int = 0
    drafted: int = 0
    """Tokens that the draft wrote."""
    prompt: int = 0
    """Tokens of the prompt."""
    rewritten: int = 0
    """Tokens that the target wrote one by one, behind the part of a rejected step that it confirmed in one pass."""

    def as_json(self) -> dict[str, object]:
        """For a file."""
        return asdict(self)


def replay(
    world: World, problems: Sequence[Problem], policies: Mapping[str, Policy], arms: Mapping[str, Arm]
) -> dict[str, list[Walked]]:
    """Each arm on each problem, in order."""
    done: dict[str, list[Walked]] = {name: [] for name in arms}
    for at in range(0, len(problems), _CHUNK):
        part = problems[at : at + _CHUNK]
        for name, walked in _side_by_side(world, part, policies, arms).items():
            done[name] += walked
        world.forget()
        print(f"replay: {at + len(part)} problems", flush=True)
    return done


def _side_by_side(
    world: World, problems: Sequence[Problem], policies: Mapping[str, Policy], arms: Mapping[str, Arm]
) -> dict[str, list[Walked]]:
    walked = {name: [Walked(prompt=len(world.start(p).ids)) for p in problems] for name in arms}
    at = {(name, i): world.start(p) for name in arms for i, p in enumerate(problems)}
    while at:
        unique = list({s.ids: s for s in at.values()}.values())
        turns = world.turns(unique)
        known = {state.ids: turn for state, turn in zip(unique, turns, strict=True)}
        scores = {
            name: dict(zip(known, policy(unique, turns).tolist(), strict=True)) for name, policy in policies.items()
        }
        moved = {}
        for (name, i), state in at.items():
            turn, one = known[state.ids], walked[name][i]
            author: Author = "target" if scores[arms[name].policy][state.ids] > arms[name].threshold else "draft"
            count(one, turn, author)
            after = world.after(state, turn, author)
            if after.ended:
                one.correct = grade(world.solutions([after], "draft")[0], state.problem).correct
            else:
                moved[name, i] = after
        at = moved
    return walked


def count(one: Walked, turn: Turn, author: Author) -> None:
    """Add one step's work. An escalation costs a pass over the rejected step, which yields a token more than agrees."""
    one.steps += 1
    one.drafted += len(turn.draft_ids)
    if author == "target":
        one.escalated += 1
        pairs = zip(turn.draft_ids, turn.target_ids, strict=False)
        agreed = next((i for i, (a, b) in enumerate(pairs) if a != b), len(turn.target_ids))
        one.rewritten += max(0, len(turn.target_ids) - agreed - 1)


def on_tables(scorer: Callable[[Table], Floats]) -> Policy:
    """A policy from a scorer of features."""

    def policy(states: Sequence[State], turns: Sequence[Turn]) -> Floats:
        visited = list(zip(states, turns, strict=True))
        nothing = np.zeros((len(visited), 1))
        return scorer(Table.of(visited, nothing, np.zeros((len(visited), 2, 2))))

    return policy


def at_random(states: Sequence[State], _turns: Sequence[Turn]) -> Floats:
    """A number in [0, 1) from problem and step alone."""
    keys = (f"{s.problem.id} {len(s.steps)}".encode() for s in states)
    return np.array([int.from_bytes(hashlib.sha256(key).digest()[:8], "big") / 2**64 for key in keys])
