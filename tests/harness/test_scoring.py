"""Scores computed after a run: every version of every step, nothing twice, and no trace in times or texts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from arbitrage.errors import RunError
from arbitrage.harness.runner import load_comparison, run_comparison
from arbitrage.harness.scoring import score_run
from arbitrage.interfaces import Models
from arbitrage.testing import ScriptedModel, ScriptedScorer
from arbitrage.types import Problem

PROBLEMS = tuple(Problem(f"p{index}", f"statement {index}", ("2",)) for index in range(2))
DRAFT, TARGET = ["one", "two wrong", "\\boxed{9}"], ["ONE", "TWO", "\\boxed{2}"]
REWARDS = {"one": 0.9, "ONE": 0.8, "two wrong": 0.2, "TWO": 0.9, "\\boxed{9}": 0.6, "\\boxed{2}": 0.6}
ROUTED = {"one": 0.1, "two wrong": 0.9, "\\boxed{9}": 0.7}


def scorers() -> tuple[ScriptedScorer, ScriptedScorer]:
    return ScriptedScorer(REWARDS), ScriptedScorer(ROUTED)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of all step strategies on scripted models."""
    monkeypatch.setattr("arbitrage.harness.chart.save_chart", lambda comparison, file: None)
    prm, router = scorers()
    models = Models(ScriptedModel(DRAFT), ScriptedModel(TARGET), prm, router)
    names = ["target-only", "arbitrage-router", "rsd", "arbitrage-oracle"]
    run_comparison(names, models, dataset=PROBLEMS, warmup=0, progress=False, out=tmp_path / "run")
    return tmp_path / "run"


def test_both_versions_get_their_reward_and_the_draft_its_router_score(run: Path) -> None:
    """The router's rows learn what was thrown away was worth; the waste of its escalations is known afterwards."""
    assert load_comparison(run)["arbitrage-router (τ=0.5)"].wasted_share is None
    prm, router = scorers()
    found = score_run(run, Models(prm=prm, router=router))["arbitrage-router (τ=0.5)"]
    steps = found.rows[0].steps
    assert [step.author for step in steps] == ["draft", "target", "target"]
    assert [step.draft_reward for step in steps] == [0.9, 0.2, 0.6]
    assert [step.target_reward for step in steps] == [None, 0.9, 0.6]  # nobody wrote the target's first step
    assert [step.router_score for step in steps] == [0.1, 0.9, 0.7]
    assert found.wasted_share == 0.5  # the last escalation gained nothing


def test_the_oracles_unused_target_steps_are_scored_too(run: Path) -> None:
    """The oracle wrote both versions of every step, and the router's opinion of each draft is added."""
    prm, router = scorers()
    steps = score_run(run, Models(prm=prm, router=router))["arbitrage-oracle"].rows[0].steps
    assert [step.target_reward for step in steps] == [0.8, 0.9, 0.6]
    assert [step.router_score for step in steps] == [0.1, 0.9, 0.7]


def test_a_scorer_sees_the_committed_steps_before_each_version(run: Path) -> None:
    """The committed version is scored last, so that its own pass is the one that is kept."""
    prm, _ = scorers()
    score_run(run, Models(prm=prm))
    calls = [(kind, step) for kind, step, _ in prm.calls]
    start = calls.index(("score", "two wrong"))
    assert calls[start - 1] == ("commit", "one")
    assert calls[start : start + 4] == [
        ("score", "two wrong"),
        ("discard", "two wrong"),
        ("score", "TWO"),
        ("commit", "TWO"),
    ]


def test_texts_and_times_stay_as_they_were(run: Path) -> None:
    """Scoring adds a file and a note; rows and trace are the same bytes."""
    before = {name: (run / name).read_bytes() for name in ("rows.jsonl", "steps.jsonl", "problems.jsonl")}
    prm, router = scorers()
    score_run(run, Models(prm=prm, router=router))
    assert {name: (run / name).read_bytes() for name in before} == before
    assert set(json.loads((run / "manifest.json").read_text())["scored"]) == {"prm", "router"}
    assert "waste" in (run / "table.md").read_text()


@pytest.mark.parametrize("share", [0.0, 0.4, 0.99])
def test_an_interrupted_scoring_goes_on(run: Path, share: float) -> None:
    """Cut scores.jsonl at any byte: only the rows that lack scores are read again, and the end is the same."""
    prm, router = scorers()
    expected = score_run(run, Models(prm=prm, router=router))
    whole = (run / "scores.jsonl").read_bytes()
    cut = whole[: int(share * len(whole))]
    (run / "scores.jsonl").write_bytes(cut)
    again, router = scorers()
    found = score_run(run, Models(prm=again, router=router))
    assert (run / "scores.jsonl").read_bytes() == whole
    opened = sum(kind == "score" and step == "one" for kind, step, _ in again.calls)
    assert opened == whole.count(b"\n") - cut.count(b"\n")
    assert [result.rows for result in found.values()] == [result.rows for result in expected.values()]


def test_scores_of_other_models_are_replaced(run: Path) -> None:
    """Two PRMs' rewards are never mixed in one file."""
    prm, router = scorers()
    score_run(run, Models(prm=prm, router=router))
    other = ScriptedScorer({}, default=0.25)
    other.name = "another"
    found = score_run(run, Models(prm=other))
    for name in ("arbitrage-router (τ=0.5)", "rsd (τ=0.7)", "arbitrage-oracle"):
        steps = found[name].rows[0].steps
        assert {step.draft_reward for step in steps} == {0.25}, name
        assert {step.target_reward for step in steps} <= {0.25, None}
        assert [step.router_score for step in steps] == [0.1, 0.9, 0.7]  # the router was not asked again: it stays
    assert found["rsd (τ=0.7)"].rows[0].steps[1].score == 0.2  # what decided in the run
    assert found["rsd (τ=0.7)"].wasted_share == 1.0
    assert json.loads((run / "manifest.json").read_text())["scored"]["prm"]["name"] == "another"


