"""Scoring pairs: the same scores as one by one, and nothing read twice."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from arbitrage.errors import ContextOverflowError
from arbitrage.harness.router.pairs import HistoryStep
from arbitrage.harness.router.scoring import score_pairs
from arbitrage.testing.scripted import ScriptedScorer
from tests.harness.router.made_pairs import walk

PAIRS = [
    *walk("a", [(0.2, 0.8), (0.9, 0.4), (0.5, 0.5)]),
    *walk("b", [(0.7, 0.1), (0.3, 0.6)]),
]


def opinion(step, author):
    return (len(step) + sum(map(ord, step))) % 97 / 97


@pytest.mark.parametrize("concurrency", [1, 3])
@pytest.mark.parametrize("order", [(0, 1, 2, 3, 4), (4, 0, 3, 2, 1), (2, 2, 0, 4, 3)])
def test_a_score_does_not_depend_on_the_pairs_around_it(concurrency, order):
    """In any order, with repeats, several at once."""
    scores = score_pairs(ScriptedScorer(opinion), [PAIRS[i] for i in order], concurrency=concurrency)
    assert scores.tolist() == [opinion(PAIRS[i].draft, "draft") for i in order]


def test_each_step_of_a_solution_is_read_once():
    """Kept drafts are committed as they were scored, target steps are appended, and no session sees a step twice."""
    scorer = ScriptedScorer(opinion)
    seen = []
    score_pairs(scorer, PAIRS, progress=lambda done, total: seen.append((done, total)))
    assert [call for call in scorer.calls if call[0] != "discard"] == [
        ("score", "a draft 0", "draft"),
        ("append", "a target 0", "target"),
        ("score", "a draft 1", "draft"),
        ("commit", "a draft 1", "draft"),
        ("score", "a draft 2", "draft"),
        ("score", "b draft 0", "draft"),
        ("commit", "b draft 0", "draft"),
        ("score", "b draft 1", "draft"),
    ]
    assert seen == [(3, 5), (5, 5)]


def test_two_solutions_of_one_problem_may_stand_next_to_each_other():
    """Under another roll-in another step was committed, so the second one is read behind its own history."""
    first = walk("a", [(0.2, 0.8), (0.9, 0.4)])
    other = dataclasses.replace(first[1], history=(HistoryStep("a draft 0", "draft"),))
    scorer = ScriptedScorer(opinion)
    score_pairs(scorer, [*first, other])
    assert [call for call in scorer.calls if call[0] != "discard"][-2:] == [
        ("append", "a draft 0", "draft"),
        ("score", "a draft 1", "draft"),
    ]


def test_a_step_that_is_too_long_is_left_out_and_the_next_ones_are_not():
    """NaN for it; the rest of its solution is scored behind the right history."""

    def choosy(step, author):
        if step == "a draft 1":
            raise ContextOverflowError("too long")
        return opinion(step, author)

    scores = score_pairs(ScriptedScorer(choosy), PAIRS)
    assert np.isnan(scores).tolist() == [False, True, False, False, False]
    assert scores[2] == opinion("a draft 2", "draft")
