"""Pairs under another PRM: what that PRM would have said when they were collected, and nothing else is new."""

from __future__ import annotations

import dataclasses

import pytest

pytest.importorskip("pyarrow")

from arbitrage.errors import ContextOverflowError
from arbitrage.harness.router import store as store_module
from arbitrage.harness.router.pairs import PairsError, read_manifest, read_pairs, shards, write_shard
from arbitrage.harness.router.rescore import rescore_pairs
from arbitrage.testing import ScriptedScorer
from tests.harness.router.made_pairs import folder_of, walk
from tests.harness.router.test_collect import collect


def by_length(step, author):
    return len(step) % 5 / 5  # as the PRM of `models`


def by_letters(step, author):
    return (sum(map(ord, step)) + (author == "target")) % 97 / 97


def test_the_prm_that_collected_gives_the_same_pairs(tmp_path, monkeypatch):
    """Two target samples, kept and escalated steps: a reward depends on its own step and history only."""
    monkeypatch.setattr(store_module, "MOST_PROBLEMS", 2)
    collect(tmp_path / "p", samples=2)
    made = list(read_pairs(tmp_path / "p"))
    assert {pair.committed for pair in made} == {"draft", "target"}
    found = rescore_pairs([tmp_path / "p"], tmp_path / "again", ScriptedScorer(by_length), concurrency=3)
    assert list(read_pairs(tmp_path / "again")) == made
    assert found.left_out == 0
    assert found.statistics.everything.steps == len(made)


def test_only_rewards_are_new(tmp_path):
    """Several folders become one, in their order; outcomes and who was committed stay."""
    first = walk("a", [(0.2, 0.8), (0.9, 0.4)], [(0.0, 1.0), None])
    second = walk("b", [(0.7, 0.1)])
    sources = [folder_of(tmp_path / "one", first), folder_of(tmp_path / "two", second)]
    seen = []
    rescore_pairs(
        sources, tmp_path / "new", ScriptedScorer(by_letters), progress=lambda done, total: seen.append((done, total))
    )
    assert list(read_pairs(tmp_path / "new")) == [
        dataclasses.replace(
            pair,
            draft_reward=by_letters(pair.draft, "draft"),
            target_rewards=(by_letters(pair.targets[0], "target"),),
        )
        for pair in [*first, *second]
    ]
    assert seen[-1] == (3, 3)
    told = read_manifest(tmp_path / "new")["identity"]
    assert [one["identity"] for one in told["rescored"]] == [None, None]
    assert told["prm"]["name"] == ScriptedScorer(by_letters).describe()["name"]


def test_a_stopped_call_goes_on_behind_the_last_shard(tmp_path):
    """Ctrl-C in the second shard: the first is stored, and the same call scores the others only."""
    source = folder_of(tmp_path / "one", walk("a", [(0.2, 0.8), (0.9, 0.4)]))
    write_shard(source, walk("b", [(0.7, 0.1)]))
    write_shard(source, walk("c", [(0.7, 0.1), (0.1, 0.2)]))

    def stop(done, total):
        if done > 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rescore_pairs([source], tmp_path / "new", ScriptedScorer(by_letters), progress=stop)
    assert len(shards(tmp_path / "new")) == 1
    scorer = ScriptedScorer(by_letters)
    rescore_pairs([source], tmp_path / "new", scorer)
    assert {call[1][0] for call in scorer.calls if call[0] == "score"} == {"b", "c"}
    rescore_pairs([source], tmp_path / "whole", ScriptedScorer(by_letters))
    assert list(read_pairs(tmp_path / "new")) == list(read_pairs(tmp_path / "whole"))
    assert len(read_manifest(tmp_path / "new")["sessions"]) == 2


def test_pairs_that_are_too_long_for_the_prm_are_left_out(tmp_path):
    """A whole shard of them is stored as an empty one, so that going on is not confused."""

    def choosy(step, author):
        if step.startswith(("a draft 1", "b")):
            raise ContextOverflowError("too long")
        return 0.5

    source = folder_of(tmp_path / "one", walk("b", [(0.7, 0.1)]))
    write_shard(source, walk("a", [(0.2, 0.8), (0.9, 0.4), (0.3, 0.3)]))
    for _ in range(2):
        found = rescore_pairs([source], tmp_path / "new", ScriptedScorer(choosy))
        assert found.left_out == 2
        assert [pair.draft for pair in read_pairs(tmp_path / "new")] == ["a draft 0", "a draft 2"]


def test_what_cannot_be_is_said(tmp_path):
    """Another PRM for a folder that is begun, the folder itself, no pairs, and rewards that are none."""
    source = folder_of(tmp_path / "one", walk("a", [(0.2, 0.8)]))
    rescore_pairs([source], tmp_path / "new", ScriptedScorer(by_letters))
    another = ScriptedScorer(by_letters)
    another.name = "another"
    with pytest.raises(PairsError, match="made in another way"):
        rescore_pairs([source], tmp_path / "new", another)
    with pytest.raises(PairsError, match="choose a new folder"):
        rescore_pairs([source], source, ScriptedScorer(by_letters))
    with pytest.raises(PairsError, match="no step pairs"):
        rescore_pairs([tmp_path / "none"], tmp_path / "x", ScriptedScorer(by_letters))
    with pytest.raises(PairsError, match=r"reward of 1\.5"):
        rescore_pairs([source], tmp_path / "y", ScriptedScorer(lambda step, author: 1.5))
    assert shards(tmp_path / "y") == []
