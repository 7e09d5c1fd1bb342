"""The registry: names, clashes, broken plugins, observers."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from arbitrage.errors import MissingExtraError, PluginError, UnknownNameError
from arbitrage.hooks import PluginWarning, Register, StepDecided, hookimpl
from arbitrage.interfaces import Backend, LanguageModel, Models, StepScorer, Strategy
from arbitrage.registry import HOOKS, Kind, Registry, installed_plugins, registry
from arbitrage.types import Generation, Problem, Role, StepRecord


class Silent(Strategy):
    """A strategy that never gets to solve anything."""

    name = "silent"
    requires = frozenset()

    def solve(self, problem: Problem, models: Models, rng: np.random.Generator) -> Generation:
        raise NotImplementedError


class NoModels(Backend):
    """A backend without models."""

    name = "no-models"

    def language_model(self, source: str, device: str | None = None, **options: object) -> LanguageModel:
        raise NotImplementedError

    def scorer(self, source: str, device: str | None = None, **options: object) -> StepScorer:
        raise NotImplementedError

    def bundled(self, role: Role) -> str:
        raise NotImplementedError


def plugin(**functions: Callable[..., None]) -> SimpleNamespace:
    """A plugin made of these hooks."""
    return SimpleNamespace(**{name: hookimpl(function) for name, function in functions.items()})


def offering(kind: Kind, *registrations: tuple[Any, ...]) -> SimpleNamespace:
    """A plugin that registers these things of one kind."""

    def hook(register: Register) -> None:
        for registration in registrations:
            register(*registration)

    return plugin(**{HOOKS[kind]: hook})


def test_builtin_names_come_through_the_hooks_of_every_plugin() -> None:
    """Built-in strategies, backends and data sets are entries of a plugin called arbitrage, each with a summary."""
    names = Registry()
    assert names.names("strategy")[:8] == [
        "target-only",
        "draft-only",
        "random-route",
        "draft-confidence",
        "token-sd",
        "rsd",
        "arbitrage-oracle",
        "arbitrage-router",
    ]
    assert "hf" in names.names("backend")
    assert {"bundled", "math500", "olympiadbench", "gsm8k"} <= set(names.names("dataset"))
    for kind in HOOKS:
        for entry in names.entries(kind):
            assert entry.plugin == "arbitrage"
            assert entry.summary


def test_a_registered_object_and_a_registered_string_give_the_same_class() -> None:
    """A target may be the object or the place to import it from."""
    names = Registry([("mine", offering("strategy", ("a", Silent), ("b", f"{__name__}:Silent", "by string")))])
    assert names.strategy("a") is Silent
    assert names.strategy("b").__name__ == "Silent"
    assert [(e.name, e.plugin, e.summary) for e in names.entries("strategy") if e.plugin == "mine"] == [
        ("a", "mine", ""),
        ("b", "mine", "by string"),
    ]


def test_a_string_is_not_imported_before_it_is_asked_for() -> None:
    """A target that cannot be imported does no harm until used; then the error names plugin and string."""
    names = Registry([("mine", offering("strategy", ("lazy", "no_such_module:Thing"), ("gone", "math:Thing")))])
    for name, string, reason in (("lazy", "no_such_module:Thing", "no_such_module"), ("gone", "math:Thing", "Thing")):
        with pytest.raises(PluginError, match=f"(?s){name}.*'mine'.*{string}.*{reason}"):
            names.strategy(name)


def test_an_error_that_already_says_what_to_do_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that raises MissingExtraError on import is reported with that message, not wrapped."""

    def refuse(name: str) -> None:
        raise MissingExtraError.of("the x backend", "x", "x")

    names = Registry([("mine", offering("strategy", ("x", "x:X")))])
    monkeypatch.setattr("importlib.import_module", refuse)
    with pytest.raises(MissingExtraError, match="arbitrage-decoding\\[x\\]"):
        names.strategy("x")


@pytest.mark.parametrize("kind", list(HOOKS))
def test_two_plugins_that_claim_one_name_are_an_error_naming_both(kind: Kind) -> None:
    """A benchmark must run what its table says, so nobody silently wins a name."""
    first, second = offering(kind, ("same", Silent)), offering(kind, ("same", Silent))
    with pytest.raises(PluginError, match=r"'same'.*'first-package'.*'second-package'"):
        Registry([("first-package", first), ("second-package", second)])


def test_a_plugin_cannot_take_the_name_of_a_builtin() -> None:
    """Built-ins are plugins like any other: a clash with them is an error naming both."""
    with pytest.raises(PluginError, match=r"'rsd'.*'arbitrage'.*'thief'"):
        Registry([("thief", offering("strategy", ("rsd", Silent)))])


