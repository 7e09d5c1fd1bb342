"""Whole evaluations: on scripted scorers, and on the bundled router."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest

from arbitrage.errors import ContextOverflowError, ModelLoadError
from arbitrage.harness.router.calibrate import calibrate_router
from arbitrage.harness.router.evaluate import CONFIDENCE, RANDOM, REWARD, evaluate_router
from arbitrage.harness.router.evaluation_report import markdown_report, save_evaluation, tables
from arbitrage.harness.router.judging import ORACLE
from arbitrage.harness.router.pairs import PairsError, digest, read_pairs
from arbitrage.testing.scripted import ScriptedScorer
from tests.harness.router.made_pairs import folder_of, walk


def pairs(problems=40, outcomes=False):
    rng = np.random.default_rng(5)
    return [
        pair
        for n in range(problems)
        for pair in walk(
            f"p{n}",
            [tuple(rng.integers(0, 5, 2) / 4) for _ in range(4)],
            [tuple(rng.integers(0, 3, 2) / 2) for _ in range(4)] if outcomes else None,
        )
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return folder_of(tmp_path_factory.mktemp("evaluated") / "pairs", pairs(outcomes=True))


def knowing(told, noise=0.0, name="router", sign=1):
    """A scorer that knows the advantage of every step, up to noise."""
    rng = np.random.default_rng(6)
    known = {pair.draft: 0.5 + sign * pair.advantage / 2 * (1 - noise) + noise * rng.normal() / 5 for pair in told}
    scorer = ScriptedScorer(known)
    scorer.name = name
    return scorer


def test_routers_stand_beside_baselines_and_bounds(folder):
    """On the same steps: −s_d as stored, the draft's doubt, chance, and the advantage itself."""
    told = list(read_pairs(folder))
    good, noisy = knowing(told, name="good"), knowing(told, 0.9, name="noisy")
    evaluation = evaluate_router([good, noisy], folder, everything=True)
    verdicts = {verdict.name: verdict for verdict in evaluation.verdicts}
    assert list(verdicts) == ["good", "noisy", REWARD, CONFIDENCE, RANDOM, ORACLE]
    assert verdicts["good"].measures["spearman"].value == pytest.approx(1)
    assert verdicts["good"].captured == verdicts[ORACLE].captured
    assert verdicts["noisy"].measures["auc"].high < 1
    # These drafts are the less sure of a step, the more the target's is rewarded.
    assert verdicts[CONFIDENCE].measures["auc"].low > 0.6
    assert verdicts["good"].versus["noisy"]["auc"].low > 0
    assert verdicts[RANDOM].measures["auc"].value == 0.5
    better = np.mean([pair.label for pair in told])
    assert verdicts[RANDOM].waste[0.5].value == pytest.approx(1 - better)
    assert evaluation.better == pytest.approx(better)
    assert evaluation.facts["steps"] == len(told)
    assert evaluation.warnings == () or all("same score" in warning for warning in evaluation.warnings)
    histogram = evaluation.histograms["good"]
    assert sum(histogram.better) == sum(pair.label for pair in told)
    assert sum(histogram.better) + sum(histogram.not_better) == len(told)
    assert evaluation.outcomes.steps == len(told)
    assert evaluation.outcomes.verdicts[0].name == "good"


def test_a_prm_is_read_the_other_way_round(folder):
    """Low rewards escalate; it claims no probability; and who forgets --as prm is asked."""
    told = list(read_pairs(folder))
    prm = knowing(told, sign=-1, name="prm")
    right = evaluate_router(prm, folder, everything=True, judge_as="prm")
    assert right.verdicts[0].measures["auc"].value == 1
    assert "brier" not in right.verdicts[0].measures
    thresholds = [point.threshold for point in right.thresholds["prm"]]
    assert thresholds == sorted(thresholds)
    wrong = evaluate_router(prm, folder, everything=True)
    assert wrong.verdicts[0].measures["auc"].value == 0
    assert any("--as prm" in warning for warning in wrong.warnings)