def test_equal_texts_are_waste_whatever_rounding_does_to_two_passes(run: Path) -> None:
    """RSD knew its draft's reward from another pass: a difference of rounding must not look like a gain."""
    texts = {"two wrong": 0.5, "TWO": 0.5, "\\boxed{9}": 0.6, "\\boxed{2}": 0.6}
    found = score_run(run, Models(prm=ScriptedScorer(texts, default=0.9)))
    assert found["rsd (τ=0.7)"].wasted_share == 1.0
    lines = (run / "steps.jsonl").read_text().splitlines()
    told = [json.loads(line) for line in lines]
    shifted = [one | {"draft_reward": one["draft_reward"] and one["draft_reward"] - 2e-8} for one in told]
    (run / "steps.jsonl").write_text("".join(json.dumps(one) + "\n" for one in shifted))
    assert load_comparison(run)["rsd (τ=0.7)"].wasted_share == 1.0


def test_a_router_reads_the_committed_history_with_its_authors(run: Path) -> None:
    """After an escalation it reads the target's step, tagged as the target's, before the next draft."""
    _, router = scorers()
    score_run(run, Models(router=router))
    start = router.calls.index(("score", "two wrong", "draft"))
    assert router.calls[start - 1] == ("commit", "one", "draft")
    after = router.calls[start : start + 4]
    assert after == [
        ("score", "two wrong", "draft"),
        ("discard", "two wrong", "draft"),
        ("append", "TWO", "target"),
        ("score", "\\boxed{9}", "draft"),
    ]


def test_a_prm_is_told_who_wrote_each_version(run: Path) -> None:
    """Scorers that read tags would otherwise score another stream."""
    prm, _ = scorers()
    score_run(run, Models(prm=prm))
    assert ("score", "TWO", "target") in prm.calls
    assert ("score", "two wrong", "draft") in prm.calls
    assert not [call for call in prm.calls if call[1] in TARGET and call[2] == "draft"]


def test_a_stopped_rescoring_leaves_the_old_scores(run: Path) -> None:
    """Ctrl-C in the middle: tables stay as they were; the same call goes on where it stopped."""
    prm, router = scorers()
    before = score_run(run, Models(prm=prm, router=router))["arbitrage-router (τ=0.5)"].wasted_share
    other = ScriptedScorer({}, default=0.25)
    other.name = "another"

    def stop(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score_run(run, Models(prm=other), progress=stop)
    assert load_comparison(run)["arbitrage-router (τ=0.5)"].wasted_share == before
    opened = sum(kind == "score" and step == "one" for kind, step, _ in other.calls)
    found = score_run(run, Models(prm=other))
    rows = sum(len(found[label].rows) for label in found if found[label].step_routing)
    assert opened == 2
    assert sum(kind == "score" and step == "one" for kind, step, _ in other.calls) == rows
    assert not (run / "scores.new.jsonl").exists()


def test_a_saved_copy_of_a_scored_run_is_scored_and_can_be_scored_anew(run: Path, tmp_path: Path) -> None:
    """The copy has the trace of the run and the scores beside it, not scores in the trace."""
    prm, router = scorers()
    scored = score_run(run, Models(prm=prm, router=router))
    copy = scored.save(tmp_path / "copy")
    lines = sorted((run / "steps.jsonl").read_bytes().splitlines())
    assert sorted((copy / "steps.jsonl").read_bytes().splitlines()) == lines
    again = load_comparison(copy)
    assert again["arbitrage-router (τ=0.5)"].wasted_share == 0.5
    harsh = ScriptedScorer({}, default=0.25)
    harsh.name = "another"
    other = score_run(copy, Models(prm=harsh))
    assert other["arbitrage-router (τ=0.5)"].wasted_share == 1.0


def test_rows_without_scores_are_told_under_the_table(run: Path) -> None:
    """After a resumed run some rows are scored and some are not: the waste is of a part, which is said."""
    prm, router = scorers()
    score_run(run, Models(prm=prm, router=router))
    assert "rows are scored" not in (run / "table.md").read_text()
    lines = (run / "scores.jsonl").read_bytes().splitlines(keepends=True)
    (run / "scores.jsonl").write_bytes(b"".join(lines[:2]))
    load_comparison(run).save_report(run)
    assert f"only 2 of {len(lines)} rows are scored" in (run / "table.md").read_text()


def test_a_problem_that_the_folder_lacks_is_named(run: Path) -> None:
    """Somebody shortened problems.jsonl: one clear error, not a key."""
    lines = (run / "problems.jsonl").read_bytes().splitlines(keepends=True)
    (run / "problems.jsonl").write_bytes(lines[0])
    with pytest.raises(RunError, match=r"lacks problem 'p1'"):
        score_run(run, Models(prm=scorers()[0]))


def test_what_cannot_be_scored_says_why(run: Path) -> None:
    """No scorer, models that were objects, and a folder without the statements are three answers."""
    with pytest.raises(RunError, match="neither a PRM nor a router to score with"):
        score_run(run, Models(draft=ScriptedModel(["a"])))
    with pytest.raises(RunError, match="names neither a PRM nor a router"):
        score_run(run)
    (run / "problems.jsonl").unlink()
    with pytest.raises(RunError, match="early version"):
        score_run(run, Models(prm=scorers()[0]))
