"""Completion in the shell: the right words, quickly, and never a traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from arbitrage.cli import completion
from arbitrage.cli.ls import LISTS
from arbitrage.errors import PluginError
from arbitrage.registry import Registry
from tests.cli.conftest import Run


def words(offers: list[tuple[str, str]]) -> list[str]:
    """The words without their meanings."""
    return [word for word, _ in offers]


def test_names_of_every_kind_are_offered(shared: Registry) -> None:
    """Whatever is registered can be completed, plugins included; what was typed is the beginning of every offer."""
    assert words(completion.strategy("")) == shared.names("strategy")
    assert words(completion.strategies("")) == shared.names("strategy")
    assert words(completion.backends("scr")) == ["scripted"]
    assert words(completion.datasets("olympiad")) == ["olympiadbench", "olympiadbench-674"]
    assert words(completion.lists("")) == list(LISTS)


def test_in_a_list_the_last_strategy_is_completed_and_none_offered_twice(shared: Registry) -> None:
    """The beginning of the list stays as it is, parameters included."""
    offered = words(completion.strategies("rsd:threshold=0.5,target-only,r"))
    assert offered == ["rsd:threshold=0.5,target-only,random-route"]


@pytest.mark.usefixtures("shared")
def test_data_sets_may_be_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """JSONL files and folders are offered beside the names, as they were typed."""
    (tmp_path / "own.jsonl").touch()
    (tmp_path / "notes.txt").touch()
    (tmp_path / "older").mkdir()
    monkeypatch.chdir(tmp_path)
    assert words(completion.datasets("o")) == ["olympiadbench", "olympiadbench-674", "older/", "own.jsonl"]
    assert words(completion.datasets(f"{tmp_path}/o")) == [f"{tmp_path}/older/", f"{tmp_path}/own.jsonl"]
    assert words(completion.datasets("older/")) == []
    assert words(completion.datasets("no/such/folder/")) == []


@pytest.mark.parametrize("offer", [completion.strategy, completion.strategies, completion.backends])
def test_what_goes_wrong_offers_nothing(
    offer: object, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Clashing plugins must not print anything into the line that is being typed."""

    def clash() -> Registry:
        raise PluginError("two plugins claim one name")

    monkeypatch.setattr("arbitrage.registry.registry", clash)
    assert callable(offer)
    assert offer("") == []
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("arbitrage ls mod", "models"),
        ("arbitrage solve --strategy arbitrage-o", "arbitrage-oracle"),
        ("arbitrage doctor --backend gg", "gguf"),
        ("arbitrage doctor --dataset gs", "gsm8k"),
    ],
)
def test_the_shell_gets_the_words(line: str, offered: str, run: Run) -> None:
    """The protocol of bash: the words of the line in, one offer a line out, nothing on standard error."""
    position = str(len(line.split()) - 1)
    done = run(_ARBITRAGE_COMPLETE="complete_bash", COMP_WORDS=line, COMP_CWORD=position)
    assert done.stdout.decode().split() == [offered]
    assert not done.stderr


def test_a_broken_plugin_does_not_disturb_completion(tmp_path: Path, run: Run) -> None:
    """No warning appears in the middle of the command line; everything else is offered."""
    (tmp_path / "broken_plugin.py").write_text("import no_such_module\n")
    info = tmp_path / "broken_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[arbitrage]\nmain = broken_plugin\n")
    places = f"{tmp_path}:{Path(__file__).parents[2]}"
    line = "arbitrage solve --strategy rs"
    done = run(_ARBITRAGE_COMPLETE="complete_bash", COMP_WORDS=line, COMP_CWORD="3", PYTHONPATH=places)
    assert done.stdout.decode().split() == ["rsd"]
    assert not done.stderr


def test_completing_imports_nothing_heavy() -> None:
    """A key press must not load a tensor library."""
    script = """
import json, sys
from arbitrage.cli import main
main([])
print("MODULES" + json.dumps(sorted(sys.modules)))
"""
    environment = {
        **os.environ,
        "_ARBITRAGE_COMPLETE": "complete_bash",
        "COMP_WORDS": "arbitrage solve --strategy rs",
        "COMP_CWORD": "3",
    }
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment, timeout=60)
    offered, _, modules = done.stdout.partition("MODULES")
    assert offered.split() == ["rsd"]
    assert not set(json.loads(modules)) & {"torch", "transformers", "sympy", "scipy", "matplotlib", "numpy"}


def test_the_script_for_the_shell_can_be_shown_and_installed(tmp_path: Path, run: Run) -> None:
    """Both name the function of this program; installing writes below the home folder only."""
    settings = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1", "HOME": str(tmp_path)}
    shown = run("--show-completion", "bash", **settings)
    assert shown.returncode == 0
    assert b"_arbitrage_completion" in shown.stdout
    installed = run("--install-completion", "bash", **settings)
    assert installed.returncode == 0
    (script,) = (tmp_path / ".bash_completions").iterdir()
    assert "_arbitrage_completion" in script.read_text()


def test_a_home_that_cannot_be_written_is_one_line(run: Run) -> None:
    """Installing where nobody may write is the user's to mend, not a traceback."""
    done = run("--install-completion", "bash", _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1", HOME="/dev/null")
    assert done.returncode == 2
    assert done.stderr.decode().startswith("error: /dev/null")
    assert done.stderr.count(b"\n") == 1
