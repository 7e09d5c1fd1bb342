"""How a stored run was asked for, read back from its manifest, so that it can be continued by its folder alone.

The manifest is input: it can only name registered strategies, and give them parameters that they accept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arbitrage.backends.threads import AUTO
from arbitrage.errors import ArbitrageError, RunError
from arbitrage.harness.run_folder import MANIFEST, read_manifest
from arbitrage.interfaces import Settings, Strategy
from arbitrage.sampling import Sampling

RUNS_FOREIGN_CODE = ("trust_remote_code", "allow_pickle")


@dataclass(frozen=True, slots=True)
class Request:
    """The arguments of `run_comparison` that the manifest holds."""

    strategies: Mapping[str, Strategy]
    backend: str | None
    dataset: str
    dataset_path: str | None
    limit: int | None
    seed: int
    repeats: int
    warmup: int
    concurrency: int
    settings: Settings
    model_options: Mapping[str, object]
    given_objects: bool
    """Whether models were handed in as objects, which a file cannot hold."""
    runs_foreign_code: Sequence[str]
    """Options that were on and let a checkpoint run its own code: a folder cannot ask for them, only the caller."""


def stored_request(folder: Path) -> Request:
    """Read a run's arguments back.

    Raises:
        RunError: the folder holds no run, or one that was given objects which a file cannot hold.
    """
    manifest = read_manifest(folder)
    try:
        identity, request = manifest["identity"], manifest["request"]
        data, settings = manifest["dataset"], dict(identity["settings"])
        sampling = Sampling(**settings.pop("sampling"))
        if request["dataset"] is None:
            raise RunError(f"{folder}: the run was given problems, not the name or file of a data set; {_AGAIN}")
        return Request(
            strategies={label: _strategy(told, folder) for label, told in identity["strategies"].items()},
            backend=request["backend"],
            dataset=request["dataset"],
            dataset_path=request["dataset_path"],
            limit=data["limited_to"],
            seed=identity["seed"],
            repeats=identity["repeats"],
            warmup=request["warmup"],
            concurrency=identity.get("concurrency", 1),
            settings=Settings(sampling=sampling, **settings),
            model_options=safe_options(request["model_options"]),
            runs_foreign_code=sorted(name for name in RUNS_FOREIGN_CODE if request["model_options"].get(name)),
            given_objects=bool(request["given_objects"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RunError(f"{folder / MANIFEST} does not say how the run was started ({error}); {_AGAIN}") from error


def safe_options(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Options of the models as a folder may give them: none that run foreign code, none that are no options of models.

    Raises:
        RunError: one has a name that means something else.
    """
    strange = sorted(stored.keys() & _NO_OPTIONS)
    if strange:
        raise RunError(f"the manifest gives {strange[0]!r} as an option of the models, which it is not; it is damaged")
    return {name: value for name, value in stored.items() if value != "***" and name not in RUNS_FOREIGN_CODE}


def settled_options(folder: Path, options: Mapping[str, Any]) -> Mapping[str, Any]:
    """Options of the models for a run that may be in `folder` already: what was measured when it began is kept.

    Raises:
        RunError: there is a run, and its manifest cannot be read.
    """
    if options.get("threads") != AUTO or not (folder / MANIFEST).exists():
        return options
    found = read_manifest(folder).get("threads", [])
    return {**options, "threads": {role: one["threads"] for one in found for role in one["roles"]}}


_NO_OPTIONS = frozenset(
    {"backend", "baseline", "concurrency", "dataset", "dataset_path", "instruments", "limit", "out", "progress"}
    | {"repeats", "resume", "roles", "seed", "settings", "strategies", "warmup"}
)
_AGAIN = "make the original call again with resume=True"


def _strategy(told: Mapping[str, Any], folder: Path) -> Strategy:
    """The strategy that describes itself as `told`."""
    from arbitrage.registry import registry

    parameters = {key: value for key, value in told.items() if key != "name"}
    try:
        return registry().strategy(told["name"])(**parameters)
    except ArbitrageError:
        raise
    except Exception as error:
        name = told["name"]
        raise RunError(f"{folder}: strategy {name!r} cannot be made from the manifest ({error}); {_AGAIN}") from error
