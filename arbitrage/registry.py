"""Who offers what: names of strategies, backends, scorers and data sets, and the plugins that brought them.

Built-ins (`arbitrage.builtin`) and third-party packages come in through the same hooks. Nothing heavy is imported here:
targets given as strings are imported when they are first asked for.
"""

from __future__ import annotations

import difflib
import importlib
import re
import threading
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import metadata
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, cast, final

import pluggy

from arbitrage import hooks
from arbitrage.errors import ArbitrageError, PluginError, UnknownNameError
from arbitrage.hooks import GROUP, PluginWarning

if TYPE_CHECKING:
    from collections.abc import Sequence

    from arbitrage.interfaces import Backend, StepScorer, Strategy
    from arbitrage.types import Problem

Kind = Literal["strategy", "backend", "scorer", "dataset"]

HOOKS: dict[Kind, str] = {
    "strategy": "register_strategies",
    "backend": "register_backends",
    "scorer": "register_scorers",
    "dataset": "register_datasets",
}
"""The hook that fills each kind."""

_NOUNS: dict[Kind, str] = {"strategy": "strategy", "backend": "backend", "scorer": "scorer", "dataset": "data set"}
_OBSERVERS = ("step_decided", "problem_finished")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_TARGET = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


@dataclass(frozen=True, slots=True)
class Entry:
    """One registered name."""

    kind: Kind
    name: str
    target: object
    """The object, or the string it is imported from."""
    summary: str
    plugin: str
    """Distribution (or object) that registered it."""

    def load(self) -> object:
        """The registered object, imported if need be.

        Raises:
            PluginError: the import fails.
        """
        if not isinstance(self.target, str):
            return self.target
        module, _, attribute = self.target.partition(":")
        try:
            found: object = importlib.import_module(module)
            for part in attribute.split("."):
                found = getattr(found, part)
        except ArbitrageError:
            raise
        except Exception as error:
            raise PluginError(
                f"{_NOUNS[self.kind]} {self.name!r} of plugin {self.plugin!r} cannot be imported from "
                f"{self.target!r}: {type(error).__name__}: {error}"
            ) from error
        return found


@dataclass(frozen=True, slots=True)
class Plugin:
    """Whoever registers things or watches runs: in use, or left out for a reason."""

    name: str
    """Its distribution, or what it was called when it was added."""
    place: str
    """Module (or object) it is loaded from."""
    registered: tuple[Entry, ...] = ()
    watches: tuple[str, ...] = ()
    """Observing hooks that it implements."""
    failure: str | None = None
    """Why it was left out; None: it is in use."""


@final
class Observers:
    """Relays what happens in a run to every plugin that watches; one that raises is reported once, then ignored."""

    def __init__(self, manager: pluggy.PluginManager) -> None:
        self._manager = manager
        self._silenced: set[tuple[str, str]] = set()
        self._lock = threading.Lock()

    def step_decided(self, event: hooks.StepDecided) -> None:
        """Tell the observers that a step was committed."""
        self._relay("step_decided", event=event)

    def problem_finished(self, row: object) -> None:
        """Tell the observers that a problem is solved, graded and stored."""
        self._relay("problem_finished", row=row)

    def _relay(self, hook: str, **arguments: object) -> None:
        caller: pluggy.HookCaller = getattr(self._manager.hook, hook)
        for implementation in caller.get_hookimpls():
            watcher = implementation.plugin_name
            if (hook, watcher) in self._silenced:
                continue
            try:
                implementation.function(*(arguments[name] for name in implementation.argnames))
            except Exception as error:
                with self._lock:
                    first = (hook, watcher) not in self._silenced
                    self._silenced.add((hook, watcher))
                if first:
                    warnings.warn(
                        f"{hook} of plugin {watcher!r} failed and is not called again: {type(error).__name__}: {error}",
                        PluginWarning,
                        stacklevel=3,
                    )


