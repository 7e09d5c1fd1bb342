"""The bundled models do what the README says of them: exact speculation, real steps, scorers that know something."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from arbitrage.backends.bundled import bundled_path  # noqa: E402
from arbitrage.backends.loading import load_models  # noqa: E402
from arbitrage.errors import ModelLoadError  # noqa: E402
from arbitrage.harness.synthetic import Split, benchmark_split, generate, right_steps  # noqa: E402
from arbitrage.interfaces import Settings  # noqa: E402
from arbitrage.seeding import problem_rng  # noqa: E402
from arbitrage.strategies import (  # noqa: E402
    RSD,
    ArbitrageOracle,
    ArbitrageRouter,
    DraftOnly,
    RandomRoute,
    TargetOnly,
    TokenSD,
    speculate,
)

PROBLEMS = benchmark_split()


@pytest.fixture(scope="module")
def family():
    """All four models in fp32."""
    return load_models("hf", dtype="float32", settings=Settings(max_tokens=256))


def solve(strategy, models, problem, seed=0):
    return strategy.solve(problem, models, problem_rng(seed, problem.id))


@pytest.fixture(scope="module")
def target_solutions(family):
    """Target-only on 200 problems."""
    return [solve(TargetOnly(), family, p) for p in PROBLEMS[:200]]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_greedy_token_sd_equals_target_only_on_200_problems(family, target_solutions):
    """In fp32 every token is the same, whether the draft or an n-gram proposes."""
    for problem, plain in zip(PROBLEMS, target_solutions, strict=False):
        assert solve(TokenSD(), family, problem).token_ids == plain.token_ids
    for problem, plain in zip(PROBLEMS[:40], target_solutions, strict=False):
        assert solve(TokenSD(proposer="ngram"), family, problem).token_ids == plain.token_ids


@pytest.mark.slow
def test_in_bf16_the_first_difference_is_a_near_tie():
    """bf16 is not invariant to how tokens are chunked: where texts part, the target's two best logits are close."""
    models = load_models("hf", dtype="bfloat16", settings=Settings(max_tokens=256))
    parted = 0
    for problem in PROBLEMS[:40]:
        plain, fast = (solve(s, models, problem).token_ids for s in (TargetOnly(), TokenSD()))
        if plain == fast:
            continue
        parted += 1
        first = next(i for i, (a, b) in enumerate(itertools.zip_longest(plain, fast)) if a != b)
        with models.target.open(models.settings.prompt(problem.problem, models.target)) as session:
            rows = session.extend(plain[:first], logits=1)
        best = np.sort(rows[0])[-2:]
        assert best[1] - best[0] < 0.5
    assert parted <= 8


@pytest.mark.slow
def test_thresholds_at_their_ends_are_the_single_models_on_real_models(family, target_solutions):
    """Router and RSD become draft-only and target-only, token for token."""
    for problem, plain in zip(PROBLEMS[:15], target_solutions, strict=False):
        for strategy in (RSD(threshold=1.01), ArbitrageRouter(threshold=-0.01), RandomRoute(rate=1.0)):
            assert solve(strategy, family, problem).token_ids == plain.token_ids
        draft = solve(DraftOnly(), family, problem)
        for strategy in (RSD(threshold=0.0), ArbitrageRouter(threshold=1.0), RandomRoute(rate=0.0)):
            generation = solve(strategy, family, problem)
            assert generation.token_ids == draft.token_ids
            assert generation.calls["target"] == 0


@pytest.mark.slow
def test_speculation_inside_a_step_strategy_changes_no_token(family):
    """Random routing with a speculating target commits the very same text."""
    import dataclasses

    fast = dataclasses.replace(family, target=speculate(family.target, family.draft))
    for problem in PROBLEMS[:15]:
        a, b = (solve(RandomRoute(rate=0.5), m, problem) for m in (family, fast))
        assert a.token_ids == b.token_ids


