"""Token-level speculation reproduces its target: every token when greedy, the law when sampling."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from scipy.stats import chisquare

from arbitrage.decoding import LogitsSession
from arbitrage.draft_length import AdaptiveLength, FixedLength, Round, expected_speedup
from arbitrage.interfaces import Models, Settings, Stop, StopReason, Usage
from arbitrage.proposals import NgramProposer
from arbitrage.sampling import Sampling, probabilities
from arbitrage.seeding import problem_rng
from arbitrage.strategies import SpeculativeModel, TargetOnly, TokenSD, speculate
from arbitrage.strategies.proposers import DraftProposer
from arbitrage.testing import END, VOCABULARY, ScriptedModel
from arbitrage.types import Problem
from tests.table_model import TableModel

PROBLEM = Problem("p", "What is 1+1?", ("2",))


def pair(seed):
    target = TableModel(seed)
    return TableModel(seed + 1000, mix=target), target


def write(strategy, draft, target, seed=0, sampling=None, **limits):
    settings = Settings(sampling=sampling or Sampling(), **{"max_tokens": 120, **limits})
    bundle = Models(draft=draft, target=target, settings=settings)
    return strategy.solve(PROBLEM, bundle, problem_rng(seed, PROBLEM.id))


STRATEGIES = [
    TokenSD(gamma=1),
    TokenSD(gamma=4, min_confidence=0.0),
    TokenSD(gamma=7),
    TokenSD(),
    TokenSD(proposer="ngram"),
    TokenSD(gamma=3, proposer="ngram"),
    TokenSD(proposer="mixed"),
    TokenSD(gamma=3, proposer="mixed"),
]


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda s: s.label)
def test_greedy_output_is_the_targets_token_for_token(strategy):
    """On 40 random models ids, steps, log-probabilities and end reason equal target-only's."""
    for seed in range(40):
        draft, target = pair(seed)
        ours, plain = write(strategy, draft, target), write(TargetOnly(), None, target)
        assert ours.token_ids == plain.token_ids
        assert [s.text for s in ours.steps] == [s.text for s in plain.steps]
        assert ours.end_reason == plain.end_reason


def test_an_agreeing_draft_saves_target_passes():
    """A draft that writes the same script leaves the target about one pass in gamma + 1."""
    script = ["a fairly long step, all of it agreed", "and another one"]
    generation = write(TokenSD(gamma=4), ScriptedModel(script), ScriptedModel(script))
    assert generation.calls["target"] <= np.ceil(generation.tokens / 5) + 3
    drafted = sum(s.drafted for s in generation.steps)
    assert sum(s.drafted_accepted for s in generation.steps) == drafted > 0


def joint_law(model, prompt, depth, sampling):
    """Exact law of the first `depth` tokens of the plain target (sequences that end earlier are shorter)."""
    law = Counter()
    frontier = {(): 1.0}
    for _ in range(depth):
        following = Counter()
        for prefix, mass in frontier.items():
            text = "".join(chr(t) for t in prefix)
            p = probabilities(model.row(text)[None], sampling)[0]
            for token in np.flatnonzero(p):
                grown = (*prefix, int(token))
                (law if token == END else following)[grown] += mass * p[token]
        frontier = following
    return law + frontier


@pytest.mark.parametrize("gamma", [1, 3])
@pytest.mark.parametrize("proposer", ["draft", "ngram", "mixed"])
@pytest.mark.parametrize("sampling", [Sampling(1.0), Sampling(0.7, top_k=3), Sampling(1.3, top_p=0.8)], ids=str)
def test_sampled_output_has_the_targets_law(gamma, proposer, sampling):
    """The first three tokens of 4000 runs pass a chi-square test against the enumerated law (false alarm 1e-4)."""
    target = TableModel(7, vocabulary=4)
    draft = TableModel(8, vocabulary=4)
    helper = None if proposer == "ngram" else draft
    model = speculate(target, helper, gamma=gamma, min_confidence=0.3, lookup=proposer == "mixed")
    rng = np.random.default_rng(3)
    prompt = [ord("a"), ord("b"), ord("a"), ord("b")]
    counts = Counter()
    runs = 4000
    for _ in range(runs):
        with model.open(prompt) as session:
            counts[session.generate(Stop(3, at_separator=False), sampling, rng).ids] += 1
    law = joint_law(target, prompt, 3, sampling)
    assert counts.keys() <= law.keys()
    common = [k for k, mass in law.items() if mass * runs >= 5]
    observed = [counts[k] for k in common] + [runs - sum(counts[k] for k in common)]
    wanted = [law[k] * runs for k in common]
    wanted.append(runs - sum(wanted))
    if wanted[-1] < 1e-6:
        observed, wanted = observed[:-1], wanted[:-1]
    wanted = np.array(wanted) * sum(observed) / sum(wanted)
    assert chisquare(observed, wanted).pvalue > 1e-4


