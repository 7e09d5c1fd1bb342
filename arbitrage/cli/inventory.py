"""What is registered and what is shipped, as records. Imports none of it: names, files and versions are enough."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from arbitrage.registry import Kind

KINDS: dict[str, Kind] = {
    "strategies": "strategy",
    "backends": "backend",
    "scorers": "scorer",
    "datasets": "dataset",
}
"""What users call each kind of registered names."""


@dataclass(frozen=True, slots=True)
class Registered:
    """One name that can be typed."""

    name: str
    summary: str
    loaded_from: str
    """Where the object is from: `module:attribute`."""
    version: str | None
    """Version of the plugin; None: it is not an installed distribution."""
    plugin: str
    """Distribution that registered it."""


@dataclass(frozen=True, slots=True)
class BundledModel:
    """One model that comes with the package."""

    name: str
    """What to type, e.g. `--target bundled:target@q3_k`. Without a precision: the model in `--backend`'s own format."""
    role: str
    backend: str
    """Who loads it. PRM and router of `hf` serve every backend."""
    precision: str
    bytes: int
    """Size on disk, tokenizer included."""
    path: str


@dataclass(frozen=True, slots=True)
class PluginRecord:
    """One plugin, in use or left out."""

    name: str
    """Distribution that brings it."""
    version: str | None
    """None: it is not an installed distribution."""
    loaded_from: str
    """Its module."""
    registered: dict[str, list[str]]
    """Names that it registered, by kind."""
    watches: list[str]
    """Observing hooks that it implements."""
    failure: str | None
    """Why it was left out; None: it is in use."""


def registered(kind: Kind) -> list[Registered]:
    """Everything registered of one kind."""
    from arbitrage.registry import place_of, registry

    return [
        Registered(entry.name, entry.summary, place_of(entry.target), _version(entry.plugin), entry.plugin)
        for entry in registry().entries(kind)
    ]


def plugins() -> list[PluginRecord]:
    """Every plugin, the built-ins first."""
    from arbitrage.registry import registry

    records = []
    for plugin in registry().plugins():
        own: dict[str, list[str]] = {}
        for title, kind in KINDS.items():
            if names := [entry.name for entry in plugin.registered if entry.kind == kind]:
                own[title] = names
        version = _version(plugin.name)
        records.append(PluginRecord(plugin.name, version, plugin.place, own, list(plugin.watches), plugin.failure))
    return records


def models_folder() -> Path:
    """Where the bundled models lie.

    Raises:
        ModelLoadError: they are not there: the installation is broken.
    """
    from arbitrage.backends.bundled import bundled_path
    from arbitrage.types import Role

    return bundled_path(Role.TARGET.value).parent


def bundled_models() -> list[BundledModel]:
    """Every bundled model in every format and precision that is shipped.

    Raises:
        ModelLoadError: a role has no model: the installation is broken.
    """
    from arbitrage.backends.bundled import bundled_path
    from arbitrage.types import Role

    return [model for role in Role for model in _of_role(role.value, bundled_path(role.value))]


def _of_role(role: str, folder: Path) -> Iterator[BundledModel]:
    """The models of one role: the original, its GPTQ copies beside it, its GGUF copies."""
    precision = json.loads((folder / "config.json").read_bytes()).get("dtype", "unknown")
    yield BundledModel(f"bundled:{role}", role, "hf", precision, _size(folder), str(folder))
    for copy in sorted(folder.parent.glob(f"{role}-*/config.json")):
        precision = copy.parent.name.removeprefix(f"{role}-")
        name = f"bundled:{role}@{precision}"
        yield BundledModel(name, role, "gptq", precision, _size(copy.parent), str(copy.parent))
    files = sorted((folder.parent / "gguf").glob(f"{role}-*.gguf"))
    precisions = [file.stem.removeprefix(f"{role}-").lower() for file in files]
    for file, precision in zip(files, precisions, strict=True):
        short = re.sub(r"_[sml]$", "", precision)
        shown = short if sum(other.startswith(short) for other in precisions) == 1 else precision
        yield BundledModel(f"bundled:{role}@{shown}", role, "gguf", precision, _size(file), str(file))


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def _version(plugin: str) -> str | None:
    if plugin == "arbitrage":
        from arbitrage import __version__

        return __version__
    try:
        return metadata.version(plugin)
    except metadata.PackageNotFoundError:
        return None
