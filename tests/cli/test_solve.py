"""`arbitrage solve --json`, and problems that no model could read."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from arbitrage.cli import main
from arbitrage.cli.solve import Solution
from arbitrage.interfaces import LanguageModel
from arbitrage.testing import ScriptedModel
from arbitrage.types import StepRecord
from tests.scripted_backend import Scripted

pytestmark = pytest.mark.usefixtures("shared")


def solved(capsys: pytest.CaptureFixture[str], problem: str = "1 + 1?", *words: str) -> dict[str, Any]:
    """What `arbitrage solve … --json` prints."""
    assert main(["solve", problem, "--backend", "scripted", "--json", *words]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_the_json_has_the_documented_fields_and_every_step(capsys: pytest.CaptureFixture[str]) -> None:
    """The solution with answer, seconds and models; steps with author, scores and what was discarded."""
    found = solved(capsys, "1 + 1?", "--strategy", "rsd:threshold=0.5", "--seed", "3")
    assert set(found) == {field.name for field in dataclasses.fields(Solution)}
    assert (found["answer"], found["end_reason"], found["seed"], found["problem"]) == ("2", "eos", 3, "1 + 1?")
    assert found["strategy"]["name"] == "rsd"
    assert found["text"] == "1 + 1 is asked.\n\n\\boxed{2}"
    steps = found["steps"]
    assert {field.name for field in dataclasses.fields(StepRecord)} == set(steps[0])
    assert [step["author"] for step in steps] == ["draft", "target"]
    assert [step["rejected_text"] for step in steps] == [None, "\\boxed{3}"]
    assert (found["accepted_steps"], found["escalated_steps"]) == (1, 1)
    assert set(found["models"]) == {"draft", "target", "prm"}


@pytest.mark.parametrize(
    "problem", ['"quotes" \\ and\nlines', "é 𝔘 \u2028 \U0001f600", "\x1b[31m \x00 \x7f", "{{}}[red]"]
)
def test_strange_characters_survive_in_ascii(problem: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Statement and solution come back as they were, and the bytes are ASCII without control characters."""
    assert main(["solve", problem, "--backend", "scripted", "--json", "--strategy", "target-only"]) == 0
    printed = capsys.readouterr().out
    assert json.loads(printed)["problem"] == problem
    assert printed.isascii()
    assert all(character.isprintable() or character == "\n" for character in printed)


def test_numbers_that_json_lacks_are_null(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A parameter that is not finite does not make the output unreadable."""
    monkeypatch.setattr("arbitrage.strategies.RSD.describe", lambda self: {"name": "rsd", "threshold": float("nan")})
    assert solved(capsys, "1 + 1?", "--strategy", "rsd:threshold=0.5")["strategy"]["threshold"] is None


def test_what_libraries_print_does_not_get_into_the_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A banner on standard output goes to standard error."""

    def loud(self: Scripted, source: str, device: str | None = None, **options: object) -> LanguageModel:
        print("WELCOME")
        return ScriptedModel(["\\boxed{2}"])

    monkeypatch.setattr(Scripted, "language_model", loud)
    assert main(["solve", "1 + 1?", "--backend", "scripted", "--json", "--strategy", "target-only"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["answer"] == "2"
    assert "WELCOME" in printed.err


@pytest.mark.parametrize("problem", ["", "  \n", "\udcff"])
def test_what_is_no_problem_is_refused_before_a_model_is_loaded(
    problem: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing, blanks, and bytes that are not text are usage errors."""
    monkeypatch.setattr(Scripted, "language_model", lambda *_, **__: pytest.fail("a model was loaded"))
    assert main(["solve", problem, "--backend", "scripted"]) == 2
    printed = capsys.readouterr()
    assert not printed.out
    assert "Invalid value for problem" in printed.err


def test_several_strategies_are_sent_to_bench(capsys: pytest.CaptureFixture[str]) -> None:
    """The answer says which command compares."""
    assert main(["solve", "1 + 1?", "--strategy", "rsd,token-sd", "--backend", "scripted"]) == 2
    assert "arbitrage bench" in capsys.readouterr().err
