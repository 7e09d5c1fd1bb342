"""Several problems at once on the bundled models: every strategy writes what it writes one at a time."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")

from arbitrage.backends.loading import load_models
from arbitrage.harness.comparison import Comparison
from arbitrage.harness.contrast import compare_runs
from arbitrage.harness.runner import run_comparison
from arbitrage.interfaces import Models

ALL = (
    *("target-only", "draft-only", "token-sd", "token-sd:proposer=ngram", "random-route:rate=0.5", "rsd"),
    *("arbitrage-oracle", "arbitrage-router"),
)


@pytest.fixture(scope="module", params=["hf", "gguf"])
def models(request: pytest.FixtureRequest) -> Models:
    """The bundled models of a backend, ready for four at once where it has to know."""
    if request.param == "hf":
        return load_models("hf", dtype="float32", threads=1)
    pytest.importorskip("llama_cpp")
    return load_models("gguf", threads=1, sessions=4)


def written(comparison: Comparison) -> dict[tuple[str, str, int], object]:
    """What cannot depend on a clock: speculation chooses its draft lengths by one, so what it drafted may differ."""
    rows = [row for result in comparison.values() for row in result.rows]
    assert not [row.error for row in rows if row.failed]
    return {row.key: (row.text, row.token_ids, row.end_reason, [step.author for step in row.steps]) for row in rows}


@pytest.mark.slow
@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_every_strategy_writes_the_same_however_many_are_at_once(models: Models, temperature: float) -> None:
    """Five problems, one and four at once; a budget that some solutions reach and others do not."""
    one, four = (
        run_comparison(
            list(ALL),
            models,
            limit=5,
            warmup=0,
            max_tokens=70,
            temperature=temperature,
            concurrency=concurrency,
            progress=False,
        )
        for concurrency in (1, 4)
    )
    assert written(one) == written(four)
    assert len(written(one)) == 5 * len(ALL)
    endings = {row.end_reason for result in one.values() for row in result.rows}
    assert len(endings) == 2


@pytest.mark.slow
def test_compare_finds_the_texts_of_both_runs_the_same(models: Models, tmp_path: Path) -> None:
    """From the folders: nothing parted, and no note that the models differ."""
    for concurrency in (1, 4):
        out = tmp_path / str(concurrency)
        run_comparison(
            "draft-only", models, limit=5, warmup=0, max_tokens=70, concurrency=concurrency, progress=False, out=out
        )
    for found in compare_runs([tmp_path / "1", tmp_path / "4"]):
        assert found.same_text == 1
        assert found.first_divergence is None
        assert "the models differ" not in found.notes
