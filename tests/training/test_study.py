"""The study of routers: what it compares is what it says."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("pyarrow")

from arbitrage.backends.bundled import bundled_path  # noqa: E402
from arbitrage.backends.hf import HFCodec, StreamEncoder, StreamFormat  # noqa: E402
from arbitrage.harness.router.measures import auc  # noqa: E402
from arbitrage.harness.synthetic import Split, generate  # noqa: E402
from training.family.rolling import roll  # noqa: E402
from training.family.writing import Pen  # noqa: E402
from training.study import classifier, collect, features, heads, quality, replay, report  # noqa: E402
from training.study.batched import draw  # noqa: E402
from training.study.candidates import references, shipped_head  # noqa: E402
from training.study.replay import Arm, Walked  # noqa: E402
from training.study.world import Look, Turn, World  # noqa: E402


@pytest.fixture(scope="module")
def world():
    torch.set_num_threads(1)
    return World()


@pytest.fixture(scope="module")
def problems():
    return list(itertools.islice(generate(Split.ROUTER, 7), 6))


@pytest.fixture(scope="module")
def collected(world, problems, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pairs")
    return folder, *collect.collect(world, problems, collect.better, folder, "oracle")


def test_the_world_writes_and_judges_what_the_models_do_alone(collected, problems):
    """Reading along the draft's step and keeping what was read change neither texts nor rewards."""
    _, pairs, _ = collected
    committed = {(p.problem_id, p.index): p for p in pairs}

    def as_recorded(walks, _drafts, _targets):
        found = [committed[w.problem.id, len(w.steps)] for w in walks]
        return [(p.committed, p.draft_reward, p.target_reward) for p in found]

    plain = roll(problems, Pen(bundled_path("draft")), Pen(bundled_path("target")), as_recorded, "test")
    assert len(plain) == len(pairs)
    for one in plain:
        pair = committed[one.problem_id, len(one.history)]
        assert (one.draft, one.target, one.draft_ids) == (pair.draft, pair.targets[0], pair.draft_ids)
        assert one.prefix_ids == pair.prefix_ids


def test_rewards_are_the_bundled_process_reward_models(collected):
    """Read in batches and from what was kept, or one by one by the backend: the same reward."""
    from arbitrage.backends.loading import load_models
    from arbitrage.types import Role

    _, pairs, table = collected
    prm = load_models("hf", roles=[Role.PRM], dtype="float32").prm
    for pair, rewards in zip(pairs[:12], table.rewards, strict=False):
        with prm.open(pair.statement) as session:
            for step in pair.history:
                session.append(step.text, step.author)
            assert session.score(pair.draft, "draft") == pytest.approx(rewards[0], abs=1e-4)
            session.discard()
            assert session.score(pair.targets[0], "target") == pytest.approx(rewards[1], abs=1e-4)


def test_a_stopped_collection_goes_on_to_the_same_pairs(collected, world, problems):
    """What is stored is not made again, and the features stand in the order of the pairs."""
    folder, pairs, table = collected
    again, same = collect.collect(world, problems, collect.better, folder, "oracle")
    assert again == pairs
    np.testing.assert_array_equal(same.rewards, [[p.draft_reward, p.target_reward] for p in pairs])
    assert [len(p.draft_ids) for p in pairs] == table.lengths.tolist()
    assert table.lengths.sum() == len(table.token_states) == len(table.token_looks)


