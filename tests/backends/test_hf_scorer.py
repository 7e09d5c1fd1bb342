"""Step scorers over transformers: the incremental score is that of a full re-encode."""

from __future__ import annotations

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from arbitrage.backends.hf import HFBackend  # noqa: E402
from arbitrage.errors import ContextOverflowError  # noqa: E402
from tests.backends.checkpoints import save_classifier  # noqa: E402


@pytest.fixture(scope="module", params=["plain", "annotated", "chat", "annotated chat"])
def scorer(request, tmp_path_factory):
    """A random scorer, with and without author tags and chat template."""
    stream = {"annotated": "annotated" in request.param, "chat": "chat" in request.param}
    sidecar = json.dumps({"stream": stream, "thresholds": {"0.3": 0.25, "0.5": 0.125}})
    directory = save_classifier(tmp_path_factory.mktemp("scorer"), sidecar=sidecar)
    return HFBackend().scorer(str(directory), "cpu", dtype="float32")


def full_score(scorer, problem, steps, case):
    """The stream written from its description, encoded at once."""
    tokenizer = scorer.encoder.codec.tokenizer
    end = tokenizer("\n\n", add_special_tokens=False)["input_ids"][-1]
    head = f"<|begin|><|user|>{problem}<|assistant|>" if "chat" in case else problem + "\n"
    ids = tokenizer(head, add_special_tokens=False)["input_ids"]
    for text, author in steps:
        tag = {"draft": "Model 0: ", "target": "Model 1: "}[author] if "annotated" in case else ""
        ids = [*ids, *tokenizer(tag + text, add_special_tokens=False)["input_ids"], end]
    with torch.inference_mode():
        logits = scorer.network.module(input_ids=torch.tensor([ids])).logits[0, -1]
    return float(logits.softmax(-1)[1])


def test_incremental_scores_equal_a_full_re_encode_after_any_history(scorer, request):
    """Forty random histories of score, commit, discard and append agree with one pass over the whole stream."""
    case = request.node.callspec.id
    rng = np.random.default_rng(0)
    for _ in range(40):
        committed = []
        with scorer.open("What is 1+1?") as session:
            for _ in range(int(rng.integers(1, 7))):
                text = "".join(chr(97 + int(i)) for i in rng.integers(0, 26, int(rng.integers(0, 9))))
                author = ("draft", "target")[int(rng.integers(2))]
                score = session.score(text, author)
                assert score == pytest.approx(
                    full_score(scorer, "What is 1+1?", [*committed, (text, author)], case), abs=1e-5
                )
                action = int(rng.integers(3))
                if action == 0:
                    session.commit()
                    committed.append((text, author))
                elif action == 1:
                    session.discard()
                else:
                    other = (text, text + "x", text[:-1], "other " + text)[int(rng.integers(4))]
                    session.append(other, author)
                    committed.append((other, author))


def test_a_step_costs_its_own_tokens_only(scorer):
    """After the first score each further one encodes the new step, not the solution."""
    with scorer.open("What is 1+1?") as session:
        session.score("a" * 50, "draft")
        session.commit()
        before = session.usage.tokens
        session.score("bb", "draft")
        session.commit()
        assert session.usage.tokens - before <= len("Model 0: bb") + 1


def test_the_calibration_table_comes_with_the_checkpoint(scorer):
    """Rates and thresholds are numbers, whatever JSON made of them."""
    assert scorer.thresholds == {0.3: 0.25, 0.5: 0.125}


def test_too_long_streams_lose_their_oldest_steps_and_keep_the_problem(scorer, request):
    """Beyond the context the score is that of the problem with the newest steps that fit."""
    case = request.node.callspec.id
    steps = [(chr(97 + i) * 60, "draft") for i in range(12)]
    with scorer.open("What is 1+1?") as session:
        for text, author in steps[:-1]:
            session.append(text, author)
        score = session.score(*steps[-1])
        wanted = [full_score(scorer, "What is 1+1?", steps[i:], case) for i in range(4, 8)]
        assert min(abs(score - w) for w in wanted) < 1e-5
        with pytest.raises(ContextOverflowError, match="context"):
            session.score("x" * 600, "draft")


def test_committing_nothing_is_an_error_and_discarding_nothing_is_not(scorer):
    """The error names both ways out."""
    with scorer.open("p") as session:
        session.discard()
        with pytest.raises(RuntimeError, match=r"score\(\)"):
            session.commit()
