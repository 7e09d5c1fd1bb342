"""`arbitrage ls`: what is there, where it is from, and what was left out."""

from __future__ import annotations

import dataclasses
import json
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from arbitrage import __version__
from arbitrage.backends.bundled import bundled_gguf, bundled_path
from arbitrage.backends.loading import parse_spec
from arbitrage.cli import inventory, main
from arbitrage.cli.ls import LISTS
from arbitrage.hooks import PluginWarning, hookimpl
from arbitrage.registry import Plugin, Registry, place_of
from tests.cli.conftest import Run
from tests.scripted_backend import Scripted


def listed(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, list[dict[str, Any]]]:
    """What `arbitrage ls … --json` prints."""
    assert main(["ls", *words, "--json"]) == 0
    found: dict[str, list[dict[str, Any]]] = json.loads(capsys.readouterr().out)
    return found


@pytest.mark.usefixtures("shared")
def test_the_json_has_every_list_with_the_documented_fields(capsys: pytest.CaptureFixture[str]) -> None:
    """Keys are the kinds, records have exactly the fields of the dataclasses; one kind alone is the same list."""
    everything = listed(capsys)
    assert tuple(everything) == LISTS
    records = {"models": inventory.BundledModel, "plugins": inventory.PluginRecord}
    for kind, entries in everything.items():
        fields = {field.name for field in dataclasses.fields(records.get(kind, inventory.Registered))}
        assert all(set(entry) == fields for entry in entries)
        assert listed(capsys, kind) == {kind: entries}


