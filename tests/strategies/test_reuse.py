"""The rejected step as proposal, its certificate, and the draft that writes ahead: less work, the same rows."""

from __future__ import annotations

import dataclasses
import threading

import numpy as np
import pytest

from arbitrage import decoding
from arbitrage.backends.loading import load_models
from arbitrage.draft_length import FixedLength
from arbitrage.harness.datasets import load_dataset
from arbitrage.interfaces import Models, Settings, Stop
from arbitrage.registry import registry
from arbitrage.sampling import Sampling
from arbitrage.seeding import problem_rng
from arbitrage.strategies import RSD, ArbitrageOracle, ArbitrageRouter, RandomRoute, StepStrategy, speculate
from arbitrage.strategy_specs import parse_strategies
from arbitrage.testing import ScriptedModel, ScriptedScorer
from arbitrage.types import EndReason, Problem, Role
from tests.table_model import TableModel

PROBLEM = Problem("p1", "What is 1+1?", ("2",))
SAME, OTHER = "both write this step", "the draft errs in number 4"
DRAFT = [SAME, OTHER, "\\boxed{2}"]
TARGET = [SAME, OTHER.replace("4", "5"), "\\boxed{2}"]
WORK = ("drafted", "drafted_accepted", "drafts", "latency_s", "time_s")
"""What a step took, as against what it is."""


def solve(strategy, bundle, seed=0, problem=PROBLEM):
    return strategy.solve(problem, bundle, problem_rng(seed, problem.id))


def content(generation):
    """A solution without what it took."""
    steps = [dataclasses.asdict(step) for step in generation.steps]
    kept = [{name: near(value) for name, value in step.items() if name not in WORK} for step in steps]
    return generation.text, generation.token_ids, generation.end_reason, kept


def near(value):
    """Numbers up to rounding: the same tokens in other chunks give logits that differ in the last digits."""
    return pytest.approx(value, rel=1e-3, abs=1e-5) if isinstance(value, float) else value


def scripted(scores=None, default=0.9, draft=DRAFT, target=TARGET, chunks=64, **settings):
    """Models whose target checks proposals in chunks of a fixed length."""
    scorer = ScriptedScorer(scores or {}, default=default)
    bundle = Models(ScriptedModel(draft), ScriptedModel(target), scorer, scorer, Settings(**settings))
    decoding._lookup_lengths[bundle.target] = FixedLength(chunks)
    return bundle


# The switch.

MAKERS = {
    "rsd": lambda **switches: RSD(threshold=0.5, **switches),
    "router": lambda **switches: ArbitrageRouter(threshold=0.5, **switches),
    "oracle": lambda **switches: ArbitrageOracle(**switches),
    "random": lambda **switches: RandomRoute(rate=0.5, **switches),
}
SWITCHES = [
    {"reuse": False},
    {"pipeline": True},
    {"catch_up": True},
    {"reuse": False, "pipeline": True, "catch_up": True},
]


@pytest.mark.parametrize("switches", SWITCHES, ids=str)
@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("inside", [False, True], ids=["plain", "speculative"])
def test_switches_change_no_row(switches, make, temperature, inside):
    """On 12 pairs of random models, greedy and sampled, with and without speculation inside: the same solutions.

    Sampled speculation by a draft model is left out: its tokens depend on where rounds begin.
    """
    for seed in range(12):
        target = TableModel(seed)
        draft = TableModel(seed + 1000, mix=target)
        scorer = ScriptedScorer(lambda step, author: len(step) % 7 / 6)
        settings = Settings(sampling=Sampling(temperature), max_tokens=90, max_steps=12)
        writer = speculate(target, draft if temperature == 0 else None, gamma=3) if inside else target
        bundle = Models(draft, writer, scorer, scorer, settings)
        assert content(solve(make(**switches), bundle, seed)) == content(solve(make(), bundle, seed))


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["hf", "gguf"])
def test_switches_change_no_row_of_the_bundled_models(backend):
    """Every step strategy, both switches, with and without speculation inside: the same greedy solutions."""
    pytest.importorskip("torch" if backend == "hf" else "llama_cpp")
    models = load_models(backend, threads=1, settings=Settings(max_tokens=96))
    problems = load_dataset("bundled")[:3]
    for target in (models.target, speculate(models.target, models.draft)):
        bundle = dataclasses.replace(models, target=target)
        for make in MAKERS.values():
            for problem in problems:
                plain = content(solve(make(), bundle, problem=problem))
                for switches in SWITCHES:
                    assert content(solve(make(**switches), bundle, problem=problem)) == plain


def test_switches_are_named_where_they_are_not_at_their_defaults():
    """A run can hold both ways of one strategy; what was always there keeps its name."""
    all_three = "random-route:reuse=false+pipeline=true+catch_up=true"
    made = parse_strategies(f"arbitrage-router,arbitrage-router:reuse=false,rsd:pipeline=true,{all_three}", registry())
    assert [one.label for one in made] == [
        "arbitrage-router (τ=0.5)",
        "arbitrage-router (τ=0.5, reuse=false)",
        "rsd (τ=0.7, pipeline=true)",
        "random-route (rate=0.3, reuse=false, pipeline=true, catch_up=true)",
    ]
    assert [set(one.describe()) & {"reuse", "pipeline", "catch_up"} for one in made] == [
        set(),
        {"reuse"},
        {"pipeline"},
        {"reuse", "pipeline", "catch_up"},
    ]
    assert ArbitrageOracle(reuse=False).label == "arbitrage-oracle (reuse=false)"


