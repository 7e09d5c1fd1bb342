"""The whole way: names, loading, the package's own strategies and grader, one folder. Models are scripted."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from arbitrage.errors import CapabilityError
from arbitrage.harness.runner import load_comparison, run_benchmark, run_comparison
from arbitrage.interfaces import Models
from arbitrage.testing import ScriptedModel, ScriptedScorer
from arbitrage.types import Problem, Role

PROBLEMS = tuple(Problem(f"p{index}", f"What is 1+1, version {index}?", ("2",)) for index in range(3))
STEPS = {"draft": ["one", "so wrong", "\\boxed{9}"], "target": ["ONE", "so right", "\\boxed{2}"]}


def scripted() -> Models:
    scores = {"one": 0.9, "so wrong": 0.1, "\\boxed{9}": 0.2, "so right": 0.8, "\\boxed{2}": 0.9, "ONE": 0.9}
    scorer = ScriptedScorer(scores)
    return Models(ScriptedModel(STEPS["draft"], "d"), ScriptedModel(STEPS["target"], "t"), scorer, scorer)


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Calls of `load_models`, which gives scripted models here."""
    calls: list[dict[str, Any]] = []

    def load_models(backend: str, *, roles: Iterable[Role], **options: object) -> Models:
        calls.append({"backend": backend, "roles": set(roles), **options})
        models = scripted()
        kept = {role.value: getattr(models, role.value) for role in calls[-1]["roles"]}
        return Models(**kept)

    monkeypatch.setattr("arbitrage.backends.loading.load_models", load_models)
    return calls


def test_one_strategy_by_name_runs_with_its_baseline(tmp_path: Path, loaded: list[dict[str, Any]]) -> None:
    """A name, a backend and a folder are enough; target-only is added, measured, and stands in the table."""
    result = run_benchmark(
        "rsd:threshold=0.5", "hf", dataset=PROBLEMS, repeats=2, out=tmp_path, progress=False, dtype="float32"
    )
    assert loaded == [{"backend": "hf", "roles": {Role.DRAFT, Role.TARGET, Role.PRM}, "dtype": "float32"}]
    assert result.name == "rsd"
    assert len(result.rows) == 6
    assert result.accuracy == 1.0
    assert result.rows[0].text == "one\n\nso right\n\n\\boxed{2}"
    assert result.acceptance_rate == pytest.approx(1 / 3)
    assert result.baseline is not None
    assert result.baseline.name == "target-only"
    assert result.baseline.accuracy == 1.0
    assert "target-only" in (tmp_path / "table.md").read_text()
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["identity"]["models"]["draft"]["name"] == "d"
    assert set(manifest["identity"]["prompt_sha256"]) == {"draft", "target"}
    assert manifest["request"]["model_options"] == {"dtype": "float32"}


def test_every_strategy_of_the_package_runs_and_is_reported(tmp_path: Path) -> None:
    """All built-in strategies in one comparison: no error rows, exact speculation, a draft that is always wrong."""
    names = [
        "draft-only",
        "token-sd",
        "random-route:rate=0.5",
        "rsd",
        "arbitrage-oracle",
        "arbitrage-router:threshold=0.5",
    ]
    found = run_comparison(names, scripted(), dataset=PROBLEMS, out=tmp_path, progress=False)
    assert not [row.error for result in found.values() for row in result.rows if row.failed]
    by_name = {result.name: result for result in found.values()}
    assert next(iter(found)) == "target-only"
    assert by_name["draft-only"].accuracy == 0.0
    assert by_name["arbitrage-oracle"].accuracy == 1.0
    assert by_name["arbitrage-oracle"].wasted_share == 0.0
    versus = found.versus(by_name["token-sd"].strategy)
    assert versus is not None
    assert versus.identical_share == 1.0
    again = load_comparison(tmp_path)
    assert again.summary() == found.summary()


def test_without_a_target_the_comparison_goes_on_without_the_baseline() -> None:
    """Draft-only with only a draft has nothing to compare with, and the table says so."""
    models = Models(draft=scripted().draft)
    found = run_comparison("draft-only", models, dataset=PROBLEMS, progress=False)
    assert list(found) == ["draft-only"]
    assert any("no target was loaded" in note for note in found.summary()["notes"])  # type: ignore[attr-defined]
    with pytest.raises(CapabilityError, match="needs target"):
        run_comparison(["draft-only", "target-only"], models, dataset=PROBLEMS, progress=False)