@pytest.mark.parametrize("kind", ["router", "prm"])
def test_a_table_for_the_wrong_side_is_doubted(folder, kind, tmp_path):
    """A PRM that is calibrated as a router, and a router as a PRM, in the words of an evaluation; nothing else is."""
    other, advice = {"router": ("prm", "leave --as prm out"), "prm": ("router", "say --as prm")}[kind]
    scorer = knowing(list(read_pairs(folder)), 0.5, name=kind, sign=1 if kind == "router" else -1)
    wrong = calibrate_router(scorer, folder, everything=True, judge_as=other)
    (doubt,) = wrong.doubts
    assert advice in doubt
    assert doubt in wrong.warnings
    assert doubt in evaluate_router(scorer, folder, everything=True, judge_as=other).warnings
    assert calibrate_router(scorer, folder, everything=True, judge_as=kind).doubts == ()
    guess = ScriptedScorer(lambda step, author: sum(map(ord, step)) % 97 / 97)
    assert calibrate_router(guess, folder_of(tmp_path, pairs(3)), everything=True, judge_as=other).doubts == ()


def test_pairs_of_one_label_are_calibrated_without_doubts(tmp_path):
    """There is no direction to be wrong about."""
    folder = folder_of(tmp_path, [pair for n in range(8) for pair in walk(f"p{n}", [(0.5, 0.5), (0.6, 0.2)])])
    assert calibrate_router(ScriptedScorer(lambda step, author: len(step) / 99), folder, everything=True).doubts == ()


def test_steps_that_no_scorer_can_read_change_nothing_for_the_others(folder, tmp_path):
    """Their problems' other steps keep their problems: all intervals are those of a folder without them."""
    told = list(read_pairs(folder))
    short = [pair for number, pair in enumerate(told) if number % 7]
    known = {pair.draft: 0.5 + pair.advantage / 3 + 0.1 * (number % 3) for number, pair in enumerate(told)}
    readable = {pair.draft for pair in short}

    def choosy(step, author):
        if author == "draft" and step not in readable:
            raise ContextOverflowError("too long")
        return known[step]

    found = evaluate_router(ScriptedScorer(choosy), folder, everything=True)
    alone = evaluate_router(ScriptedScorer(known), folder_of(tmp_path / "short", short), everything=True)
    assert found.unscored == len(told) - len(short)
    assert found.verdicts[0] == alone.verdicts[0]
    assert found.thresholds == alone.thresholds
    calibrated = calibrate_router(ScriptedScorer(choosy), folder, everything=True)
    assert calibrated.points == alone.thresholds["scripted-scorer"]


@pytest.mark.parametrize(
    ("kind", "probability"),
    [(None, True), ("binary", True), ("classes", False), ("ordinal", False), ("regression", False)],
)
def test_a_routers_readout_says_whether_its_score_is_a_probability(folder, tmp_path, monkeypatch, kind, probability):
    """Only then it has a calibration error; the tables show a gap else."""
    sidecar = {} if kind is None else {"readout": {"kind": kind, "classes": 4}}
    (tmp_path / "arbitrage.json").write_text(json.dumps(sidecar))
    scorer = knowing(list(read_pairs(folder)), 0.5)
    monkeypatch.setattr("arbitrage.harness.router.evaluate.load_scorer", lambda *_, **__: scorer)
    evaluation = evaluate_router(str(tmp_path), folder, everything=True)
    assert ("calibration_error" in evaluation.verdicts[0].measures) == probability
    (cells,) = next(rows for caption, _, rows in tables(evaluation) if caption == "scores as probabilities")
    assert ("—" in cells) != probability


