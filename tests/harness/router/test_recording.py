"""What is recorded at each step: both models' own steps, the PRM's own rewards, and who was committed why."""

from __future__ import annotations

import numpy as np
import pytest

from arbitrage.errors import CapabilityError
from arbitrage.harness.router.pairs import HistoryStep, PairsError
from arbitrage.harness.router.recording import record
from arbitrage.harness.router.roll_in import parse_roll_in
from arbitrage.interfaces import Models, Settings, Stop
from arbitrage.sampling import Sampling
from arbitrage.seeding import problem_rng, step_rng
from arbitrage.strategies import ArbitrageOracle
from arbitrage.testing import ScriptedModel, ScriptedScorer
from arbitrage.types import EndReason, Problem, Role
from tests.table_model import TableModel

PROBLEM = Problem("p", "1 + 1 = ?", ("2",), subject="sums")
SCORES = {"d1": 0.9, "d2": 0.1, "d3": 0.2, "t1": 0.8, "t2": 0.7, "t3": 0.2}


def scripted(router=None, **settings):
    """Three steps by each; the target is better at the second only, and as good at the third."""
    prm = ScriptedScorer(SCORES)
    draft, target = ScriptedModel(["d1", "d2", "d3"], "d"), ScriptedModel(["t1", "t2", "t3"], "t")
    return Models(draft, target, prm, router, Settings(**settings))


def recorded(models, roll_in="oracle", samples=1, problem=PROBLEM):
    return record(problem, models, problem_rng(0, problem.id), parse_roll_in(roll_in), samples)


def pairs_of(*arguments, **keywords):
    return [fork.pair for fork in recorded(*arguments, **keywords).forks]


def test_the_oracle_commits_the_better_step_and_the_draft_on_ties():
    """Prefix, history, rewards and label of every step; the solution is the oracle strategy's own."""
    models = scripted()
    found = recorded(models)
    pairs = [fork.pair for fork in found.forks]
    assert [(p.draft, p.targets, p.draft_reward, p.target_rewards) for p in pairs] == [
        ("d1", ("t1",), 0.9, (0.8,)),
        ("d2", ("t2",), 0.1, (0.7,)),
        ("d3", ("t3",), 0.2, (0.2,)),
    ]
    assert [p.committed for p in pairs] == ["draft", "target", "draft"]
    assert [p.label for p in pairs] == [False, True, False]
    assert [p.index for p in pairs] == [0, 1, 2]
    assert pairs[2].history == (HistoryStep("d1", "draft"), HistoryStep("t2", "target"))
    assert [models.draft.codec.decode(p.prefix_ids).removeprefix(PROBLEM.problem) for p in pairs] == [
        f"\n{models.draft.instruction}\n{text}" for text in ("", "d1\n\n", "d1\n\nt2\n\n")
    ]
    assert {(p.roll_in, p.source, p.statement, p.temperature) for p in pairs} == {
        ("oracle", "sums", PROBLEM.problem, 0.0)
    }
    own = ArbitrageOracle().solve(PROBLEM, scripted(), problem_rng(0, PROBLEM.id))
    assert (found.generation.text, found.generation.token_ids) == (own.text, own.token_ids)
    assert [s.author for s in found.generation.steps] == [s.author for s in own.steps]


def test_equal_texts_have_equal_rewards_whoever_wrote_them():
    """A PRM that reads the author cannot make an advantage out of nothing, and is asked once."""
    prm = ScriptedScorer(lambda step, author: 0.9 if author == "target" else 0.1)
    models = Models(ScriptedModel(["same", "x"]), ScriptedModel(["same", "y"]), prm)
    pairs = pairs_of(models)
    assert [p.advantage for p in pairs] == [0.0, pytest.approx(0.8)]
    assert [call for call in prm.calls if call[:2] == ("score", "same")] == [("score", "same", "draft")]


def test_three_equal_rewards_are_no_advantage():
    """Their mean may be another number by a rounding; 0.1 is such a one."""
    prm = ScriptedScorer({}, default=0.1)
    models = Models(TableModel(1), TableModel(2), prm, settings=Settings(max_tokens=30, sampling=Sampling(1.0)))
    pairs = pairs_of(models, samples=3)
    assert len({len(p.targets) for p in pairs}) == 1
    assert not any(p.label for p in pairs)
    assert {p.committed for p in pairs} == {"draft"}


@pytest.mark.parametrize(
    ("roll_in", "committed", "name"),
    [
        ("draft", ["draft"] * 3, "draft"),
        ("target", ["target"] * 3, "target"),
        ("arbitrage-oracle:threshold=0.7", ["draft"] * 3, "arbitrage-oracle (τ=0.7)"),
        ("rsd:threshold=0.5", ["draft", "target", "target"], "rsd (τ=0.5)"),
        ("arbitrage-router:threshold=0.5", ["target", "draft", "draft"], "arbitrage-router (τ=0.5) of scripted-scorer"),
        ("arbitrage-router:rate=0.5", ["target", "draft", "target"], "arbitrage-router (rate=0.5) of scripted-scorer"),
    ],
)
def test_the_roll_in_decides_and_labels_stay(roll_in, committed, name):
    """DAgger: the router's choices make the prefixes, the PRM's rewards the labels, also where it errs."""
    router = ScriptedScorer({"d1": 0.8, "d2": 0.2, "d3": 0.4}, thresholds={0.4: 0.4, 0.6: 0.2})
    pairs = pairs_of(scripted(router), roll_in)
    assert [p.committed for p in pairs] == committed
    assert [p.label for p in pairs] == [False, True, False]
    assert {p.roll_in for p in pairs} == {name}
    texts = [p.draft if p.committed == "draft" else p.targets[0] for p in pairs]
    assert [step.text for step in pairs[2].history] == texts[:2]


