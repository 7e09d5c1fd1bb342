"""What a router learns of a step pair: a number per pair, which pairs, and what the head makes of the number.

Knows step pairs; knows no models.
"""

from __future__ import annotations

import random
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from arbitrage.harness.router.pairs import PairsError, StepPair

Source = Literal["advantage", "first-sample", "outcome"]
"""Where the number comes from: Δ with s_t the mean over the target's samples; Δ with the first sample's; or target's
minus draft's share of roll-outs that end in the right answer."""
Kind = Literal["binary", "quantile", "ordinal", "regression"]
"""What the head is trained for: Δ > 0 or not; quantile classes of Δ; the same in their order; Δ itself."""
SOURCES: tuple[Source, ...] = get_args(Source)
KINDS: tuple[Kind, ...] = get_args(Kind)


def label_value(pair: StepPair, source: Source) -> float | None:
    """Gain of the target's step over the draft's, in [−1, 1]; None where the pair does not hold what it takes."""
    if source == "advantage":
        return pair.advantage
    if source == "first-sample":
        return pair.target_rewards[0] - pair.draft_reward
    if pair.draft == pair.targets[0]:
        return 0.0  # rolling out equal texts would tell nothing else, so nobody does
    return pair.outcome_advantage


def balanced(values: Sequence[float], seed: int) -> list[int]:
    """Random downsampling of the majority side, gain or no gain: indices of what stays, in their order.

    Raises:
        PairsError: one side is empty.
    """
    sides = [[i for i, value in enumerate(values) if (value > 0) == gain] for gain in (False, True)]
    size = min(map(len, sides))
    if size == 0:
        better = "none" if sides[0] else "all"
        raise PairsError(
            f"of {len(values)} training pairs, {better} have a target step that is better than the draft's: there is "
            "nothing to tell apart; collect more problems, or harder or easier ones"
        )
    rng = random.Random(seed)
    return sorted(i for members in sides for i in rng.sample(members, size))


@dataclass(frozen=True, slots=True)
class Labelling:
    """From a pair's number to the label that the head is trained on."""

    kind: Kind
    edges: tuple[float, ...] = ()
    """Quantile and ordinal: a number is in the class k when it lies above the first k edges."""

    @classmethod
    def fitted(cls, kind: Kind, classes: int, values: Sequence[float]) -> Labelling:
        """Choose the edges, so that the training values are spread evenly over `classes` classes.

        Equal values are one class, however many they are; those above are spread over the classes that are left. Where
        three quarters of all advantages are 0, four classes are "no gain" and three sizes of gain.

        Raises:
            PairsError: all values are one class.
        """
        if kind in ("binary", "regression"):
            return cls(kind)
        rest, edges = np.sort(np.asarray(values, dtype=float)), list[float]()
        for left in range(classes, 1, -1):
            lower = rest[rest < rest[-1]]
            if not lower.size:
                break
            edges.append(float(min(np.quantile(rest, 1 / left, method="lower"), lower[-1])))
            rest = rest[rest > edges[-1]]
        if not edges:
            raise PairsError("all training pairs have the same advantage, so there are no classes to tell apart")
        return cls(kind, tuple(edges))

    @property
    def outputs(self) -> int:
        """Labels of the head."""
        return {"binary": 2, "regression": 1, "quantile": len(self.edges) + 1, "ordinal": len(self.edges)}[self.kind]

    def label(self, value: float) -> float:
        """What the head is to say of a pair with this number: a class from 0, or the number itself."""
        if self.kind == "binary":
            return float(value > 0)
        return value if self.kind == "regression" else float(bisect_left(self.edges, value))

    def readout(self) -> dict[str, object]:
        """The sidecar's `readout` entry."""
        if self.kind in ("binary", "regression"):
            return {"kind": self.kind}
        kind = "classes" if self.kind == "quantile" else self.kind
        return {"kind": kind, "classes": len(self.edges) + 1, "edges": list(self.edges)}
