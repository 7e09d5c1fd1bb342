"""Stopping and resuming: whatever moment a run dies at, what it had is kept and the rest gives the same rows."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from arbitrage.errors import RunError
from arbitrage.harness import environment
from arbitrage.harness.grading import Status, Verdict
from arbitrage.harness.request import safe_options
from arbitrage.harness.rows import Row
from arbitrage.harness.run_folder import open_run, read_rows
from arbitrage.harness.runner import (
    BenchmarkInterrupted,
    Comparison,
    Instruments,
    load_comparison,
    resume_run,
    run_comparison,
)
from arbitrage.interfaces import Capability, Models, Strategy
from arbitrage.types import EndReason, Generation, Problem, Role, StepRecord

PROBLEMS = tuple(Problem(f"p{index}", f"statement {index}", ("yes",)) for index in range(4))


@pytest.fixture(autouse=True)
def _no_chart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes longer than everything else here and has its own tests."""
    monkeypatch.setattr("arbitrage.harness.chart.save_chart", lambda comparison, file: None)


class Coin(Strategy):
    """Writes random text; stops the process's run when its turn comes."""

    requires: frozenset[Role | Capability] = frozenset()

    def __init__(self, name: str, threshold: float = 0.5, interrupt_at: int | None = None) -> None:
        self.name = name  # type: ignore[misc]
        self.threshold, self._left = threshold, interrupt_at
        self.solved: list[str] = []

    def describe(self) -> dict[str, object]:
        return {"name": self.name, "threshold": self.threshold}

    def solve(self, problem: Problem, models: Models, rng: np.random.Generator) -> Generation:
        if self._left is not None:
            self._left -= 1
            if self._left < 0:
                os.kill(os.getpid(), signal.SIGINT)
        self.solved.append(problem.id)
        text = "yes" if rng.random() < self.threshold else f"no, {rng.random()}\n\u2028 café"
        steps = (StepRecord(0, text, "draft", 2, draft_reward=float(rng.random())),)
        return Generation(text, tuple(int(token) for token in rng.integers(0, 500, 5)), steps, EndReason.EOS)


def grade(text: str, problem: Problem) -> Verdict:
    return Verdict(Status.CORRECT if text == problem.answer else Status.INCORRECT, text, "string", "")


class Deaf:
    """Watches nothing."""

    def step_decided(self, event: object) -> None: ...

    def problem_finished(self, row: object) -> None: ...


def run(*strategies: Strategy, **options: Any) -> Comparison:
    defaults = {"dataset": PROBLEMS, "warmup": 0, "repeats": 2, "progress": False, "baseline": False}
    tools = Instruments(grade=grade, observers=Deaf())
    return run_comparison(list(strategies), Models(), instruments=tools, **(defaults | options))


def strategies() -> tuple[Coin, Coin]:
    return Coin("a"), Coin("b", 0.8)


def timeless(rows: list[Row]) -> list[Row]:
    """Rows without what the clock said."""
    return sorted((replace(row, latency_s=0.0, started_at="") for row in rows), key=lambda row: row.key)


def rows_of(folder: Path) -> list[Row]:
    return [row for result in load_comparison(folder).values() for row in result.rows]


@pytest.mark.parametrize("share", [0.0, 0.01, 0.2, 0.37, 0.5, 0.73, 0.9, 0.999, 1.0])
def test_killed_run_resumes_to_the_same_rows(tmp_path: Path, share: float) -> None:
    """Cut rows.jsonl at any byte: resuming drops the broken line, runs only what is missing, and ends the same."""
    run(*strategies(), out=tmp_path)
    whole = (tmp_path / "rows.jsonl").read_bytes()
    expected = rows_of(tmp_path)
    cut = whole[: int(share * len(whole))]
    (tmp_path / "rows.jsonl").write_bytes(cut)
    again = strategies()
    found = run(*again, out=tmp_path, resume=True)
    kept = cut.count(b"\n")
    assert sum(len(one.solved) for one in again) == len(expected) - kept
    assert (tmp_path / "rows.jsonl").read_bytes().startswith(whole[: cut.rfind(b"\n") + 1])
    assert found.complete
    assert timeless(rows_of(tmp_path)) == timeless(expected)
    assert [row.key for row in found["a"].rows] == [("a", f"p{k}", repeat) for repeat in (0, 1) for k in range(4)]


