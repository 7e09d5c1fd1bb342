"""`arbitrage plan` as a user types it: tables, JSON, and mistakes that say what to do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from arbitrage.cli import main
from tests.harness.planned_runs import COSTS, recorded, trio
from tests.scripted_backend import scripted_registry

ROUTED = "arbitrage-router (τ=0.5)"


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wide output without colours, and a backend without real models."""
    monkeypatch.setattr("arbitrage.registry._shared", scripted_registry())
    monkeypatch.setattr("arbitrage.harness.environment.load_average", lambda: (0.0, 0.0, 0.0))
    monkeypatch.setenv("COLUMNS", "240")
    monkeypatch.setenv("NO_COLOR", "1")


@pytest.fixture
def made(tmp_path: Path) -> str:
    """Twenty problems by target-only, draft-only and a router, whose seconds follow known costs."""
    rows = [row for problem in range(20) for row in trio(problem)]
    return str(recorded(tmp_path / "run", rows))


def planned(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert main(["plan", *words, "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_without_options_the_run_is_checked_against_itself(made: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A table of errors, the costs, and what they say of this machine."""
    assert main(["plan", made]) == 0
    printed = capsys.readouterr().out
    assert "check: mean latency" in printed
    assert "largest error: +0.0% of the latency" in printed or "largest error: -0.0% of the latency" in printed
    assert "target 50 ms a pass + 3 ms each further token + 20 ms a turn" in printed
    assert "forecast on this machine" in printed
    assert "Accuracy is not predicted" in printed


def test_sizes_and_a_machine_forecast_a_larger_setting(made: str, capsys: pytest.CaptureFixture[str]) -> None:
    """8B and 70B on H100s: every strategy with its GPUs, cost, and both break-even rates; what is assumed is said."""
    sizes = ["--draft", "8e9@bf16", "--target", "70e9@bf16", "--router", "1.5e9"]
    found = planned(capsys, made, *sizes, "--gpu", "h100", "--target-gpus", "4", "--router-gpus", "0", "--price", "2.5")
    told = {one["strategy"]: one for one in found["forecast"]}
    assert [one["gpus"] for one in told.values()] == [4, 1, 5]
    assert told[ROUTED]["cost_per_1000"] == pytest.approx(told[ROUTED]["latency_s"] * 1000 / 3600 * 5 * 2.5)
    assert told[ROUTED]["break_even"] == pytest.approx(told[ROUTED]["break_even_formula"], abs=0.02)
    assert found["setting"]["costs"]["models"]["target"]["pass_s"] == pytest.approx(0.019, rel=0.02)
    assert any("assumed: a pass reaches 60% of 3.35 TB/s" in note for note in found["notes"])
    own = ["--bandwidth", "3.35TB/s", "--tflops", "989", "--target-gpus", "4", "--router-gpus", "0", "--price", "2.5"]
    assert planned(capsys, made, *sizes, *own)["forecast"] == found["forecast"]


def test_times_are_taken_as_given(made: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Without overhead worth mentioning, target-only takes its passes times the time of one."""
    found = planned(capsys, made, "--target-ms", "1000", "--draft-ms", "100+1")
    told = {one["strategy"]: one for one in found["forecast"]}
    tokens = [sum(5 + (7 * p + 3 * k) % 11 for k in range(4 + p % 5)) for p in range(20)]
    assert told["target-only"]["time_s"]["target"] == pytest.approx(sum(tokens) / 20)
    assert told["draft-only"]["time_s"]["draft"] == pytest.approx(sum(tokens) / 200 + 0.001 * 19)
    assert found["left_out"] == {ROUTED: ["router"]}
    twice = planned(capsys, made, "--target-ms", "1000", "--scale-tokens", "2")["forecast"][0]
    assert twice["time_s"]["target"] == pytest.approx(2 * sum(tokens) / 20)


def test_what_was_assumed_for_the_check_is_in_the_json(made: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The errors of both halves, and the measured costs."""
    found = planned(capsys, made)
    assert [one["strategy"] for one in found["check"]] == ["target-only", "draft-only", ROUTED]
    assert all(len(one["errors"]) == 2 and abs(one["error"]) < 1e-6 for one in found["check"])
    assert found["measured_costs"]["models"]["router"]["pass_s"] == pytest.approx(COSTS.models["router"].pass_s)
    assert found["size_check"] is None


def test_a_run_of_the_real_step_loop_can_be_planned_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Scripted models, every kind of strategy: the forecast has a line for each but the oracle."""
    file, out = tmp_path / "ones.jsonl", tmp_path / "run"
    lines = [json.dumps({"id": f"p{k}", "problem": f"What is 1 + 1? ({k})", "answer": "2"}) for k in range(6)]
    file.write_text("\n".join(lines) + "\n")
    strategies = "draft-only,rsd,arbitrage-router,random-route:rate=0.5,arbitrage-oracle"
    words = ["--backend", "scripted", "--dataset", str(file), "--strategy", strategies, "--warmup", "0"]
    assert main(["bench", *words, "--out", str(out)]) == 0
    capsys.readouterr()
    found = planned(capsys, str(out), *[f"--{role}-ms=10" for role in ("draft", "target", "prm", "router")])
    labels = [one["strategy"] for one in found["forecast"]]
    assert labels[0] == "target-only"
    assert len(labels) == 5
    assert "arbitrage-oracle" not in labels


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--target", "70e9"], "--gpu"),
        (["--target", "large", "--gpu", "h100"], "70e9@bf16"),
        (["--target", "70e9", "--gpu", "z9"], "a100, h100, h200"),
        (["--target", "8e9", "--bandwidth", "fast", "--tflops", "1"], "3.35TB/s"),
        (["--target", "70e9", "--gpu", "h100"], "do not fit"),
        (["--target", "8e9", "--target-ms", "5", "--gpu", "h100"], "give one of them"),
        (["--target-ms", "soon"], "12+0.05"),
        (["--draft-ms", "5"], "--target"),
        (["--gpu", "h100"], "give --draft and --target"),
        (["--target-ms", "5", "--scale-tokens", "inf"], "finite"),
    ],
)
def test_mistakes_say_what_to_do(made: str, words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2 and one line for a person."""
    assert main(["plan", made, *words]) == 2
    printed = capsys.readouterr()
    assert said in " ".join(printed.err.replace("│", " ").split())
    assert not printed.out


def test_a_folder_that_holds_no_run_is_said_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As by every other command."""
    assert main(["plan", str(tmp_path)]) == 2
    assert "error:" in capsys.readouterr().err
