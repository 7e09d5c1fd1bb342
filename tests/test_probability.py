"""The accept rules, enumerated exactly, with wrong rules that the enumeration must notice."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbitrage.probability import accepts, residual, verify
from arbitrage.sampling import Probabilities, Sampling, draw, probabilities


@st.composite
def laws(draw_from, vocabulary):
    weights = draw_from(st.lists(st.integers(0, 9), min_size=vocabulary, max_size=vocabulary).filter(any))
    array = np.array(weights, dtype=float)
    return array / array.sum()


@st.composite
def law_pairs(draw_from):
    size = draw_from(st.integers(2, 12))
    return draw_from(laws(size)), draw_from(laws(size))


def accept_mass(p, q, token, rule):
    """Length of the set of u in [0, 1) at which `rule` accepts, found on a fine grid of midpoints."""
    grid = (np.arange(4000) + 0.5) / 4000
    return np.mean([rule(p, q, token, u) for u in grid])


def output_law(p, q, rule=accepts, rest=residual) -> Probabilities:
    """Law of the first token that comes out when tokens are drafted from q and checked against p."""
    out = np.zeros_like(p)
    rejected = 0.0
    for token in np.flatnonzero(q):
        kept = min(1.0, p[token] / q[token]) if rule is accepts else accept_mass(p, q, token, rule)
        out[token] += q[token] * kept
        rejected += q[token] * (1 - kept)
    return out + rejected * rest(p, q)


@given(law_pairs())
def test_accept_then_residual_has_exactly_the_target_law(pq):
    """Accepted mass plus rejected mass times the residual is p, whatever q is."""
    p, q = pq
    np.testing.assert_allclose(output_law(p, q), p, atol=1e-12)


@given(law_pairs(), st.floats(0, 1, exclude_max=True))
def test_the_rule_accepts_with_probability_min_one_p_over_q(pq, u):
    """The rule at u is exactly u < min(1, p/q) for every token the draft can draw."""
    p, q = pq
    for token in np.flatnonzero(q):
        ratio = p[token] / q[token]
        if abs(u - ratio) > 1e-12:
            assert accepts(p, q, int(token), u) == (u < min(1.0, ratio))


MUTANTS = {
    "accepts 2% too often": (lambda p, q, t, u: u * q[t] < p[t] * 1.02 and p[t] > 0, residual),
    "swapped p and q": (lambda p, q, t, u: u * p[t] < q[t], residual),
    "accepts the draft's favourite": (lambda p, q, t, u: t == q.argmax() or u * q[t] < p[t], residual),
    "always accepts": (lambda p, q, t, u: True, residual),
    "redraws from p": (accepts, lambda p, q: p),
    "residual the wrong way round": (accepts, lambda p, q: residual(q, p)),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_the_law_check_notices_wrong_rules(name):
    """Each seeded wrong rule moves the output law away from p by far more than the grid's error."""
    p, q = np.array([0.5, 0.3, 0.2, 0.0]), np.array([0.1, 0.4, 0.3, 0.2])
    rule, rest = MUTANTS[name]
    assert np.abs(output_law(p, q, rule, rest) - p).max() > 2e-3


def sequence_law(p_of, q_of, length, vocabulary, check):
    """Exact law of the first two output tokens of one round, all drafts and uniform cells enumerated on a lattice."""
    cells = 24
    us = (np.arange(cells) + 0.5) / cells
    law = np.zeros((vocabulary, vocabulary))
    for drafted in itertools.product(range(vocabulary), repeat=length):
        weight = np.prod([q_of(drafted[:i])[t] for i, t in enumerate(drafted)])
        if weight == 0:
            continue
        p = np.stack([p_of(drafted[:i]) for i in range(length + 1)])
        q = np.stack([q_of(drafted[:i]) for i in range(length)])
        for uniforms in itertools.product(us, repeat=length + 1):
            kept, token = check(p, q, drafted, uniforms)
            out = (*drafted[:kept], token)
            mass = weight / cells ** (length + 1)
            if len(out) >= 2:
                law[out[0], out[1]] += mass
            else:
                law[out[0]] += mass * p_of(out[:1])
    return law


def test_a_round_of_two_has_the_joint_law_of_the_target():
    """Enumerating drafts and uniforms on a lattice that divides every probability gives the joint law exactly."""
    p_table = {(): [12, 8, 4], (0,): [6, 6, 12], (1,): [24, 0, 0], (2,): [8, 8, 8]}
    q_table = {(): [8, 8, 8], (0,): [12, 6, 6], (1,): [8, 8, 8], (2,): [0, 12, 12]}

    def p_of(prefix):
        return np.array(p_table[tuple(prefix[:1])]) / 24

    def q_of(prefix):
        return np.array(q_table[tuple(prefix[:1])]) / 24

    law = sequence_law(p_of, q_of, 2, 3, verify)
    wanted = np.array([[p_of(())[a] * p_of((a,))[b] for b in range(3)] for a in range(3)])
    np.testing.assert_allclose(law, wanted, atol=1e-12)


def test_residual_of_equal_laws_is_the_law_and_bad_input_is_refused():
    """Nothing to correct gives p; NaN and unequal shapes are errors."""
    p = np.array([0.25, 0.75])
    np.testing.assert_array_equal(residual(p, p), p)
    with pytest.raises(ValueError, match="shape"):
        residual(p, np.ones(3) / 3)
    with pytest.raises(ValueError, match="NaN"):
        residual(p, np.array([np.nan, 1]))


@given(laws(6), st.floats(0, 1, exclude_max=True))
def test_draw_takes_the_slice_that_holds_u_and_never_an_impossible_token(law, u):
    """The drawn token has positive probability, and its slice of the cumulated law holds u."""
    token = draw(law, u)
    assert law[token] > 0
    assert law[:token].sum() - 1e-9 <= u <= law[: token + 1].sum() + 1e-9


@pytest.mark.parametrize(
    ("sampling", "wanted"),
    [
        (Sampling(), [0, 1, 0, 0]),
        (Sampling(temperature=1.0), [0.2, 0.4, 0.3, 0.1]),
        (Sampling(temperature=1.0, top_k=2), [0, 4 / 7, 3 / 7, 0]),
        (Sampling(temperature=1.0, top_p=0.7), [0, 4 / 7, 3 / 7, 0]),
        (Sampling(temperature=1.0, top_p=0.71), [2 / 9, 4 / 9, 3 / 9, 0]),
        (Sampling(temperature=0.5), np.array([4, 16, 9, 1]) / 30),
    ],
)
def test_temperature_top_k_and_top_p_give_the_law_they_promise(sampling, wanted):
    """Checked by hand on a law of four tokens."""
    logits = np.log(np.array([[0.2, 0.4, 0.3, 0.1]], dtype=np.float32))
    np.testing.assert_allclose(probabilities(logits, sampling)[0], wanted, atol=1e-6)


def test_bad_sampling_and_nan_logits_are_refused_with_advice():
    """Each error says what is allowed."""
    for bad in ({"temperature": -1.0}, {"top_k": -1}, {"top_p": 0.0}):
        with pytest.raises(ValueError, match="must be"):
            Sampling(**bad)
    with pytest.raises(ValueError, match="float32"):
        probabilities(np.array([[np.nan, 0]], dtype=np.float32), Sampling(temperature=1.0))