@pytest.mark.parametrize("share", [0.01, 0.3, 0.7, 0.99])
def test_a_trace_cut_at_any_byte_costs_only_the_rows_that_lack_steps(tmp_path: Path, share: float) -> None:
    """A row counts when all of its steps are there; resuming makes the others again, and no step stands twice."""
    run(*strategies(), out=tmp_path)
    expected = rows_of(tmp_path)
    whole = (tmp_path / "steps.jsonl").read_bytes()
    cut = whole[: int(share * len(whole))]
    (tmp_path / "steps.jsonl").write_bytes(cut)
    kept = len(read_rows(tmp_path))
    assert kept == cut.count(b"\n")
    again = strategies()
    assert run(*again, out=tmp_path, resume=True).complete
    assert sum(len(one.solved) for one in again) == len(expected) - kept
    assert timeless(rows_of(tmp_path)) == timeless(expected)
    assert (tmp_path / "steps.jsonl").read_bytes().count(b"\n") == whole.count(b"\n")


def test_steps_written_before_a_kill_are_not_doubled(tmp_path: Path) -> None:
    """Killed between the trace and the row, the trace has a step without a row: it is dropped and made again."""
    run(*strategies(), out=tmp_path)
    expected = (tmp_path / "steps.jsonl").read_bytes().count(b"\n")
    lines = (tmp_path / "rows.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "rows.jsonl").write_bytes(b"".join(lines[:-1]))
    run(*strategies(), out=tmp_path, resume=True)
    assert (tmp_path / "steps.jsonl").read_bytes().count(b"\n") == expected


def test_a_folder_without_its_trace_is_no_run(tmp_path: Path) -> None:
    """Somebody who copies the rows alone is told what is missing, and not shown acceptance rates of nothing."""
    run(Coin("a"), out=tmp_path)
    (tmp_path / "steps.jsonl").unlink()
    with pytest.raises(RunError, match=r"lacks steps\.jsonl"):
        load_comparison(tmp_path)


@pytest.mark.parametrize("name", ["manifest.json", "rows.jsonl", "steps.jsonl", "problems.jsonl"])
def test_a_pipe_in_a_folder_from_elsewhere_does_not_hang_its_reader(tmp_path: Path, name: str) -> None:
    """Files that never end are refused by name."""
    run(Coin("a"), out=tmp_path)
    (tmp_path / name).unlink()
    os.mkfifo(tmp_path / name)
    with pytest.raises(RunError, match=f"{name} is not a regular file"):
        load_comparison(tmp_path)


def test_a_folder_of_schema_1_is_read_and_continued(tmp_path: Path) -> None:
    """Early versions kept the steps inside the rows: they count as they are, and new rows get their trace."""
    run(*strategies(), out=tmp_path)
    expected = rows_of(tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text()) | {"schema": 1}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    steps = [json.loads(line) for line in (tmp_path / "steps.jsonl").read_bytes().splitlines()]
    old = []
    for line, step in zip((tmp_path / "rows.jsonl").read_bytes().splitlines(), steps, strict=True):
        row = json.loads(line)
        del row["step_count"]
        old.append(json.dumps(row | {"steps": [step]}) + "\n")
    (tmp_path / "rows.jsonl").write_text("".join(old[:5]))
    for name in ("steps.jsonl", "problems.jsonl"):
        (tmp_path / name).unlink()
    assert not load_comparison(tmp_path).problems
    run(*strategies(), out=tmp_path, resume=True)
    assert timeless(rows_of(tmp_path)) == timeless(expected)
    assert set(load_comparison(tmp_path).problems) == {problem.id for problem in PROBLEMS}


def test_every_single_byte_is_a_fine_place_to_die(tmp_path: Path) -> None:
    """Reading a folder cut anywhere gives exactly the rows that were complete."""
    run(Coin("a"), out=tmp_path, repeats=2, dataset=PROBLEMS[:1])
    whole = (tmp_path / "rows.jsonl").read_bytes()
    for length in range(len(whole) + 1):
        (tmp_path / "rows.jsonl").write_bytes(whole[:length])
        assert len(read_rows(tmp_path)) == whole[:length].count(b"\n")


def test_an_uninterrupted_and_a_resumed_run_have_the_same_numbers(tmp_path: Path) -> None:
    """Latencies of rows made before the stop are untouched by the resume."""
    run(*strategies(), out=tmp_path)
    lines = (tmp_path / "rows.jsonl").read_bytes().splitlines(keepends=True)
    before = {row.key: row.latency_s for row in rows_of(tmp_path)}
    (tmp_path / "rows.jsonl").write_bytes(b"".join(lines[:7]))
    kept = {row.key for row in rows_of(tmp_path)}
    run(*strategies(), out=tmp_path, resume=True)
    after = {row.key: row.latency_s for row in rows_of(tmp_path)}
    assert all(after[key] == before[key] for key in kept)


@pytest.mark.parametrize("at", [0, 1, 5])
def test_ctrl_c_loses_nothing_and_says_how_to_go_on(tmp_path: Path, at: int) -> None:
    """A real SIGINT in the middle of a solution: finished rows are on disk and in the exception, and resuming works."""
    with pytest.raises(BenchmarkInterrupted) as stopped:
        run(Coin("a", interrupt_at=at), Coin("b", 0.8), out=tmp_path)
    assert f"--resume --out {tmp_path}" in str(stopped.value)
    assert isinstance(stopped.value, KeyboardInterrupt)
    done = rows_of(tmp_path)
    assert len([row for row in done if row.strategy == "a"]) == at
    assert sum(len(result.rows) for result in stopped.value.partial.values()) == len(done)
    assert not stopped.value.partial.complete
    assert not json.loads((tmp_path / "summary.json").read_text())["complete"]
    run(*strategies(), out=tmp_path, resume=True)
    run(*strategies(), out=tmp_path / "reference")
    assert timeless(rows_of(tmp_path)) == timeless(rows_of(tmp_path / "reference"))
    assert json.loads((tmp_path / "summary.json").read_text())["complete"]


def test_ctrl_c_without_a_folder_keeps_the_rows_in_the_exception() -> None:
    """With nothing on disk, the partial comparison is all there is, and it is there."""
    with pytest.raises(BenchmarkInterrupted, match="3 of 8 rows") as stopped:
        run(Coin("a", interrupt_at=3))
    assert len(stopped.value.partial["a"].rows) == 3


def test_the_manifest_is_there_before_the_first_row(tmp_path: Path) -> None:
    """Seen from inside the first solution, the folder has a complete manifest and no rows."""
    seen: list[dict[str, Any]] = []

    class Curious(Coin):
        def solve(self, problem: Problem, models: Models, rng: np.random.Generator) -> Generation:
            if not seen:
                assert not (tmp_path / "rows.jsonl").exists()
                seen.append(json.loads((tmp_path / "manifest.json").read_text()))
            return super().solve(problem, models, rng)

    run(Curious("a"), out=tmp_path, limit=3, seed=5)
    manifest = seen[0]
    assert manifest["identity"]["seed"] == 5
    assert manifest["identity"]["strategies"] == {"a": {"name": "a", "threshold": 0.5}}
    assert manifest["identity"]["versions"]["arbitrage"]
    assert manifest["dataset"]["limited_to"] == 3
    assert len(manifest["dataset"]["sha256"]) == 64
    assert manifest["sessions"][0]["machine"]["cpu"]
    assert manifest["sessions"][0]["arguments"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 1}, "seed is 0 in the folder and 1 now"),
        ({"repeats": 3}, "repeats is 2"),
        ({"limit": 2}, "dataset"),
        ({"temperature": 0.5}, r"settings\.sampling\.temperature is 0\.0 in the folder and 0\.5 now"),
        ({"max_tokens": 9}, r"settings\.max_tokens is 4096"),
        ({"dataset": (*PROBLEMS[:3], replace(PROBLEMS[3], answers=("no",)))}, r"dataset\.sha256"),
        (
            {"strategies": (Coin("a", 0.6), Coin("b", 0.8))},
            r"strategies\.a\.threshold is 0\.5 in the folder and 0\.6 now",
        ),
        ({"strategies": (Coin("a"),)}, r"strategies\.b\.name is 'b' in the folder and absent now"),
    ],
)
def test_another_run_is_never_mixed_in(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    """Whatever changes what a row says is compared, and the error names it with both values; nothing is touched."""
    run(*strategies(), out=tmp_path)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    chosen = change.pop("strategies", strategies())
    with pytest.raises(RunError, match=message):
        run(*chosen, out=tmp_path, resume=True, **change)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_other_versions_are_another_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A numerical package of another version may change tokens, so its rows are not mixed."""
    run(*strategies(), out=tmp_path)
    monkeypatch.setattr(environment, "package_versions", lambda: {"arbitrage": "99"})
    with pytest.raises(RunError, match=r"versions\.arbitrage is '.*' in the folder and '99' now"):
        run(*strategies(), out=tmp_path, resume=True)


def test_a_folder_in_use_is_not_taken_over(tmp_path: Path) -> None:
    """Without `resume` a folder that holds a run is refused; so are rows without a manifest."""
    run(Coin("a"), out=tmp_path / "one")
    with pytest.raises(RunError, match=r"already holds a run.*resume=True"):
        run(Coin("a"), out=tmp_path / "one")
    for name in ("rows.jsonl", "steps.jsonl", "scores.jsonl", "warmup.jsonl"):
        (tmp_path / name.split(".")[0]).mkdir()
        (tmp_path / name.split(".")[0] / name).write_text("")
        with pytest.raises(RunError, match=f"holds {name} but no manifest"):
            run(Coin("a"), out=tmp_path / name.split(".")[0], resume=True)


def test_two_processes_cannot_write_to_one_run(tmp_path: Path) -> None:
    """While a run is open its folder is locked; afterwards it is free."""
    run(Coin("a"), out=tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    keys = [row.key for row in rows_of(tmp_path)]
    with open_run(tmp_path, manifest, keys, PROBLEMS, resume=True), pytest.raises(RunError, match="another process"):
        run(Coin("a"), out=tmp_path, resume=True)
    run(Coin("a"), out=tmp_path, resume=True)


def test_resuming_nothing_starts_anew_and_resuming_everything_runs_nothing(tmp_path: Path) -> None:
    """`resume` on an empty folder is a first run; on a complete one it makes the report again and solves nothing."""
    run(*strategies(), out=tmp_path, resume=True)
    again = strategies()
    found = run(*again, out=tmp_path, resume=True, warmup=2)
    assert not [one.solved for one in again if one.solved]
    assert found.complete
    assert not found["a"].warm_ups


def test_every_sitting_is_recorded_and_another_machine_is_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The manifest lists all sittings; a resume on another machine warns that latencies are mixed."""
    run(*strategies(), out=tmp_path)
    monkeypatch.setattr(environment, "describe_machine", lambda: {"cpu": "another"})
    found = run(*strategies(), out=tmp_path, resume=True)
    sessions = json.loads((tmp_path / "manifest.json").read_text())["sessions"]
    assert len(sessions) == 2
    assert any("another machine" in warning for warning in sessions[1]["warnings"])
    assert any("another machine" in note for note in found.summary()["notes"])  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda lines: [lines[0], b"{}\n", *lines[2:]], r"rows\.jsonl:2: not a line"),
        (lambda lines: [lines[0], lines[0], *lines[2:]], "is there twice"),
        (lambda lines: [lines[0].replace(b'"p0"', b'"q0"'), *lines[1:]], "does not hold the steps of row"),
        (
            lambda lines: [
                lines[0].replace(b'"p0"', b'"q0"').replace(b'"step_count":1', b'"step_count":0'),
                *lines[1:],
            ],
            "does not belong to this run",
        ),
    ],
)
def test_damage_inside_the_file_is_not_papered_over(tmp_path: Path, damage: Any, message: str) -> None:
    """Only a cut last line is repaired; anything else means that the folder cannot be trusted."""
    run(*strategies(), out=tmp_path)
    lines = (tmp_path / "rows.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "rows.jsonl").write_bytes(b"".join(damage(lines)))
    with pytest.raises(RunError, match=message):
        run(*strategies(), out=tmp_path, resume=True)


def test_a_run_can_be_resumed_from_its_folder_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`resume_run` makes strategies and arguments from the manifest; the models were objects and are given again."""
    from arbitrage import registry as registry_module
    from arbitrage.hooks import Register, hookimpl
    from arbitrage.registry import Registry

    class Plugin:
        @hookimpl
        def register_strategies(self, register: Register) -> None:
            register("a", lambda threshold: Coin("a", threshold))

    monkeypatch.setattr(registry_module, "_shared", Registry([("test", Plugin())]))
    monkeypatch.setattr("arbitrage.harness.grading.grade", grade)
    run(Coin("a", 0.7), out=tmp_path / "run", dataset="bundled", limit=3, seed=4, temperature=0.3)
    expected = rows_of(tmp_path / "run")
    (tmp_path / "run" / "rows.jsonl").unlink()
    with pytest.raises(RunError, match="given loaded models"):
        resume_run(tmp_path / "run", progress=False)
    found = resume_run(tmp_path / "run", Models(), progress=False)
    assert found.complete
    assert timeless(rows_of(tmp_path / "run")) == timeless(expected)


def test_a_run_of_your_own_objects_says_that_it_cannot_be_resumed_alone(tmp_path: Path) -> None:
    """Problems handed in as objects, or strategies that nobody registered, need the original call."""
    run(*strategies(), out=tmp_path / "one")
    with pytest.raises(RunError, match=r"given problems.*resume=True"):
        resume_run(tmp_path / "one", Models())
    (tmp_path / "one" / "manifest.json").write_text('{"schema": 1, "identity": {}}')
    with pytest.raises(RunError, match="does not say how the run was started"):
        resume_run(tmp_path / "one", Models())


def test_a_folder_cannot_ask_for_foreign_code(tmp_path: Path) -> None:
    """A manifest that asks for trust_remote_code is refused: only the caller can allow it."""
    run(Coin("a"), out=tmp_path, dataset="bundled", limit=1)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    manifest["identity"]["strategies"] = {"t": {"name": "target-only"}}
    manifest["request"] |= {"backend": "hf", "given_objects": [], "model_options": {"trust_remote_code": True}}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(RunError, match=r"trust_remote_code, which lets checkpoints run code.*resume_run\("):
        resume_run(tmp_path, progress=False)


def test_options_from_a_folder_are_those_that_run_nothing() -> None:
    """What `score` and `resume` pass on: no foreign code, no masked secrets."""
    stored = {"trust_remote_code": True, "allow_pickle": True, "api_key": "***", "dtype": "float32"}
    assert safe_options(stored) == {"dtype": "float32"}


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("sessions", "none", "sessions"),
        ("identity", {"strategies": ["a"]}, "identity.strategies"),
        ("rows", "8", "rows"),
        ("dataset", {"limited_to": "all"}, "dataset.limited_to"),
        ("schema", 99, "reads 1 to 2"),
    ],
)
def test_a_manifest_of_the_wrong_shape_is_refused_by_field(
    tmp_path: Path, field: str, value: object, message: str
) -> None:
    """What a folder from elsewhere says is checked before anything reads it."""
    run(Coin("a"), out=tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text()) | {field: value}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(RunError, match=message):
        load_comparison(tmp_path)


def test_the_manifest_tells_where_the_code_came_from(tmp_path: Path) -> None:
    """Built-in strategies by their entry and version, objects of one's own by their class."""
    from arbitrage import __version__
    from arbitrage.strategies import RandomRoute
    from arbitrage.testing import ScriptedModel

    models = Models(draft=ScriptedModel(["a"]), target=ScriptedModel(["b"]))
    tools = Instruments(grade=grade, observers=Deaf())
    options: dict[str, Any] = {"dataset": PROBLEMS, "warmup": 0, "progress": False, "baseline": False}
    run_comparison([RandomRoute(), Coin("own")], models, out=tmp_path, instruments=tools, **options)
    found = json.loads((tmp_path / "manifest.json").read_text())["entry_points"]["strategies"]
    assert found["random-route (rate=0.3)"] == {
        "class": "arbitrage.strategies.random_route:RandomRoute",
        "registered": "arbitrage.strategies:RandomRoute",
        "plugin": "arbitrage",
        "version": __version__,
    }
    assert found["own"]["class"].endswith(":Coin")
    assert found["own"]["plugin"] is None


def test_nothing_outside_the_folder_is_written_through_its_links(tmp_path: Path) -> None:
    """A folder from elsewhere may hold links in the places of files and of their drafts: their targets stay."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    folder = tmp_path / "run"
    run(Coin("a"), out=folder, limit=2)
    for name in ("summary.json.part", "table.md.part", "accuracy_latency.png"):
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(victim)
    for name in ("summary.json", "table.md", "results.json"):
        (folder / name).unlink()
        (folder / name).symlink_to(victim)
    load_comparison(folder).save_report(folder)
    assert victim.read_text() == "precious"
    empty = tmp_path / "empty"
    run(Coin("a"), out=empty, limit=2)
    (empty / "rows.jsonl").unlink()
    (empty / "rows.jsonl").symlink_to(tmp_path / "new")
    with pytest.raises(RunError, match=r"rows\.jsonl: cannot be written"):
        run(Coin("a"), out=empty, limit=2, resume=True)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("rows.jsonl", lambda row: row | {"latency_s": "NaN"}),
        ("rows.jsonl", lambda row: row | {"latency_s": -1}),
        ("rows.jsonl", lambda row: row | {"latency_s": "Infinity"}),
        ("steps.jsonl", lambda step: step | {"tokens": 10**400}),
        ("steps.jsonl", lambda step: step | {"tokens": -1}),
    ],
)
def test_numbers_that_nothing_can_be_computed_from_are_refused(tmp_path: Path, name: str, change: Any) -> None:
    """A folder from elsewhere ends in one line that names file and line, not in arithmetic."""
    run(Coin("a"), out=tmp_path)
    lines = (tmp_path / name).read_bytes().splitlines()
    lines[1] = json.dumps(change(json.loads(lines[1]))).encode()
    (tmp_path / name).write_bytes(b"\n".join(lines) + b"\n")
    with pytest.raises(RunError, match=f"{name}:2"):
        load_comparison(tmp_path)


def test_a_manifest_nested_without_end_is_refused(tmp_path: Path) -> None:
    """Depth is checked before anything walks through it."""
    run(Coin("a"), out=tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    deep: Any = "x"
    for _ in range(400):
        deep = {"a": deep}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest | {"more": deep}))
    with pytest.raises(RunError, match="nested too deeply"):
        load_comparison(tmp_path)


@pytest.mark.parametrize("options", [[1], {"roles": "draft"}, {"out": "/tmp/x"}, {"instruments": "x"}, {"draft": [1]}])
def test_a_folder_cannot_pass_other_arguments_off_as_options(tmp_path: Path, options: object) -> None:
    """Only options of models may stand among them; anything else is a damaged manifest."""
    run(Coin("a"), out=tmp_path, dataset="bundled", limit=1)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    manifest["identity"]["strategies"] = {"t": {"name": "target-only"}}
    manifest["request"] |= {"backend": "hf", "given_objects": [], "model_options": options}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(RunError, match=r"model_options|which it is not"):
        resume_run(tmp_path, progress=False)
