"""Writing with a proposal: the same text as without, the right law, work only where it pays, an end when asked."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arbitrage import decoding
from arbitrage.decoding import proposal_length
from arbitrage.draft_length import FixedLength
from arbitrage.interfaces import Stop, StopReason
from arbitrage.probability import accepts, residual
from arbitrage.sampling import Sampling, draw, probabilities
from arbitrage.strategies import speculate
from arbitrage.testing import VOCABULARY, ScriptedModel

A, B = ord("a"), ord("b")
P = {"": (3, 1), "a": (1, 3), "b": (2, 2)}
"""The target's law of the next letter by the last one, in quarters."""
Q = {"": (2, 2), "a": (3, 1), "b": (1, 3)}
"""The draft's."""


class Letters(ScriptedModel):
    """Writes a and b for ever."""

    def __init__(self, table, context_length=4096):
        super().__init__([""], context_length=context_length)
        self.table = table

    def row(self, written):
        row = np.full(VOCABULARY, -np.inf, dtype=np.float32)
        row[[A, B]] = np.log(np.array(self.table[written[-1:]]) / 4)
        return row


class Numbers:
    """A source of randomness that gives the numbers it was given."""

    def __init__(self, numbers):
        self.numbers = list(numbers)

    def random(self):
        return self.numbers.pop(0)


def law_of(table, length):
    """Exact law of the first letters."""
    law = {}
    for letters in itertools.product("ab", repeat=length):
        shares = [table[("", *letters)[i]]["ab".index(letter)] / 4 for i, letter in enumerate(letters)]
        law["".join(letters)] = float(np.prod(shares))
    return law


def output_law(model, proposal, length, numbers):
    """Exact law of what is written with `proposal`: all uniform numbers, on a lattice that divides every share."""
    law = dict.fromkeys(map("".join, itertools.product("ab", repeat=length)), 0.0)
    lattice = (np.arange(4) + 0.5) / 4
    for uniforms in itertools.product(lattice, repeat=numbers):
        with model.open([1]) as session:
            ids = session.generate(Stop(length), Sampling(1.0), Numbers(uniforms), proposal).ids
        law[model.codec.decode(ids)] += 4.0**-numbers
    return law


def words(length):
    return ["".join(letters) for letters in itertools.product("ab", repeat=length)]


@pytest.mark.parametrize("rejected", words(4))
def test_the_law_of_an_escalated_step_is_the_targets_whatever_was_rejected(rejected):
    """Five letters, four of them proposed: exactly p for each rejected step, hence for any way to select it."""
    target = Letters(P)
    law = output_law(target, [*target.codec.encode(rejected), A], 5, 5)
    assert law == pytest.approx(law_of(P, 5), abs=1e-12)


def usual_rule(writing, rows, tokens, sampling, rng):
    """The mutant: min(1, p/q), as if the step were a fair draw from q."""
    written = ""
    for i, row in enumerate(rows):
        p = probabilities(row, sampling)
        if i == len(tokens):
            token = draw(p, rng.random())
        else:
            q = probabilities(Letters(Q).row(written), sampling)
            kept = accepts(p, q, tokens[i], rng.random())
            token = tokens[i] if kept else draw(residual(p, q), rng.random())
        more = writing.take(row, token)
        written += chr(token)
        if i == len(tokens) or token != tokens[i]:
            return i, token
        if not more:
            return i + 1, None
    raise AssertionError


def escalated_law(judge):
    """Law of two letters when a judge has the target rewrite exactly the draft's steps that it dislikes."""
    target, law = Letters(P), dict.fromkeys(words(2), 0.0)
    disliked = {step: mass for step, mass in law_of(Q, 3).items() if judge(step)}
    for step, mass in disliked.items():
        for text, share in output_law(target, target.codec.encode(step), 2, 4).items():
            law[text] += share * mass / sum(disliked.values())
    return law


@pytest.mark.parametrize(
    "judge", [lambda s: s[0] == "b", lambda s: s.count("a") > 1, lambda s: True], ids=["starts b", "many a", "all"]
)
def test_selection_by_rejection_does_not_bend_the_law_and_the_usual_rule_would(judge, monkeypatch):
    """Over all steps that a judge rejects the law is p; min(1, p/q) is right only where nothing was selected."""
    assert escalated_law(judge) == pytest.approx(law_of(P, 2), abs=1e-12)
    monkeypatch.setattr(decoding, "take_fixed", usual_rule)
    selected = not judge("a" * 3) or not judge("b" * 3)
    error = max(abs(mass - law_of(P, 2)[text]) for text, mass in escalated_law(judge).items())
    assert (error > 0.05) == selected


STEPS = st.lists(st.sampled_from([A, B]), max_size=30)


