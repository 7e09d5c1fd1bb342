"""HF sessions: exact caches, exact rewinds, and the same tokens as transformers' own generate."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from arbitrage.backends.hf import HFBackend  # noqa: E402
from arbitrage.backends.hf.cache import RewindableCache  # noqa: E402
from arbitrage.decoding import common_prefix  # noqa: E402
from arbitrage.errors import ContextOverflowError  # noqa: E402
from arbitrage.interfaces import Models, Settings, Stop, StopReason  # noqa: E402
from arbitrage.sampling import Sampling  # noqa: E402
from arbitrage.seeding import problem_rng  # noqa: E402
from arbitrage.strategies import ArbitrageOracle, TargetOnly, TokenSD  # noqa: E402
from arbitrage.types import Problem  # noqa: E402

GREEDY = Sampling()


@pytest.fixture(scope="module")
def loaded():
    """Loaded models by directory: loading is the slow part."""
    cache = {}

    def load(path):
        return cache.setdefault(path, HFBackend().language_model(str(path), "cpu", dtype="float32"))

    return load


def fresh_logits(model, ids):
    """Logits of the whole sequence by one plain forward pass, shape (tokens, vocabulary)."""
    with torch.inference_mode():
        return model.network.module(input_ids=torch.tensor([ids])).logits[0].numpy()


operations = st.lists(
    st.tuples(st.sampled_from(["extend", "rewind", "logits"]), st.integers(0, 12), st.integers(0, 2**31)), max_size=14
)


@settings(max_examples=25, deadline=None)
@given(operations)
def test_after_any_history_logits_equal_those_of_a_fresh_prefill(checkpoint, loaded, history):
    """Whatever was appended, run and rolled back, the next rows equal one plain pass over the same ids (fp32)."""
    model = loaded(checkpoint)
    with model.open([5, 6, 7]) as session:
        for kind, size, seed in history:
            if kind == "rewind":
                session.rewind(max(1, len(session.ids) - size))
            else:
                ids = np.random.default_rng(seed).integers(0, 256, size).tolist()
                session.extend(ids, logits=min(size, len(ids)) if kind == "logits" else 0)
        rows = session.extend((), logits=min(3, len(session.ids)))
        wanted = fresh_logits(model, list(session.ids))[-len(rows) :]
    np.testing.assert_allclose(rows, wanted, atol=2e-4, rtol=1e-4)


def test_greedy_generation_equals_transformers_generate(checkpoint, loaded):
    """64 tokens after each of 5 prompts are the very tokens of `generate`, which nobody here wrote."""
    model = loaded(checkpoint)
    for seed in range(5):
        prompt = np.random.default_rng(seed).integers(0, 256, 20).tolist()
        with model.open(prompt) as session:
            ours = session.generate(Stop(64, at_separator=False), GREEDY, np.random.default_rng(0)).ids
        theirs = model.network.module.generate(
            torch.tensor([prompt]), max_new_tokens=64, do_sample=False, attention_mask=torch.ones(1, 20, dtype=int)
        )[0, 20:]
        assert list(ours) == theirs.tolist()


def test_two_sessions_do_not_disturb_each_other(checkpoint, loaded):
    """Interleaved token by token, both write what they write alone."""
    model = loaded(checkpoint)
    prompts = [[1, 2, 3], [9, 8, 7, 6]]
    rng = np.random.default_rng(0)
    alone = [model.open(p).generate(Stop(20, False), GREEDY, rng).ids for p in prompts]
    sessions = [model.open(p) for p in prompts]
    written: list[list[int]] = [[], []]
    for _ in range(20):
        for session, out in zip(sessions, written, strict=True):
            if not out or out[-1] not in model.codec.eos_ids:
                out.extend(session.generate(Stop(1, False), GREEDY, rng).ids)
    assert [tuple(w) for w in written] == list(alone)


def test_logprobs_are_those_of_the_written_tokens(checkpoint, loaded):
    """Each equals the log-softmax of a plain pass at that place, also for sampled tokens."""
    model = loaded(checkpoint)
    with model.open([3, 4, 5]) as session:
        out = session.generate(Stop(20, False), Sampling(temperature=1.5), np.random.default_rng(1))
        rows = torch.tensor(fresh_logits(model, list(session.ids))).log_softmax(-1)[2:-1]
    wanted = [float(row[token]) for row, token in zip(rows, out.ids, strict=True)]
    np.testing.assert_allclose(out.logprobs, wanted, atol=1e-3)


def test_sampling_repeats_by_seed(checkpoint, loaded):
    """One seed gives one text; another gives another."""
    model = loaded(checkpoint)

    def sample(seed):
        with model.open([3, 4, 5]) as session:
            return session.generate(Stop(30, False), Sampling(temperature=1.0), np.random.default_rng(seed)).ids

    assert sample(1) == sample(1) != sample(2)


def test_every_token_is_encoded_once_while_a_sequence_only_grows(checkpoint, loaded):
    """Tokens through the model are the sequence's tokens, the last of which was never needed as input."""
    model = loaded(checkpoint)
    with model.open([3, 4, 5]) as session:
        out = session.generate(Stop(30, False), GREEDY, np.random.default_rng(0))
        assert session.usage.tokens == len(session.ids) - 1
        assert session.usage.calls == len(out.ids)
        assert session.usage.seconds > 0


