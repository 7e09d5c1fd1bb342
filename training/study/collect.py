"""Step pairs with everything that any router of the study looks at or learns from."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from arbitrage.harness.grading import grade
from arbitrage.harness.router.pairs import StepPair, read_pairs, shards, write_shard
from arbitrage.types import Author, Problem
from training.study.features import Floats, Table
from training.study.world import State, Turn, World

_CHUNK = 200
SAMPLES, TEMPERATURE = 4, 0.7

Choose = Callable[[Sequence[State], Sequence[Turn]], Sequence[Author]]


def better(_states: Sequence[State], turns: Sequence[Turn]) -> list[Author]:
    """The oracle's choice: the target's step where it is rewarded more."""
    return ["target" if turn.target_reward > turn.draft_reward else "draft" for turn in turns]


def collect(
    world: World, problems: Sequence[Problem], choose: Choose, folder: Path, roll_in: str
) -> tuple[list[StepPair], Table]:
    """Pairs and features of all problems; done in parts, each kept in `folder`."""
    parts = range(0, len(problems), _CHUNK)
    started = time.perf_counter()
    for number, at in enumerate(parts):
        file = _features(folder, number)
        if file.exists():
            continue
        visited, authors = walk(world, problems[at : at + _CHUNK], choose)
        states = [state for state, _ in visited]
        sampled = world.sampled_rewards(states, SAMPLES, TEMPERATURE)
        outcomes = final(world, visited)
        for leftover in shards(folder)[number:]:  # its features were not written
            leftover.unlink()
        write_shard(folder, [pair(*one, who, roll_in) for one, who in zip(visited, authors, strict=True)])
        Table.of(visited, sampled, outcomes).save(file)
        world.forget()
        print(
            f"{folder.name}: {min(at + _CHUNK, len(problems))} problems, {time.perf_counter() - started:.0f} s",
            flush=True,
        )
    wanted = {p.id for p in problems}  # the folder may hold more
    pairs = [pair for pair in read_pairs(folder) if pair.problem_id in wanted]
    return pairs, Table.joined([Table.load(_features(folder, i)) for i in range(len(parts))])


def walk(world: World, problems: Sequence[Problem], choose: Choose) -> tuple[list[tuple[State, Turn]], list[Author]]:
    """Every prefix that is passed, problem by problem, and who is committed there."""
    states = [world.start(p) for p in problems]
    passed: list[tuple[State, Turn, Author]] = []
    while states:
        turns = world.turns(states)
        authors = choose(states, turns)
        passed += zip(states, turns, authors, strict=True)
        after = [world.after(s, t, a) for s, t, a in zip(states, turns, authors, strict=True)]
        states = [s for s in after if not s.ended]
    order = {p.id: i for i, p in enumerate(problems)}
    passed.sort(key=lambda one: order[one[0].problem.id])  # stable: steps stay in order
    return [(s, t) for s, t, _ in passed], [a for *_, a in passed]


def final(world: World, visited: Sequence[tuple[State, Turn]]) -> Floats:
    """Whether the final answer is right, as `Table.outcomes`; equal steps have equal outcomes and are left at 0."""
    out = np.zeros((len(visited), 2, 2))
    parted = [i for i, (_, turn) in enumerate(visited) if turn.draft_ids != turn.target_ids]
    authors: tuple[Author, Author] = ("draft", "target")
    for w, goes_on in enumerate(authors):
        for a, author in enumerate(authors):
            begun = [world.after(*visited[i], author) for i in parted]
            texts = world.solutions(begun, goes_on)
            for i, state, text in zip(parted, begun, texts, strict=True):
                out[i, w, a] = grade(text, state.problem).correct
    return out


def _features(folder: Path, number: int) -> Path:
    return folder / f"features-{number:05d}.npz"


def pair(state: State, turn: Turn, author: Author, roll_in: str) -> StepPair:
    """The record of one prefix."""
    return StepPair(
        problem_id=state.problem.id,
        statement=state.problem.problem,
        source="bundled",
        index=len(state.steps),
        history=state.steps,
        draft=turn.draft_text,
        targets=(turn.target_text,),
        draft_reward=turn.draft_reward,
        target_rewards=(turn.target_reward,),
        draft_ids=turn.draft_ids,
        draft_logprobs=tuple(turn.draft.logprobs.astype(float).tolist()),
        target_tokens=(len(turn.target_ids),),
        prefix_ids=state.ids,
        committed=author,
        roll_in=roll_in,
    )
