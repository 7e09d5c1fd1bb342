"""`arbitrage doctor`: what it notices, what it lets pass, and its test of everything together."""

from __future__ import annotations

import dataclasses
import json
import shutil
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from arbitrage.backends.bundled import bundled_gguf, bundled_path
from arbitrage.cli import inventory, main, self_test
from arbitrage.cli.findings import Finding, Section
from arbitrage.cli.weights import DamagedError, check_model
from arbitrage.errors import MissingExtraError
from arbitrage.interfaces import BackendFacts, Models
from arbitrage.registry import Registry
from arbitrage.types import Generation, Problem, Role
from tests.cli.conftest import Run
from tests.scripted_backend import Scripted

SCRIPTED = ("doctor", "--backend", "scripted")


def examined(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> dict[str, Any]:
    """What `arbitrage doctor … --json` prints."""
    assert main([*SCRIPTED, *words, "--json"]) == code
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def named(checks: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """The one check of this name."""
    (found,) = (check for check in checks if check["name"] == name)
    return found


@pytest.mark.usefixtures("shared")
def test_the_json_has_the_documented_fields(capsys: pytest.CaptureFixture[str]) -> None:
    """One object: whether all is well, every check with its section, and the prompt as it is put to the model."""
    found = examined(capsys)
    assert set(found) == {"ok", "checks", "prompt"}
    assert found["ok"] is True
    fields = {"section", *(field.name for field in dataclasses.fields(Finding))}
    assert all(set(check) == fields for check in found["checks"])
    sections = list(dict.fromkeys(check["section"] for check in found["checks"]))
    assert sections == ["Versions", "Extras", "Hardware", "Bundled models", "Data sets"]
    assert found["prompt"]["dataset"] == "bundled"
    assert found["prompt"]["tokens"] > 0


@pytest.mark.usefixtures("shared")
def test_what_libraries_print_does_not_get_into_the_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A banner on standard output while a model is loaded goes to standard error."""
    quiet = Scripted.language_model

    def loud(self: Scripted, source: str, device: str | None = None, **options: object) -> object:
        print("WELCOME")
        return quiet(self, source, device, **options)

    monkeypatch.setattr(Scripted, "language_model", loud)
    assert main([*SCRIPTED, "--json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["ok"]
    assert "WELCOME" in printed.err


@pytest.mark.usefixtures("shared")
def test_every_bundled_model_is_checked(capsys: pytest.CaptureFixture[str]) -> None:
    """All formats and precisions, by the names that `arbitrage ls models` shows."""
    checks = examined(capsys)["checks"]
    for model in inventory.bundled_models():
        assert named(checks, model.name)["status"] == "ok"


@pytest.mark.usefixtures("shared")
def test_a_damaged_model_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A weight file that was cut is told by its path, in the exit code and in one last line."""
    broken = tmp_path / "draft"
    shutil.copytree(bundled_path("draft"), broken)
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    models = [replace(model, path=str(broken)) for model in inventory.bundled_models()[:1]]
    monkeypatch.setattr(inventory, "bundled_models", lambda: models)
    found = examined(capsys, code=1)
    assert found["ok"] is False
    assert str(weights) in named(found["checks"], "bundled:draft")["text"]
    assert main(list(SCRIPTED)) == 1
    assert capsys.readouterr().err == "failed: bundled:draft\n"


def cut(folder: Path) -> None:
    """Take the last byte off the weights."""
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1])


def lie(folder: Path) -> None:
    """A header that is longer than the file."""
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", 10**9) + b"{}")


def empty(folder: Path) -> None:
    """No byte at all."""
    (folder / "model.safetensors").write_bytes(b"")


def odd(folder: Path) -> None:
    """A header of another shape."""
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", 9) + b'{"a": []}')


def lose(folder: Path) -> None:
    """No weights."""
    (folder / "model.safetensors").unlink()


def garble(folder: Path) -> None:
    """A tokenizer that is not JSON."""
    (folder / "tokenizer.json").write_text("{nope")


def unname(folder: Path) -> None:
    """No configuration."""
    (folder / "config.json").unlink()


@pytest.mark.parametrize("damage", [cut, lie, empty, odd, lose, garble, unname])
def test_every_kind_of_damage_to_a_checkpoint_is_noticed(damage: Callable[[Path], None], tmp_path: Path) -> None:
    """Whole checkpoints pass; the message of damaged ones names the place."""
    folder = tmp_path / "draft"
    shutil.copytree(bundled_path("draft"), folder)
    check_model(folder)
    damage(folder)
    with pytest.raises(DamagedError, match=str(folder)):
        check_model(folder)