def test_nothing_of_a_refused_plugin_is_kept() -> None:
    """After a clash the registry is as before: the plugin's other names are absent too."""
    names = Registry()
    before = {kind: names.entries(kind) for kind in HOOKS}
    with pytest.raises(PluginError):
        names.add("thief", offering("strategy", ("fine", Silent), ("rsd", Silent)))
    assert {kind: names.entries(kind) for kind in HOOKS} == before
    names.add("honest", offering("strategy", ("fine", Silent)))
    assert names.strategy("fine") is Silent


def test_a_misspelt_hook_is_an_error_with_the_closest_name() -> None:
    """A typo must not become a plugin that silently does nothing."""
    with pytest.raises(PluginError, match=r"'typo'.*'register_strategy'.*Did you mean 'register_strategies'"):
        Registry([("typo", plugin(register_strategy=lambda register: None))])


def test_a_hook_with_a_wrong_argument_is_an_error() -> None:
    """What pluggy's own validation finds is passed on with the plugin's name."""
    with pytest.raises(PluginError, match=r"'odd'.*registry"):
        Registry([("odd", plugin(register_strategies=lambda registry: None))])


def test_a_hook_without_the_decorator_is_an_error() -> None:
    """A forgotten @hookimpl is noticed instead of ignored."""
    with pytest.raises(PluginError, match=r"'bare'.*register_strategies.*@arbitrage.hookimpl"):
        Registry([("bare", SimpleNamespace(register_strategies=lambda register: None))])


def test_a_plugin_without_hooks_is_an_error() -> None:
    """An entry point to the wrong module is noticed."""
    with pytest.raises(PluginError, match=r"'empty'.*no hook"):
        Registry([("empty", SimpleNamespace())])


def test_a_wrapped_hook_is_an_error() -> None:
    """Wrappers would not be called, so they are refused."""

    def wrapper(event: StepDecided) -> Any:
        yield

    with pytest.raises(PluginError, match=r"'wrapping'.*step_decided"):
        Registry([("wrapping", SimpleNamespace(step_decided=hookimpl(wrapper=True)(wrapper)))])


def test_the_same_plugin_twice_is_an_error() -> None:
    """One object cannot be two plugins; the first stays."""
    once = offering("strategy", ("once", Silent))
    names = Registry([("mine", once)])
    with pytest.raises(PluginError, match=r"already there as 'mine'"):
        names.add("again", once)
    assert names.strategy("once") is Silent


def test_one_distribution_may_bring_several_plugins() -> None:
    """Two entry points of one package work side by side."""
    names = Registry([("d", offering("strategy", ("a", Silent))), ("d", offering("strategy", ("b", Silent)))])
    assert {entry.name for entry in names.entries("strategy") if entry.plugin == "d"} == {"a", "b"}


def test_a_registering_hook_that_raises_is_one_warning_and_the_rest_works() -> None:
    """A plugin that fails while registering is left out as a whole; other plugins are not affected."""

    def half(register: Register) -> None:
        register("half", Silent)
        raise RuntimeError("disk on fire")

    with pytest.warns(PluginWarning, match=r"'broken'.*disk on fire") as caught:
        names = Registry([("broken", plugin(register_strategies=half)), ("ok", offering("strategy", ("ok", Silent)))])
    assert len(caught) == 1
    assert "half" not in names.names("strategy")
    assert names.strategy("ok") is Silent


@pytest.mark.parametrize("name", ["", "a b", "a,b", "a:b", "a+b", "-a", "a=b", "naïve"])
def test_names_that_cannot_be_typed_are_refused(name: str) -> None:
    """Names must survive the command line's commas, colons and plus signs."""
    with pytest.raises(PluginError, match="letters, digits"):
        Registry([("mine", offering("strategy", (name, Silent)))])


@pytest.mark.parametrize("target", ["my_pkg.coin", "my_pkg.coin.CoinFlip", "my pkg:Coin", ":Coin", "pkg:"])
def test_strings_that_are_no_place_are_refused_at_once(target: str) -> None:
    """A string without module and attribute is an error when registered, not in the middle of a run."""
    with pytest.raises(PluginError, match=r"package\.module:attribute"):
        Registry([("mine", offering("strategy", ("coin", target)))])


