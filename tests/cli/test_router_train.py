"""`arbitrage router train`, and the strategy that uses what it made."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("pyarrow")
pytest.importorskip("accelerate")

from arbitrage.cli import main
from arbitrage.errors import ModelLoadError
from arbitrage.harness.router.pairs import write_shard
from arbitrage.harness.router.settings import TrainingSettings
from tests.harness.router.test_train import make_pairs


def test_a_router_is_trained_and_used_at_an_escalation_rate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On the bundled family: train, then a benchmark that turns rate= into the router's own threshold."""
    write_shard(tmp_path / "pairs", make_pairs(60))
    words = ["--init", "bundled:draft", "--batch", "16", "--epochs", "1", "--lr", "1e-3", "--held-out", "0.2"]
    words += ["--no-annotation", "--labels", "regression", "--max-length", "200", "--device", "cpu", "--json"]
    router = tmp_path / "router"
    assert main(["router", "train", str(tmp_path / "pairs"), "--out", str(router), *words]) == 0
    printed = capsys.readouterr()
    told = json.loads(printed.out)
    assert told["path"] == str(router)
    assert 0 <= told["measures"]["auc"] <= 1
    assert "120 pairs of 60 problems" in printed.err
    sidecar = json.loads((router / "arbitrage.json").read_text(encoding="utf-8"))
    assert sidecar["readout"] == {"kind": "regression"}
    assert sidecar["stream"]["annotated"] is False
    rates = ("0.05", "0.95")
    strategies = ",".join(f"arbitrage-router:rate={rate}" for rate in rates)
    run = ["bench", "--strategy", strategies, "--router", f"hf:{router}", "--limit", "2", "--warmup", "0"]
    assert main([*run, "--out", str(tmp_path / "run")]) == 0
    lines = (tmp_path / "run" / "steps.jsonl").read_text(encoding="utf-8").splitlines()
    for rate in rates:
        steps = [step for step in map(json.loads, lines) if f"rate={rate}" in step["strategy"]]
        assert steps
        threshold = sidecar["thresholds"][rate]
        for step in steps:
            assert 0 <= step["router_score"] <= 1
            assert (step["author"] == "target") == (step["router_score"] > threshold)


def test_a_prm_is_trained_on_a_run_and_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On the bundled family: a benchmark's own solutions, a head on the draft's first layer or two, and RSD with it."""
    run, prm = tmp_path / "run", tmp_path / "prm"
    words = ["--limit", "24", "--max-tokens", "96", "--warmup", "0", "--concurrency", "8", "--out", str(run)]
    assert main(["bench", "--strategy", "draft-only,target-only", *words]) == 0
    layers = ["--layer", "1", "--layer", "2", "--held-out", "0.3"]
    train = ["router", "train", str(run), "--as", "prm", "--frozen", *layers, "--init", "bundled:draft"]
    assert main([*train, "--out", str(prm), "--device", "cpu"]) == 0
    printed = capsys.readouterr()
    assert "calibration error" in printed.out
    assert "only the head" in printed.out
    assert "of 24 problems" in printed.err
    sidecar = json.loads((prm / "arbitrage.json").read_text(encoding="utf-8"))
    assert (sidecar["family"], sidecar["stream"]["annotated"]) == ("token-classification", False)
    used = ["bench", "--strategy", "rsd:rate=0.5", "--prm", f"hf:{prm}", "--limit", "2", "--warmup", "0"]
    assert main([*used, "--max-tokens", "96", "--out", str(tmp_path / "used")]) == 0
    lines = (tmp_path / "used" / "steps.jsonl").read_text(encoding="utf-8").splitlines()
    steps = [step for step in map(json.loads, lines) if step["strategy"].startswith("rsd")]
    assert steps
    for step in steps:
        assert (step["author"] == "target") == (step["draft_reward"] < sidecar["thresholds"]["0.5"])


def test_a_separator_is_typed_as_in_a_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    r"""`\n` ends steps by a newline, not by a backslash and a letter."""
    asked: list[TrainingSettings] = []

    def refuse(sources: object, init: str, out: Path, settings: TrainingSettings, say: object) -> None:
        asked.append(settings)
        raise ModelLoadError("enough")

    monkeypatch.setattr("arbitrage.harness.router.train.train_router", refuse)
    words = ["router", "train", str(tmp_path), "--init", "bundled:draft", "--out", str(tmp_path / "router")]
    for more in (["--separator", r"\n"], ["--separator", "\n"], []):
        assert main([*words, *more]) != 0
    assert [settings.separator for settings in asked] == ["\n", "\n", None]


def test_mistakes_end_in_a_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No pairs; a learning rate that is none."""
    words = ["--init", "bundled:draft", "--out", str(tmp_path / "router")]
    assert main(["router", "train", str(tmp_path), *words]) != 0
    assert "router collect" in capsys.readouterr().err
    assert main(["router", "train", str(tmp_path), *words, "--lr", "0"]) != 0
    assert "must be above 0" in capsys.readouterr().err