def test_every_name_is_told_with_module_version_and_distribution(
    shared: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    """Built-ins have this package's version, plugins their distribution's, and objects the place of their class."""
    everything = listed(capsys)
    for title, kind in inventory.KINDS.items():
        assert [entry["name"] for entry in everything[title]] == shared.names(kind)
    backends = {entry["name"]: entry for entry in everything["backends"]}
    assert backends["hf"]["loaded_from"] == "arbitrage.backends.hf:HFBackend"
    assert (backends["hf"]["version"], backends["hf"]["plugin"]) == (__version__, "arbitrage")
    assert backends["scripted"]["loaded_from"] == f"{Scripted.__module__}:Scripted"
    assert (backends["scripted"]["version"], backends["scripted"]["plugin"]) == (None, "test-plugin")


def test_a_plugins_version_is_that_of_its_distribution(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The name of an installed distribution brings its version."""

    @hookimpl
    def problem_finished(row: object) -> None:
        raise NotImplementedError

    names = Registry([("pluggy", SimpleNamespace(problem_finished=problem_finished))])
    monkeypatch.setattr("arbitrage.registry._shared", names)
    (plugin,) = (record for record in listed(capsys, "plugins")["plugins"] if record["name"] == "pluggy")
    assert plugin["version"] == metadata.version("pluggy")
    assert plugin["watches"] == ["problem_finished"]
    assert plugin["registered"] == {}


def test_every_bundled_model_is_listed_by_a_name_that_leads_to_its_file(capsys: pytest.CaptureFixture[str]) -> None:
    """All shipped weights appear once, with their size, and typing the name finds the very file or folder."""
    models = listed(capsys, "models")["models"]
    root = bundled_path("target").parent
    shipped = {file.parent for file in root.glob("*/model.safetensors")} | set(root.glob("gguf/*.gguf"))
    assert sorted(model["path"] for model in models) == sorted(map(str, shipped))
    for model in models:
        spec = parse_spec(model["name"], model["backend"])
        assert (spec.backend, spec.source) == ("bundled", model["role"])
        if model["backend"] == "gguf":
            assert spec.variant is not None
            found = bundled_gguf(spec.source, spec.variant)
        else:
            found = bundled_path(spec.source if spec.variant is None else f"{spec.source}-{spec.variant}")
        assert str(found) == model["path"]
        assert model["bytes"] >= sum(file.stat().st_size for file in Path(found).glob("*.safetensors"))


def test_a_plugin_that_fails_is_listed_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What failed while being imported or while registering stays visible; it has registered nothing."""

    @hookimpl
    def register_strategies(register: object) -> None:
        raise RuntimeError("disk\non fire")

    late = SimpleNamespace(register_strategies=register_strategies)
    early = Plugin("early", "early.module", failure="cannot be imported: ImportError: no such thing")
    with pytest.warns(PluginWarning, match="late"):
        names = Registry([("late", late)], left_out=[early])
    monkeypatch.setattr("arbitrage.registry._shared", names)
    plugins = {plugin["name"]: plugin for plugin in listed(capsys, "plugins")["plugins"]}
    assert list(plugins) == ["arbitrage", "late", "early"]
    assert plugins["arbitrage"]["failure"] is None
    assert plugins["late"]["failure"] == "failed while registering: RuntimeError: disk\non fire"
    assert plugins["late"]["registered"] == {}
    assert plugins["early"]["failure"] == early.failure
    assert main(["ls", "plugins"]) == 0
    assert "left out: failed while registering: RuntimeError: disk on fire" in capsys.readouterr().out


def test_an_installed_plugin_that_cannot_be_imported_is_listed(tmp_path: Path, run: Run) -> None:
    """Its distribution, version and module are told, though nothing of it could be loaded."""
    (tmp_path / "broken_plugin.py").write_text("import no_such_module\n")
    info = tmp_path / "broken_plugin-1.5.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-plugin\nVersion: 1.5\n")
    (info / "entry_points.txt").write_text("[arbitrage]\nmain = broken_plugin\n")
    done = run("ls", "plugins", "--json", PYTHONPATH=f"{tmp_path}:{Path(__file__).parents[2]}")
    assert done.returncode == 0
    (plugin,) = (one for one in json.loads(done.stdout)["plugins"] if one["name"] == "broken-plugin")
    assert (plugin["version"], plugin["loaded_from"]) == ("1.5", "broken_plugin")
    assert plugin["failure"].startswith("cannot be imported: ModuleNotFoundError")


@pytest.mark.usefixtures("shared")
@pytest.mark.parametrize("columns", [None, "40", "80", "200"])
def test_nothing_is_cut_off_however_narrow_the_terminal(
    columns: str | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every name and every summary is there in full, and no line is longer than the terminal is wide."""
    if columns is not None:
        monkeypatch.setenv("COLUMNS", columns)
    everything = listed(capsys)
    for kind in ("strategies", "backends", "datasets", "models"):
        assert main(["ls", kind]) == 0
        printed = capsys.readouterr().out
        words = "".join(printed.split())
        for entry in everything[kind]:
            assert "".join(entry["name"].split()) in words
            assert "".join(entry.get("summary", "").split()) in words
        table = printed.splitlines()[:-2] if kind == "models" else printed.splitlines()
        assert max(map(len, table)) <= int(columns or 240)


@pytest.mark.usefixtures("shared")
def test_in_a_pipe_every_entry_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a terminal nothing wraps, so that `arbitrage ls strategies | grep rsd` shows name, place and version."""
    assert main(["ls", "strategies"]) == 0
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.split()[:1] == ["rsd"])
    assert line.split()[-3:] == ["arbitrage.strategies", __version__, "arbitrage"]


@pytest.mark.parametrize(
    ("target", "place"),
    [
        ("a.b:C", "a.b:C"),
        (json, "json"),
        (Registry, "arbitrage.registry:Registry"),
        (Registry.add, "arbitrage.registry:Registry.add"),
        (Plugin("a", "b"), "arbitrage.registry:Plugin"),
    ],
)
def test_places_name_the_module_and_the_attribute(target: object, place: str) -> None:
    """Strings say it themselves, modules are their name, objects without a name are told by their class."""
    assert place_of(target) == place