def test_the_law_test_notices_a_greedy_draft(monkeypatch):
    """A draft that proposes its favourite but claims to have sampled it fails the same test by a wide margin."""
    target, draft = TableModel(7, vocabulary=4), TableModel(8, vocabulary=4)
    from arbitrage.strategies import proposers

    monkeypatch.setattr(proposers, "draw", lambda law, u: int(law.argmax()))
    model = speculate(target, draft, gamma=1, min_confidence=0.0)
    rng = np.random.default_rng(3)
    sampling = Sampling(1.0)
    counts = Counter()
    for _ in range(3000):
        with model.open([ord("a")]) as session:
            counts[session.generate(Stop(2, at_separator=False), sampling, rng).ids] += 1
    law = joint_law(target, [], 2, sampling)
    keys = list(law)
    assert chisquare([counts[k] for k in keys], [law[k] * 3000 for k in keys]).pvalue < 1e-6


def test_vocabularies_padded_to_different_sizes_are_fine():
    """Rows of other widths are filled with impossible tokens on either side."""

    class Narrow(TableModel):
        def row(self, written):
            return super().row(written)[: VOCABULARY - 10]

    for draft, target in itertools.permutations([TableModel(1), Narrow(2)]):
        for sampling in (Sampling(), Sampling(1.0)):
            out = write(TokenSD(gamma=3, min_confidence=0.0), draft, target, sampling=sampling)
            assert out.tokens > 0


def test_generation_stops_inside_an_accepted_run_exactly_where_the_target_would():
    """A separator or end of sequence among accepted tokens ends the call there; the rest is forgotten."""
    script = ["ab", "cd"]
    model = speculate(ScriptedModel(script), ScriptedModel(script), gamma=8, min_confidence=0.0)
    with model.open([65]) as session:
        first = session.generate(Stop(50), Sampling(), np.random.default_rng(0))
        assert (model.codec.decode(first.ids), first.reason) == ("ab\n\n", StopReason.SEPARATOR)
        assert list(session.ids) == [65, *first.ids]
        second = session.generate(Stop(50), Sampling(), np.random.default_rng(0))
        assert (model.codec.decode(second.ids), second.reason) == ("cd", StopReason.EOS)
    with model.open([65]) as session:
        cut = session.generate(Stop(3), Sampling(), np.random.default_rng(0))
        assert (len(cut.ids), cut.reason) == (3, StopReason.LENGTH)


@pytest.mark.parametrize("make", [lambda t: t, lambda t: speculate(t, None, gamma=2)], ids=["plain", "speculative"])
@pytest.mark.parametrize("cut", [0, 1, 5, 30])
def test_a_proposal_changes_the_work_and_not_the_text(make, cut):
    """Any proposal, right for `cut` tokens and wrong afterwards, leaves greedy output as it is and is kept that far."""
    target = TableModel(11)
    prompt = [ord("a"), ord("b")]
    plain = target.open(prompt).generate(Stop(40, at_separator=False), Sampling(), np.random.default_rng(0)).ids
    proposal = [*plain[:cut], *([ord("~")] * 5)]
    with make(target).open(prompt) as session:
        ours = session.generate(Stop(40, at_separator=False), Sampling(), np.random.default_rng(0), proposal)
    assert ours.ids == plain
    assert ours.proposal_kept == min(cut, len(plain))


