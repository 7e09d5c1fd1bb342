"""Looking up tokens: the index is exact after any change, and a step is found again after a difference."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from arbitrage.proposals import NgramIndex, NgramProposer, StepLookup
from arbitrage.sampling import Sampling

EDITS = st.lists(st.tuples(st.integers(0, 30), st.lists(st.integers(0, 3), max_size=8)), min_size=1, max_size=12)
"""Each cuts the sequence to a length and appends tokens of a tiny vocabulary, so that n-grams come back often."""


def histories(edits):
    """The sequence after each edit, with how many first tokens the edit left alone."""
    ids: list[int] = []
    for cut, more in edits:
        kept = min(cut, len(ids))
        ids = [*ids[:kept], *more]
        yield ids, kept


def scanned(ids, limit, longest=3, shortest=2):
    """What followed the latest earlier occurrence of the newest tokens, found by looking at every place."""
    for n in range(min(longest, len(ids) - 1), shortest - 1, -1):
        for start in range(len(ids) - n - 1, -1, -1):
            if ids[start : start + n] == ids[-n:]:
                return tuple(ids[start + n : start + n + limit])
    return ()


def ask(proposer, ids, unchanged, limit):
    return proposer.propose(ids, unchanged, limit, None, Sampling(), np.random.default_rng(0)).tokens


@given(EDITS, st.integers(1, 6))
def test_the_ngram_proposer_finds_what_a_scan_finds(edits, limit):
    """After any rewinds and extensions, one proposer that follows them says what looking at every place says."""
    proposer = NgramProposer()
    for ids, unchanged in histories(edits):
        assert ask(proposer, ids, unchanged, limit) == scanned(ids, limit)


@given(EDITS)
def test_the_index_knows_every_place(edits):
    """Places of every n-gram are those of a fresh index, ascending."""
    index = NgramIndex(3, 1)
    for ids, unchanged in histories(edits):
        index.follow(ids, unchanged)
        for n in (1, 2, 3):
            for start in range(len(ids) - n + 1):
                gram = tuple(ids[start : start + n])
                places = [i + n for i in range(len(ids) - n + 1) if tuple(ids[i : i + n]) == gram]
                assert list(index.places(gram)) == places
        assert not index.places((9,))


def looked_up(step, written, limit=20):
    return ask(StepLookup(step, 2), [7, 7, *written], 0, limit)


def test_a_step_is_suggested_as_long_as_it_is_followed():
    """All but its last token, which nothing needs to follow; then what is left of it."""
    assert looked_up([1, 2, 3, 4], []) == (1, 2, 3)
    assert looked_up([1, 2, 3, 4], [1]) == (2, 3)
    assert looked_up([1, 2, 3, 4], [], limit=2) == (1, 2)
    assert looked_up([1, 2, 3, 4], [1, 2, 3]) == ()


def test_a_lost_step_is_found_again_by_the_newest_tokens():
    """After a difference two tokens in the step's order are needed; the nearest place ahead goes before others."""
    step = [1, 2, 3, 1, 2, 4, 5, 1, 2, 6, 0]
    assert looked_up(step, [9]) == ()
    assert looked_up(step, [9, 1]) == ()
    assert looked_up(step, [9, 1, 2]) == (3, 1, 2, 4, 5, 1, 2, 6)
    assert looked_up(step, [1, 2, 9, 1, 2]) == (4, 5, 1, 2, 6)
    assert looked_up(step, [1, 2, 3, 1, 2, 4, 9, 1, 2]) == (6,)
    assert looked_up(step, [1, 2, 3, 1, 2, 4, 5, 1, 2, 9, 3, 1, 2]) == (4, 5, 1, 2, 6)  # three tokens tell it apart


@given(st.lists(st.integers(0, 2), min_size=1, max_size=12), st.lists(st.integers(0, 2), max_size=20))
def test_asking_often_or_once_is_the_same(step, written):
    """What a lookup says depends on what was written, not on when it was asked."""
    often = StepLookup(step, 0)
    for end in range(len(written) + 1):
        last = ask(often, written[:end], end, 5)
    assert last == ask(StepLookup(step, 0), written, 0, 5)
