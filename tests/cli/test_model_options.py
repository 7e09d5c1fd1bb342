"""Options of the models on the command line, and in a configuration."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from arbitrage.cli import main
from arbitrage.errors import ModelLoadError
from arbitrage.types import Role

pytest.importorskip("torch")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """What models were asked for; none are loaded."""
    calls: list[dict[str, object]] = []

    def refuse(*args: object, **options: object) -> None:
        calls.append(options)
        raise ModelLoadError("enough")

    monkeypatch.setattr("arbitrage.backends.loading.load_models", refuse)
    return calls


SOLVE = ["solve", "1+1", "--strategy", "rsd"]
BENCH = ["bench", "--strategy", "rsd", "--dataset", "bundled", "--limit", "1"]


COLLECT = ["router", "collect", "--out", "pairs", "--dataset", "own.jsonl"]
SWEEP = ["sweep", "--strategy", "rsd", "--rates", "0.5", "--dataset", "bundled", "--limit", "1"]


@pytest.mark.parametrize("command", [SOLVE, BENCH, SWEEP, COLLECT])
def test_family_and_separator_reach_the_loader(command, asked, tmp_path, monkeypatch, capsys):
    r"""A separator is typed as \n, because shells make no newlines."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.jsonl").write_text('{"id": "one", "problem": "What is 1+1?", "answer": "2"}\n')
    assert main([*command, "--prm", "hf:x", "--prm-family", "skywork", "--prm-separator", "\\n"]) != 0
    assert (asked[0]["prm_family"], asked[0]["prm_separator"], asked[0]["prm"]) == ("skywork", "\n", "hf:x")


def test_a_configuration_holds_them_too(asked, tmp_path, monkeypatch, capsys):
    """YAML has newlines of its own."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.yaml").write_text('prm: hf:x\nprm_family: skywork\nprm_separator: "\\n"\n')
    assert main([*BENCH, "--config", "run.yaml"]) != 0
    assert (asked[0]["prm_family"], asked[0]["prm_separator"]) == ("skywork", "\n")


def test_without_them_the_checkpoint_decides(asked, tmp_path, monkeypatch, capsys):
    """Nothing is made up."""
    monkeypatch.chdir(tmp_path)
    main(SOLVE)
    assert asked[0]["prm_family"] is asked[0]["prm_separator"] is None


def test_they_belong_to_a_prm_that_is_named(asked, tmp_path, capsys):
    """Scoring a run by its own models takes them as they were."""
    assert main(["score", str(tmp_path), "--prm-family", "skywork"]) == 2
    assert "--prm-family and --prm-separator go with --prm" in capsys.readouterr().err
    assert not asked


EVALUATE = ["router", "evaluate", "x", "pairs", "--all"]
CALIBRATE = ["router", "calibrate", "x", "pairs", "--all"]
RESCORE = ["router", "rescore", "pairs", "--out", "new", "--prm", "x"]
TOLD = ["--prm-family", "skywork", "--prm-separator", "\\n"]


@pytest.fixture
def judged(asked, tmp_path, monkeypatch):
    """Step pairs, and a folder for their judge, who is never loaded."""
    pytest.importorskip("pyarrow")
    from tests.harness.router.made_pairs import folder_of, walk

    monkeypatch.chdir(tmp_path)
    folder_of(tmp_path / "pairs", walk("p", [(0.2, 0.8), (0.9, 0.4)]))
    (tmp_path / "x").mkdir()
    return asked


@pytest.mark.parametrize("command", [[*EVALUATE, "--as", "prm"], [*CALIBRATE, "--as", "prm"], RESCORE])
def test_a_prm_that_judges_pairs_is_loaded_as_one(command, judged, capsys):
    """With its family and separator, which the loader gives to no router."""
    assert main([*command, *TOLD]) != 0
    assert (judged[0]["prm_family"], judged[0]["prm_separator"]) == ("skywork", "\n")
    assert (judged[0]["roles"], judged[0]["prm"]) == ([Role.PRM], "x")


@pytest.mark.parametrize("command", [EVALUATE, CALIBRATE, [*CALIBRATE, "--as", "draft"]])
def test_what_is_no_prm_has_neither_family_nor_separator(command, judged, capsys):
    """They would do nothing; without them a router is loaded as a router."""
    assert main([*command, *TOLD]) == 2
    assert "--prm-family and --prm-separator go with --as prm" in capsys.readouterr().err
    assert not judged
    main(command)
    assert all((one["roles"], one["router"]) == ([Role.ROUTER], "x") for one in judged)
    assert bool(judged) == ("draft" not in command)


@pytest.mark.parametrize("command", [SOLVE, BENCH, SWEEP, COLLECT])
def test_the_length_of_sessions_reaches_the_loader(command, asked, tmp_path, monkeypatch, capsys):
    """With it, memory of gguf models is bounded."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.jsonl").write_text('{"id": "one", "problem": "What is 1+1?", "answer": "2"}\n')
    assert main([*command, "--backend", "gguf", "--context", "600"]) != 0
    assert asked[0]["context"] == 600


def test_a_run_with_a_length_is_made_again_by_its_configuration(tmp_path, monkeypatch, capsys):
    """It is in the manifest, and in the folder's config.yaml."""
    pytest.importorskip("llama_cpp")
    monkeypatch.chdir(tmp_path)
    command = ["bench", "--strategy", "draft-only", "--dataset", "bundled", "--limit", "1", "--warmup", "0"]
    assert main([*command, "--backend", "gguf", "--context", "700", "--out", "first"]) == 0
    assert json.loads(Path("first/manifest.json").read_text())["identity"]["models"]["draft"]["context"] == 700
    assert main(["bench", "--config", "first/config.yaml", "--out", "second"]) == 0
    assert json.loads(Path("second/manifest.json").read_text())["identity"]["models"]["draft"]["context"] == 700
    assert main(["bench", *command[1:], "--backend", "hf", "--context", "700", "--out", "third"]) != 0
    assert "knows context" in capsys.readouterr().err
