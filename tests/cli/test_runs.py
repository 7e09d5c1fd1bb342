"""The commands that make and show runs: sweep, score, report with its files, and JSON for machines."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from arbitrage.cli import main
from arbitrage.errors import RunError
from arbitrage.harness.runner import load_comparison
from tests.scripted_backend import scripted_registry


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    """The scripted backend, a machine that is never busy, wide output without colours."""
    monkeypatch.setattr("arbitrage.registry._shared", scripted_registry())
    monkeypatch.setattr("arbitrage.harness.environment.load_average", lambda: (0.0, 0.0, 0.0))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NO_COLOR", "1")


@pytest.fixture
def problems(tmp_path: Path) -> Path:
    file = tmp_path / "ones.jsonl"
    lines = [json.dumps({"id": f"p{k}", "problem": f"What is 1 + 1? ({k})", "answer": "2"}) for k in range(6)]
    file.write_text("\n".join(lines) + "\n")
    return file


@pytest.fixture
def swept(problems: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A small sweep; what it printed is dropped."""
    out = tmp_path / "swept"
    words = ["--backend", "scripted", "--dataset", str(problems), "--rates", "0,0.5,...,1", "--warmup", "0"]
    assert main(["sweep", *words, "--out", str(out)]) == 0
    capsys.readouterr()
    return out


