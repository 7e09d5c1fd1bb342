"""Which steps a scorer may be judged on: those that its training never saw."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arbitrage.harness.router.pairs import PairsError, StepPair, digest, read_pairs, split
from arbitrage.harness.statistics import Floats

HELD_OUT = 0.1
"""Share of the problems that is kept from training where nothing else is said."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Pairs to judge scorers on."""

    pairs: tuple[StepPair, ...]
    facts: Mapping[str, Any]
    """Where they come from, for files: digest of all pairs, held-out share (null: all), steps, problems, roll-in."""
    warnings: tuple[str, ...]
    """What makes the numbers less than they seem."""

    @property
    def advantages(self) -> Floats:
        """Δ of each pair."""
        return np.array([pair.advantage for pair in self.pairs])

    @property
    def groups(self) -> NDArray[np.intp]:
        """Index of each pair's problem."""
        _, groups = np.unique([pair.problem_id for pair in self.pairs], return_inverse=True)
        return np.asarray(groups, dtype=np.intp)


def select(
    folder: Path, sidecars: Mapping[str, Mapping[str, Any]], held_out: float | None = None, everything: bool = False
) -> Selection:
    """Read a folder's pairs and keep what every one of the scorers is to be judged on.

    Args:
        folder: of pairs.
        sidecars: what each scorer says of itself, by name; `training` holds `held_out` (the share that was kept from
            training) and `pairs` (the digest of the pairs).
        held_out: share of the problems; None: as the scorers were trained, or `HELD_OUT` where none says so. Of
            several shares the smallest: its problems are in all of them.
        everything: take all pairs, because none of them was trained on.

    Raises:
        PairsError: there are no such pairs, or a scorer kept none from its training.
        ValueError: `held_out` is not a share, or comes with `everything`.
    """
    if held_out is not None and not 0 < held_out <= 1:
        raise ValueError(f"the held-out share must be above 0 and at most 1, not {held_out:g}")
    if everything and held_out is not None:
        raise ValueError("a held-out share and all pairs exclude each other")
    trained = {name: told for name, one in sidecars.items() if isinstance(told := one.get("training"), Mapping)}
    shares = {name: float(share) for name, told in trained.items() if (share := told.get("held_out")) is not None}
    share = held_out if held_out is not None else min(shares.values(), default=HELD_OUT)
    if share == 0 and not everything:
        raise PairsError(
            f"{min(shares, key=lambda name: shares[name])} was trained on all problems of its pairs, so none of them "
            "says how good it is; train it with --held-out above 0, or take pairs of other problems (--all)"
        )
    pairs = list(read_pairs(folder))
    which = digest(folder)
    kept = pairs if everything else split(pairs, share)[1]
    if not kept:
        raise PairsError(
            f"{folder}: of {len({pair.problem_id for pair in pairs})} problems none is held out at a share of "
            f"{share:g}; collect more, or take all pairs (--all) if no scorer was trained on them"
        )
    facts = {
        "pairs": which,
        "held_out": None if everything else share,
        "steps": len(kept),
        "problems": len({pair.problem_id for pair in kept}),
        "roll_in": dict(Counter(pair.roll_in for pair in kept).most_common()),
    }
    return Selection(tuple(kept), facts, tuple(_warnings(trained, shares, None if everything else share, which)))


def _warnings(
    trained: Mapping[str, Mapping[str, Any]], shares: Mapping[str, float], share: float | None, which: str
) -> Sequence[str]:
    found = []
    for name, told in trained.items():
        learnt = told.get("pairs")  # a list where there were several folders
        same = which in learnt if isinstance(learnt, list) else learnt == which
        if share is None:
            if same:
                found.append(f"{name} was trained on these very pairs: what it says of all of them is no measure of it")
            continue
        if name in shares and share > shares[name]:
            found.append(
                f"{name} kept {shares[name]:g} of the problems from training, but {share:g} are taken here: it has "
                "seen some of them"
            )
        if told.get("pairs") is not None and not same:
            found.append(f"{name} was trained on other pairs; held-out problems are unseen only if ids mean the same")
    return found
