"""Greedy decoding that gets two numbers of each row of logits: the same texts and records as with whole rows.

On a device these are taken there. Here a network on the CPU is told to take them, for what can be checked without one.
"""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from arbitrage.backends.hf import HFBackend  # noqa: E402
from arbitrage.backends.hf import engine as engine_module  # noqa: E402
from arbitrage.backends.hf.engine import best_of  # noqa: E402
from arbitrage.backends.hf.graphs import GraphedDecoder  # noqa: E402
from arbitrage.backends.hf.lean import LeanDecoder, Pass  # noqa: E402
from arbitrage.interfaces import Models, Settings, Stop  # noqa: E402
from arbitrage.sampling import Best, Sampling, TokenLogprobs, choose  # noqa: E402
from arbitrage.seeding import problem_rng  # noqa: E402
from arbitrage.strategies import RandomRoute, TargetOnly, TokenSD, speculate  # noqa: E402
from arbitrage.types import Problem  # noqa: E402

GREEDY = Sampling()
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA"))]


@pytest.fixture(scope="module")
def twins():
    """By directory: a model whose sessions hand over rows, and one whose sessions do not."""
    cache = {}

    def load(path):
        if path not in cache:
            rows, narrow = (HFBackend().language_model(str(path), "cpu", dtype="float32") for _ in range(2))
            narrow.network.narrows = True
            cache[path] = rows, narrow
        return cache[path]

    return load