def test_a_sweep_runs_every_method_at_every_rate_beside_its_bounds(swept: Path) -> None:
    """Three methods at three rates, target-only, draft-only and the oracle, interleaved in one run, and scored."""
    comparison = load_comparison(swept)
    assert list(comparison)[:3] == ["target-only", "draft-only", "arbitrage-oracle"]
    assert list(comparison)[3:] == [
        f"{name} (rate={rate})" for name in ("rsd", "arbitrage-router", "random-route") for rate in ("0", "0.5", "1")
    ]
    assert comparison.complete
    assert comparison["rsd (rate=0)"].accuracy == 0.0
    assert comparison["rsd (rate=1)"].accuracy == 1.0
    assert comparison["arbitrage-router (rate=1)"].wasted_share == 0.5
    assert {curve.name for curve in comparison.sweep.curves} == {"rsd", "arbitrage-router", "random-route"}
    table = (swept / "table.md").read_text()
    assert "speed-up at matched accuracy" in table
    assert "mean accuracy gap" in table
    told = json.loads((swept / "results.json").read_text())
    assert {reading["quantity"] for reading in told["readings"]} >= {"speed-up at matched accuracy"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--rates", "0,2"], "must be in [0, 1]"),
        (["--rates", "0.5,0.4,...,1"], "does not go up"),
        (["--rates", "few"], "write rates between 0 and 1"),
        (["--rates", "0,0.4,...,1"], "do not end at 1"),
        (["--rates", "0,0.001,...,1"], "too many"),
        (["--strategy", "rsd:rate=0.5"], "leave its rate and threshold out"),
        (["--strategy", "token-sd"], "no parameter 'rate'"),
    ],
)
def test_what_cannot_be_swept_is_said_before_anything_runs(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rates out of range and methods without a rate are exit code 2 and one clear sentence."""
    assert main(["sweep", "--backend", "scripted", "--out", str(tmp_path / "run"), *words]) == 2
    assert message in " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert not (tmp_path / "run").exists()


def test_json_on_standard_output_is_nothing_but_json(
    problems: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """bench, resume, report and score print the numbers of results.json; progress goes to standard error."""
    out = tmp_path / "run"
    made = ["--backend", "scripted", "--dataset", str(problems), "--strategy", "rsd", "--out", str(out)]
    for words in (["bench", *made], ["resume", str(out)], ["report", str(out)], ["score", str(out)]):
        assert main([*words, "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert told["strategies"]["rsd (τ=0.7)"]["accuracy"] == 1.0
    assert told["strategies"]["rsd (τ=0.7)"]["wasted_share"] == 0.0


def test_bench_scores_its_steps_when_asked(problems: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--score` fills the waste column; without it nobody knows what the target's version was worth."""
    made = ["bench", "--backend", "scripted", "--dataset", str(problems), "--strategy", "arbitrage-router"]
    assert main([*made, "--out", str(tmp_path / "plain")]) == 0
    assert "waste" not in capsys.readouterr().out.split("•")[0]
    assert main([*made, "--score", "--out", str(tmp_path / "scored")]) == 0
    assert "waste" in capsys.readouterr().out.split("•")[0]


def test_scoring_with_other_models_names_them(swept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`arbitrage score --prm` reads the steps by a PRM of the user's own; the router's scores stay."""
    before = json.loads((swept / "manifest.json").read_text())["scored"]
    assert main(["score", str(swept), "--backend", "scripted", "--prm", "scripted:prm-2"]) == 0
    after = json.loads((swept / "manifest.json").read_text())["scored"]
    assert set(after) == {"prm", "router"}
    assert after["router"] == before["router"]


def test_report_writes_tables_figures_and_a_page(
    swept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each file is named with its size; the run itself is not printed then."""
    names = ["table.csv", "table.parquet", "table.tex", "table.md", "table.json"]
    words = [word for name in names for word in ("--export", str(tmp_path / name))]
    page, figures = tmp_path / "page.html", tmp_path / "figures"
    assert main(["report", str(swept), *words, "--html", str(page), "--figures", str(figures)]) == 0
    printed = capsys.readouterr().out
    assert all(str(tmp_path / name) in printed for name in names)
    assert page.read_text(encoding="utf-8").lower().startswith("<!doctype html>")
    assert {file.suffix for file in figures.iterdir()} == {".png", ".svg"}
    assert "┃" not in printed


def test_several_runs_are_reported_by_their_folders(
    swept: Path, problems: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two runs in one exported table are told apart by the column `run`, also when their folders' names are equal."""
    other = tmp_path / "elsewhere" / "swept"
    made = ["--backend", "scripted", "--dataset", str(problems), "--strategy", "rsd", "--warmup", "0"]
    assert main(["bench", *made, "--out", str(other)]) == 0
    file = tmp_path / "both.json"
    assert main(["report", str(swept), str(other), "--export", str(file), "--what", "rows"]) == 0
    assert {line["run"] for line in json.loads(file.read_text())} == {str(swept), str(other)}


def test_without_its_packages_a_report_names_the_extra(
    swept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No plotly: one line that says what to install, and no half page."""
    for name in ("plotly", "plotly.offline"):
        monkeypatch.setitem(sys.modules, name, None)
    assert main(["report", str(swept), "--html", str(tmp_path / "page.html")]) == 2
    assert "arbitrage-decoding[report]" in capsys.readouterr().err
    assert not (tmp_path / "page.html").exists()


def test_a_registered_scorer_is_named_like_a_backend(
    problems: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--prm NAME:SOURCE` reaches the scorer of a plugin, with its source; nothing else of the run changes."""
    from arbitrage import registry as registry_module
    from arbitrage.hooks import Register, hookimpl
    from arbitrage.testing import ScriptedScorer

    asked: list[str] = []

    class Plugin:
        @hookimpl
        def register_scorers(self, register: Register) -> None:
            def make(source: str, device: str | None = None, **options: object) -> ScriptedScorer:
                asked.append(source)
                return ScriptedScorer({}, default=0.0)

            register("harsh", make)

    registry_module.registry().add("harsh-plugin", Plugin())
    out = tmp_path / "run"
    models = ["--draft", "scripted:draft", "--target", "scripted:target", "--prm", "harsh:of-mine"]
    made = ["--backend", "scripted", "--dataset", str(problems), "--strategy", "rsd", "--warmup", "0", *models]
    assert main(["bench", *made, "--out", str(out)]) == 0
    assert asked == ["of-mine"]
    assert load_comparison(out)["rsd (τ=0.7)"].acceptance_rate == 0.0


def test_a_sweep_takes_its_rates_from_a_file(problems: Path, tmp_path: Path) -> None:
    """A list of rates and strategies in YAML; a flag goes before it."""
    file = tmp_path / "sweep.yaml"
    file.write_text(
        "strategy: [rsd, random-route]\nrates: [0, 0.5, 1]\nbeside: [draft-only]\nbackend: scripted\nwarmup: 0\n"
    )
    out = tmp_path / "run"
    made = ["--config", str(file), "--dataset", str(problems), "--strategy", "rsd", "--out", str(out)]
    assert main(["sweep", *made]) == 0
    assert list(load_comparison(out)) == [
        "target-only",
        "draft-only",
        *(f"rsd (rate={rate})" for rate in ("0", "0.5", "1")),
    ]


def test_a_run_without_scorers_says_that_it_is_not_scored(
    problems: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Models of one's own without PRM and router: the run is there, and a line tells how to score it."""
    models = ["--draft", "scripted:draft", "--target", "scripted:target"]
    made = ["--backend", "scripted", "--dataset", str(problems), "--strategy", "random-route", "--warmup", "0", *models]
    assert main(["bench", *made, "--score", "--out", str(tmp_path / "run")]) == 0
    assert "not scored" in capsys.readouterr().err


def test_a_stopped_scoring_keeps_the_run_and_says_how_to_go_on(
    problems: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C after a long run, while its steps are scored: the table is printed all the same."""

    def stop(*arguments: object, **more: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("arbitrage.harness.scoring.score_run", stop)
    made = ["--backend", "scripted", "--dataset", str(problems), "--strategy", "rsd", "--warmup", "0"]
    assert main(["bench", *made, "--score", "--out", str(tmp_path / "run")]) == 0
    printed = capsys.readouterr()
    assert "target-only" in printed.out
    assert f"arbitrage score {tmp_path / 'run'}" in printed.err.replace("\n", "")


def test_models_that_a_folder_names_are_told_before_they_are_loaded(
    problems: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`resume` and `score` do what the folder says; whoever runs them on a stranger's folder sees what that is."""
    out = tmp_path / "run"
    models = ["--draft", "scripted:draft", "--target", "scripted:target", "--prm", "scripted:prm"]
    made = ["--backend", "scripted", "--dataset", str(problems), "--strategy", "rsd", "--warmup", "0", *models]
    assert main(["bench", *made, "--out", str(out)]) == 0
    for command in ("resume", "score"):
        capsys.readouterr()
        assert main([command, str(out)]) == 0
        told = capsys.readouterr().err.replace("\n", " ")
        assert "draft scripted:draft, target scripted:target, prm scripted:prm" in told


def test_a_folder_that_cannot_be_written_is_shown_all_the_same(
    swept: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The table is made from the rows; only its copies in the folder stay as they were."""

    def refuse(*arguments: object) -> None:
        raise RunError("summary.json: cannot be written")

    monkeypatch.setattr("arbitrage.harness.report.save_report", refuse)
    assert main(["report", str(swept)]) == 0
    printed = capsys.readouterr()
    assert "speed-up at matched accuracy" in printed.out
    assert "left as they are" in printed.err


def test_a_sweep_takes_no_labels_from_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each method is run at every rate, so a mapping of labels means nothing; its keys are not taken for names."""
    file = tmp_path / "sweep.yaml"
    file.write_text("strategy: {rsd: random-route}\n")
    assert main(["sweep", "--config", str(file), "--backend", "scripted", "--out", str(tmp_path / "run")]) == 2
    assert "strategy" in capsys.readouterr().err
