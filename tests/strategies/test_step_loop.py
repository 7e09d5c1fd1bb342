"""The step loop under every policy, with scripted models: what is committed, who is asked, how it ends."""

from __future__ import annotations

import math

import numpy as np
import pytest

from arbitrage.errors import CapabilityError, VocabularyMismatchError
from arbitrage.interfaces import Models, Settings
from arbitrage.requirements import check_requirements
from arbitrage.sampling import Sampling
from arbitrage.seeding import problem_rng
from arbitrage.strategies import RSD, ArbitrageOracle, ArbitrageRouter, DraftOnly, RandomRoute, TargetOnly, TokenSD
from arbitrage.testing import CharacterCodec, ScriptedModel, ScriptedScorer
from arbitrage.types import EndReason, Problem, Role

PROBLEM = Problem("p1", "What is 1+1?", ("2",))
DRAFT = ["one", "two wrong", "three", "\\boxed{9}"]
TARGET = ["ONE", "TWO", "THREE", "\\boxed{2}"]


def models(draft=DRAFT, target=TARGET, scores=None, settings=None, **more) -> Models:
    scorer = ScriptedScorer(scores or {}, **more)
    return Models(ScriptedModel(draft), ScriptedModel(target), scorer, scorer, settings or Settings())


def solve(strategy, bundle, seed=0):
    check_requirements(strategy, bundle)
    return strategy.solve(PROBLEM, bundle, problem_rng(seed, PROBLEM.id))


def authors(generation):
    return "".join(step.author[0] for step in generation.steps)


def target_passes(bundle) -> int:
    return len(bundle.target.calls)


def test_single_models_write_their_own_scripts():
    """Target-only and draft-only return exactly their model's text, in steps, ended by end of sequence."""
    for strategy, script in ((TargetOnly(), TARGET), (DraftOnly(), DRAFT)):
        generation = solve(strategy, models())
        assert generation.text == "\n\n".join(script)
        assert [step.text for step in generation.steps] == script
        assert generation.end_reason is EndReason.EOS
        assert sum(step.tokens for step in generation.steps) == generation.tokens


def test_rsd_keeps_rewarded_steps_and_regenerates_the_others():
    """The steps below the threshold come from the target, the others from the draft."""
    bundle = models(scores={"one": 0.9, "two wrong": 0.2, "three": 0.7, "\\boxed{9}": 0.69})
    generation = solve(RSD(), bundle)
    assert [s.text for s in generation.steps] == ["one", "TWO", "three", "\\boxed{2}"]
    assert [s.rejected_text for s in generation.steps] == [None, "two wrong", None, "\\boxed{9}"]
    assert [s.draft_reward for s in generation.steps] == [0.9, 0.2, 0.7, 0.69]
    assert {s.router_score for s in generation.steps} == {None}


def test_the_router_escalates_above_its_threshold():
    """A score above the threshold discards the draft's step; at the threshold it is kept."""
    bundle = models(scores={"one": 0.5, "two wrong": 0.51}, default=0.0)
    generation = solve(ArbitrageRouter(), bundle)
    assert authors(generation) == "dtdd"
    assert [s.router_score for s in generation.steps] == [0.5, 0.51, 0.0, 0.0]
    assert {s.unused_target_text for s in generation.steps} == {None}


@pytest.mark.parametrize("strategy", [RSD(threshold=0.5), ArbitrageRouter(threshold=0.5), RandomRoute(rate=0.0)])
def test_the_target_is_never_run_on_accept(strategy):
    """When every step is accepted not one forward pass goes through the target."""
    bundle = models(default=0.5)
    generation = solve(strategy, bundle)
    assert authors(generation) == "dddd"
    assert target_passes(bundle) == 0
    assert generation.calls["target"] == 0