def test_a_second_version_of_a_step_encodes_nothing_twice(checkpoint, loaded):
    """Cut back to where a step began, writing starts from the output that was there; what is dropped is counted."""
    model = loaded(checkpoint)
    with model.open([3, 4, 5]) as session:
        session.generate(Stop(10, False), GREEDY, np.random.default_rng(0))
        base = len(session.ids)
        first = session.generate(Stop(8, False), GREEDY, np.random.default_rng(0))
        before = session.usage.tokens
        session.rewind(base)
        assert session.usage.dropped == before - base
        again = session.generate(Stop(8, False), Sampling(temperature=2.0), np.random.default_rng(1))
        assert session.usage.repeated == common_prefix(first.ids, again.ids[:-1])
        assert session.usage.tokens - before == len(again.ids) - 1


def test_tokens_that_are_encoded_again_are_counted(checkpoint, loaded):
    """The same tokens at the same place behind the same tokens are repeated; others are not."""
    model = loaded(checkpoint)
    with model.open([3, 4, 5, 6]) as session:
        session.extend((), logits=1)
        session.rewind(2)
        session.extend([5, 7, 6], logits=1)
        assert (session.usage.tokens, session.usage.dropped, session.usage.repeated) == (7, 2, 1)
        session.rewind(3)
        session.extend([7, 6, 9], logits=3)
        assert (session.usage.tokens, session.usage.dropped, session.usage.repeated) == (10, 4, 3)


def test_a_pass_that_fails_leaves_the_sequence_as_it_was(checkpoint, loaded, monkeypatch):
    """Nothing of it is held or counted; the next try gives the rows of an undisturbed session."""
    model = loaded(checkpoint)
    with model.open([3, 4, 5]) as session:
        session.extend((), logits=1)
        before = (session.usage.tokens, session.usage.calls)
        cache = session._sequence._cache
        forward = cache.forward

        def fails(ids, keep):
            forward(ids, keep)
            raise MemoryError("no room")

        with monkeypatch.context() as patch:
            patch.setattr(cache, "forward", fails)
            with pytest.raises(MemoryError):
                session.extend([6, 7], logits=1)
        assert (session.usage.tokens, session.usage.calls) == before
        rows = session.extend((), logits=1)
        assert session.usage.tokens == before[0] + 2
    np.testing.assert_allclose(rows[0], fresh_logits(model, [3, 4, 5, 6, 7])[-1], atol=2e-4)


def test_a_full_context_ends_with_its_own_reason_and_never_overflows(checkpoint, loaded):
    """Generation stops at the last position; prompts and appends that do not fit are refused with the numbers."""
    model = loaded(checkpoint)
    prompt = [7] * (model.context_length - 3)
    with model.open(prompt) as session:
        out = session.generate(Stop(50, False), GREEDY, np.random.default_rng(0))
        assert out.reason in (StopReason.CONTEXT, StopReason.EOS)
        assert len(session.ids) <= model.context_length
        with pytest.raises(ContextOverflowError, match=str(model.context_length)):
            session.extend([1] * 10)
    with pytest.raises(ContextOverflowError, match="shorten"):
        model.open([7] * model.context_length)


def test_misuse_is_refused_with_the_allowed_range(checkpoint, loaded):
    """Empty prompts, impossible rewinds and rows, and use after closing are errors; closing twice is fine."""
    model = loaded(checkpoint)
    with pytest.raises(ValueError, match="at least one token"):
        model.open([])
    session = model.open([1, 2])
    with pytest.raises(ValueError, match="cannot rewind"):
        session.rewind(3)
    with pytest.raises(ValueError, match="logits must be"):
        session.extend((), logits=3)
    with pytest.raises(ValueError, match="max_tokens"):
        session.generate(Stop(0), GREEDY, np.random.default_rng(0))
    session.close()
    session.close()
    with pytest.raises(RuntimeError, match="closed"):
        session.extend((), logits=1)


def test_the_cache_keeps_its_content_when_it_grows_and_when_it_is_cut():
    """Appends beyond the first capacity and truncations leave exactly what plain concatenation gives."""
    cache = RewindableCache(1)
    reference = torch.empty(1, 2, 0, 4)
    generator = torch.Generator().manual_seed(0)
    for size, cut in ((5, 0), (300, 120), (1, 0), (700, 1), (3, 3)):
        states = torch.randn(1, 2, size, 4, generator=generator)
        keys, values = cache.update(states, -states, 0)
        reference = torch.cat([reference, states], dim=2)
        assert torch.equal(keys, reference)
        assert torch.equal(values, -reference)
        reference = reference[:, :, : reference.shape[2] - cut]
        cache.truncate(reference.shape[2])
        assert cache.length == reference.shape[2]


@pytest.mark.parametrize("strategy", [TokenSD(gamma=3, min_confidence=0.0), TokenSD(), TokenSD(proposer="ngram")])
def test_greedy_token_sd_equals_target_only_on_transformers_models(pair, loaded, strategy):
    """Random weights, ten prompts, fp32: identical tokens."""
    draft, target = map(loaded, pair)
    models = Models(draft=draft, target=target, settings=Settings(max_tokens=60))
    for i in range(10):
        problem = Problem(str(i), f"problem number {i}", ("0",))
        runs = [s.solve(problem, models, problem_rng(0, problem.id)) for s in (TargetOnly(), strategy)]
        assert runs[0].token_ids == runs[1].token_ids


def test_the_oracle_on_a_scorer_that_prefers_the_target_is_target_only(pair, loaded):
    """Committing the target's step after running both models leaves no trace of the discarded draft step."""
    from arbitrage.testing import ScriptedScorer

    draft, target = map(loaded, pair)
    scorer = ScriptedScorer(lambda step, author: float(author == "target"))
    models = Models(draft=draft, target=target, prm=scorer, settings=Settings(max_tokens=60))
    problem = Problem("0", "some problem", ("0",))
    runs = [s.solve(problem, models, problem_rng(0, "0")) for s in (TargetOnly(), ArbitrageOracle())]
    assert runs[0].token_ids == runs[1].token_ids