def test_a_proposal_keeps_the_sampled_law():
    """With a fixed proposal the first token of 4000 runs still has the target's law (false alarm 1e-4)."""
    target = TableModel(7, vocabulary=4)
    sampling, rng = Sampling(1.0), np.random.default_rng(5)
    law = joint_law(target, [], 2, sampling)
    for model in (target, speculate(target, None, gamma=2)):
        counts = Counter()
        for _ in range(4000):
            with model.open([ord("a")]) as session:
                ids = session.generate(Stop(2, at_separator=False), sampling, rng, [ord("a"), ord("b"), ord("a")]).ids
            counts[ids] += 1
        keys = [k for k in law if law[k] * 4000 >= 5]
        observed = [counts[k] for k in keys]
        wanted = np.array([law[k] for k in keys])
        assert chisquare(observed, wanted / wanted.sum() * sum(observed)).pvalue > 1e-4


def test_the_ngram_proposer_continues_the_latest_earlier_occurrence():
    """The longest match wins, the latest of equals; no match suggests nothing."""
    proposer = NgramProposer(longest=3, shortest=2)

    def ask(ids, limit=3):
        return proposer.propose(ids, 0, limit, None, Sampling(), np.random.default_rng(0)).tokens

    assert ask([1, 2, 3, 4, 9, 1, 2, 3, 5, 6, 7, 1, 2, 3]) == (5, 6, 7)
    assert ask([1, 2, 3, 1, 2], limit=2) == (3, 1)
    assert ask([1, 2, 3, 4]) == ()
    with pytest.raises(ValueError, match="shortest"):
        NgramProposer(longest=1, shortest=2)


def test_a_proposal_ends_with_its_step_or_its_sequence():
    """Nothing is drafted past a separator that ends the step, nor past an end of sequence."""
    from arbitrage.boundary import StepBoundary

    draft = ScriptedModel(["ab", "cd"])
    proposer = DraftProposer(draft, [65], 0.0)

    def ask(ids, boundary):
        return draft.codec.decode(proposer.propose(ids, 0, 20, boundary, Sampling(), np.random.default_rng(0)).tokens)

    assert ask([65], StepBoundary(draft.codec)) == "ab\n\n"
    assert ask([65], None) == "ab\n\ncd"
    assert ask([65, *draft.codec.encode("ab\n\nc")], None) == "d"


def test_the_draft_follows_any_change_of_the_sequence():
    """Rewinds, extensions and replaced tails leave the draft's suggestions equal to a fresh session's."""
    model = TableModel(21)
    proposer = DraftProposer(model, [97], 0.0)
    rng = np.random.default_rng(0)
    ids = [97]
    for step in range(60):
        cut = int(rng.integers(1, len(ids) + 1)) if step % 3 == 0 else len(ids)
        ids = [*ids[:cut], *(int(t) for t in rng.integers(97, 101, size=int(rng.integers(0, 4))))]
        fresh = DraftProposer(model, [97], 0.0)
        asked = [p.propose(ids, same, 4, None, Sampling(), rng) for p, same in ((proposer, cut), (fresh, 0))]
        assert asked[0].tokens == asked[1].tokens


def simulate(length, tokens, *, acceptance, draft=0.25, further=0.05, plain=1e-3, seed=0, hiccup=0.0):
    """Write `tokens` tokens under given true costs (in plain passes); relative time and the share of plain tokens."""
    rng = np.random.default_rng(seed)
    seconds = written = written_plainly = 0
    while written < tokens:
        if (count := length.plain()) > 0:
            length.observe_plain(count, plain * count)
            seconds, written, written_plainly = seconds + plain * count, written + count, written_plainly + count
            continue
        asked = length.next()
        accepted = next((i for i in range(asked) if rng.random() >= acceptance), asked)
        target_s, draft_s = plain * (1 + further * asked), plain * draft * asked
        seconds += target_s + draft_s
        written += accepted + 1
        if rng.random() < hiccup:
            target_s *= 30
        length.observe(Round(asked, accepted, asked, asked, target_s, draft_s))
    return seconds / (written * plain), written_plainly / written


@pytest.mark.parametrize("clocked", [True, False], ids=["measured", "nominal"])
@pytest.mark.parametrize("acceptance", [0.0, 0.1, 0.3])
def test_the_adaptive_length_loses_next_to_nothing_with_a_useless_draft(acceptance, clocked):
    """Over 3,000 tokens at most 2 % more time than plain decoding, by its own clock or by the nominal one."""
    relative, plain = simulate(AdaptiveLength(clocked=clocked), 3000, acceptance=acceptance, draft=0.5)
    if clocked:
        assert relative <= 1.02
        assert plain > 0.9
    else:  # a draft twice as dear as it was told to be
        assert relative <= 1.1


