"""Step pairs with chosen advantages, for tests that need no models."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from arbitrage.harness.router.pairs import HistoryStep, StepPair, write_manifest, write_shard


def walk(
    problem_id: str,
    rewards: Sequence[tuple[float, float]],
    outcomes: Sequence[tuple[float, float] | None] | None = None,
) -> list[StepPair]:
    """One solution under the better-of-two roll-in: a pair for each (s_d, s_t); step k reads 'ID draft k'."""
    history: list[HistoryStep] = []
    pairs = []
    for index, (s_d, s_t) in enumerate(rewards):
        author = "target" if s_t > s_d else "draft"
        came = (outcomes[index] if outcomes else None) or (None, None)
        pairs.append(
            StepPair(
                problem_id=problem_id,
                statement=f"statement of {problem_id}",
                source="",
                index=index,
                history=tuple(history),
                draft=f"{problem_id} draft {index}",
                targets=(f"{problem_id} target {index}",),
                draft_reward=s_d,
                target_rewards=(s_t,),
                draft_ids=(1, 2),
                draft_logprobs=(-s_t, -s_t),
                target_tokens=(2,),
                prefix_ids=(0,),
                committed=author,
                roll_in="oracle",
                draft_outcome=came[0],
                target_outcome=came[1],
            )
        )
        history.append(HistoryStep(f"{problem_id} {author} {index}", author))
    return pairs


def folder_of(folder: Path, pairs: Sequence[StepPair]) -> Path:
    """A folder that holds these pairs."""
    write_manifest(folder, {"roll_in": "oracle"})
    write_shard(folder, pairs)
    return folder
