"""Step pairs on disk."""

import dataclasses

import pytest

from arbitrage.harness.router.pairs import (
    HistoryStep,
    PairsError,
    StepPair,
    finished_problems,
    held_out,
    read_manifest,
    read_pairs,
    shards,
    split,
    write_manifest,
    write_shard,
)

PAIR = StepPair(
    problem_id="a",
    statement="1 + 1 = ?",
    source="",
    index=1,
    history=(HistoryStep("first", "target"),),
    draft="it is 3",
    targets=("it is 2", "it is two"),
    draft_reward=0.25,
    target_rewards=(0.75, 1.0),
    draft_ids=(4, 5, 6),
    draft_logprobs=(-0.5, -1.5, 0.0),
    target_tokens=(3, 3),
    prefix_ids=(1, 2, 3),
    committed="target",
    roll_in="oracle",
    target_outcome=1.0,
)


def test_what_is_read_is_what_was_written(tmp_path):
    """Shards come back in their order, every field as it was, absent ones as None."""
    other = dataclasses.replace(
        PAIR, problem_id="b", history=(), targets=("x",), target_rewards=(0.0,), target_tokens=(1,)
    )
    write_shard(tmp_path, [PAIR])
    write_shard(tmp_path, [other])
    assert list(read_pairs(tmp_path)) == [PAIR, other]
    assert finished_problems(tmp_path) == {"a", "b"}
    assert len(shards(tmp_path)) == 2


def test_advantage_is_the_mean_over_samples_and_a_tie_is_no_advantage():
    """Δ = mean s_t − s_d; y = 1[Δ > 0]."""
    assert PAIR.advantage == pytest.approx(0.625)
    assert PAIR.label
    assert not dataclasses.replace(PAIR, target_rewards=(0.25, 0.25)).label
    assert PAIR.draft_logprob == pytest.approx(-2 / 3)


def test_a_problem_is_on_one_side_of_the_split():
    """By its id alone, in about the share that was asked for."""
    names = [f"problem {i}" for i in range(4000)]
    share = sum(held_out(name, 0.1) for name in names) / 4000
    assert 0.08 < share < 0.12
    assert not any(held_out(name, 0.0) for name in names)
    training, kept_out = split([dataclasses.replace(PAIR, problem_id=name) for name in names[:100] for _ in range(2)])
    assert len(training) + len(kept_out) == 200
    assert not {p.problem_id for p in training} & {p.problem_id for p in kept_out}


@pytest.mark.parametrize(
    "wrong",
    [
        {"draft_reward": float("nan")},
        {"target_rewards": (0.5, float("inf"))},
        {"draft_reward": 1.5},
        {"draft_reward": None},
        {"target_outcome": -0.5},
        {"committed": "prm"},
        {"history": (HistoryStep("first", "nobody"),)},
        {"targets": (), "target_rewards": (), "target_tokens": ()},
        {"target_rewards": (0.5,)},
        {"target_tokens": (3,)},
        {"draft_logprobs": (-0.5,)},
    ],
)
def test_a_pair_that_cannot_be_is_named(tmp_path, wrong):
    """Nothing is measured or trained on it; log-probabilities may be absent as a whole."""
    write_shard(tmp_path, [dataclasses.replace(PAIR, draft_logprobs=())])
    assert len(list(read_pairs(tmp_path))) == 1
    file = write_shard(tmp_path, [dataclasses.replace(PAIR, **wrong)])
    with pytest.raises(PairsError, match=file.name):
        list(read_pairs(tmp_path))


def test_a_damaged_or_foreign_folder_says_what_to_do(tmp_path):
    """No shards, half a shard, no manifest, another format."""
    with pytest.raises(PairsError, match="router collect"):
        list(read_pairs(tmp_path))
    file = write_shard(tmp_path, [PAIR])
    file.write_bytes(file.read_bytes()[:100])
    for reading in (lambda: list(read_pairs(tmp_path)), lambda: finished_problems(tmp_path)):
        with pytest.raises(PairsError, match="delete it"):
            reading()
    with pytest.raises(PairsError, match="no folder of step pairs"):
        read_manifest(tmp_path)
    write_manifest(tmp_path, {"roll_in": "oracle"})
    assert read_manifest(tmp_path)["roll_in"] == "oracle"
    (tmp_path / "manifest.json").write_text('{"format": 99}')
    with pytest.raises(PairsError, match="format 1"):
        read_manifest(tmp_path)
