"""The same step pairs, rewarded by another PRM: what both models wrote costs most and stays, only labels are new."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

from arbitrage.harness import environment
from arbitrage.harness.router.calibrate import load_scorer
from arbitrage.harness.router.pair_statistics import PairStatistics
from arbitrage.harness.router.pairs import (
    PairsError,
    StepPair,
    checked_rewards,
    digest,
    read_manifest,
    read_pairs,
    read_shard,
    shards,
    write_shard,
)
from arbitrage.harness.router.scoring import Version, score_versions
from arbitrage.harness.router.store import claimed, lasting, this_call
from arbitrage.interfaces import StepScorer


@dataclass(frozen=True, slots=True)
class Rescored:
    """What a call of `rescore_pairs` leaves behind."""

    folder: Path
    left_out: int
    """Pairs with a step that is too long for the PRM."""
    statistics: PairStatistics
    """Of the others, under their new rewards."""


def rescore_pairs(
    sources: Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    prm: str | StepScorer,
    *,
    backend: str = "hf",
    concurrency: int = 1,
    progress: Callable[[int, int], None] | None = None,
    **options: object,
) -> Rescored:
    """Put folders of step pairs into a new one, with the rewards of another PRM.

    Prefixes, texts, outcomes and `committed` stay as they were collected. A call with the same arguments goes on
    behind the last stored shard.

    Args:
        sources: folders of step pairs.
        out: the new folder.
        prm: spec or object.
        backend: loads a PRM whose spec names none.
        concurrency: how many solutions are scored at once.
        progress: told how many pairs are done, and of how many.
        options: passed on to `load_models`, e.g. `dtype`.

    Raises:
        PairsError: there are no pairs, `out` holds others, or a reward is no number in [0, 1].
        ModelLoadError: the PRM cannot be loaded.
    """
    given, folder = [Path(source) for source in sources], Path(out)
    files = [file for source in given for file in shards(source)]
    total = sum(1 for source in given for _ in read_pairs(source))  # raises where there are none
    if folder.resolve() in [source.resolve() for source in given]:
        raise PairsError(f"{folder} holds the pairs that are to be scored anew; choose a new folder")
    scorer = load_scorer(prm, backend, concurrency, "prm", **options) if isinstance(prm, str) else prm
    with claimed(folder, _manifest(given, scorer)):
        ready = len(shards(folder))
        done = sum(len(read_shard(file)) for file in files[:ready])
        for file in files[ready:]:
            pairs = read_shard(file)
            write_shard(folder, _rescored(scorer, pairs, concurrency, _from(done, total, progress)))
            done += len(pairs)
    kept = list(chain.from_iterable(map(read_shard, shards(folder))))
    return Rescored(folder, total - len(kept), PairStatistics.of(kept))


def _rescored(
    scorer: StepScorer, pairs: Sequence[StepPair], concurrency: int, progress: Callable[[int, int], None] | None
) -> list[StepPair]:
    found = score_versions(scorer, pairs, _versions, concurrency=concurrency, progress=progress)
    return [
        replace(pair, draft_reward=rewards[0], target_rewards=tuple(rewards[1:]))
        for pair, scores in zip(pairs, found, strict=True)
        if scores is not None and (rewards := checked_rewards(scores))
    ]


def _versions(pair: StepPair) -> Iterator[Version]:
    yield pair.draft, "draft"
    for text in pair.targets:
        yield text, "target"


def _from(done: int, total: int, progress: Callable[[int, int], None] | None) -> Callable[[int, int], None] | None:
    """Progress within a shard as progress over all pairs."""
    return None if progress is None else lambda more, _: progress(done + more, total)


def _manifest(sources: Sequence[Path], scorer: StepScorer) -> dict[str, Any]:
    """How these pairs are made: how the others were, and by which PRM they are rewarded now."""
    call = this_call()
    return {
        "created": call["started"],
        "identity": {
            "rescored": [
                {"pairs": digest(source), "identity": read_manifest(source).get("identity")} for source in sources
            ],
            "prm": lasting(scorer.describe()),
            "versions": environment.package_versions(),
        },
        "sessions": [{**call, "prm": scorer.describe()}],
    }