@settings(deadline=None)
@given(STEPS, st.integers(0, 2**32), st.sampled_from([0.0, 1.0]), st.sampled_from(["plain", "lookup", "both"]))
def test_a_proposal_changes_no_token_and_no_random_number(proposal, seed, temperature, kind):
    """Whatever is proposed or looked up, sampled and greedy calls write and draw what they would have without."""
    target = Letters(P)
    model = target if kind == "plain" else speculate(target, None, gamma=3)
    stop, sampling = Stop(24), Sampling(temperature)
    with target.open([1]) as session:
        rng = np.random.default_rng(seed)
        alone = session.generate(stop, sampling, rng)
        drawn = rng.random()
    with model.open([1]) as session:
        rng = np.random.default_rng(seed)
        helped = session.generate(stop, sampling, rng, () if kind == "lookup" else proposal)
        assert (helped.ids, helped.reason) == (alone.ids, alone.reason)
        assert helped.logprobs == pytest.approx(alone.logprobs)
        assert list(session.ids) == [1, *alone.ids]
        assert rng.random() == drawn


def test_a_proposal_is_checked_in_chunks_and_found_again():
    """A step that differs in one letter costs few passes: up to the difference, two letters alone, then the rest."""
    step = "a longer step, in which number 4 is wrong and the rest agrees"
    target = ScriptedModel([step.replace("4", "5")])
    proposal = [*target.codec.encode(step), 3]
    with target.open([65]) as session:
        session.proposal_length = FixedLength(64)
        written = session.generate(Stop(200), Sampling(), np.random.default_rng(0), proposal)
    assert target.codec.decode(written.ids) == step.replace("4", "5")
    assert written.proposal_kept == step.index("4")
    # Up to the difference, the letters until two of them stand in the step in this order, the rest, the end.
    assert len(target.calls) <= 6


class Clock:
    """Passes that take `1 + further * (tokens - 1)` milliseconds of a clock that nothing else moves."""

    def __init__(self, monkeypatch, further):
        self.now, self.further = 0.0, further
        monkeypatch.setattr(decoding, "time", SimpleNamespace(perf_counter=lambda: self.now))

    def model(self, step):
        clock = self

        class Timed(ScriptedModel):
            def open(self, prompt):
                session = super().open(prompt)
                extend = session.extend

                def timed(ids, logits=0):
                    before = session.usage.tokens
                    rows = extend(ids, logits)
                    if tokens := session.usage.tokens - before:
                        clock.now += 1e-3 * (1 + clock.further * (tokens - 1))
                    return rows

                session.extend = timed
                return session

        return Timed([step])


@pytest.mark.parametrize(("further", "gain"), [(0.02, 5.0), (0.1, 3.0), (0.95, 0.97)])
def test_what_is_checked_at_once_depends_on_what_it_costs(further, gain, monkeypatch):
    """Right proposals are checked many at a time where that is nearly free, and left alone where it costs as much."""
    clock = Clock(monkeypatch, further)
    step = "one step of sixty letters that both models write in the same way"
    model = clock.model(step)
    tokens, length = 0, proposal_length()
    for _ in range(60):
        with model.open([65]) as session:
            session.proposal_length = length
            proposal = [*model.codec.encode(step), 3]
            tokens += len(session.generate(Stop(200), Sampling(), np.random.default_rng(0), proposal).ids)
    assert tokens * 1e-3 / clock.now > gain


def test_wrong_proposals_cost_next_to_nothing(monkeypatch):
    """Where no proposed token ever stands, at most three per cent of the time is lost."""
    clock = Clock(monkeypatch, 0.3)
    model = clock.model("one step of sixty letters that both models write in the same way")
    tokens, length = 0, proposal_length()
    for _ in range(60):
        with model.open([65]) as session:
            session.proposal_length = length
            proposal = [ord("~")] * 60
            tokens += len(session.generate(Stop(200), Sampling(), np.random.default_rng(0), proposal).ids)
    assert clock.now / (tokens * 1e-3) < 1.03


@pytest.mark.parametrize("kind", ["plain", "proposal", "speculative"])
def test_a_cancelled_call_ends_at_its_next_token_and_leaves_an_exact_session(kind):
    """What was written stands in the session; going on from there writes what one call would have written."""
    target = Letters(P)
    with target.open([1]) as session:
        whole = session.generate(Stop(40), Sampling(1.0), np.random.default_rng(4)).ids
    model = speculate(target, None, gamma=3) if kind == "speculative" else target
    proposal = whole if kind == "proposal" else ()
    asked = itertools.count(1)
    with model.open([1]) as session:
        rng = np.random.default_rng(4)
        stop = Stop(40, cancelled=lambda: next(asked) == 11)
        first = session.generate(stop, Sampling(1.0), rng, proposal)
        assert (first.ids, first.reason) == (whole[:11], StopReason.CANCELLED)
        assert list(session.ids) == [1, *first.ids]
        assert session.generate(Stop(29), Sampling(1.0), rng).ids == whole[11:]