def test_an_escalated_step_costs_only_its_own_passes():
    """One escalation runs the target once per token of its step: catching up rides in the first of these passes."""
    bundle = models(scores={"three": 0.9}, default=0.1)
    generation = solve(ArbitrageRouter(threshold=0.5), bundle)
    assert authors(generation) == "ddtd"
    assert target_passes(bundle) == len("THREE\n\n")
    assert bundle.target.calls[0][1].endswith("one\n\ntwo wrong\n\n")


@pytest.mark.parametrize(
    ("draft_only", "target_only"),
    [
        (RSD(threshold=0.0), RSD(threshold=1.01)),
        (RSD(rate=0.0), RSD(rate=1.0)),
        (ArbitrageRouter(threshold=1.0), ArbitrageRouter(threshold=-0.01)),
        (ArbitrageRouter(rate=0.0), ArbitrageRouter(rate=1.0)),
        (RandomRoute(rate=0.0), RandomRoute(rate=1.0)),
        (ArbitrageOracle(threshold=1.0), ArbitrageOracle(threshold=-1.01)),
    ],
)
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_extreme_thresholds_are_the_single_models(draft_only, target_only, temperature):
    """At one end the text is draft-only's, at the other target-only's; also when sampling."""
    settings = Settings(sampling=Sampling(temperature=temperature), max_tokens=200)
    hazy = {"confidence": 0.9}

    def bundle():
        scorer = ScriptedScorer(lambda step, author: len(step) % 10 / 10)
        return Models(ScriptedModel(DRAFT, **hazy), ScriptedModel(TARGET, **hazy), scorer, scorer, settings)

    assert solve(draft_only, bundle()).text == solve(DraftOnly(), bundle()).text
    assert solve(target_only, bundle()).text == solve(TargetOnly(), bundle()).text


def test_the_oracle_commits_the_better_step_and_keeps_the_draft_on_ties():
    """Escalation iff the target's reward is strictly higher; nothing is wasted at threshold 0."""
    scores = {"one": 0.5, "ONE": 0.5, "two wrong": 0.1, "TWO": 0.9, "three": 0.8, "THREE": 0.4, "\\boxed{9}": 0.2}
    generation = solve(ArbitrageOracle(), models(scores=scores, default=0.3))
    assert authors(generation) == "dtdt"
    for step in generation.steps:
        if step.escalated:
            assert step.target_reward > step.draft_reward
            assert step.unused_target_text is None
    assert [step.unused_target_text for step in generation.steps if not step.escalated] == ["ONE", "THREE"]


def test_the_seconds_of_the_steps_are_the_seconds_of_the_solution():
    """What each model spent is told step by step, the discarded attempts of a step included, and adds up."""

    class Timed(ScriptedModel):
        def open(self, prompt):
            session = super().open(prompt)
            extend = session.extend

            def timed(ids, logits=0):
                session.usage.seconds += 0.25 * bool(logits)
                return extend(ids, logits)

            session.extend = timed
            return session

    scorer = ScriptedScorer({"two wrong": 0.9}, default=0.1)
    generation = solve(ArbitrageRouter(), Models(Timed(DRAFT), Timed(TARGET), scorer, scorer, Settings()))
    assert [set(step.time_s) for step in generation.steps] == [{"draft"}, {"draft", "target"}, {"draft"}, {"draft"}]
    assert generation.steps[1].time_s["target"] == 0.25 * len("TWO\n\n")
    for role in ("draft", "target"):
        assert sum(step.time_s.get(role, 0) for step in generation.steps) == generation.time_s[role]


def test_the_oracle_averages_several_target_samples_and_commits_the_first():
    """With m samples s_t is their mean; greedy decoding draws one because all would be equal."""
    settings = Settings(sampling=Sampling(temperature=1.0), max_tokens=60, max_steps=1)
    bundle = models(scores=lambda step, author: 1.0 if author == "target" else 0.0, settings=settings)
    solve(ArbitrageOracle(samples=3), bundle)
    assert [kind for kind, _, author in bundle.prm.calls if author == "target"].count("score") == 3
    greedy = models(scores={"one": 0.0}, settings=Settings(max_steps=1))
    generation = solve(ArbitrageOracle(samples=3), greedy)
    assert [author for kind, _, author in greedy.prm.calls if kind == "score"] == ["draft", "target"]
    assert generation.steps[0].text == "ONE"


