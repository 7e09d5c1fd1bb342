"""Calibration tables: what they promise is what happens, and nothing else in the sidecar changes."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import numpy as np
import pytest

from arbitrage.backends.sidecar import SIDECAR
from arbitrage.errors import ModelLoadError, RunError
from arbitrage.harness import run_folder
from arbitrage.harness.router.calibrate import calibrate_router, escalated, rate_points, threshold_at, threshold_table
from arbitrage.harness.router.pairs import PairsError, digest, held_out
from arbitrage.harness.router.selection import select
from arbitrage.harness.router.sidecar import place_of, update_sidecar, writable_place
from arbitrage.testing.scripted import ScriptedScorer
from tests.harness.router.made_pairs import folder_of, walk


@pytest.mark.parametrize("judge_as", ["router", "prm"])
def test_a_threshold_escalates_the_share_that_was_wanted(judge_as):
    """Distinct scores: every rate to a step, and for both judges the quantile of their own side."""
    scores = np.random.default_rng(0).random(400)
    for point in rate_points(scores, np.arange(400) // 5, judge_as):
        assert point.met
        assert point.realised.value == pytest.approx(point.rate, abs=1 / 400)
        assert point.realised.covers(point.rate)
    side = 0.7 if judge_as == "router" else 0.3
    assert threshold_at(scores, 0.3, judge_as) == np.quantile(scores, side)


@pytest.mark.parametrize("judge_as", ["router", "prm"])
def test_equal_scores_are_escalated_together_or_not_at_all(judge_as):
    """Scores 0, ½, 1 on 50, 40 and 10 %: the nearest of the four reachable rates, and the others are named unmet."""
    scores = np.repeat([0.0, 0.5, 1.0], [50, 40, 10])
    scores = scores if judge_as == "router" else 1 - scores
    points = {point.rate: point for point in rate_points(scores, np.arange(100), judge_as)}
    for rate, point in points.items():
        nearest = min(abs(rate - reachable) for reachable in (0, 0.1, 0.5, 1))
        assert abs(point.realised.value - rate) == pytest.approx(nearest)
        assert point.realised.value == pytest.approx(escalated(scores, point.threshold, judge_as).mean())
        assert point.met == (nearest <= 0.01)
    assert points[0.1].met
    assert not points[0.3].met


@pytest.mark.parametrize("judge_as", ["router", "prm"])
def test_a_table_is_the_one_that_calibration_stores(judge_as):
    """Training and `calibrate` tell the same thresholds, equal scores included."""
    scores = np.repeat([0.0, 0.5, 0.7, 1.0], [50, 20, 20, 10])
    points = rate_points(scores, np.arange(100), judge_as)
    assert threshold_table(scores, judge_as) == {str(point.rate): point.threshold for point in points}


def test_realised_rates_have_intervals_over_problems():
    """Steps of a problem that are all alike are one piece of evidence: ten of each are as uncertain as one."""
    scores = np.random.default_rng(8).random(60)
    once = rate_points(scores, np.arange(60), rates=[0.3])[0].realised
    problems = rate_points(np.repeat(scores, 10), np.repeat(np.arange(60), 10), rates=[0.3])[0].realised
    steps = rate_points(np.repeat(scores, 10), np.arange(600), rates=[0.3])[0].realised
    assert problems.high - problems.low == pytest.approx(once.high - once.low, rel=0.15)
    assert steps.high - steps.low < (once.high - once.low) / 2


def test_a_training_writes_this_table_too():
    """Where scores tie, a bare quantile would be another threshold."""
    pytest.importorskip("torch")
    from arbitrage.harness.router.held_out import RouterReport
    from arbitrage.harness.router.labels import Labelling

    outputs = np.repeat([[-3.0], [0.0], [3.0]], [50, 40, 10], axis=0).astype(np.float32)
    values = tuple(np.linspace(-1, 1, 100))
    report = RouterReport(Labelling.fitted("regression", 2, values), values)
    _, table = report.report(outputs)
    scores = np.array(report._scores(outputs))
    assert len(set(scores)) == 3
    assert table == threshold_table(scores)
    assert table["0.45"] < np.quantile(scores, 0.55)


def pairs(problems=60):
    return [
        pair
        for n in range(problems)
        for pair in walk(f"p{n}", [(0.5, 0.5 + 0.4 * ((n + k) % 3 - 1)) for k in range(4)])
    ]


def opinion(step, author):
    return (hash_of(step) % 1000) / 1000


def hash_of(text):
    return sum((i + 1) * ord(letter) for i, letter in enumerate(text)) * 7919


@pytest.fixture
def scorer_folder(tmp_path, monkeypatch):
    """A directory that a spec names, with a sidecar; loading it gives a scripted scorer."""
    folder = tmp_path / "my-router"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / SIDECAR).write_text(json.dumps({"stream": {"annotated": True}, "training": {"held_out": 0.5}, "x": [1]}))
    monkeypatch.setattr(
        "arbitrage.harness.router.calibrate.load_scorer", lambda *_, **__: ScriptedScorer(opinion), raising=True
    )
    return folder


def test_the_table_goes_into_the_sidecar_and_nothing_else_changes(tmp_path, scorer_folder):
    """Thresholds by rate, facts about the pairs, the other entries as they were; the router's own share is used."""
    folder = folder_of(tmp_path / "pairs", pairs())
    calibration = calibrate_router(str(scorer_folder), folder)
    told = json.loads((scorer_folder / SIDECAR).read_text())
    assert {key: told[key] for key in ("stream", "training", "x")} == {
        "stream": {"annotated": True},
        "training": {"held_out": 0.5},
        "x": [1],
    }
    kept = [pair for pair in pairs() if held_out(pair.problem_id, 0.5)]
    scores = np.array([opinion(pair.draft, "draft") for pair in kept])
    assert told["thresholds"] == {str(p.rate): threshold_at(scores, p.rate) for p in calibration.points}
    facts = told["calibration"]
    assert (facts["steps"], facts["held_out"], facts["judge"]) == (len(kept), 0.5, "router")
    assert facts["pairs"] == digest(folder)
    assert facts["roll_in"] == {"oracle": len(kept)}
    assert facts["realised"]["0.3"]["value"] == pytest.approx(0.3, abs=0.02)


