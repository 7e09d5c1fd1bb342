"""Numbers about a set of pairs."""

from __future__ import annotations

import dataclasses
import json

import pytest

from arbitrage.harness.router.pair_statistics import BINS, PairStatistics, histogram_bin
from arbitrage.harness.router.pairs import StepPair, held_out

PAIR = StepPair(
    problem_id="a",
    statement="1 + 1 = ?",
    source="amc",
    index=0,
    history=(),
    draft="it is 3",
    targets=("it is 2",),
    draft_reward=0.25,
    target_rewards=(0.75,),
    draft_ids=(4, 5, 6),
    draft_logprobs=(-0.5, -1.5, 0.0),
    target_tokens=(5,),
    prefix_ids=(1, 2, 3),
    committed="target",
    roll_in="oracle",
)


def like(**changes):
    return dataclasses.replace(PAIR, **changes)


def test_counts_shares_and_means_by_hand():
    """Four pairs of two problems: one label 1, two ties, one worse."""
    pairs = [
        PAIR,
        like(index=1, targets=("it is 3",), target_rewards=(0.25,), committed="draft"),
        like(problem_id="b", source="", target_rewards=(0.25,), committed="draft", target_tokens=(5, 7)),
        like(problem_id="b", source="", index=30, target_rewards=(0.0,), committed="draft", roll_in="draft"),
    ]
    found = PairStatistics.of(iter(pairs)).summary()
    assert (found["problems"], found["steps"]) == (2, 4)
    shares = ("label_1_share", "tie_share", "same_text_share", "escalated_share")
    assert [found[name] for name in shares] == [0.25, 0.5, 0.25, 0.25]
    assert (found["mean_draft_reward"], found["mean_target_reward"]) == (0.25, 0.3125)
    assert found["mean_advantage"] == pytest.approx(0.0625)
    assert (found["draft_tokens"], found["target_tokens"]) == (12, 27)
    assert {name: group["steps"] for name, group in found["by_source"].items()} == {"amc": 2, "": 2}
    assert {name: group["steps"] for name, group in found["by_position"].items()} == {"0": 2, "1": 1, "9": 1}
    assert found["roll_ins"] == {"draft": 1, "oracle": 3}
    assert found["held_out"]["steps"] == sum(held_out(pair.problem_id) for pair in pairs)
    counts = found["advantage_histogram"]["counts"]
    assert {place: count for place, count in enumerate(counts) if count} == {15: 1, 7: 1}
    assert found["outcomes"] is None
    json.dumps(found, allow_nan=False)


def test_the_histogram_covers_every_advantage():
    """Both ends are in it."""
    assert [histogram_bin(a) for a in (-1.0, -0.95, 0.0, 0.05, 0.999, 1.0)] == [0, 0, 10, 10, BINS - 1, BINS - 1]


def test_outcomes_say_how_often_the_advantage_is_right():
    """One helps and Δ says so; one harms and Δ does not see it; one changes nothing; one was not rolled out."""
    pairs = [
        like(draft_outcome=0.0, target_outcome=1.0),
        like(draft_outcome=0.5, target_outcome=0.0),
        like(draft_outcome=1.0, target_outcome=1.0),
        PAIR,
    ]
    assert PairStatistics.of(pairs).summary()["outcomes"] == {
        "steps": 3,
        "right_after_draft": 0.5,
        "right_after_target": pytest.approx(2 / 3),
        "target_step_helps": 1,
        "target_step_harms": 1,
        "advantage_agrees_share": 0.5,
    }


def test_no_pairs_have_no_shares():
    """Null, not an error."""
    found = PairStatistics.of(()).summary()
    assert (found["steps"], found["label_1_share"], found["mean_advantage"]) == (0, None, None)