def test_scorers_see_the_committed_history_and_no_step_twice():
    """An accepted candidate is committed as scored; after an escalation the target's step is appended unscored."""
    bundle = models(scores={"two wrong": 0.9}, default=0.1)
    solve(ArbitrageRouter(), bundle)
    assert [(kind, step) for kind, step, _ in bundle.router.calls] == [
        ("score", "one"),
        ("commit", "one"),
        ("score", "two wrong"),
        ("discard", "two wrong"),
        ("append", "TWO"),
        ("score", "three"),
        ("commit", "three"),
        ("score", "\\boxed{9}"),
        ("commit", "\\boxed{9}"),
    ]


def test_random_routing_escalates_its_rate_and_repeats_by_seed():
    """Over 400 steps the share is within 5 standard deviations (false alarm < 1e-6); one seed gives one result."""
    bundle = models(draft=["x"] * 400, target=["y"] * 400, settings=Settings(max_steps=400))
    first, second = solve(RandomRoute(rate=0.3), bundle, 1), solve(RandomRoute(rate=0.3), bundle, 1)
    assert authors(first) == authors(second) != authors(solve(RandomRoute(rate=0.3), bundle, 2))
    assert abs(first.escalated_steps / 400 - 0.3) < 5 * (0.3 * 0.7 / 400) ** 0.5


def test_budgets_end_a_solution_with_their_own_reason():
    """Token and step budgets cut exactly where they say; a boxed answer ends it only if asked to."""
    assert solve(TargetOnly(), models(settings=Settings(max_steps=2))).end_reason is EndReason.MAX_STEPS
    cut = solve(TargetOnly(), models(settings=Settings(max_tokens=7)))
    assert (cut.end_reason, cut.tokens, cut.text) == (EndReason.MAX_TOKENS, 7, "ONE\n\nTW")
    early = models(target=["\\boxed{1}", "more"], settings=Settings(answer_stop=True))
    assert solve(TargetOnly(), early).end_reason is EndReason.ANSWER
    full = Models(target=ScriptedModel(["x" * 100], context_length=120))
    assert solve(TargetOnly(), full).end_reason is EndReason.MAX_TOKENS


def test_two_empty_steps_force_the_target_and_a_third_ends_the_solution():
    """A draft that writes only blank lines hands over to the target without being asked a third time."""
    blank = models(draft=lambda done: "\n" * 2, target=lambda done: "" if "T" in done else "T", default=0.0)
    generation = solve(ArbitrageRouter(), blank)
    assert authors(generation)[:3] == "ddt"
    assert generation.steps[2].draft_tokens == 0
    both = models(draft=lambda done: "\n" * 2, target=lambda done: "\n" * 2, default=0.0)
    stalled = solve(ArbitrageRouter(), both)
    assert (stalled.end_reason, authors(stalled)) == (EndReason.STALLED, "ddt")


def test_token_sd_works_as_the_target_of_a_step_strategy():
    """Speculation inside the target changes no step, only how many passes it takes."""
    from arbitrage.strategies import speculate

    plain = models(scores={"two wrong": 0.9, "three": 0.9}, default=0.1)
    fast = models(scores={"two wrong": 0.9, "three": 0.9}, default=0.1)
    helper = ScriptedModel(TARGET)
    fast = Models(fast.draft, speculate(fast.target, helper, gamma=4), fast.prm, fast.router)
    a, b = solve(ArbitrageRouter(), plain), solve(ArbitrageRouter(), fast)
    assert a.text == b.text
    assert b.calls["target"] < a.calls["target"]
    assert b.steps[1].drafted_accepted > 0


