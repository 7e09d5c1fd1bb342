"""Configuration files: what they may say, what goes before them, and that a run's own file makes the run again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from arbitrage.cli import main
from arbitrage.harness.config import CONFIG, ConfigError, RunConfig, config_of, load_config
from arbitrage.harness.run_folder import read_manifest
from arbitrage.harness.runner import load_comparison
from tests.scripted_backend import scripted_registry


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    """A registry with the scripted backend, a machine that is never busy, no charts."""
    monkeypatch.setattr("arbitrage.registry._shared", scripted_registry())
    monkeypatch.setattr("arbitrage.harness.environment.load_average", lambda: (0.0, 0.0, 0.0))
    monkeypatch.setattr("arbitrage.harness.chart.save_chart", lambda comparison, file: None)
    monkeypatch.setenv("NO_COLOR", "1")


@pytest.fixture
def problems(tmp_path: Path) -> Path:
    """Three problems in a file."""
    file = tmp_path / "ones.jsonl"
    file.write_text(
        "".join(json.dumps({"id": f"p{k}", "problem": f"1 + 1? ({k})", "answer": "2"}) + "\n" for k in range(3))
    )
    return file


@pytest.mark.parametrize("suffix", ["yaml", "toml"])
def test_a_file_says_what_flags_could_say_and_flags_go_before_it(tmp_path: Path, problems: Path, suffix: str) -> None:
    """Strategies with labels, budgets and seed come from the file; --seed on the command line wins."""
    told = {
        "strategy": {"mine": "rsd:threshold=0.5"},
        "backend": "scripted",
        "dataset": str(problems),
        "max_tokens": 99,
    }
    file = tmp_path / f"run.{suffix}"
    if suffix == "yaml":
        file.write_text(yaml.safe_dump(told | {"seed": 3, "warmup": 0}))
    else:
        tables = "[strategy]\nmine = 'rsd:threshold=0.5'\n"
        flat = {key: value for key, value in told.items() if key != "strategy"} | {"seed": 3, "warmup": 0}
        file.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in flat.items()) + tables)
    out = tmp_path / "run"
    assert main(["bench", "--config", str(file), "--seed", "5", "--out", str(out)]) == 0
    identity = read_manifest(out)["identity"]
    assert identity["strategies"]["mine"] == {"name": "rsd", "threshold": 0.5, "rate": None}
    assert (identity["seed"], identity["settings"]["max_tokens"], identity["settings"]["max_steps"]) == (5, 99, 100)
    assert list(load_comparison(out)) == ["target-only", "mine"]


def test_the_file_in_a_run_folder_makes_the_same_run_again(tmp_path: Path, problems: Path) -> None:
    """config.yaml holds everything that the manifest's identity holds; the second run's identity is the same."""
    words = ["--strategy", "rsd:rate=0+threshold=none,random-route:rate=0.5", "--backend", "scripted", "--dataset"]
    first, second = tmp_path / "first", tmp_path / "second"
    budget = [
        "--limit",
        "2",
        "--temperature",
        "0.5",
        "--top-k",
        "7",
        "--answer-stop",
        "--repeats",
        "2",
        "--warmup",
        "0",
    ]
    budget += ["--system", "Be brief.", "--instruction", "Box it."]
    models = ["--draft", "scripted:small", "--target", "scripted:big", "--prm", "scripted:judge"]
    assert main(["bench", *words, str(problems), *budget, *models, "--out", str(first)]) == 0
    assert main(["bench", "--config", str(first / CONFIG), "--out", str(second)]) == 0
    one, other = read_manifest(first), read_manifest(second)
    assert one["identity"] == other["identity"]
    assert one["identity"]["settings"]["answer_stop"] is True
    assert config_of(one) == config_of(other) == load_config(first / CONFIG)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max_token: 5", r"unknown key 'max_token'\. Did you mean 'max_tokens'\?"),
        ("max_tokens: many", "max_tokens cannot be 'many'"),
        ("max_tokens: '5'", "max_tokens cannot be '5'"),
        ("limit: 0", "limit cannot be 0"),
        ("strategy: {mine: 3}", "strategy"),
        ("dtype: int8", "dtype cannot be 'int8'"),
        ("threads: many", "cannot be 'many'"),
        ("threads: 0", "threads.* cannot be 0"),
        ("- a\n- b", "consists of keys and values"),
        ("a: [", "cannot be read: while parsing"),
        ("x: !!python/object/apply:os.system ['true']", "could not determine a constructor"),
        ("seed: 1\nresume: true", "unknown key 'resume'"),
    ],
)
def test_what_a_file_may_not_say_is_named(tmp_path: Path, text: str, message: str) -> None:
    """Unknown keys get the nearest one, wrong values their place; YAML makes no objects."""
    file = tmp_path / "run.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_config(file)


def test_absent_and_foreign_files_are_answered(tmp_path: Path) -> None:
    """Absent files, directories, other suffixes and bad bytes are one clear error each."""
    for name, message in (("no.yaml", "cannot be read"), ("run.json", r"a \.yaml, \.yml or \.toml file")):
        if name != "no.yaml":
            (tmp_path / name).write_text("{}")
        with pytest.raises(ConfigError, match=message):
            load_config(tmp_path / name)
    (tmp_path / "folder.yaml").mkdir()
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path / "folder.yaml")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path / "bytes.toml")


def test_every_key_is_an_option_of_bench() -> None:
    """A key that `arbitrage bench` does not know would be checked and then ignored."""
    import typer

    from arbitrage.cli.app import app

    command = typer.main.get_command(app).commands["bench"]  # type: ignore[attr-defined]
    assert set(RunConfig.model_fields) <= {parameter.name for parameter in command.params}