def test_a_tree_reads_each_step_as_if_it_stood_alone(collected):
    """Packed into one sequence or written out one by one, a classifier sees the same, branches included."""
    _, pairs, _ = collected
    assert any(p.committed == "target" for p in pairs)
    directory = bundled_path("prm")
    torch.manual_seed(0)
    body = Pen(directory).model.model.eval()
    head = torch.nn.Linear(body.config.hidden_size, 2)
    encoder = StreamEncoder(HFCodec(Pen(directory).tokenizer), StreamFormat(annotated=True, chat=True))
    with torch.inference_mode(), torch.autocast("cpu", enabled=False):
        for one, group in zip(
            classifier.forest(pairs, directory, annotated=True),
            (list(g) for _, g in itertools.groupby(pairs, key=lambda p: p.problem_id)),
            strict=True,
        ):
            sees = torch.zeros(1, 1, len(one.ids), len(one.ids)).masked_fill(~torch.from_numpy(one.sees), -1e30)
            packed = head(body(torch.tensor([one.ids]), sees, torch.tensor([one.positions])).last_hidden_state)[0]
            for pair, at in zip(group, one.reads, strict=True):
                steps = [(h.text, h.author) for h in pair.history] + [(pair.draft, "draft")]
                ids = [*encoder.problem(pair.statement), *(t for step in steps for t in encoder.step(*step))]
                alone = head(body(torch.tensor([ids])).last_hidden_state)[0, -1]
                torch.testing.assert_close(packed[at], alone, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("variant", [classifier.Variant(epochs=1), classifier.Variant(classes=4, epochs=1)])
def test_classifiers_learn_as_many_classes_as_asked_for(collected, variant):
    """Scores of every pair, from 0 to 1; the same seed gives the same classifier."""
    _, pairs, _ = collected
    advantages = np.array([pair.advantage for pair in pairs])
    trees = classifier.forest(pairs, bundled_path("prm"), variant.annotated)
    trained = [classifier.train(trees, advantages, bundled_path("prm"), variant, 0) for _ in range(2)]
    first, again = (one.scores(trees) for one in trained)
    assert len(first) == len(pairs)
    assert ((first > 0) & (first < 1)).all()
    np.testing.assert_array_equal(first, again)
    assert trained[0]._head.out_features == min(variant.classes, len(set(advantages[advantages > 0])) + 1)


def test_a_look_is_about_the_laws_before_the_tokens():
    """Log-probabilities, entropies and own choices of two known laws."""
    look = Look.of(np.log(np.array([[0.5, 0.25, 0.25], [0.1, 0.8, 0.1]], dtype=np.float32)), [1, 1])
    np.testing.assert_allclose(np.exp(look.logprobs), [0.25, 0.8], rtol=1e-5)
    np.testing.assert_allclose(look.entropies[0], 1.5 * np.log(2), rtol=1e-5)
    assert look.best.tolist() == [0, 1]
    assert features.disagreement(look, [1, 1]) == [1.0, 0.0, 0.0]
    assert features.disagreement(look, [0, 1]) == [0.0, 1.0, 1.0]
    assert features.looked(look)[1] == pytest.approx(np.log(0.25))


def test_draws_follow_the_law():
    """The quantile function of the softmax at a temperature, at the middle of a fine grid."""
    row = np.log(np.array([0.2, 0.5, 0.3], dtype=np.float32))
    grid = (np.arange(10_000) + 0.5) / 10_000
    share = np.bincount([draw(row, 0.5, u) for u in grid], minlength=3) / len(grid)
    wanted = np.array([0.04, 0.25, 0.09]) / 0.38
    np.testing.assert_allclose(share, wanted, atol=2e-4)


def test_seeds_are_averaged_and_equal_scores_are_escalated_in_equal_shares():
    """A constant score is random routing, with an AUC of a half; beside the advantage itself it halves the distance."""
    rng = np.random.default_rng(0)
    advantage = np.where(rng.random(400) < 0.2, rng.random(400), 0.0)
    problems = np.repeat(np.arange(40), 10)
    best, both = (
        quality.judge(seeds, advantage, advantage, problems) for seeds in ([advantage], [advantage, np.zeros(400)])
    )
    assert best["auc"].value == 1
    assert both["auc"].value == pytest.approx(0.75)
    assert both["captured@0.1"].value == pytest.approx((best["captured@0.1"].value + 0.1) / 2, abs=1e-6)
    assert best["captured@0.3"].value == pytest.approx(1)
    assert best["outcome captured@0.2"].value == pytest.approx(1, abs=0.01)
    assert both["auc"].low < 0.75 + 1e-9 <= both["auc"].high + 2e-9


@pytest.mark.parametrize("recipe", [heads.SMALL, heads.LINEAR])
def test_heads_learn_a_direction_and_repeat_themselves(recipe):
    """Separable steps are separated; the same seed gives the same head, whatever ran before."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 4))
    labels = x[:, 1] + 0.5 * x[:, 2] > 0.8
    first = heads.fit(x, labels, recipe, seed=3).scores(x)
    torch.rand(5)
    np.testing.assert_array_equal(first, heads.fit(x, labels, recipe, seed=3).scores(x))
    assert auc(first, labels) > 0.99


def test_a_token_head_finds_the_one_bad_token():
    """The label hangs on the largest value among a step's tokens, wherever it stands."""
    rng = np.random.default_rng(1)
    lengths = rng.integers(3, 9, 500)
    tokens = rng.normal(size=(lengths.sum(), 2)).astype(np.float32)
    ends = np.cumsum(lengths)
    labels = np.array([tokens[e - n : e, 0].max() > 1.5 for n, e in zip(lengths, ends, strict=True)])
    head = heads.fit_tokens(tokens, lengths, labels, heads.SMALL, seed=0)
    found = head.scores(tokens, lengths)
    assert auc(found, labels) > 0.98


def test_tables_come_back_from_disk_and_keep_problems_apart(collected, tmp_path):
    """Joined, the problems of the second are other problems."""
    *_, table = collected
    table.save(tmp_path / "table.npz")
    both = features.Table.joined([table, features.Table.load(tmp_path / "table.npz")])
    assert len(np.unique(both.problems)) == 2 * len(np.unique(table.problems))
    np.testing.assert_array_equal(both.reader[: len(table.reader)], table.reader)
    assert (np.diff(both.problems) >= 0).all()


def test_routing_for_real_is_what_the_library_does(world, problems):
    """The shipped router at a threshold escalates the same steps and solves the same problems as its strategy."""
    from arbitrage.backends.loading import load_models
    from arbitrage.harness.grading import grade
    from arbitrage.interfaces import Settings
    from arbitrage.seeding import problem_rng
    from arbitrage.strategies import ArbitrageRouter, DraftOnly, TargetOnly

    scorer = references(shipped_head())["shipped arbitrage-router"]
    policies = {"router": replay.on_tables(scorer), "random": replay.at_random}
    arms = {"router": Arm("router", 0.3), "draft": Arm("random", 1.0), "target": Arm("random", -1.0)}
    walked = replay.replay(world, problems, policies, arms)
    models = load_models("hf", dtype="float32", settings=Settings(max_tokens=256))
    strategies = {"router": ArbitrageRouter(threshold=0.3), "draft": DraftOnly(), "target": TargetOnly()}
    for name, strategy in strategies.items():
        for problem, one in zip(problems, walked[name], strict=True):
            solved = strategy.solve(problem, models, problem_rng(0, problem.id))
            assert one.correct == grade(solved.text, problem).correct
            if name == "router":
                assert one.steps == len(solved.steps)
                assert one.escalated == sum(step.escalated for step in solved.steps)


def turn(draft_ids, target_ids):
    """A turn of which only the ids matter."""
    return Turn(draft_ids, target_ids, *[None] * (len(Turn.__dataclass_fields__) - 2))


def test_an_escalation_writes_what_the_pass_over_the_rejected_step_does_not_yield():
    """Two tokens agree, the pass yields a third, the others are written one by one; acceptance writes nothing."""
    one = Walked()
    replay.count(one, turn((1, 2, 9, 9), (1, 2, 3, 4, 5)), "target")
    assert (one.escalated, one.drafted, one.rewritten) == (1, 4, 2)
    replay.count(one, turn((1, 2), (1, 2)), "target")
    replay.count(one, turn((1, 2), (7, 8)), "draft")
    assert (one.steps, one.escalated, one.drafted, one.rewritten) == (3, 2, 8, 2)


def test_a_policy_is_read_off_between_its_arms_and_the_single_models():
    """Half way between draft-only and target-only, random routing solves half of what lies between."""
    cost = dict.fromkeys(["draft token", "target token", "target pass over the step", "head", "router", "prm"], 1.0)
    cost |= dict.fromkeys(["log-probs and entropies", "features"], 0.0)
    rows = {"steps": 10, "drafted": 100, "prompt": 50}

    def walked(policy, solved, escalated, rewritten):
        each = [{"correct": i < solved, "escalated": escalated, "rewritten": rewritten, **rows} for i in range(10)]
        return {"policy": policy, "walked": each}

    runs = {
        "draft only": walked("random", 2, 0, 0),
        "random @ 0.1": walked("random", 2, 0, 0),
        "shipped arbitrage-router @ 0.2": walked("shipped arbitrage-router", 9, 2, 10),
        "oracle (Δ > 0)": walked("oracle", 10, 2, 10),
        "target only": walked("random", 10, 10, 100),
    }
    lines, facts = report.routing(runs, cost)
    by_name = {fact["policy"]: fact for fact in facts if "policy" in fact}
    assert by_name["random"]["solved"]["0.2"][0] == pytest.approx(0.2 + 0.8 * 0.2)
    assert by_name["shipped arbitrage-router"]["solved"]["0.2"][0] == pytest.approx(0.9)
    assert by_name["shipped arbitrage-router"]["seconds"]["0.2"][0] == pytest.approx((100 + 10 + 2 + 10) / 1000)
    # 97 % of the target's is 7/10 of the way from the router's 0.9 (122 ms) to 1.0 (100 + 10 + 10 + 100 ms).
    assert by_name["shipped arbitrage-router"]["seconds_to_nearly"][0] == pytest.approx((122 + 0.7 * 98) / 1000)
    assert by_name["random"]["points_over_shipped"]["0.2"][0] == pytest.approx(-54)
    assert any(line.startswith("| random | 28.0 | 36.0 | 44.0 |") for line in lines)


def test_signs_count_where_reward_and_answer_disagree(collected):
    """All pairs stand in the table once, and equal steps change neither reward nor answer."""
    *_, table = collected
    _, counts = report.signs(table)
    for who in ("draft", "target"):
        assert np.sum(counts[f"{who} goes on"]) == len(table.common)
    same = table.target[:, -1] == 1
    assert same.any()
    assert not table.advantage[same].any()
    assert not table.outcomes[same].any()
