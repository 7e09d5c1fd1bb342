"""Randomness derived from what it is for, never from the order of calls.

Everything random in a solution comes from (run seed, problem id, step, role), so a row is the same whatever the order
of problems, the number of threads, or the point where a run was resumed.
"""

from __future__ import annotations

import hashlib

import numpy as np

from arbitrage.types import Role

_ROLES = {role: index for index, role in enumerate(Role)}
_ORDER = 2**32 - 1
"""A place where no step has its streams."""


def problem_rng(seed: int, problem_id: str, repeat: int = 0) -> np.random.Generator:
    """The generator handed to `Strategy.solve` for one problem of a run."""
    return np.random.default_rng(np.random.SeedSequence(_entropy(seed, problem_id, repeat)))


def order_rng(seed: int, problem_id: str, repeat: int = 0) -> np.random.Generator:
    """Deals out in which order the strategies of a run solve a problem; independent of what they draw themselves."""
    return np.random.default_rng(np.random.SeedSequence(_entropy(seed, problem_id, repeat), spawn_key=(_ORDER,)))


def step_rng(rng: np.random.Generator, step: int, role: Role, sample: int = 0) -> np.random.Generator:
    """An independent generator for one role in one step; `rng` itself is not advanced.

    Args:
        rng: what `problem_rng` made (any generator seeded through a `SeedSequence` works).
        step: index of the step in the solution.
        role: who draws.
        sample: which of several samples of the same step.
    """
    parent = rng.bit_generator.seed_seq
    if not isinstance(parent, np.random.SeedSequence):
        raise TypeError("rng must be seeded through numpy.random.SeedSequence; use numpy.random.default_rng(seed)")
    key = (*parent.spawn_key, step, _ROLES[role], sample)
    return np.random.default_rng(np.random.SeedSequence(parent.entropy, spawn_key=key))


def _entropy(seed: int, problem_id: str, repeat: int) -> list[int]:
    digest = int.from_bytes(hashlib.sha256(problem_id.encode()).digest()[:8], "big")
    return [seed, repeat, digest]