@final
class Registry:
    """The names of one process, and the plugins behind them.

    A registry is filled once: first the built-ins, then every plugin handed in. Looking names up is thread-safe.
    """

    def __init__(self, plugins: Iterable[tuple[str, object]] = (), left_out: Iterable[Plugin] = ()) -> None:
        """Collect what the built-ins and `plugins` register.

        Args:
            plugins: pairs of the name to call a plugin by (its distribution) and the plugin.
            left_out: plugins that failed before they could be handed in, to be listed with the others.

        Raises:
            PluginError: two plugins claim one name, or a plugin misspells a hook.
        """
        self._manager = pluggy.PluginManager(GROUP)
        self._manager.add_hookspecs(hooks)
        self._entries: dict[Kind, dict[str, Entry]] = {kind: {} for kind in HOOKS}
        self._backends: dict[str, Backend] = {}
        self._plugins: list[Plugin] = []
        self._lock = threading.RLock()
        self.hook = Observers(self._manager)
        self.add("arbitrage", importlib.import_module("arbitrage.builtin"))
        for name, plugin in plugins:
            self.add(name, plugin)
        self._plugins += left_out

    def add(self, name: str, plugin: object) -> None:
        """Take one more plugin in, e.g. a module of your own script.

        A plugin whose registering hook raises is left out as a whole, with one warning.

        Raises:
            PluginError: a name is taken, or the plugin misspells a hook. Nothing of it is kept.
        """
        with self._lock:
            if self._manager.is_registered(plugin):
                raise PluginError(f"plugin {name!r} is already there as {self._manager.get_name(plugin)!r}")
            try:
                self._manager.register(plugin, self._unused(name))
                self._check_hooks(name, plugin)
                new = [entry for kind in HOOKS for entry in self._collect(kind, name, plugin)]
            except ArbitrageError:
                self._drop(plugin)
                raise
            except pluggy.PluginValidationError as error:
                self._drop(plugin)
                raise PluginError(f"plugin {name!r} cannot be used: {' '.join(str(error).split())}") from error
            except Exception as error:
                self._drop(plugin)
                reason = f"{type(error).__name__}: {error}"
                self._plugins.append(Plugin(name, place_of(plugin), failure=f"failed while registering: {reason}"))
                warnings.warn(
                    f"plugin {name!r} failed while registering and is left out: {reason}", PluginWarning, stacklevel=2
                )
                return
            for entry in new:
                self._entries[entry.kind][entry.name] = entry
            implemented = {caller.name for caller in self._manager.get_hookcallers(plugin) or []}
            watches = tuple(hook for hook in _OBSERVERS if hook in implemented)
            self._plugins.append(Plugin(name, place_of(plugin), tuple(new), watches))

    def strategy(self, name: str) -> Callable[..., Strategy]:
        """The class (or factory) registered as strategy `name`; call it with keyword parameters."""
        return cast("Callable[..., Strategy]", self._callable("strategy", name))

    def backend(self, name: str) -> Backend:
        """The backend `name`; one instance per registry."""
        from arbitrage.interfaces import Backend

        with self._lock:
            if name not in self._backends:
                entry = self._entry("backend", name)
                found = entry.load()
                made = found if isinstance(found, Backend) else self._check_callable(entry, found)()
                if not isinstance(made, Backend):
                    raise PluginError(
                        f"backend {name!r} of plugin {entry.plugin!r} is a {type(made).__name__}, not an "
                        "arbitrage.interfaces.Backend"
                    )
                self._backends[name] = made
            return self._backends[name]

    def scorer(self, name: str) -> Callable[..., StepScorer]:
        """The factory registered as scorer `name`: `(source, device=None, **options) -> StepScorer`."""
        return cast("Callable[..., StepScorer]", self._callable("scorer", name))

    def dataset(self, name: str) -> Callable[..., Sequence[Problem]]:
        """The loader registered as data set `name`: `(path=None, limit=None) -> problems`."""
        return cast("Callable[..., Sequence[Problem]]", self._callable("dataset", name))

    def names(self, kind: Kind) -> list[str]:
        """Registered names of one kind: built-ins first, then plugins, each in the order of registration."""
        return list(self._entries[kind])

    def entries(self, kind: Kind) -> list[Entry]:
        """Everything registered of one kind, in the order of `names`."""
        return list(self._entries[kind].values())

    def plugins(self) -> list[Plugin]:
        """Every plugin in the order in which it came, the built-ins first; those left out are among them."""
        return list(self._plugins)

    def _entry(self, kind: Kind, name: str) -> Entry:
        entry = self._entries[kind].get(name)
        if entry is None:
            raise UnknownNameError.of(_NOUNS[kind], name, self._entries[kind])
        return entry

    def _callable(self, kind: Kind, name: str) -> Callable[..., Any]:
        entry = self._entry(kind, name)
        return self._check_callable(entry, entry.load())

    def _check_callable(self, entry: Entry, found: object) -> Callable[..., Any]:
        if not callable(found):
            raise PluginError(
                f"{_NOUNS[entry.kind]} {entry.name!r} of plugin {entry.plugin!r} is a {type(found).__name__} and "
                "cannot be called"
            )
        return found

    def _drop(self, plugin: object) -> None:
        """Forget a plugin, however far its registration came."""
        if self._manager.is_registered(plugin):
            self._manager.unregister(plugin)

    def _unused(self, name: str) -> str:
        """`name`, or `name#2`, …: one distribution may bring several plugins."""
        candidates = (name if number == 1 else f"{name}#{number}" for number in range(1, 1000))
        return next(candidate for candidate in candidates if not self._manager.has_plugin(candidate))

    def _check_hooks(self, name: str, plugin: object) -> None:
        """Refuse hooks that nobody would ever call: misspelt ones, and ones without the decorator."""
        known = [*HOOKS.values(), *_OBSERVERS]
        implemented = set()
        for caller in self._manager.get_hookcallers(plugin) or []:
            implemented.add(caller.name)
            if any(found.hookwrapper or found.wrapper for found in caller.get_hookimpls() if found.plugin is plugin):
                raise PluginError(f"plugin {name!r} wraps {caller.name!r}; hooks of arbitrage cannot be wrapped")
            if not caller.has_spec():
                close = difflib.get_close_matches(caller.name, known, n=1)
                hint = f" Did you mean {close[0]!r}?" if close else ""
                raise PluginError(
                    f"plugin {name!r} implements an unknown hook {caller.name!r}.{hint} Hooks: {', '.join(known)}"
                )
        for hook in known:
            if hook not in implemented and callable(getattr(plugin, hook, None)):
                raise PluginError(f"plugin {name!r} defines {hook}() without @arbitrage.hookimpl; decorate it")
        if not implemented:
            raise PluginError(f"plugin {name!r} implements no hook. Hooks: {', '.join(known)}")

    def _collect(self, kind: Kind, plugin_name: str, plugin: object) -> list[Entry]:
        """Call the registering hook of one plugin."""
        new: dict[str, Entry] = {}

        def register(name: str, target: object, summary: str = "") -> None:
            entry = Entry(kind, name, target, summary, plugin_name)
            _check_entry(entry)
            other = self._entries[kind].get(name, new.get(name))
            if other is not None:
                raise PluginError(
                    f"{_NOUNS[kind]} {name!r} is claimed by two plugins: {other.plugin!r} and {plugin_name!r}. "
                    "Uninstall one of them, or rename one registration."
                )
            new[name] = entry

        caller: pluggy.HookCaller = getattr(self._manager.hook, HOOKS[kind])
        for implementation in caller.get_hookimpls():
            if implementation.plugin is plugin:
                implementation.function(*([register] if implementation.argnames else []))
        return list(new.values())


