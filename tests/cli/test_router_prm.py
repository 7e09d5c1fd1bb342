"""`arbitrage router` with a process reward model that has to be told how it reads."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("pyarrow")

from arbitrage.backends.loading import load_models
from arbitrage.cli import main
from arbitrage.harness.router.calibrate import threshold_table
from arbitrage.harness.router.evaluate import REWARD
from arbitrage.harness.router.pairs import StepPair, read_pairs
from arbitrage.types import Role
from tests.backends.prm_checkpoints import SAVE, save_ours
from tests.backends.prm_references import math_shepherd, skywork
from tests.harness.router.made_pairs import folder_of, walk

TOLD = {"math-shepherd": ["--prm-family", "math-shepherd"], "skywork": ["--prm-separator", "\\n"]}
"""What must be typed: a language model whose name says nothing, and a separator that is not the default."""


@pytest.fixture(params=list(TOLD))
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def prm(family: str, tmp_path: Path) -> Path:
    return SAVE[family](tmp_path / "x", "safetensors")


def reference(family: str, prm: Path, pair: StepPair, step: str) -> float:
    """The reward of a version of the pair's step by the published format."""
    steps = [*(one.text for one in pair.history), step]
    if family == "skywork":
        return float(skywork(prm, pair.statement, steps, "\n"))
    return float(math_shepherd(prm, pair.statement, steps))


def check_rewards(folder: Path, family: str, prm: Path) -> list[StepPair]:
    pairs = list(read_pairs(folder))
    assert pairs
    for pair in pairs:
        assert pair.draft_reward == pytest.approx(reference(family, prm, pair, pair.draft), abs=1e-4)
        assert pair.target_rewards[0] == pytest.approx(reference(family, prm, pair, pair.targets[0]), abs=1e-4)
    return pairs


def test_pairs_are_collected_with_it(family: str, prm: Path, tmp_path: Path) -> None:
    """On the bundled draft and target; the rewards are those of the format that was named."""
    words = ["--draft", "bundled:draft", "--target", "bundled:target", "--prm", str(prm), *TOLD[family]]
    words += ["--limit", "1", "--max-tokens", "40", "--dtype", "float32", "--decontaminate", "none"]
    assert main(["router", "collect", "--out", str(tmp_path / "pairs"), *words]) == 0
    check_rewards(tmp_path / "pairs", family, prm)


def test_pairs_are_rescored_evaluated_and_calibrated_by_it(
    family: str, prm: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All three read as told: the second finds the rewards of the first, the third makes its table of them."""
    made = [pair for n in range(8) for pair in walk(f"p{n}", [(0.2, 0.8), (0.9, 0.4)])]
    turned = [replace(pair, draft=pair.targets[0], targets=(pair.draft,)) for pair in made[8:]]  # both labels occur
    pairs = [*made[:8], *turned]
    source, folder = folder_of(tmp_path / "made", pairs), tmp_path / "pairs"
    options = [*TOLD[family], "--dtype", "float32"]
    assert main(["router", "rescore", str(source), "--out", str(folder), "--prm", str(prm), *options]) == 0
    rewarded = check_rewards(folder, family, prm)
    judged = [str(prm), str(folder), "--as", "prm", "--all", "--json", *options]
    capsys.readouterr()
    assert main(["router", "evaluate", *judged]) == 0
    verdicts = {one["name"]: one["measures"] for one in json.loads(capsys.readouterr().out)["verdicts"]}
    assert verdicts[str(prm)]["pearson"]["value"] == pytest.approx(verdicts[REWARD]["pearson"]["value"], abs=1e-4)
    assert main(["router", "calibrate", *judged]) == 0
    table = threshold_table([pair.draft_reward for pair in rewarded], "prm")
    assert json.loads(capsys.readouterr().out)["thresholds"] == pytest.approx(table, abs=1e-5)
    assert json.loads((prm / "arbitrage.json").read_text())["thresholds"] == pytest.approx(table, abs=1e-5)


def test_a_checkpoint_is_the_same_scorer_in_both_roles(tmp_path: Path) -> None:
    """One that says itself how it reads, tags, table and all."""
    directory = save_ours(tmp_path / "x")
    told = {"stream": {"separator": "\n", "annotated": True, "max_length": 200}, "thresholds": {"0.5": 0.4}}
    (directory / "arbitrage.json").write_text(json.dumps(told))
    scores = []
    for role in (Role.PRM, Role.ROUTER):
        scorer = load_models("hf", roles=[role], **{role.value: str(directory)}).scorer(role)
        assert scorer.thresholds == {0.5: 0.4}
        with scorer.open("What is 1 + 1?") as session:
            session.append("First.", "target")
            scores.append((session.score("Then 2.", "draft"), scorer.describe()))
    assert scores[0] == scores[1]
