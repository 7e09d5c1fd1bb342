"""Draft confidence: the draft's own least certain token decides."""

import dataclasses
import json
import math

import numpy as np
import pytest

from arbitrage.errors import CapabilityError
from arbitrage.interfaces import Models, Settings
from arbitrage.seeding import problem_rng
from arbitrage.strategies import DraftConfidence
from arbitrage.strategies.confidence import confidence
from arbitrage.testing import ScriptedModel
from arbitrage.testing.scripted import VOCABULARY
from arbitrage.types import Problem

PROBLEM = Problem("p1", "What is 1+1?", ("2",))
DRAFT, TARGET = ["one", "too", "three"], ["ONE", "TWO", "THREE"]


class Doubting(ScriptedModel):
    """Sure of every token but those of one letter."""

    def row(self, written):
        token = self.next_token(written)
        sure = 0.3 if token == ord("o") and "\n\n" in written else 0.99
        row = np.full(VOCABULARY, np.log((1 - sure) / (VOCABULARY - 1)), dtype=np.float32)
        row[token] = np.log(sure)
        return row


def solve(strategy, draft):
    models = Models(draft, ScriptedModel(TARGET), settings=Settings())
    return models, strategy.solve(PROBLEM, models, problem_rng(0, PROBLEM.id))


def test_confidence_is_the_least_probability_of_a_token():
    """Not the mean: one doubtful digit among sure words is enough."""
    assert confidence((math.log(0.9), math.log(0.25), 0.0)) == pytest.approx(0.25)
    assert confidence(()) == 1.0


def test_a_step_with_one_doubtful_token_is_escalated_and_the_others_cost_no_target():
    """'too' holds tokens of probability 0.3; 0.5 rejects it, 0.3 and below accept it, and its score says why."""
    models, solution = solve(DraftConfidence(), Doubting(DRAFT))
    assert [step.author for step in solution.steps] == ["draft", "target", "draft"]
    assert solution.steps[1].rejected_text == "too"
    assert solution.steps[1].score == pytest.approx(0.3, abs=1e-6)
    models, solution = solve(DraftConfidence(threshold=0.29), Doubting(DRAFT))
    assert [step.author for step in solution.steps] == ["draft"] * 3
    assert models.target.calls == []


def test_the_ends_are_the_single_models():
    """A threshold of 0 keeps everything, one above 1 nothing; so do the rates 0 and 1, without a table."""
    for strategy, author in (
        (DraftConfidence(threshold=0.0), "draft"),
        (DraftConfidence(threshold=1.1), "target"),
        (DraftConfidence(rate=0.0), "draft"),
        (DraftConfidence(rate=1.0), "target"),
    ):
        assert {step.author for step in solve(strategy, Doubting(DRAFT))[1].steps} == {author}


def test_a_rate_is_read_from_the_drafts_table():
    """Linear between its rates; without a table the error says so."""
    draft = Doubting(DRAFT)
    with pytest.raises(CapabilityError, match="no calibration table"):
        solve(DraftConfidence(rate=0.3), draft)
    draft.thresholds = {0.2: 0.2, 0.4: 0.5}
    assert {step.author for step in solve(DraftConfidence(rate=0.2), draft)[1].steps} == {"draft"}
    assert "target" in {step.author for step in solve(DraftConfidence(rate=0.3), draft)[1].steps}


def test_the_table_is_made_from_pairs_and_loaded_with_the_draft(tmp_path):
    """The quantiles of the recorded least probabilities; other entries of the sidecar stay; GGUF files have one too."""
    from arbitrage.harness.router.calibrate import calibrate_draft
    from arbitrage.harness.router.pairs import write_shard
    from tests.harness.router.test_pairs import PAIR

    pytest.importorskip("pyarrow")
    levels = [0.1, 0.3, 0.5, 0.7, 0.9]
    write_shard(
        tmp_path / "pairs",
        [
            dataclasses.replace(PAIR, problem_id=f"p{i}", draft_ids=(1, 2), draft_logprobs=(0.0, math.log(level)))
            for i, level in enumerate(levels * 20)
        ],
    )
    (tmp_path / "draft").mkdir()
    (tmp_path / "draft/arbitrage.json").write_text('{"instruction": "go"}')
    made = calibrate_draft(str(tmp_path / "draft"), tmp_path / "pairs")
    told = json.loads((tmp_path / "draft/arbitrage.json").read_text())
    assert told["instruction"] == "go"
    assert told["calibration"]["judge"] == "draft"
    at_40 = next(point for point in made.points if point.rate == 0.4)
    assert 0.3 < at_40.threshold <= 0.5
    assert at_40.realised.value == pytest.approx(0.4)
    (tmp_path / "draft.gguf").write_bytes(b"GGUF")
    calibrate_draft(str(tmp_path / "draft.gguf"), tmp_path / "pairs")
    beside = json.loads((tmp_path / "draft.arbitrage.json").read_text())
    assert beside["thresholds"] == told["thresholds"]


def test_another_table_beside_a_gguf_file_makes_it_another_model(tmp_path):
    """So a run that was begun with one table is not gone on with under the other."""
    pytest.importorskip("llama_cpp")
    from arbitrage.backends.bundled import bundled_gguf
    from arbitrage.backends.gguf import GGUFBackend

    file = tmp_path / "draft.gguf"
    file.write_bytes(bundled_gguf("draft", "q8_0").read_bytes())
    facts = []
    for sidecar in (None, {"instruction": "go"}, {"thresholds": {"0.3": 0.5}}, {"thresholds": {"0.3": 0.6}}):
        if sidecar is not None:
            file.with_suffix(".arbitrage.json").write_text(json.dumps(sidecar))
        facts.append(GGUFBackend().language_model(str(file)).describe())
    assert [fact.get("sidecar_sha256", "none") == "none" for fact in facts] == [True, True, False, False]
    assert facts[2]["sidecar_sha256"] != facts[3]["sidecar_sha256"]


@pytest.mark.parametrize("backend", ["hf", "gguf"])
def test_the_bundled_draft_brings_its_table(backend):
    """So `rate=` works on the bundled models with no set-up, and about that share is escalated."""
    pytest.importorskip("torch" if backend == "hf" else "llama_cpp")
    from arbitrage import run_benchmark

    result = run_benchmark(
        "draft-confidence:rate=0.5", backend, limit=12, repeats=1, warmup=0, progress=False, threads=1
    )
    escalated = sum(row.escalated_steps for row in result.rows) / sum(len(row.steps) for row in result.rows)
    assert 0.25 < escalated < 0.75
