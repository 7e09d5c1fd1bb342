"""What a router may look at, as numbers: a row for each step pair, a group of columns for each thing that is run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from math import log1p
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.study.world import Look, State, Turn, reading

Floats = NDArray[np.float64]

COMMON = ("index", "by_target", "length")
DRAFT = ("mean", "least", "last", "least_log", "entropy_mean", "entropy_most", "entropy_at_least", "before")
TARGET = (*DRAFT[:-1], "disagreements", "first_disagreement", "agrees")


def common(state: State, turn: Turn) -> list[float]:
    """What costs nothing: where in the solution, whose steps lie before it, how long it is."""
    count = len(state.steps)
    by_target = sum(step.author == "target" for step in state.steps)
    return [float(count), by_target / count if count else 0.0, float(len(turn.draft_ids))]


def looked(look: Look) -> list[float]:
    """How a language model takes a step: log-probabilities and entropies (nats) over its tokens."""
    worst = int(look.logprobs.argmin())
    least = float(look.logprobs[worst])
    return [
        float(look.logprobs.mean()),
        least,
        float(look.logprobs[-1]),
        log1p(-least),
        float(look.entropies.mean()),
        float(look.entropies.max()),
        float(look.entropies[worst]),
    ]


def disagreement(look: Look, ids: Sequence[int]) -> list[float]:
    """How many tokens the model would have written otherwise, from where on (share of the step), and whether none."""
    other = look.best != np.asarray(ids)
    first = float(other.argmax()) / len(ids) if other.any() else 1.0
    return [float(other.sum()), first, float(not other.any())]


def pooled(turn: Turn) -> NDArray[np.float16]:
    """The draft's states, shape (2 layers, 3, hidden): before the step's last token, mean over the step, after it."""
    last, mean = turn.states[-1], turn.states.mean(0)
    return np.stack([last, mean, turn.separator], 1).astype(np.float16)


@dataclass(frozen=True, slots=True)
class Table:
    """Features and labels of many step pairs; every array has one row a pair but those of tokens."""

    common: Floats
    """Shape (pairs, len(COMMON))."""
    draft: Floats
    """Shape (pairs, len(DRAFT))."""
    target: Floats
    """Shape (pairs, len(TARGET))."""
    reader: Floats
    """What the shipped router reads, shape (pairs, 9)."""
    states: NDArray[np.float16]
    """Shape (pairs, 2, 3, hidden); see `pooled`."""
    token_states: NDArray[np.float16]
    """The draft's last-layer state before each token, shape (tokens, hidden)."""
    token_looks: NDArray[np.float32]
    """The draft's log-probability and entropy there, shape (tokens, 2)."""
    lengths: NDArray[np.int64]
    """Tokens of each pair's drafted step, shape (pairs,)."""
    rewards: Floats
    """s_d and s_t, shape (pairs, 2)."""
    sampled: Floats
    """Rewards of sampled target steps, shape (pairs, m)."""
    outcomes: Floats
    """Whether the final answer is right, shape (pairs, 2, 2): [the draft, the target] goes on to the end after
    [its, the target's] step."""
    problems: NDArray[np.int64]
    """Which problem, shape (pairs,); numbered in order of appearance."""

    @property
    def advantage(self) -> Floats:
        """Δ = s_t − s_d, shape (pairs,)."""
        return self.rewards[:, 1] - self.rewards[:, 0]

    @property
    def expected_advantage(self) -> Floats:
        """The same with s_t averaged over the samples, shape (pairs,)."""
        return self.sampled.mean(1) - self.rewards[:, 0]

    def outcome_advantage(self, goes_on: int) -> Floats:
        """Change of the final answer's rightness by escalating here, shape (pairs,); 0: draft, 1: target goes on."""
        return self.outcomes[:, goes_on, 1] - self.outcomes[:, goes_on, 0]

    def save(self, file: Path) -> None:
        """As .npz; there completely or not at all."""
        part = file.with_suffix(".part.npz")
        np.savez(part, **{f.name: getattr(self, f.name) for f in fields(self)})
        part.rename(file)

    @classmethod
    def load(cls, file: Path) -> Table:
        """Back from `save`."""
        with np.load(file) as arrays:
            return cls(**{f.name: arrays[f.name] for f in fields(cls)})

    @classmethod
    def of(
        cls,
        visited: Sequence[tuple[State, Turn]],
        sampled: Floats,
        outcomes: Floats,
    ) -> Table:
        """Of these prefixes; `sampled` and `outcomes` as the fields of these names."""
        turns = [turn for _, turn in visited]
        names = {name: i for i, name in enumerate(dict.fromkeys(s.problem.id for s, _ in visited))}
        return cls(
            common=np.array([common(s, t) for s, t in visited]),
            draft=np.array([[*looked(t.draft), s.draft_surprise] for s, t in visited]),
            target=np.array([[*looked(t.target), *disagreement(t.target, t.draft_ids)] for t in turns]),
            reader=np.array([astuple(reading(s, t)) for s, t in visited]),
            states=np.stack([pooled(t) for t in turns]),
            token_states=np.concatenate([t.states[:, 1] for t in turns]).astype(np.float16),
            token_looks=np.concatenate([np.stack([t.draft.logprobs, t.draft.entropies], 1) for t in turns]),
            lengths=np.array([len(t.draft_ids) for t in turns]),
            rewards=np.array([[t.draft_reward, t.target_reward] for t in turns]),
            sampled=sampled,
            outcomes=outcomes,
            problems=np.array([names[s.problem.id] for s, _ in visited]),
        )

    @classmethod
    def joined(cls, tables: Sequence[Table]) -> Table:
        """One after the other."""
        columns = {f.name: np.concatenate([getattr(t, f.name) for t in tables]) for f in fields(cls)}
        counts = [int(t.problems.max()) + 1 for t in tables]
        starts = np.cumsum([0, *counts[:-1]])
        columns["problems"] = np.concatenate([t.problems + start for t, start in zip(tables, starts, strict=True)])
        return cls(**columns)