def test_the_same_table_again_leaves_the_file_as_it_is(tmp_path, scorer_folder, monkeypatch):
    """A new date alone would make another model of it, and runs that were begun with it would not go on."""
    folder = folder_of(tmp_path / "pairs", pairs())
    calibrate_router(str(scorer_folder), folder)
    before = (scorer_folder / SIDECAR).read_bytes()
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    monkeypatch.setattr("arbitrage.harness.router.calibrate.datetime", SimpleNamespace(now=lambda _: tomorrow))
    calibrate_router(str(scorer_folder), folder)
    assert (scorer_folder / SIDECAR).read_bytes() == before
    calibrate_router(str(scorer_folder), folder, held_out=0.4)
    assert (scorer_folder / SIDECAR).read_bytes() != before


def test_a_failed_write_leaves_the_old_sidecar(scorer_folder, monkeypatch):
    """Half a file is never seen."""
    before = (scorer_folder / SIDECAR).read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(run_folder.os, "fsync", full)
    with pytest.raises(RunError, match="as it was before"):
        update_sidecar(scorer_folder, {"thresholds": {}})
    assert (scorer_folder / SIDECAR).read_bytes() == before
    assert sorted(file.name for file in scorer_folder.iterdir()) == [SIDECAR, "config.json"]


def test_a_copy_is_calibrated_where_the_original_is_to_stay(tmp_path, scorer_folder):
    """--out: all files, and the table in the copy only; never into a folder that holds something."""
    before = (scorer_folder / SIDECAR).read_bytes()
    folder = folder_of(tmp_path / "pairs", pairs())
    calibrate_router(str(scorer_folder), folder, out=tmp_path / "copy")
    assert (scorer_folder / SIDECAR).read_bytes() == before
    assert (tmp_path / "copy" / "config.json").exists()
    assert json.loads((tmp_path / "copy" / SIDECAR).read_text())["thresholds"]
    with pytest.raises(ModelLoadError, match="new directory"):
        calibrate_router(str(scorer_folder), folder, out=tmp_path / "copy")


@pytest.mark.parametrize(("spec", "advice"), [("someone/router", "download"), ("bundled:router", "--out")])
def test_there_must_be_a_place_for_the_table_before_any_work_is_done(spec, advice):
    """Hub ids have no directory here; the package's own files stay as they are."""
    with pytest.raises(ModelLoadError, match=advice):
        writable_place(spec)
    assert (place_of(spec) is None) == (spec == "someone/router")


def test_an_object_is_calibrated_without_a_file(tmp_path):
    """The points come back; nothing is written anywhere."""
    folder = folder_of(tmp_path / "pairs", pairs())
    before = sorted(tmp_path.rglob("*"))
    calibration = calibrate_router(ScriptedScorer(opinion), folder, everything=True, judge_as="prm")
    assert sorted(tmp_path.rglob("*")) == before
    by_rate = {point.rate: point.threshold for point in calibration.points}
    assert by_rate[0.1] < by_rate[0.5] < by_rate[0.9]
    assert calibration.selection.facts["steps"] == 240


def test_what_was_trained_on_is_not_judged_silently(tmp_path):
    """The smallest share of all routers; a warning where a router has seen some, was made from other pairs, or all."""
    folder = folder_of(tmp_path / "pairs", pairs())
    trained = {"r": {"training": {"held_out": 0.3, "pairs": digest(folder)}}, "s": {"training": {"held_out": 0.6}}}
    chosen = select(folder, trained)
    assert {pair.problem_id for pair in chosen.pairs} == {f"p{n}" for n in range(60) if held_out(f"p{n}", 0.3)}
    assert chosen.warnings == ()
    (seen,) = select(folder, trained, held_out=0.5).warnings
    assert "it has seen some" in seen
    (everything,) = select(folder, trained, everything=True).warnings
    assert "very pairs" in everything
    (other,) = select(folder, {"r": {"training": {"held_out": 0.3, "pairs": "else"}}}).warnings
    assert "other pairs" in other
    with pytest.raises(ValueError, match="exclude"):
        select(folder, {}, held_out=0.1, everything=True)
    with pytest.raises(PairsError, match="--all"):
        select(folder, {}, held_out=1e-9)
    nothing_kept = {**trained, "t": {"training": {"held_out": 0.0}}}
    with pytest.raises(PairsError, match="t was trained on all problems"):
        select(folder, nothing_kept)
    assert select(folder, nothing_kept, everything=True).facts["held_out"] is None