@pytest.mark.parametrize("content", [b"", b"GGML0000", b"nonsense"])
def test_what_is_no_gguf_file_is_noticed(content: bytes, tmp_path: Path) -> None:
    """By its first bytes, with or without the extra."""
    file = tmp_path / "draft.gguf"
    file.write_bytes(content)
    with pytest.raises(DamagedError, match="not a GGUF file"):
        check_model(file)
    with pytest.raises(DamagedError, match="absent"):
        check_model(tmp_path / "absent.gguf")


def test_a_cut_gguf_file_is_noticed(tmp_path: Path) -> None:
    """Its header says how long it should be."""
    pytest.importorskip("llama_cpp")
    whole = bundled_gguf("draft", "q8_0")
    check_model(whole)
    file = tmp_path / "draft.gguf"
    file.write_bytes(whole.read_bytes()[:-1000])
    with pytest.raises(DamagedError, match=r"draft\.gguf"):
        check_model(file)


def test_a_missing_extra_is_no_failure(
    shared: Registry, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither the prompt nor the self-test of a backend that is not installed counts; both name the extra."""

    def absent(name: str) -> object:
        raise MissingExtraError.of(f"the {name} backend", "x", "x")

    monkeypatch.setattr(shared, "backend", absent)
    found = examined(capsys, "--self-test")
    assert found["ok"] is True
    assert found["prompt"] is None
    for name in ("prompt", *(f"{backend}: bundled models" for backend in shared.names("backend"))):
        check = named(found["checks"], name)
        assert check["status"] == "missing"
        assert "arbitrage-decoding[x]" in check["text"]


def test_a_check_that_breaks_is_a_failure_and_the_report_goes_on(
    shared: Registry, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A library that cannot even be asked is found out, not a traceback."""

    def broken() -> object:
        raise OSError("libcudart.so.99: cannot open shared object file")

    monkeypatch.setattr("arbitrage.harness.environment.describe_machine", broken)
    found = examined(capsys, code=1)
    assert "libcudart" in named(found["checks"], "hardware")["text"]
    assert {"Bundled models", "Data sets"} <= {check["section"] for check in found["checks"]}


def test_findings_before_a_break_are_kept() -> None:
    """A section yields what it found, then the error."""

    def checks() -> Any:
        yield Finding("ok", "first", "fine")
        raise KeyError("second")

    first, last = Section("Things", checks()).findings()
    assert (first.status, last.status, last.name) == ("ok", "fail", "things")
    assert "KeyError" in last.text


def with_facts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the scripted backend say that it has bundled models."""
    facts = BackendFacts("scripts", "CPU", frozenset(), scorers=True, together=False, bundled=("script",))
    monkeypatch.setattr(Scripted, "facts", facts)
    monkeypatch.setattr(Registry, "names", lambda self, kind: ["scripted"] if kind == "backend" else [])
    monkeypatch.setattr(
        self_test, "_problems", lambda: [Problem("one", "1 + 1?", ("2",)), Problem("two", "2 + 0?", ("2",))]
    )


def outcomes(capsys: pytest.CaptureFixture[str], code: int = 0) -> dict[str, dict[str, Any]]:
    """Findings of the self-test by name."""
    checks = examined(capsys, "--self-test", code=code)["checks"]
    return {check["name"]: check for check in checks if check["section"] == "Self-test"}


@pytest.mark.usefixtures("shared")
def test_the_self_test_grades_loads_and_solves(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each backend with bundled models is loaded and runs three strategies; every line has its seconds."""
    with_facts(monkeypatch)
    found = outcomes(capsys)
    assert list(found) == [
        "grading of a right answer",
        "grading of a wrong answer",
        "grading of a hostile answer",
        "scripted: bundled models",
        "scripted: target-only",
        "scripted: token-sd:gamma=4",
        "scripted: arbitrage-router",
    ]
    assert all(check["status"] == "ok" and check["seconds"] >= 0 for check in found.values())
    assert found["scripted: target-only"]["text"].startswith("2 of 2 right")
    assert "same tokens" in found["scripted: token-sd:gamma=4"]["text"]


def test_without_a_terminal_the_self_test_is_plain_lines(
    shared: Registry, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A mark, a name, a result and seconds on each line, and no escape sequence anywhere."""
    with_facts(monkeypatch)
    monkeypatch.delenv("NO_COLOR")
    assert main([*SCRIPTED, "--self-test"]) == 0
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    lines = printed.partition("Self-test\n")[2].split("\n\n")[0].splitlines()
    assert len(lines) == 7
    assert all(line.startswith("✓  ") and line.endswith(" s") for line in lines)


@pytest.mark.usefixtures("shared")
@pytest.mark.parametrize(("dtype", "status", "code"), [("float32", "fail", 1), ("Q8_0", "warn", 0)])
def test_other_tokens_than_the_targets_are_noticed(
    dtype: str, status: str, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In full precision a failure; in fewer bits, where near-ties may fall otherwise, a remark."""
    with_facts(monkeypatch)
    solve = self_test._solve
    monkeypatch.setattr("arbitrage.testing.ScriptedModel.describe", lambda self: {"dtype": dtype})

    def other(spec: str, models: Models, problems: list[Problem]) -> list[Generation]:
        made = solve(spec, models, problems)
        if spec.startswith("token-sd"):
            made[1] = replace(made[1], token_ids=(*made[1].token_ids[:3], 0, *made[1].token_ids[4:]))
        return made

    monkeypatch.setattr(self_test, "_solve", other)
    check = outcomes(capsys, code)["scripted: token-sd:gamma=4"]
    assert check["status"] == status
    assert check["text"].startswith("parts from target-only at token 3 of two")


@pytest.mark.usefixtures("shared")
def test_a_model_that_is_never_right_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One error is the model's, nothing but errors is the installation's."""
    with_facts(monkeypatch)
    problems = [Problem("one", "1 + 1?", ("7",)), Problem("two", "2 + 0?", ("7",))]
    monkeypatch.setattr(self_test, "_problems", lambda: problems)
    found = outcomes(capsys, code=1)
    assert found["scripted: target-only"]["status"] == "fail"
    assert found["scripted: target-only"]["text"].startswith("0 of 2 right")


@pytest.mark.usefixtures("shared")
def test_a_model_that_cannot_be_loaded_is_a_failure_and_is_not_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The error is the finding; strategies of this backend are not tried."""
    with_facts(monkeypatch)

    def nobody(self: Scripted, role: Role, variant: str | None = None) -> str:
        raise KeyError("nobody")

    monkeypatch.setattr(Scripted, "bundled", nobody)
    assert main([*SCRIPTED, "--self-test"]) == 1
    printed = capsys.readouterr()
    assert "scripted: bundled models: KeyError: 'nobody'" in printed.out
    assert "scripted: target-only" not in printed.out
    assert printed.err == "failed: prompt, scripted: bundled models\n"


@pytest.mark.usefixtures("shared")
def test_a_grader_that_errs_is_a_failure(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Whichever way it errs."""
    with_facts(monkeypatch)
    answers = (("an error", "\\boxed{3}", "2", True), ("a gift", "\\boxed{2}", "2", False))
    monkeypatch.setattr(self_test, "_ANSWERS", answers)
    found = outcomes(capsys, code=1)
    assert found["grading of an error"]["status"] == "fail"
    assert found["grading of a gift"]["status"] == "fail"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--backend", "scripetd"], "Did you mean 'scripted'?"),
        (["--dataset", "bundeld"], "Did you mean 'bundled'?"),
        (["--dataset", "no/such.jsonl"], "no/such.jsonl: cannot be read"),
        (["--dataset", "math500"], "ARBITRAGE_DATA"),
    ],
)
def test_wrong_names_are_answered_before_anything_is_examined(
    words: list[str],
    message: str,
    shared: Registry,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One line and exit code 2; no report that hides it."""
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    assert main(["doctor", *words]) == 2
    printed = capsys.readouterr()
    assert not printed.out
    assert message in printed.err
    assert printed.err.count("\n") == 1


@pytest.mark.slow
def test_the_self_test_of_this_installation_passes(run: Run) -> None:
    """Every backend that is installed here loads the bundled models and speculates without loss."""
    pytest.importorskip("torch")
    done = run("doctor", "--self-test", "--json", ARBITRAGE_DATA=None)
    assert done.returncode == 0, done.stdout
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert "same tokens" in checks["hf: token-sd:gamma=4"]["text"]
    kept, _, drafted = checks["hf: token-sd:gamma=4"]["text"].partition("; ")[2].split()[:3]
    assert 0 < int(kept) < int(drafted)  # some were rejected: the repair was tried, too