def test_a_step_forced_on_the_target_makes_no_pair():
    """After two empty steps there is nothing to choose; the third ends the solution."""
    models = Models(ScriptedModel([" ", " ", " ", "d"]), ScriptedModel([" ", " ", " ", "t"]), ScriptedScorer({}))
    found = recorded(models)
    assert len(found.generation.steps) == 3
    assert found.generation.end_reason is EndReason.STALLED
    assert [fork.pair.index for fork in found.forks] == [0, 1]


def test_budgets_are_those_of_the_solution():
    """Tokens and steps end it where they end any other."""
    assert len(pairs_of(scripted(max_steps=2))) == 2
    cut = pairs_of(scripted(max_tokens=5))
    assert [p.draft for p in cut] == ["d1", "d"]
    assert [p.target_tokens for p in cut] == [(4,), (1,)]


def test_sampled_steps_are_those_that_both_models_write_alone_at_the_prefix():
    """Draft, and each of three target samples, from (problem, step, role, sample) and the prefix alone."""
    sampling = Sampling(temperature=0.8)
    prm = ScriptedScorer(lambda step, author: len(step) % 7 / 7)
    models = Models(TableModel(3), TableModel(4, mix=TableModel(3)), prm, settings=Settings(60, sampling=sampling))
    rng, checked = problem_rng(0, PROBLEM.id), 0
    pairs = pairs_of(models, "random-route:rate=0.5", 3)
    left, prompt = 60, len(pairs[0].prefix_ids)
    for pair in pairs:
        drafted = alone(models.draft, pair.prefix_ids, prompt, left, sampling, step_rng(rng, pair.index, Role.DRAFT))
        assert (drafted.ids, drafted.logprobs) == (pair.draft_ids, pair.draft_logprobs)
        for k in range(3):
            stream = step_rng(rng, pair.index, Role.TARGET, k)
            written = alone(models.target, pair.prefix_ids, prompt, left, sampling, stream)
            assert models.target.codec.decode(written.ids).removesuffix("\n\n") == pair.targets[k]
            assert len(written.ids) == pair.target_tokens[k]
            checked += 1
        left -= len(pair.draft_ids) if pair.committed == "draft" else pair.target_tokens[0]
    assert {p.committed for p in pairs} == {"draft", "target"}
    assert checked > 8
    assert any(len(set(p.targets)) > 1 for p in pairs)


def alone(model, prefix, prompt, left, sampling=Sampling(), rng=None):
    """One step by a model that knows nothing but the prefix, which begins with so many tokens of prompt."""
    with model.open(prefix[:prompt]) as session:
        session.extend(prefix[prompt:])
        return session.generate(Stop(left), sampling, rng or np.random.default_rng(0))


def test_bundled_pairs_are_what_the_bundled_models_write_and_say_alone():
    """Greedy tokens, log-probabilities and rewards of fresh sessions at every recorded prefix."""
    pytest.importorskip("torch")
    from arbitrage.backends.loading import load_models
    from arbitrage.harness.datasets import bundled_train

    models = load_models("hf", roles=[Role.DRAFT, Role.TARGET, Role.PRM], dtype="float32", threads=1)
    pairs = [pair for problem in bundled_train(limit=8) for pair in pairs_of(models, problem=problem)]
    assert {p.label for p in pairs} == {True, False}
    for pair in pairs:
        drafted = alone(models.draft, pair.prefix_ids, len(pair.prefix_ids), 500)
        assert drafted.ids == pair.draft_ids
        assert drafted.logprobs == pytest.approx(pair.draft_logprobs, abs=1e-4)
        written = alone(models.target, pair.prefix_ids, len(pair.prefix_ids), 500)
        assert models.target.codec.decode(written.ids).rstrip("\n") == pair.targets[0]
        assert len(written.ids) == pair.target_tokens[0]
        with models.prm.open(pair.statement) as session:
            for step in pair.history:
                session.append(step.text, step.author)
            assert session.score(pair.draft, "draft") == pytest.approx(pair.draft_reward, abs=1e-4)
            assert session.score(pair.targets[0], "target") == pytest.approx(pair.target_reward, abs=1e-4)


def test_a_roll_in_that_cannot_be_is_explained():
    """No step strategy; a router that is not there; a name that is not there."""
    with pytest.raises(PairsError, match=r"token-sd.*oracle, draft, target"):
        parse_roll_in("token-sd")
    with pytest.raises(CapabilityError, match="--router"):
        parse_roll_in("arbitrage-router").check(scripted())
    with pytest.raises(CapabilityError, match="--prm"):
        parse_roll_in("draft").check(Models(ScriptedModel(["a"]), ScriptedModel(["b"])))
    with pytest.raises(LookupError, match="orcale"):
        parse_roll_in("orcale")
