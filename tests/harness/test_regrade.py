"""Grading saved texts again: which verdicts change, why, and what is stored."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from arbitrage.cli.app import app
from arbitrage.errors import DatasetError, RunError
from arbitrage.harness.comparison import load_comparison
from arbitrage.harness.grading import GRADER, Status, Verdict
from arbitrage.harness.regrade import regrade, save
from arbitrage.harness.rows import RowStatus
from arbitrage.harness.runner import Instruments, run_comparison
from arbitrage.interfaces import Models, Strategy
from arbitrage.types import EndReason, Generation, Problem

ROWS = [
    {"id": "half", "problem": "a half", "answer": r"\frac{1}{2}"},
    {"id": "both", "problem": "two answers", "answer": ["1", "2"]},
    {"id": "near", "problem": "with a tolerance", "answer": "3.14", "tolerance": 0.01},
    {"id": "no", "problem": "wrong", "answer": "7"},
]
SAID = {"half": r"So \boxed{0.5}.", "both": r"\boxed{2, 1}", "near": r"\boxed{3.145}", "no": r"\boxed{700}"}


class Says(Strategy):
    """Writes a fixed text for each problem."""

    name = "says"
    requires = frozenset()

    def solve(self, problem: Problem, models: Models, rng: np.random.Generator) -> Generation:
        return Generation(SAID[problem.id], (1, 2), (), EndReason.EOS, 1)


def always_wrong(text: str, problem: Problem) -> Verdict:
    return Verdict(Status.INCORRECT, text, "old", "the old grader knew nothing")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data set with rules."""
    file = tmp_path / "rules.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return file


@pytest.fixture
def run(data: Path, tmp_path: Path) -> Path:
    """A finished run whose grader found nothing right."""
    folder = tmp_path / "run"
    run_comparison(
        [Says()],
        Models(),
        dataset=data,
        baseline=False,
        warmup=0,
        progress=False,
        out=folder,
        instruments=Instruments(grade=always_wrong),
    )
    return folder


def test_rows_flip_with_their_reasons_and_nothing_is_written(run: Path, data: Path) -> None:
    """Three of four verdicts change, by the rules of the data set; the folder stays as it was."""
    before = {file.name: file.read_bytes() for file in run.iterdir()}
    found = regrade(run)
    assert [(f.before.status, f.after.status) for f in found.flips] == [(RowStatus.INCORRECT, RowStatus.CORRECT)] * 3
    assert {f.after.problem_id for f in found.flips} == {"half", "both", "near"}
    assert all(f.before.reason == "the old grader knew nothing" and f.after.reason for f in found.flips)
    assert (found.before["says"].accuracy, found.after["says"].accuracy) == (0.0, 0.75)
    assert found.rules_from == str(run / "problems.jsonl")
    assert {file.name: file.read_bytes() for file in run.iterdir()} == before


def test_against_the_usual_evaluator_a_factor_of_100_is_the_difference(run: Path) -> None:
    """It accepts 700 for 7 and knows no tolerance of a row."""
    found = regrade(run, against="qwen")
    assert [(f.after.problem_id, f.before.correct) for f in found.flips if f.before.correct] == [("no", True)]


def test_without_the_data_set_the_references_of_the_rows_decide(run: Path, data: Path, tmp_path: Path) -> None:
    """In a folder of schema 1 the tolerance is lost, which is said; a file can be named, and must hold the problems."""
    (run / "problems.jsonl").unlink()
    assert len(regrade(run).flips) == 3  # as long as the data set lies where it lay
    moved = data.rename(tmp_path / "moved.jsonl")
    found = regrade(run)
    assert found.rules_from is None
    assert {f.after.problem_id for f in found.flips} == {"half", "both"}
    assert len(regrade(run, dataset_path=moved).flips) == 3
    moved.write_text("".join(json.dumps({**row, "answer": "5"}) + "\n" for row in ROWS))
    with pytest.raises(DatasetError, match="other answers"):
        regrade(run, dataset_path=moved)
    data.write_text(moved.read_text())  # changed where it lies: the references in the rows decide
    assert regrade(run).rules_from is None
    moved.write_text(json.dumps(ROWS[0]) + "\n")
    with pytest.raises(DatasetError, match="no problem 'both'"):
        regrade(run, dataset_path=moved)


def test_storing_changes_verdicts_only(run: Path) -> None:
    """Latency, text and ids stay; manifest, table and summary tell of the new grading; a second one changes nothing."""
    old = {row.key: row for row in load_comparison(run)["says"].rows}
    save(regrade(run), run)
    comparison = load_comparison(run)
    for row in comparison["says"].rows:
        assert (row.latency_s, row.text, row.token_ids) == (
            old[row.key].latency_s,
            old[row.key].text,
            old[row.key].token_ids,
        )
    assert comparison["says"].accuracy == 0.75
    assert comparison.manifest["regraded"][-1]["grader"] == GRADER
    assert comparison.manifest["regraded"][-1]["flipped"] == 3
    assert f"graded by {GRADER}, graded again on" in (run / "table.md").read_text()
    assert json.loads((run / "summary.json").read_text())["strategies"]["says"]["accuracy"] == 0.75
    assert not regrade(run).flips


