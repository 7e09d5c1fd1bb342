"""Exported tables: numbers survive every format, cells cannot break out of theirs."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from arbitrage.errors import ArbitrageError, MissingExtraError, RunError, UnknownNameError
from arbitrage.harness.comparison import Comparison
from arbitrage.harness.export import ExportError, Subject, escape_latex, export_table, parse_subject, records
from arbitrage.harness.runner import run_comparison
from arbitrage.interfaces import Models
from arbitrage.testing import ScriptedModel, ScriptedScorer
from arbitrage.types import Problem

HOSTILE = 'a & b | "c", <script>\n=1+1 \\input{x} 50% τ'


@pytest.fixture(scope="module")
def runs() -> Mapping[str, Comparison]:
    """A run of scripted models with a hostile label, and curves."""
    models = Models(ScriptedModel(["one", "\\boxed{9}"]), ScriptedModel(["ONE", "\\boxed{2}"]))
    problems = [Problem(f"p{index}", "1 + 1?", ("2",), level=1 + index % 2) for index in range(6)]
    chosen = {
        HOSTILE: "target-only",
        "draft-only": "draft-only",
        "none": "random-route:rate=0",
        "half": "random-route:rate=0.5",
        "all": "random-route:rate=1",
    }
    return {"first": run_comparison(chosen, models, dataset=problems, warmup=0, progress=False)}


@pytest.mark.parametrize("subject", list(Subject))
def test_the_same_numbers_stand_in_csv_parquet_and_json(
    runs: Mapping[str, Comparison], tmp_path: Path, subject: Subject
) -> None:
    """Every line and column comes back; missing values are missing and not zero."""
    from pyarrow import parquet

    expected = records(runs, subject)
    assert expected
    files = [export_table(runs, subject, tmp_path / f"table.{suffix}") for suffix in ("csv", "parquet", "json")]
    with files[0].open(newline="") as stream:
        read = list(csv.DictReader(stream))
    table = parquet.read_table(files[1]).to_pylist()
    told = json.loads(files[2].read_text())
    assert len(read) == len(table) == len(told) == len(expected)
    for line, in_csv, in_parquet, in_json in zip(expected, read, table, told, strict=True):
        assert list(line) == list(in_csv) == list(in_parquet) == list(in_json)
        for key, value in line.items():
            if isinstance(value, float):
                assert float(in_csv[key]) == in_parquet[key] == in_json[key] == value
            elif value is None:
                assert (in_csv[key], in_parquet[key], in_json[key]) == ("", None, None)
            elif isinstance(value, str):
                assert in_csv[key] == in_parquet[key] == in_json[key] == str(value)


def test_results_have_a_line_a_strategy_with_intervals_and_speed_up(runs: Mapping[str, Comparison]) -> None:
    """What the report's table says stands in columns: accuracy with both ends, speed-up, counts of statuses."""
    lines = {line["strategy"]: line for line in records(runs, Subject.RESULTS)}
    assert list(lines) == [HOSTILE, "draft-only", "none", "half", "all"]
    assert lines["draft-only"]["accuracy"] == 0.0
    assert lines[HOSTILE]["accuracy_low"] < 1.0 == lines[HOSTILE]["accuracy_high"]
    assert lines["all"]["speed_up"] == pytest.approx(runs["first"].versus("all").speed_up.value)  # type: ignore[union-attr]
    assert lines[HOSTILE]["status_correct"] == 6


def test_steps_have_both_versions(runs: Mapping[str, Comparison]) -> None:
    """Escalated steps carry the draft's text beside the target's."""
    lines = [line for line in records(runs, Subject.STEPS) if line["strategy"] == "all"]
    assert {(line["text"], line["rejected_text"]) for line in lines} == {("ONE", "one"), ("\\boxed{2}", "\\boxed{9}")}