def test_an_unknown_name_brings_the_closest_one_and_the_list() -> None:
    """Misspelling a strategy is answered with what was probably meant."""
    names = Registry()
    with pytest.raises(
        UnknownNameError, match=r"no strategy named 'arbitrage-ruoter'. Did you mean 'arbitrage-router'"
    ):
        names.strategy("arbitrage-ruoter")
    for ask in (names.backend, names.scorer, names.dataset):
        with pytest.raises(UnknownNameError, match="nonsense"):
            ask("nonsense")


def test_a_backend_is_made_once_and_checked() -> None:
    """Classes are called once, instances are taken as they are, anything else is an error."""
    ready = NoModels()
    names = Registry(
        [("mine", offering("backend", ("made", NoModels), ("ready", ready), ("wrong", dict), ("number", 3)))]
    )
    assert isinstance(names.backend("made"), NoModels)
    assert names.backend("made") is names.backend("made")
    assert names.backend("ready") is ready
    with pytest.raises(PluginError, match=r"'wrong' of plugin 'mine' is a dict"):
        names.backend("wrong")
    with pytest.raises(PluginError, match=r"'number' of plugin 'mine' is a int and cannot be called"):
        names.backend("number")


def test_a_strategy_that_cannot_be_called_is_an_error() -> None:
    """What is registered as a strategy must be a class or a factory."""
    with pytest.raises(PluginError, match="'text' of plugin 'mine' is a int and cannot be called"):
        Registry([("mine", offering("strategy", ("text", 3)))]).strategy("text")


def test_every_observer_hears_every_event() -> None:
    """Both observing hooks reach all plugins, in the order in which they came, with the arguments they name."""
    heard: list[tuple[str, object]] = []
    watcher = plugin(step_decided=lambda event: heard.append(("a", event)), problem_finished=lambda: heard.append("a"))
    other = plugin(
        step_decided=lambda event: heard.append(("b", event)), problem_finished=lambda row: heard.append(row)
    )
    names = Registry([("a", watcher), ("b", other)])
    problem = Problem("1", "1 + 1?", ("2",))
    event = StepDecided(problem, StepRecord(0, "2", "draft", 1), "rsd")
    names.hook.step_decided(event)
    names.hook.problem_finished("row")
    assert heard == [("a", event), ("b", event), "a", "row"]


def test_an_observer_that_raises_is_warned_about_once_and_left_alone() -> None:
    """A broken observer neither ends a run nor floods it, and other observers still hear everything."""
    heard: list[object] = []
    calls: list[object] = []

    def broken(row: object) -> None:
        calls.append(row)
        raise ZeroDivisionError("oops")

    names = Registry(
        [("bad", plugin(problem_finished=broken)), ("good", plugin(problem_finished=lambda row: heard.append(row)))]
    )
    with pytest.warns(PluginWarning, match=r"problem_finished of plugin 'bad'.*oops") as caught:
        _ = [names.hook.problem_finished(row) for row in range(3)]
    assert len(caught) == 1
    assert calls == [0]
    assert heard == [0, 1, 2]


class FakePoint:
    """An entry point as importlib.metadata gives it."""

    def __init__(self, distribution: str, plugin: object) -> None:
        self.name, self.value, self.dist, self._plugin = "main", "pkg.hooks", SimpleNamespace(name=distribution), plugin

    def load(self) -> object:
        if isinstance(self._plugin, Exception):
            raise self._plugin
        return self._plugin


def test_a_plugin_that_cannot_be_imported_is_one_warning_with_its_distribution(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything else keeps working when one installed package is broken, whatever its import raises."""
    good = offering("strategy", ("good", Silent))
    points = [FakePoint("z-good", good), FakePoint("a-bad", ImportError("no torch")), FakePoint("b-bad", KeyError("k"))]
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: points if group == "arbitrage" else [])
    with pytest.warns(PluginWarning) as caught:
        found = installed_plugins()
    assert found == [("z-good", good)]
    messages = [str(warning.message) for warning in caught]
    assert len(messages) == 2
    assert "'a-bad'" in messages[0]
    assert "no torch" in messages[0]
    assert "'b-bad'" in messages[1]


def test_the_process_has_one_registry_even_when_threads_race(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many threads ask first, it is built once."""
    built: list[Registry] = []

    def build(*plugins: Any) -> Registry:
        built.append(Registry(*plugins))
        return built[-1]

    monkeypatch.setattr("arbitrage.registry._shared", None)
    monkeypatch.setattr("arbitrage.registry.Registry", build)
    start = threading.Barrier(8)
    got: list[Registry] = []

    def ask() -> None:
        start.wait()
        got.append(registry())

    threads = [threading.Thread(target=ask) for _ in range(8)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PluginWarning)  # plugins of the machine that runs the tests
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(built) == 1
    assert all(one is built[0] for one in got)