def test_a_router_on_the_hub_says_what_it_was_trained_on(folder, tmp_path, hub, monkeypatch):
    """Its own held-out share is taken, and that it knows these pairs is said; in it, nothing can be stored."""
    pytest.importorskip("torch")
    from tests.backends.checkpoints import put_on_hub

    told = {"training": {"held_out": 0.4, "pairs": digest(folder)}, "readout": {"kind": "regression"}}
    (tmp_path / "router").mkdir()
    (tmp_path / "router" / "config.json").write_text("{}")
    (tmp_path / "router" / "arbitrage.json").write_text(json.dumps(told))
    put_on_hub(hub, tmp_path / "router", "me/router")
    scorer = knowing(list(read_pairs(folder)), 0.5)
    monkeypatch.setattr("arbitrage.harness.router.evaluate.load_scorer", lambda *_, **__: scorer)
    for spec in ("me/router", "hf:me/router@cpu"):
        evaluation = evaluate_router(spec, folder)
        assert evaluation.facts["held_out"] == 0.4
        assert "calibration_error" not in evaluation.verdicts[0].measures
        everything = evaluate_router(spec, folder, everything=True)
        assert any("trained on these very pairs" in warning for warning in everything.warnings)
    with pytest.raises(ModelLoadError, match="hf download"):
        calibrate_router("me/router", folder)
    with pytest.raises(ModelLoadError, match="no such directory"):
        evaluate_router("./nowhere", folder)


def test_the_files_say_what_the_tables_say(folder, tmp_path):
    """evaluation.json is JSON with every number; the Markdown has every score; the pictures are there."""
    pytest.importorskip("matplotlib")
    evaluation = evaluate_router(knowing(list(read_pairs(folder)), 0.5), folder, everything=True)
    files = save_evaluation(evaluation, tmp_path / "report")
    assert {file.name for file in files} >= {"evaluation.json", "evaluation.md", "reliability.png", "captured.png"}
    assert all(file.stat().st_size > 500 for file in files)
    told = json.loads((tmp_path / "report" / "evaluation.json").read_text())
    auc = evaluation.verdicts[0].measures["auc"]
    assert told["verdicts"][0]["measures"]["auc"] == {"value": auc.value, "low": auc.low, "high": auc.high}
    assert told["verdicts"][3]["measures"]["spearman"]["value"] is None
    text = (tmp_path / "report" / "evaluation.md").read_text()
    assert text == markdown_report(evaluation)
    assert auc.shown(".3f") in text
    assert "signs of PRM and outcome advantage" in text
    assert all(len(row) == len(titles) for _, titles, cells in tables(evaluation) for row in cells)


def test_steps_of_one_label_are_refused(tmp_path):
    """There is nothing to tell apart; the message says what to do."""
    same = [pair for n in range(8) for pair in walk(f"p{n}", [(0.5, 0.5), (0.6, 0.2)])]
    folder = folder_of(tmp_path, same)
    with pytest.raises(PairsError, match=r"better in none of the 16 held-out steps.*collect more"):
        evaluate_router(ScriptedScorer({}), folder, everything=True)
    better = [dataclasses.replace(pair, target_rewards=(0.9,)) for pair in same]
    with pytest.raises(PairsError, match="better in all"):
        evaluate_router(ScriptedScorer({}), folder_of(tmp_path / "all", better), everything=True)


def test_a_router_is_named_once(folder):
    """Two lines with one name could not be told apart."""
    with pytest.raises(ModelLoadError, match="once"):
        evaluate_router([ScriptedScorer({}), ScriptedScorer({})], folder, everything=True)


@pytest.fixture(scope="module")
def bundled_pairs(tmp_path_factory):
    """Step pairs of a few problems by the bundled models, better of two."""
    pytest.importorskip("torch")
    from arbitrage.backends.loading import load_models
    from arbitrage.harness.router.pairs import HistoryStep
    from arbitrage.harness.synthetic import Split, generate
    from arbitrage.seeding import problem_rng
    from arbitrage.strategies import ArbitrageOracle

    models = load_models("hf", threads=1)
    found = []
    for problem, _ in zip(generate(Split.HELD_OUT, 11), range(24), strict=False):
        steps = ArbitrageOracle().solve(problem, models, problem_rng(0, problem.id)).steps
        history: list[HistoryStep] = []
        (template,) = walk(problem.id, [(0.0, 0.0)])
        for step in steps:
            versions = {step.author: step.text}
            versions.setdefault("draft", step.rejected_text or step.text)
            versions.setdefault("target", step.unused_target_text or step.text)
            found.append(
                dataclasses.replace(
                    template,
                    statement=problem.problem,
                    index=step.index,
                    history=tuple(history),
                    draft=versions["draft"],
                    targets=(versions["target"],),
                    draft_reward=step.draft_reward,
                    target_rewards=(step.target_reward,),
                    draft_ids=(1,),
                    draft_logprobs=(step.draft_logprob,),
                    committed=step.author,
                )
            )
            history.append(HistoryStep(step.text, step.author))
    return folder_of(tmp_path_factory.mktemp("bundled") / "pairs", found)