def test_a_strategy_that_knows_nothing_of_the_switches_has_their_defaults():
    """A plugin written before there were any needs no change."""

    class Always(StepStrategy):
        name = "always"

        def __init__(self):
            self.mine = 1

        def policy(self, problem, models, rng):
            return RandomRoute(1.0).policy(problem, models, rng)

    bundle = scripted()
    assert solve(Always(), bundle).text == "\n\n".join(TARGET)
    assert len(bundle.target.calls) < 20


# The proposal.


def test_an_escalated_step_is_checked_and_not_written_again():
    """Two identical steps cost the target a pass or two each, a different one a few; without reuse a pass a token."""
    bundle, without = scripted(), scripted()
    generation = solve(ArbitrageRouter(threshold=0.5), bundle)
    plain = solve(ArbitrageRouter(threshold=0.5, reuse=False), without)
    assert content(generation) == content(plain)
    assert [step.escalated for step in generation.steps] == [True] * 3
    assert plain.calls["target"] == plain.tokens
    assert generation.calls["target"] <= 12
    assert sum(step.drafted for step in generation.steps) == 0  # no drafting of its own


def test_models_with_different_tokenizers_exchange_no_proposal():
    """Ids of one mean something else to the other."""

    class Shifted(ScriptedModel):
        def __init__(self, steps):
            super().__init__(steps)
            words = self.codec.vocabulary()
            self.codec.vocabulary = lambda: {**words, "a": 98, "b": 97}

    bundle = dataclasses.replace(scripted(), draft=Shifted(DRAFT))
    generation = solve(ArbitrageRouter(threshold=0.5), bundle)
    assert generation.text == "\n\n".join(TARGET)
    assert generation.calls["target"] == generation.tokens
    assert not any(step.confirmed for step in generation.steps)


def test_the_draft_keeps_what_both_versions_begin_with():
    """After an escalation it reads the target's step from the first difference on."""
    bundle = scripted(scores={OTHER: 0.9}, default=0.1)
    solve(ArbitrageRouter(threshold=0.5), bundle)
    read = "".join(text for _, text in bundle.draft.calls)
    assert read.count("the draft errs in number") == 1
    assert "5\n\n" in read


# The certificate.


def test_a_step_that_the_target_writes_again_is_confirmed():
    """Escalations that changed nothing say so; the others, and accepted steps, do not."""
    router = ScriptedScorer({"\\boxed{2}": 0.1}, default=0.9)
    for reuse in (True, False):
        generation = solve(ArbitrageRouter(threshold=0.5, reuse=reuse), dataclasses.replace(scripted(), router=router))
        assert [(step.escalated, step.confirmed) for step in generation.steps] == [
            (True, True),
            (True, False),
            (False, False),
        ]


def test_sampled_and_forced_steps_are_never_confirmed():
    """Two equal samples prove nothing, and a draft that stalled left nothing to compare with."""
    sampled = solve(ArbitrageRouter(threshold=0.5), scripted(sampling=Sampling(0.01)))
    assert sampled.steps[0].text == sampled.steps[0].rejected_text == SAME
    assert not any(step.confirmed for step in sampled.steps)
    blank = scripted(draft=lambda done: "\n" * 2, target=lambda done: "\n" * 2, default=0.0)
    forced = solve(ArbitrageRouter(), blank)
    assert forced.end_reason is EndReason.STALLED
    assert not any(step.confirmed for step in forced.steps)


def test_a_confirmed_step_is_read_by_nobody_again():
    """The draft's session goes on where it is; the PRM is told who wrote the text that it has read already."""
    bundle = scripted(default=0.1, draft=[SAME, "\\boxed{2}"], target=[SAME, "\\boxed{2}"])
    generation = solve(RSD(), bundle)
    assert all(step.confirmed and step.author == "target" for step in generation.steps)
    told = [(kind, author) for kind, _, author in bundle.prm.calls if kind != "discard"]
    assert told == [("score", "draft"), ("append", "target")] * 2
    # Every token once, but for the last one, which nothing follows.
    assert generation.forwarded_tokens["draft"] == generation.prompt_tokens + generation.tokens - 1


def test_the_oracle_scores_equal_steps_once_and_keeps_the_draft():
    """No step has two rewards: the advantage of a step over itself is 0, whatever the threshold makes of it."""
    noise = np.random.default_rng(0)
    bundle = scripted()
    bundle = dataclasses.replace(bundle, prm=ScriptedScorer(lambda step, author: float(noise.random())))
    generation = solve(ArbitrageOracle(), bundle)
    scored = [step for kind, step, _ in bundle.prm.calls if kind == "score"]
    assert scored == [SAME, OTHER, TARGET[1], "\\boxed{2}"]
    assert [step.confirmed for step in generation.steps] == [True, False, True]
    for step in (generation.steps[0], generation.steps[2]):
        assert (step.author, step.score, step.draft_reward) == ("draft", 0.0, step.target_reward)