def test_latex_cells_say_what_they_said_and_do_nothing(runs: Mapping[str, Comparison], tmp_path: Path) -> None:
    """Characters with a meaning are escaped, so the number of columns is right and no command of a label runs."""
    text = export_table(runs, Subject.RESULTS, tmp_path / "table.tex").read_text()
    assert "\\input" not in text
    assert "a \\& b" in text
    assert "$\\tau$" in text
    for block in text.split(r"\begin{tabular}")[1:]:
        columns = len(block.split("}")[0].strip("{"))
        rows = [line for line in block.splitlines() if line.endswith(r" \\")]
        assert rows
        assert {line.replace(r"\&", "").count("&") + 1 for line in rows} == {columns}
        assert all(line.startswith("{}") for line in rows)  # else a label in brackets is an argument of the line before
    assert escape_latex("~^{}_#$\\é") == (r"\textasciitilde{}\textasciicircum{}\{\}\_\#\$\textbackslash{}?")


def test_a_lone_carriage_return_opens_no_line(runs: Mapping[str, Comparison], tmp_path: Path) -> None:
    """Model text may hold any control character; a reader of the CSV sees as many lines as there are rows."""
    (run,) = runs.values()
    (row, *_) = run["draft-only"].rows
    spoilt = Comparison.from_rows(run.manifest, [replace(row, reason="a\rb", answer="c\nd")])
    file = export_table({"x": spoilt}, Subject.ROWS, tmp_path / "rows.csv")
    with file.open(newline="") as stream:
        (line,) = list(csv.DictReader(stream))
    assert (line["reason"], line["answer"]) == ("a\rb", "c\nd")


def test_a_bound_has_no_latency_in_any_format() -> None:
    """The oracle runs both models on every step: what the table hides is not exported either."""
    scorer = ScriptedScorer({}, default=0.5)
    models = Models(ScriptedModel(["one", "\\boxed{9}"]), ScriptedModel(["ONE", "\\boxed{2}"]), scorer)
    problems = [Problem(f"p{index}", "1 + 1?", ("2",)) for index in range(6)]
    found = run_comparison(["target-only", "arbitrage-oracle"], models, dataset=problems, warmup=0, progress=False)
    target, oracle = records({"x": found}, Subject.RESULTS)
    assert target["latency_mean_s"] > 0
    assert not [key for key, value in oracle.items() if "latency" in key and value is not None]
    assert oracle["speed_up"] is None
    assert oracle["accuracy"] == 0.0


def test_markdown_holds_results_or_curves(runs: Mapping[str, Comparison], tmp_path: Path) -> None:
    """The report's own tables; a bar in a label does not open a column."""
    results = export_table(runs, Subject.RESULTS, tmp_path / "results.md").read_text()
    assert "a & b \\| " in results
    curves = export_table(runs, Subject.CURVES, tmp_path / "curves.md").read_text()
    assert "speed-up at matched accuracy" in curves
    assert "latency s" not in curves


@pytest.mark.parametrize(
    ("name", "subject", "message"),
    [
        ("table.xlsx", Subject.RESULTS, r"\.csv, \.parquet, \.json, \.md, \.tex"),
        ("table", Subject.RESULTS, "end the name"),
        ("rows.tex", Subject.ROWS, "rows are exported as"),
        ("steps.md", Subject.STEPS, "steps are exported as"),
    ],
)
def test_what_cannot_be_written_says_what_can(
    runs: Mapping[str, Comparison], tmp_path: Path, name: str, subject: Subject, message: str
) -> None:
    """Unknown suffixes and tables that a format lacks are answered with those that work."""
    with pytest.raises(ExportError, match=message):
        export_table(runs, subject, tmp_path / name)


def test_other_mistakes_are_errors_of_this_package(
    runs: Mapping[str, Comparison], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unknown table is named with the nearest; a folder in the way and a missing package are said."""
    with pytest.raises(UnknownNameError, match="results"):
        parse_subject("result")
    (tmp_path / "taken.csv").mkdir()
    with pytest.raises(RunError, match="cannot be written"):
        export_table(runs, Subject.ROWS, tmp_path / "taken.csv")
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match="report") as missing:
        export_table(runs, Subject.ROWS, tmp_path / "rows.parquet")
    assert isinstance(missing.value, ArbitrageError)