@pytest.mark.slow
def test_no_model_encodes_a_token_twice_in_a_routed_solution(family):
    """What every model read is its final stream and what was taken back; nothing stood there before."""
    for problem in PROBLEMS[:15]:
        generation = solve(ArbitrageRouter(threshold=0.5), family, problem)
        stream = generation.prompt_tokens + generation.tokens
        for role in ("draft", "target", "router"):
            assert generation.repeated_tokens[role] == 0
            assert generation.dropped_tokens[role] <= generation.forwarded_tokens[role]
        for role in ("draft", "target"):
            assert generation.forwarded_tokens[role] - generation.dropped_tokens[role] <= stream
        discarded = sum(s.draft_tokens for s in generation.steps if s.escalated)
        assert generation.dropped_tokens["draft"] <= discarded


@pytest.mark.slow
def test_the_oracle_wastes_nothing_and_beats_the_draft(family):
    """On 30 problems every escalation raised the reward, and more final steps are right than the draft's."""
    right = {"draft": 0, "oracle": 0}
    for problem in PROBLEMS[:30]:
        oracle, draft = solve(ArbitrageOracle(), family, problem), solve(DraftOnly(), family, problem)
        assert all(s.target_reward > s.draft_reward for s in oracle.steps if s.escalated)
        right["oracle"] += right_steps(problem, [s.text for s in oracle.steps])[-1]
        right["draft"] += right_steps(problem, [s.text for s in draft.steps])[-1]
    assert right["oracle"] > right["draft"]


@pytest.mark.slow
def test_the_prm_tells_right_steps_from_wrong_ones(family):
    """On fresh draft solutions its AUC is well above chance; the model card has the figure measured on more of them."""
    from scipy.stats import mannwhitneyu

    scores = {True: [], False: []}
    for problem in itertools.islice(generate(Split.HELD_OUT, 5), 60):
        steps = [s.text for s in solve(DraftOnly(), family, problem).steps]
        with family.prm.open(problem.problem) as session:
            for step, ok in zip(steps, right_steps(problem, steps), strict=True):
                scores[ok].append(session.score(step, "draft"))
                session.commit()
    wins = mannwhitneyu(scores[True], scores[False]).statistic
    assert wins / (len(scores[True]) * len(scores[False])) >= 0.95


def test_every_model_loads_with_plain_transformers_and_has_a_card():
    """The directories are ordinary checkpoints: safetensors, tokenizer with chat template, model card."""
    for name in ("draft", "target"):
        model = transformers.AutoModelForCausalLM.from_pretrained(bundled_path(name))
        tokenizer = transformers.AutoTokenizer.from_pretrained(bundled_path(name))
        assert type(model).__name__ == "LlamaForCausalLM"
        assert len(tokenizer.encode("\n\n")) == 1
        assert tokenizer.apply_chat_template([{"role": "user", "content": "x"}], tokenize=False).count("<|begin|>") == 1
    for name in ("prm", "router"):
        model = transformers.AutoModelForCausalLM.from_pretrained(bundled_path(name))
        assert type(model).__name__ == "LlamaForCausalLM"
        sidecar = json.loads((bundled_path(name) / "arbitrage.json").read_text())
        assert sidecar["thresholds"]
        assert sidecar["likelihood"]
    for name in ("draft", "target", "prm", "router"):
        assert "seed" in (bundled_path(name) / "README.md").read_text().lower()
        assert list(bundled_path(name).glob("*.safetensors"))
        assert not list(bundled_path(name).glob("*.bin"))


def test_all_weights_together_stay_small():
    """Under 60 MB in the package."""
    root = bundled_path("draft").parent
    assert sum(f.stat().st_size for f in root.rglob("*") if f.is_file()) < 60_000_000


def test_an_unknown_bundled_model_lists_the_known_ones():
    """The error names what there is."""
    with pytest.raises(ModelLoadError, match=r"draft.*target"):
        bundled_path("drafft")