def test_the_adaptive_length_measures_what_checking_costs():
    """Where each checked token costs as much as a pass of its own, even a perfect draft is left unused."""
    relative, plain = simulate(AdaptiveLength(), 3000, acceptance=1.0, draft=0.45, further=0.9)
    assert relative <= 1.02
    assert plain > 0.9
    unexpected, _ = simulate(
        AdaptiveLength(cost_ratio=0.0, verify_cost=0.0), 3000, acceptance=0.8, draft=0.5, further=1.0
    )
    assert unexpected <= 1.03
    nominal, plain = simulate(
        AdaptiveLength(cost_ratio=0.45, verify_cost=0.9, clocked=False), 3000, acceptance=1.0, draft=0.45, further=0.9
    )
    assert nominal <= 1.02
    assert plain > 0.9


@pytest.mark.parametrize("hiccup", [0.0, 0.02])
def test_the_adaptive_length_uses_a_good_draft_fully(hiccup):
    """Acceptance 0.95 and cheap checks give the longest draft and its speed-up, also on a machine that stutters."""
    good = AdaptiveLength()
    relative, plain = simulate(good, 3000, acceptance=0.95, draft=0.1, hiccup=hiccup)
    best = min(1 / expected_speedup(0.95, n, 0.1, 0.05) for n in range(9))
    assert relative <= best * 1.1
    assert plain < 0.05
    assert good.next() >= 6


def test_the_adaptive_length_notices_when_text_becomes_easier():
    """After 500 tokens of hard text it drafts again within the next 500 easy ones."""
    length = AdaptiveLength()
    simulate(length, 500, acceptance=0.0)
    simulate(length, 500, acceptance=0.95)
    _, plain = simulate(length, 200, acceptance=0.95)
    assert plain < 0.2  # stretches that measure a plain token are in it


def test_a_copy_knows_the_same_and_learns_apart():
    """What either sees afterwards does not reach the other."""
    length = AdaptiveLength()
    simulate(length, 500, acceptance=0.8)
    twin = length.copy()

    def state(one):
        return one.acceptance, one.speedup(), one.next(), one.plain()

    before = state(length)
    assert state(twin) == before
    simulate(twin, 500, acceptance=0.1, draft=0.9, further=0.5, plain=2e-3)
    assert state(length) == before != state(twin)


class Handing(float):
    """A number of seconds that lets other threads in wherever it is compared: in the middle of an average."""

    def __truediv__(self, other):
        return Handing(float(self) / other)

    def __gt__(self, other):
        time.sleep(0)
        return float(self) > other


def test_what_many_threads_report_at_once_is_all_learnt():
    """Eight threads, each report alike: the estimates are those of one thread, however the threads take turns."""

    def report(length):
        for _ in range(50):
            length.observe(Round(4, 2, 4, 4, 1.0 + 4 * 0.05, 4 * 0.25))
            length.observe_plain(12, Handing(12.0))

    alone, shared = AdaptiveLength(), AdaptiveLength()
    for length in (alone, shared):
        length.observe_plain(12, 12.0)
    for _ in range(8):
        report(alone)
    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(report, shared) for _ in range(8)]:
            done.result()
    assert shared.acceptance == pytest.approx(alone.acceptance, rel=1e-9)
    assert shared.speedup() == pytest.approx(alone.speedup(), rel=1e-9)


def test_looking_up_costs_no_pause():
    """A proposer that is free and mostly finds nothing is asked nearly every round."""
    length, asked = AdaptiveLength(cost_ratio=0.02), 0
    for i in range(300):
        if (count := length.plain()) > 0:
            length.observe_plain(count, 1.0 * count)
            continue
        asked += 1
        found = length.next() if i % 50 < 5 else 0
        length.observe(Round(found, found, 0, 0, 1.0 + 0.05 * found, 1e-5))
    assert asked > 250