def test_only_the_own_verdicts_are_stored(run: Path) -> None:
    """Another judge's are for comparison; rows that changed meanwhile are not overwritten."""
    with pytest.raises(RunError, match="own verdicts"):
        save(regrade(run, judge="qwen"), run)
    with pytest.raises(ValueError, match="there are stored, arbitrage, qwen"):
        regrade(run, judge="nobody")  # type: ignore[arg-type]
    graded = regrade(run)
    lines = (run / "rows.jsonl").read_text().splitlines(keepends=True)
    (run / "rows.jsonl").write_text("".join(lines[:-1]))
    with pytest.raises(RunError, match="changed meanwhile"):
        save(graded, run)


def test_the_table_says_who_graded_and_which_edition(run: Path) -> None:
    """Every table names the grader; those on OlympiadBench the edition."""
    from arbitrage.harness.report import grading_notes

    comparison = load_comparison(run)
    assert any(f"graded by {GRADER}" in note for note in grading_notes(comparison))
    for name, words in (("olympiadbench", "675 rows"), ("olympiadbench-674", "corrected edition of 674")):
        manifest = {**comparison.manifest, "dataset": {"name": name}}
        assert words in grading_notes(type(comparison)(comparison.results, manifest))[-1]


def test_the_command_lists_flips_and_stores_on_demand(run: Path) -> None:
    """A person sees answer, reference and both reasons; nothing is written before --write."""
    runner = CliRunner(env={"COLUMNS": "160"})
    shown = runner.invoke(app, ["grade", str(run)])
    assert shown.exit_code == 0, shown.output
    assert "half · says: incorrect → correct" in shown.output
    assert "the old grader knew nothing" in shown.output
    assert load_comparison(run)["says"].accuracy == 0.0
    assert runner.invoke(app, ["grade", str(run), "--write"]).exit_code == 0
    assert load_comparison(run)["says"].accuracy == 0.75
    assert "no verdict changed" in runner.invoke(app, ["grade", str(run)]).output


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--answer", "0.5", "--reference", r"\frac12"], 0, "correct"),
        (["--answer", "0.4", "--reference", r"\frac12"], 1, "incorrect"),
        (["--answer", "0.4"], 2, "--reference"),
        ([], 2, "name the folder"),
        (["run", "--against", "qwen", "--write"], 2, "leave --against out"),
    ],
)
def test_one_answer_can_be_graded_and_wrong_calls_say_what_to_do(arguments: list[str], code: int, words: str) -> None:
    """The exit code of a single grade is its verdict."""
    shown = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["grade", *arguments])
    assert shown.exit_code == code
    assert words in shown.output


def test_a_folder_of_schema_1_keeps_its_trace_when_regraded(run: Path) -> None:
    """The steps leave the rows for a file of their own; nothing of them is lost."""
    old = []
    for line in (run / "rows.jsonl").read_bytes().splitlines():
        row = json.loads(line)
        del row["step_count"]
        step = {"index": 0, "text": f"of {row['problem_id']}", "author": "draft", "tokens": 2}
        old.append(json.dumps(row | {"steps": [step]}) + "\n")
    (run / "rows.jsonl").write_text("".join(old))
    manifest = json.loads((run / "manifest.json").read_text()) | {"schema": 1}
    (run / "manifest.json").write_text(json.dumps(manifest))
    before = {row.key: row.steps for row in load_comparison(run)["says"].rows}
    assert all(before.values())
    save(regrade(run), run)
    assert {row.key: row.steps for row in load_comparison(run)["says"].rows} == before
    assert load_comparison(run)["says"].accuracy == 0.75


def test_json_holds_every_flip_and_nothing_else_is_printed(run: Path) -> None:
    """For machines: accuracies under both judges, each flip with both reasons; one answer is its verdict."""
    shown = CliRunner().invoke(app, ["grade", str(run), "--json", "--write"])
    told = json.loads(shown.stdout)
    assert told["accuracy"]["says"] == {"before": 0.0, "after": 0.75}
    assert {flip["problem_id"] for flip in told["flips"]} == {"half", "both", "near"}
    assert all(flip["before"]["status"] == "incorrect" and flip["after"]["reason"] for flip in told["flips"])
    one = CliRunner().invoke(app, ["grade", "--answer", "1/2", "--reference", "0.5", "--json"])
    assert json.loads(one.stdout)["status"] == "correct"