def test_the_bundled_router_is_as_good_as_its_card_says(bundled_pairs):
    """Its card's AUC, and the draft's doubt far below it; the fresh PRM says what the pairs say of the draft."""
    evaluation = evaluate_router("bundled:router", bundled_pairs, everything=True, threads=1)
    verdicts = {verdict.name: verdict for verdict in evaluation.verdicts}
    assert verdicts["bundled:router"].measures["auc"].covers(0.9982)
    assert verdicts["bundled:router"].versus[CONFIDENCE]["auc"].value > 0
    afresh = evaluate_router("bundled:prm", bundled_pairs, everything=True, judge_as="prm", threads=1)
    for name, estimate in afresh.verdicts[0].measures.items():
        assert estimate.value == pytest.approx(verdicts[REWARD].measures[name].value, abs=0.01), name


def test_the_commands_evaluate_and_calibrate(bundled_pairs, tmp_path, capsys):
    """Tables on the terminal, JSON, files; a copy with a table that the loaded router has; mistakes are one line."""
    from arbitrage.backends.loading import load_models
    from arbitrage.cli import main
    from arbitrage.types import Role

    words = ["router", "evaluate", "bundled:router", str(bundled_pairs), "--all", "--threads", "1"]
    assert main([*words, "--out", str(tmp_path / "report")]) == 0
    shown = capsys.readouterr().out
    assert "escalation rate" in shown
    assert "bundled:router minus" in shown
    assert (tmp_path / "report" / "evaluation.json").is_file()
    assert main(["router", "calibrate", "bundled:router", str(bundled_pairs), "--all"]) == 2
    assert "--out" in capsys.readouterr().err
    copy = tmp_path / "copy"
    assert (
        main(["router", "calibrate", "bundled:router", str(bundled_pairs), "--all", "--out", str(copy), "--json"]) == 0
    )
    told = json.loads(capsys.readouterr().out)["thresholds"]
    router = load_models("hf", roles=[Role.ROUTER], router=str(copy), threads=1).scorer(Role.ROUTER)
    assert router.thresholds == {float(rate): pytest.approx(value) for rate, value in told.items()}
    assert math.isclose(min(router.thresholds), 0.01)
    wrong = ["router", "calibrate", "bundled:router", str(bundled_pairs), "--all", "--as", "prm"]
    for number, more in enumerate(([], ["--json"])):
        assert main([*wrong, "--out", str(tmp_path / f"wrong-{number}"), *more]) == 0
        printed = capsys.readouterr()
        assert "leave --as prm out" in " ".join((printed.err if more else printed.out).split())
    assert main(["router", "evaluate", "bundled:router", str(bundled_pairs), "--all", "--held-out", "0.2"]) == 2
    assert main(["router", "evaluate", "bundled:router", str(tmp_path)]) == 2
    assert "router collect" in capsys.readouterr().err


def test_the_command_rescores(bundled_pairs, tmp_path, capsys):
    """By the PRM that the rewards are from: the same rewards again, up to rounding; no PRM is a mistake of one line."""
    from arbitrage.cli import main

    words = ["router", "rescore", str(bundled_pairs), "--out", str(tmp_path / "new")]
    assert main(words) == 2
    assert main([*words, "--prm", "bundled:prm", "--threads", "1", "--concurrency", "4", "--json"]) == 0
    before, after = (list(read_pairs(folder)) for folder in (bundled_pairs, tmp_path / "new"))
    assert json.loads(capsys.readouterr().out)["steps"] == len(before)
    for old, new in zip(before, after, strict=True):
        assert new.draft_reward == pytest.approx(old.draft_reward, abs=1e-4)
        assert new.targets == old.targets