# Writing ahead.


class Watched(ScriptedModel):
    """Says after how many tokens of which step it is."""

    def __init__(self, steps):
        super().__init__(steps)
        self.written: dict[int, int] = {}
        self.reached = threading.Event()

    def next_token(self, written):
        step = written.count("\n\n")
        self.written[step] = self.written.get(step, 0) + 1
        if step == 1 and self.written[step] >= 5:
            self.reached.set()
        return super().next_token(written)


def waiting(draft, score):
    """A scorer that judges the first step only when the draft is at work on the second."""

    def judge(step, author):
        if step == "first":
            assert draft.reached.wait(10)
        return score(step)

    return ScriptedScorer(judge)


@pytest.mark.parametrize("accepted", [True, False])
def test_the_draft_writes_on_while_a_step_is_judged(accepted):
    """The scorer waits until it does. What follows an accepted step is written once, the rest is given up early."""
    draft = Watched(["first", "x" * 3000])
    router = waiting(draft, lambda step: 0.9 if step == "first" and not accepted else 0.1)
    target = ScriptedModel(["other", "x" * 3000])
    bundle = Models(draft, target, router=router, settings=Settings(max_steps=2, max_tokens=3500))
    generation = solve(ArbitrageRouter(pipeline=True), bundle)
    assert generation.text == ("first" if accepted else "other") + "\n\n" + "x" * 3000
    assert generation.steps[1].draft_tokens == 3001
    if accepted:
        assert draft.written[1] <= 3002
    else:
        assert 5 <= draft.written[1] - 3001 < 2900


def test_nothing_is_written_ahead_of_an_end():
    """Where the solution ends with the newest step if it is accepted, nobody writes on."""
    for limits in ({"max_steps": 1}, {"max_tokens": len("first\n\n")}):
        draft = Watched(["first", "second"])
        bundle = Models(draft, ScriptedModel(["first"]), router=ScriptedScorer({}), settings=Settings(**limits))
        generation = solve(ArbitrageRouter(pipeline=True), bundle)
        assert len(generation.steps) == 1
        assert not draft.written.get(1)


def test_a_failure_while_the_draft_writes_ahead_is_the_solutions_failure():
    """Of the judge or of the draft: it is raised, and nobody goes on writing."""

    def broken(step):
        raise RuntimeError("the judge failed")

    draft = Watched(["first", "x" * 3000])
    bundle = Models(draft, ScriptedModel(["first"]), router=waiting(draft, broken))
    with pytest.raises(RuntimeError, match="the judge failed"):
        solve(ArbitrageRouter(pipeline=True), bundle)
    assert draft.written[1] < 2900

    class Failing(ScriptedModel):
        def next_token(self, written):
            if "first\n\n" in written:
                raise RuntimeError("the draft failed")
            return super().next_token(written)

    bundle = Models(Failing(["first", "second"]), ScriptedModel(["first"]), router=ScriptedScorer({}))
    with pytest.raises(RuntimeError, match="the draft failed"):
        solve(ArbitrageRouter(pipeline=True), bundle)


def test_a_failure_in_a_step_that_nobody_wanted_is_nobodys():
    """What the draft would have written behind an escalated step does not count: without pipelining nobody knew."""

    class Failing(Watched):
        def next_token(self, written):
            token = super().next_token(written)
            if "first\n\n" in written and self.reached.is_set():
                raise RuntimeError("the draft failed")
            return token

    def solution(pipeline):
        draft = Failing(["first", "x" * 50])
        scorer = waiting(draft, lambda step: 0.9) if pipeline else ScriptedScorer({}, default=0.9)
        bundle = Models(draft, ScriptedModel(["other", "last"]), router=scorer, settings=Settings(max_steps=2))
        return solve(ArbitrageRouter(pipeline=pipeline), bundle).text

    assert solution(pipeline=True) == solution(pipeline=False) == "other\n\nlast"


def test_a_rejected_step_is_checked_also_where_the_target_drafts_by_itself():
    """With a fixed draft length too, the step at hand goes before asking the draft again."""
    target, draft = ScriptedModel(["abcdefgh" * 4]), ScriptedModel(["zzzz"])
    model = speculate(target, draft, gamma=2)
    with model.open([1]) as session:
        step = target.codec.encode("abcdefgh" * 4)
        told = session.generate(Stop(33), Sampling(), np.random.default_rng(0), proposal=step)
        assert told.proposal_kept == 32
        assert session.usage_by_role(Role.TARGET)[Role.TARGET].calls < 16


def test_requirements_stay():
    """No switch needs a model more."""
    assert ArbitrageRouter(reuse=False, pipeline=True, catch_up=True).requires == ArbitrageRouter.requires
    assert Role.PRM not in ArbitrageRouter.requires