def _check_entry(entry: Entry) -> None:
    """Refuse names that cannot be typed and strings that cannot be imported."""
    if not _NAME.fullmatch(entry.name):
        raise PluginError(
            f"plugin {entry.plugin!r} registers a {_NOUNS[entry.kind]} as {entry.name!r}; names consist of letters, "
            "digits, dots, dashes and underscores"
        )
    if isinstance(entry.target, str) and not _TARGET.fullmatch(entry.target):
        raise PluginError(
            f"plugin {entry.plugin!r} registers {_NOUNS[entry.kind]} {entry.name!r} from {entry.target!r}; write "
            "'package.module:attribute'"
        )


def place_of(target: object) -> str:
    """Where something registered is from: `module:attribute`, or the name of a module."""
    if isinstance(target, str):
        return target
    if isinstance(target, ModuleType):
        return target.__name__
    named = target if hasattr(target, "__qualname__") else type(target)
    return f"{named.__module__}:{named.__qualname__}"


def installed_plugins() -> list[tuple[str, object]]:
    """Import every entry point of the group `arbitrage`, in the order of distribution names.

    A plugin that cannot be imported is left out with one warning that names its distribution.
    """
    return _import_plugins()[0]


def _import_plugins() -> tuple[list[tuple[str, object]], list[Plugin]]:
    """What `installed_plugins` returns, and the plugins that it leaves out."""
    found, left_out = [], []
    points = metadata.entry_points(group=GROUP)
    for point in sorted(points, key=lambda point: (_distribution(point), point.name)):
        name = _distribution(point)
        try:
            found.append((name, point.load()))
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            left_out.append(Plugin(name, point.value, failure=f"cannot be imported: {reason}"))
            warnings.warn(
                f"plugin {name!r} cannot be imported and is left out: {point.value}: {reason}",
                PluginWarning,
                stacklevel=3,
            )
    return found, left_out


def _distribution(point: metadata.EntryPoint) -> str:
    return point.dist.name if point.dist is not None else point.name


_shared: Registry | None = None
_shared_lock = threading.Lock()


def registry() -> Registry:
    """The registry of this process, with all installed plugins; built on the first call.

    Raises:
        PluginError: installed plugins clash, or one misspells a hook.
    """
    global _shared
    with _shared_lock:
        if _shared is None:
            _shared = Registry(*_import_plugins())
        return _shared