def test_what_a_pass_reads_besides_is_not_charged_to_the_draft():
    """A prompt in the same pass teaches acceptance alone; a step leaves the draft its share of the pass."""
    length = AdaptiveLength(cost_ratio=0.0)
    length.observe_plain(12, 12.0)
    length.observe(Round(4, 4, 0, 0, target_seconds=50.0, draft_seconds=0.0, catch_up=400))
    assert length.acceptance > 0.9
    assert length.plain() == 0
    for _ in range(60):
        length.observe(Round(4, 4, 0, 0, target_seconds=3.4, draft_seconds=0.0, catch_up=8))
    # Twelve tokens more than a plain pass took 2.4 plain passes longer: 0.2 each, 0.8 for the drafted four.
    length.observe_plain(12, 12.0)
    assert length.speedup() == pytest.approx(9 / (1 + 8 * 0.2), rel=0.05)


def test_a_trial_forgives_a_draft_that_reads_its_prompt_first():
    """A first round that costs ten plain tokens ends no trial that gains afterwards, and no useless one goes on."""
    useful, useless = AdaptiveLength(), AdaptiveLength()
    for length, kept in ((useful, 4), (useless, 0)):
        length.observe_plain(12, 12.0)
        length.observe(Round(4, kept, 4, 40, target_seconds=1.2, draft_seconds=10.0))
        for _ in range(8):
            if not length.plain():
                length.observe(Round(4, kept, 4, 4, target_seconds=1.2, draft_seconds=1.0))
    assert useful.plain() == 0
    assert useless.plain() > 0


@pytest.mark.parametrize("repeats", [True, False], ids=["text repeats", "text does not"])
def test_mixed_proposals_look_up_what_repeats_and_draft_the_rest(repeats):
    """Where the text repeats itself the draft model is run less than alone; else little is lost."""
    text = "one and two, " * 12 if repeats else "the quick brown fox jumps over a lazy dog while 9 wizards vex Bq"
    calls = {}
    for proposer in ("draft", "mixed"):
        draft, target = ScriptedModel([text]), ScriptedModel([text])
        generation = write(TokenSD(gamma=4, proposer=proposer), draft, target, max_tokens=400)
        assert generation.text == text
        calls[proposer] = (generation.calls["draft"], generation.calls["target"])
    if repeats:
        assert calls["mixed"][0] < calls["draft"][0] / 3
    else:
        assert calls["mixed"][1] <= calls["draft"][1] + 3


def test_expected_speedup_is_the_papers_formula():
    """Checked against hand-computed values and against the sum 1 + a + ... + a^n."""
    assert expected_speedup(0.8, 4, 0.1) == pytest.approx(sum(0.8**i for i in range(5)) / 1.4)
    assert expected_speedup(1.0, 3, 0.0) == 4
    assert expected_speedup(0.0, 0, 0.5) == 1
    assert expected_speedup(1.0, 3, 0.5, 0.5) == 1  # a pass over four tokens that costs as much as four
    with pytest.raises(ValueError, match="gamma"):
        FixedLength(0)


def test_sampled_rows_do_not_depend_on_the_clock():
    """A slow clock makes greedy speculation plain, but leaves sampled output as it is."""

    class Slow(TableModel):
        def open(self, prompt):
            session = super().open(prompt)
            session.usage = Usage(seconds=1e6)
            return session

    target = TableModel(5)
    fast = write(TokenSD(), TableModel(6), target, sampling=Sampling(1.0))
    slow = write(TokenSD(), Slow(6), target, sampling=Sampling(1.0))
    assert fast.token_ids == slow.token_ids


def test_the_model_describes_its_target():
    """A speculative model stands in for its target in name, tokenizer and context."""
    target = TableModel(1)
    model = speculate(target, None)
    assert isinstance(model, SpeculativeModel)
    assert (model.name, model.codec, model.context_length) == (target.name, target.codec, target.context_length)
    assert model.describe() == target.describe()
    assert isinstance(target.open([1]), LogitsSession)


def test_a_draft_with_a_shorter_context_helps_as_long_as_it_can():
    """Beyond it the target writes alone; the text is the target's."""
    steps = ["the first step", "the second step", "the third step", "the end"]
    target, draft = ScriptedModel(steps), ScriptedModel(steps, context_length=110)
    whole, plain = write(TokenSD(gamma=3), draft, target), write(TargetOnly(), draft, target)
    assert whole.text == plain.text
    assert 0 < sum(s.drafted for s in whole.steps) < 30