def test_missing_roles_and_foreign_vocabularies_are_refused_before_the_first_token():
    """The message names the flag that fills the role, or the first token that differs."""
    with pytest.raises(CapabilityError, match="--prm"):
        check_requirements(RSD(), Models(ScriptedModel(DRAFT), ScriptedModel(TARGET)))

    class Shifted(CharacterCodec):
        def vocabulary(self):
            return {**super().vocabulary(), "a": 98, "b": 97}

    foreign = ScriptedModel(TARGET)
    foreign.codec = Shifted()
    with pytest.raises(VocabularyMismatchError, match="'a'"):
        check_requirements(TokenSD(), Models(ScriptedModel(DRAFT), foreign))
    for strategy, need in ((RSD(rate=0.3), Role.PRM), (ArbitrageRouter(rate=0.3), Role.ROUTER)):
        with pytest.raises(CapabilityError, match="calibration"):
            solve(strategy, models())
        assert need in strategy.requires


def test_a_rate_becomes_the_calibrated_threshold():
    """Between the table's rates the threshold is linear."""
    bundle = models(scores={"one": 0.44, "two wrong": 0.46}, default=0.0, thresholds={0.2: 0.5, 0.4: 0.4})
    assert authors(solve(ArbitrageRouter(rate=0.3), bundle)) == "dtdd"


@pytest.mark.parametrize(("strategy", "never"), [(ArbitrageRouter, 1.0), (RSD, 0.0)])
def test_beyond_the_table_a_rate_goes_on_towards_nothing_or_everything(strategy, never):
    """Halfway to rate 0 is halfway to a score that nothing lies beyond, and the same at rate 1; never a flat end."""
    table = {0.2: 0.5, 0.8: 0.5}
    scorer = ScriptedScorer({}, thresholds=table)
    infinite = math.inf if never else -math.inf

    def at(rate):
        return strategy(rate=rate).cutoff.resolve(scorer, never=infinite, always=-infinite)

    assert at(0.1) == pytest.approx((0.5 + never) / 2)
    assert at(0.9) == pytest.approx((0.5 + 1 - never) / 2)
    assert at(0.2) == at(0.5) == at(0.8) == 0.5
    assert (at(0.0), at(1.0)) == (infinite, -infinite)


def test_every_step_is_announced_as_it_is_committed():
    """The callback sees each record once, in order."""
    seen = []
    settings = Settings(on_step=lambda problem, step: seen.append((problem.id, step.text)))
    solve(TargetOnly(), models(settings=settings))
    assert seen == [("p1", text) for text in TARGET]


@pytest.mark.parametrize(
    "make",
    [
        lambda: RSD(threshold=0.5, rate=0.5),
        lambda: ArbitrageRouter(threshold=0.5, rate=0.5),
        lambda: RandomRoute(rate=1.5),
        lambda: RSD(threshold=float("nan")),
        lambda: ArbitrageOracle(samples=0),
        lambda: TokenSD(gamma=0),
        lambda: TokenSD(proposer="oracle"),
    ],
)
def test_impossible_parameters_are_refused(make):
    """Construction fails, not the run."""
    with pytest.raises(ValueError, match=r"not|must"):
        make()


def test_randomness_depends_on_what_it_is_for_only():
    """Streams of different problems, steps and roles differ; drawing from one moves no other."""
    from arbitrage.seeding import step_rng

    rng = problem_rng(0, "a")
    first = step_rng(rng, 3, Role.DRAFT).random()
    step_rng(rng, 2, Role.DRAFT).random(100)
    assert step_rng(rng, 3, Role.DRAFT).random() == first
    others = [
        step_rng(rng, 3, Role.TARGET).random(),
        step_rng(rng, 4, Role.DRAFT).random(),
        step_rng(rng, 3, Role.DRAFT, 1).random(),
        step_rng(problem_rng(0, "b"), 3, Role.DRAFT).random(),
        step_rng(problem_rng(1, "a"), 3, Role.DRAFT).random(),
    ]
    assert len({first, *others}) == 6
    assert isinstance(rng, np.random.Generator)