# One row.


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("vocabulary", [2, 512, 151_936])
def test_the_best_of_a_row_is_what_the_host_finds_in_it(vocabulary, dtype, device):
    """The first of equal maxima, and its log-probability up to the order of a float32 sum; impossible tokens too."""
    rows = torch.from_numpy(np.random.default_rng(0).normal(0, 8, (12, vocabulary)).astype(np.float32)).to(dtype)
    rows[1] = rows[1].round()
    rows[2] = 0
    rows[3, 1:] = -torch.inf
    rows[4, -1] = rows[4].max()
    rows[5, [0, -1]] = 50.0
    rows[6] = rows[6] * 100
    rows[7, : vocabulary // 2] = -torch.inf
    found = best_of(rows.to(device)).cpu().numpy()
    whole = rows.float().numpy()
    logprobs = TokenLogprobs()
    for row in whole:
        logprobs.add(row, choose(row, GREEDY, np.random.default_rng(0)))
    assert found[:, 0].astype(int).tolist() == whole.argmax(-1).tolist()
    np.testing.assert_allclose(found[:, 1], logprobs.values(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("device", DEVICES)
def test_not_a_number_stays_one(device):
    """Today's rule: NaN counts as the maximum, at its first place, and its log-probability is none."""
    rows = torch.randn(2, 300)
    rows[0, [40, 70]] = torch.nan
    rows[1] = -torch.inf
    found = best_of(rows.to(device)).cpu().numpy()
    assert found[:, 0].tolist() == rows.numpy().argmax(-1).tolist() == [40, 0]
    assert np.isnan(found[:, 1]).all()


def test_logprobs_keep_their_order_whatever_they_come_from():
    """Rows that wait to be normalised go before a number that comes after them."""
    logprobs = TokenLogprobs()
    row = np.log(np.array([0.25, 0.75], dtype=np.float32))
    for one, token in ((row, 0), (Best(1, -0.5), 1), (row, 1), (Best(0, -2.0), 0)):
        logprobs.add(one, token)
    assert len(logprobs) == 4
    assert logprobs.values() == pytest.approx([np.log(0.25), -0.5, np.log(0.75), -2.0])


# One session.

operations = st.lists(
    st.tuples(st.sampled_from(["extend", "rewind", "rows", "best"]), st.integers(0, 9), st.integers(0, 2**31)),
    max_size=14,
)


@settings(max_examples=15, deadline=None)
@given(operations)
def test_after_any_history_the_best_is_that_of_the_rows(checkpoint, twins, history):
    """Asked for rows and for their best in any order, appended to and rolled back: both are a fresh session's."""
    rows, narrow = twins(checkpoint)
    with narrow.open([5, 6, 7]) as session:
        for kind, size, seed in [*history, ("best", 3, 0), ("rows", 0, 0), ("best", 0, 0)]:
            ids = np.random.default_rng(seed).integers(0, 256, size).tolist()
            count = max(1, min(size, len(session.ids)))
            if kind == "rewind":
                session.rewind(max(1, len(session.ids) - size))
            elif kind == "extend":
                session.extend(ids)
            else:
                with rows.open([*session.ids, *ids]) as fresh:
                    wanted = fresh.extend((), count)
                if kind == "rows":
                    np.testing.assert_allclose(session.extend(ids, count), wanted, atol=2e-4, rtol=1e-4)
                    continue
                for best, row in zip(session.extend_greedily(ids, count), wanted, strict=True):
                    assert isinstance(best, Best)
                    exact = row.astype(np.float64)
                    exact -= np.logaddexp.reduce(exact)
                    assert exact[best.token] == pytest.approx(exact.max(), abs=1e-3)
                    assert best.logprob == pytest.approx(exact[best.token], abs=1e-3)


def test_a_row_that_is_known_is_not_run_again_for_its_best(checkpoint, twins):
    """As when somebody else had the prompt read ahead of time."""
    rows, narrow = twins(checkpoint)
    found = []
    for model in (rows, narrow):
        with model.open([5, 6, 7]) as session:
            session.catch_up()
            found.append(session.generate(Stop(9), GREEDY, np.random.default_rng(0)))
            assert (session.usage.repeated, session.usage.calls) == (0, len(found[-1].ids))
    assert found[0].ids == found[1].ids
    assert found[0].logprobs == pytest.approx(found[1].logprobs, abs=1e-4)


@pytest.mark.parametrize("kind", ["plain", "proposal", "speculative"])
def test_no_greedy_pass_hands_over_a_row(checkpoint, twins, kind, monkeypatch):
    """What is written is the same, with and without help, and every output that left the network is two numbers."""
    rows, narrow = twins(checkpoint)
    sent = []
    on_host = engine_module.on_host
    monkeypatch.setattr(engine_module, "on_host", lambda *told: sent.append(on_host(*told)) or sent[-1])
    written = []
    for model in (rows, narrow):
        prompt = np.random.default_rng(3).integers(0, 256, 20).tolist()
        with model.open(prompt) as session:
            proposal = session.generate(Stop(48, at_separator=False), GREEDY, np.random.default_rng(0)).ids
        proposal = () if kind == "plain" else [*proposal[:9], 65, *proposal[9:]]
        writer = speculate(model, model, gamma=3) if kind == "speculative" else model
        sent.clear()
        with writer.open(prompt) as session:
            found = session.generate(Stop(48, at_separator=False), GREEDY, np.random.default_rng(0), proposal)
        written.append(found)
        assert {one.shape[-1] for one in sent} == {2 if model is narrow else 261}
    assert written[0].ids == written[1].ids
    assert written[0].logprobs == pytest.approx(written[1].logprobs, abs=1e-4)


# Whole solutions.


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize(
    "strategy",
    [TargetOnly(), TokenSD(gamma=3), TokenSD(gamma=3, min_confidence=0.0), RandomRoute(rate=0.5, pipeline=True)],
    ids=lambda one: one.label,
)
def test_a_strategy_writes_the_same_solution(pair, twins, strategy, temperature):
    """Texts, confidences and the work of every model, none of it done twice."""
    told = []
    for draft, target in zip(*map(twins, pair), strict=True):
        bundle = Models(draft, target, settings=Settings(max_tokens=120, sampling=Sampling(temperature)))
        solution = strategy.solve(Problem("p", "Add 12 and 30.", ("42",)), bundle, problem_rng(0, "p"))
        told.append(solution)
        assert set(solution.repeated_tokens.values()) == {0}
    rows, narrow = told
    assert rows.token_ids == narrow.token_ids
    assert [step.draft_logprob for step in rows.steps] == [
        None if step.draft_logprob is None else pytest.approx(step.draft_logprob, abs=1e-4) for step in narrow.steps
    ]
    if not isinstance(strategy, RandomRoute):  # how far its draft gets ahead is the clock's
        assert rows.calls == narrow.calls


# Several sequences, and recorded passes.


def test_sequences_that_share_a_pass_each_get_what_they_asked_for(pair, twins):
    """Greedy and sampled problems in threads: rows for these and two numbers for those, out of the same passes."""
    rows, narrow = twins(pair[0])
    samplings = [Sampling(float(number % 2)) for number in range(8)]

    def write(model, number):
        with model.open([5 + number] * 20) as session:
            stop = Stop(40, at_separator=False)
            return session.generate(stop, samplings[number], np.random.default_rng(number)).ids

    alone = [write(rows, number) for number in range(8)]
    found, start = {}, threading.Barrier(8)

    def run(number):
        start.wait()
        found[number] = write(narrow, number)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[number] for number in range(8)] == alone
    network = narrow.network
    passes = [Pass([7, 8, 9], network.lean.new_cache(), 2, best) for best in (True, False, True)]
    assert [answer.shape for answer in network._forward(passes)] == [(2, 2), (2, 261), (2, 2)]


def test_a_recorded_pass_is_read_before_the_next_one_overwrites_it(pair, twins, monkeypatch):
    """With a stand-in for the recorder, whose output is one tensor filled anew: the same text."""

    def record(run):
        output = run().clone()
        return lambda: output.copy_(run())

    rows, narrow = twins(pair[0])
    monkeypatch.setattr(torch, "empty", torch.zeros)  # as the buffers of a CUDA device are made
    lean = LeanDecoder.of(narrow.network.module)
    monkeypatch.setattr(narrow.network, "graphs", GraphedDecoder(lean, torch.device("cpu"), record))
    with rows.open([5] * 9) as plain, narrow.open([5] * 9) as recorded:
        told = [one.generate(Stop(40), GREEDY, np.random.default_rng(0)) for one in (plain, recorded)]
    assert told[0].ids == told[1].ids
    assert told[0].logprobs == pytest.approx(told[1].logprobs, abs=1e-4)
