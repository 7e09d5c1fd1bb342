"""A language model as PRM: the incremental reward is that of the whole solution read at once."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from arbitrage.backends.hf import HFBackend, LikelihoodScorer  # noqa: E402
from arbitrage.backends.hf.likelihood import (  # noqa: E402
    FEATURES,
    AdvantageHead,
    Calibration,
    Reading,
    StepReading,
    readout,
)
from arbitrage.errors import ContextOverflowError, ModelLoadError  # noqa: E402
from tests.backends.checkpoints import save_language_model  # noqa: E402

OFFSET, SLOPE = 3.0, 0.1
PROBLEM = "What is 1+1?"


@pytest.fixture(scope="module")
def scorer(tmp_path_factory):
    """A random language model with a calibration."""
    directory = save_language_model(tmp_path_factory.mktemp("reader"))
    sidecar = {"stream": {"chat": True}, "likelihood": {"offset": OFFSET, "slope": SLOPE}, "thresholds": {"0.3": 0.5}}
    (directory / "arbitrage.json").write_text(json.dumps(sidecar))
    loaded = HFBackend().scorer(str(directory), "cpu", dtype="float32")
    assert isinstance(loaded, LikelihoodScorer)
    return loaded


def whole(scorer, steps):
    """The reward from its description: one pass, every token of every step, the worst of them."""
    tokenizer = scorer.encoder.codec.tokenizer
    end, eos = tokenizer("\n\n", add_special_tokens=False)["input_ids"][-1], tokenizer.eos_token_id
    ids = tokenizer(f"<|begin|><|user|>{PROBLEM}<|assistant|>", add_special_tokens=False)["input_ids"]
    head = len(ids)
    for text in steps:
        ids = [*ids, *tokenizer(text, add_special_tokens=False)["input_ids"], end]
    with torch.inference_mode():
        p = scorer.network.module(input_ids=torch.tensor([ids])).logits[0].double().softmax(-1)
    worst = 0.0
    for i in range(head, len(ids)):
        expected = p[i - 1, end] + p[i - 1, eos] if ids[i] == end else p[i - 1, ids[i]]
        worst = max(worst, -math.log(expected))
    return 1 / (1 + math.exp(SLOPE * worst - OFFSET))


def test_incremental_rewards_equal_one_pass_after_any_history(scorer):
    """Forty random histories of score, commit, discard and append."""
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(40):
        committed = []
        with scorer.open(PROBLEM) as session:
            for _ in range(int(rng.integers(1, 7))):
                text = "".join(chr(97 + int(i)) for i in rng.integers(0, 26, int(rng.integers(0, 6))))
                score = session.score(text, "draft")
                assert score == pytest.approx(whole(scorer, [*committed, text]), rel=1e-4, abs=1e-9)
                seen.add(round(score, 6))
                action = int(rng.integers(4))
                if action == 0:
                    session.commit()
                    committed.append(text)
                elif action == 1:
                    session.discard()
                elif action == 2:
                    other = (text, text + "x", text[:-1], "b" + text)[int(rng.integers(4))]
                    session.append(other, "target")
                    committed.append(other)
                else:  # the next score drops the candidate by itself
                    again = session.score(text + "y", "target")
                    assert again == pytest.approx(whole(scorer, [*committed, text + "y"]), rel=1e-4, abs=1e-9)
    assert len(seen) > 20, "the rewards hardly differ: this tests nothing"


def test_a_judged_solution_reads_no_token_twice(scorer):
    """As a step strategy asks: each step is scored, then kept or replaced by one that begins alike, or is the same."""
    rng = np.random.default_rng(5)
    committed = []
    with scorer.open(PROBLEM) as session:
        for i in range(24):
            text = "".join(chr(97 + int(k)) for k in rng.integers(0, 26, 6))
            assert session.score(text, "draft") == pytest.approx(whole(scorer, [*committed, text]), rel=1e-4, abs=1e-9)
            if i % 3:
                text = (text, text[:3] + "zzz")[i % 2]
                session.append(text, "target")
            else:
                session.commit()
            committed.append(text)
        assert session.usage.repeated == 0
        assert 0 < session.usage.dropped < 24 * 8
        session.score("ab", "draft")
        session.score("cd", "draft")
        session.score("ab", "draft")
        assert session.usage.repeated == len("ab") + 1


def test_a_score_that_failed_leaves_no_trace(scorer, monkeypatch):
    """Neither unread steps nor what the candidate began with get lost; the next scores are those of one pass."""
    run = scorer.network.lean.run

    def fails(passes):
        raise MemoryError("no room")

    with scorer.open(PROBLEM) as session:
        session.score("abcd", "draft")
        session.append("abzz", "target")
        for text in ("mnop", "mnxx"):
            with monkeypatch.context() as patch:
                patch.setattr(scorer.network.lean, "run", fails)
                with pytest.raises(MemoryError):
                    session.score(text, "draft")
            with pytest.raises(RuntimeError, match="no candidate"):
                session.commit()
            assert scorer.network.lean.run == run
            assert session.score(text, "draft") == pytest.approx(whole(scorer, ["abzz", text]), rel=1e-4, abs=1e-9)


def test_every_token_is_read_once(scorer):
    """Kept steps cost their own tokens; unscored ones are read with the next candidate."""
    with scorer.open(PROBLEM) as session:
        session.score("a" * 30, "draft")
        session.commit()
        session.append("cc", "target")
        before = session.usage.tokens
        session.score("bb", "draft")
        assert session.usage.tokens - before == len("cc") + 1 + len("bb") + 1


def test_beyond_the_context_old_steps_go_and_what_was_read_stays(scorer):
    """The reward goes on from what is known; a step that cannot fit is refused."""
    with scorer.open(PROBLEM) as session:
        scores = []
        for i in range(14):
            scores.append(session.score(chr(97 + i) * 60, "draft"))
            session.commit()
        assert scores == sorted(scores, reverse=True), "what was wrong once stays wrong"
        with pytest.raises(ContextOverflowError):
            session.score("x" * 600, "draft")


def test_a_step_is_read_as_its_worst_token():
    """Two tokens and an end that two tokens may stand for, computed by hand."""
    p = np.array([[0.5, 0.3, 0.1, 0.1], [0.25, 0.25, 0.25, 0.25], [0.1, 0.1, 0.2, 0.6]])
    rows = np.log(p).astype(np.float32)
    read = StepReading.of(rows, [0, 1, 2], ends=[2, 3])
    assert read.surprise == pytest.approx(-math.log(0.25))
    assert read.total == pytest.approx(-math.log(0.5) - math.log(0.25) - math.log(0.8))
    assert read.doubt == pytest.approx(math.log(4))
    assert read.length == 3
    assert StepReading.of(rows, [2, 1, 2], ends=[2, 3]).surprise == pytest.approx(-math.log(0.1))
    assert StepReading.of(rows[2:], [2], ends=[2, 3]).surprise == pytest.approx(-math.log(0.8))


def test_a_head_reads_the_step_and_what_lies_before_it(scorer, monkeypatch):
    """The features after a history of both authors, and the network on them, computed apart."""
    rng = np.random.default_rng(3)
    settings = {
        "features": FEATURES,
        "mean": rng.normal(size=len(FEATURES)),
        "scale": rng.uniform(5, 9, len(FEATURES)),
        "hidden": rng.normal(size=(4, len(FEATURES) + 1)),
        "output": rng.normal(size=5),
    }
    head = readout(settings)
    assert isinstance(head, AdvantageHead)
    seen = []

    class Watching:
        def score(self, reading):
            seen.append(reading)
            return head.score(reading)

    monkeypatch.setattr(scorer, "readout", Watching())
    with scorer.open(PROBLEM) as session:
        session.score("abc", "draft")
        session.commit()
        session.append("xyz", "target")
        score = session.score("mn", "draft")
    first, last = seen
    assert (first.before, first.index, first.by_target) == (0.0, 0.0, 0.0)
    assert (last.index, last.by_target, last.length) == (2.0, 0.5, 3.0)
    assert last.before >= first.surprise
    assert isinstance(last, Reading)
    values = np.array([getattr(last, name) for name in FEATURES])
    hidden = np.tanh(
        settings["hidden"][:, :-1] @ ((values - settings["mean"]) / settings["scale"]) + settings["hidden"][:, -1]
    )
    assert score == pytest.approx(1 / (1 + np.exp(-(settings["output"][:-1] @ hidden + settings["output"][-1]))))


@pytest.mark.parametrize(
    "settings", [{}, {"offset": "x", "slope": 1}, {"features": ["a"], "mean": [1]}, {"features": FEATURES}]
)
def test_damaged_readouts_are_refused(settings):
    """With the reason."""
    with pytest.raises(ModelLoadError, match="likelihood"):
        readout(settings)


def test_calibration_is_a_probability_at_every_surprise():
    """Also where exp overflows."""
    curve = [Calibration(3.0, 2.0).reward(x) for x in (0.0, 1.5, 10.0, 1e6)]
    assert curve[1] == 0.5
    assert curve == sorted(curve, reverse=True)
    assert curve[-1] >= 0.0
