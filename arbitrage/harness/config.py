"""Runs described by a file: YAML or TOML, every key checked, flags on the command line go before it.

The configuration of every run is written into its folder, so `arbitrage bench --config RUN/config.yaml` repeats it.
Heavy to import: reach for it where a configuration is read or written.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from arbitrage.errors import ArbitrageError
from arbitrage.harness.comparison import BASELINE
from arbitrage.harness.crew import MOST_AT_ONCE
from arbitrage.harness.run_folder import write_whole

CONFIG = "config.yaml"


class RunConfig(BaseModel):
    """What a run is. Every key may be left out: then the default of `arbitrage bench` holds."""

    model_config = ConfigDict(extra="forbid", strict=True)

    strategy: str | list[str] | dict[str, str] | None = None
    """Names as on the command line, a list of them, or labels of your own with a name each."""
    backend: str | None = None
    """Who loads the models."""
    dataset: str | None = None
    """A name or the path of a JSONL file."""
    data: str | None = None
    """File or folder to read a named data set from."""
    limit: int | None = Field(default=None, ge=1)
    """Only the first problems."""
    out: str | None = None
    """Folder of the run."""
    seed: int | None = Field(default=None, ge=0)
    """Seed of everything random."""
    repeats: int | None = Field(default=None, ge=1)
    """How often each problem is solved by each strategy."""
    warmup: int | None = Field(default=None, ge=0)
    """Problems solved before the measured ones."""
    concurrency: int | None = Field(default=None, ge=1, le=MOST_AT_ONCE)
    """How many problems are solved at once."""
    max_tokens: int | None = Field(default=None, ge=1)
    """Token budget of a solution."""
    max_steps: int | None = Field(default=None, ge=1)
    """Step budget of a solution."""
    temperature: float | None = Field(default=None, ge=0, strict=False)
    """0 is greedy."""
    top_k: int | None = Field(default=None, ge=0)
    """Sample among the k likeliest tokens; 0: among all."""
    top_p: float | None = Field(default=None, gt=0, le=1, strict=False)
    """Sample among the likeliest tokens that hold this much probability."""
    answer_stop: bool | None = None
    """End a solution with the step that completes a boxed answer."""
    instruction: str | None = None
    """Text after the problem in the user's message; by default each model's own."""
    system: str | None = None
    """System message."""
    draft: str | None = None
    """Draft model, BACKEND:SOURCE[@DEVICE]."""
    target: str | None = None
    """Target model."""
    prm: str | None = None
    """Process reward model."""
    prm_family: str | None = None
    """How the PRM reads steps; by default as its checkpoint says."""
    prm_separator: str | None = None
    """Text that ends each step for a PRM that leaves the choice."""
    router: str | None = None
    """Router."""
    threads: Annotated[int, Field(ge=1, le=512)] | Literal["auto"] | None = None
    """CPU threads; `auto` measures which number is fastest."""
    dtype: Literal["float32", "bfloat16", "float16"] | None = None
    """Number format of the weights."""
    context: Annotated[int, Field(ge=1)] | None = None
    """Most tokens of a solution with its prompt, where models take memory for all of them at once."""


class ConfigError(ArbitrageError, ValueError):
    """A configuration file cannot be read, or says something that nobody understands."""


class SweepConfig(RunConfig):
    """What a sweep is: the keys of a run, and these."""

    strategy: str | list[str] | None = None
    """Methods to sweep; no labels, because each is run at every rate."""
    rates: str | list[float] | None = None
    """Escalation rates, as on the command line or as a list."""
    beside: str | list[str] | None = None
    """Strategies that are run once, beside the curves."""


def load_config(path: Path, model: type[RunConfig] = RunConfig) -> dict[str, Any]:
    """The settings in a file, checked; only those that it holds.

    Args:
        path: `.yaml`, `.yml` or `.toml`.
        model: its fields are the keys.

    Raises:
        ConfigError: the file is absent or malformed, a key is unknown (the nearest one is suggested), or a value has
            the wrong type.
    """
    told = _read(path)
    known = model.model_fields
    for key in told:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise ConfigError(f"{path}: unknown key {key!r}.{hint} Keys: {', '.join(known)}")
    try:
        config = model.model_validate(told)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise ConfigError(f"{path}: {place} cannot be {first['input']!r:.60}: {first['msg']}") from error
    return config.model_dump(exclude_unset=True)


def save_config(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Write the configuration of a run into its folder, unless no file can hold it."""
    config = config_of(manifest)
    if config is not None:
        text = yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
        write_whole(folder / CONFIG, text.encode())


def config_of(manifest: Mapping[str, Any]) -> dict[str, Any] | None:
    """The configuration that leads to this manifest; None when none can: objects were handed in, for example."""
    identity, request, data = manifest["identity"], manifest["request"], manifest["dataset"]
    if request["backend"] is None or request["dataset"] is None or request["given_objects"]:
        return None
    if request["model_options"].keys() - _MODEL_OPTIONS:
        return None
    names = {told["name"] for told in identity["strategies"].values()}
    if "target" in identity["models"] and BASELINE not in names:  # the command line always adds it
        return None
    settings = identity["settings"]
    config = {
        "strategy": {label: _spec(told) for label, told in identity["strategies"].items()},
        "backend": request["backend"],
        "dataset": request["dataset"],
        "data": request["dataset_path"],
        "limit": data["limited_to"],
        "seed": identity["seed"],
        "repeats": identity["repeats"],
        "warmup": request["warmup"],
        "concurrency": identity.get("concurrency"),
        **{name: settings[name] for name in ("max_tokens", "max_steps")},
        **settings["sampling"],
        **{name: settings[name] for name in ("answer_stop", "instruction", "system")},
        **{name: value for name, value in request["model_options"].items() if name in _MODEL_OPTIONS},
    }
    return {key: value for key, value in config.items() if value is not None}


_MODEL_OPTIONS = frozenset(
    {"draft", "target", "prm", "router", "threads", "dtype", "context", "prm_family", "prm_separator"}
)


def _spec(told: Mapping[str, Any]) -> str:
    """A strategy as it is written on a command line."""
    given = [f"{key}={value}" for key, value in told.items() if key != "name" and value is not None]
    return f"{told['name']}:{'+'.join(given)}" if given else str(told["name"])


def _read(path: Path) -> dict[str, Any]:
    try:
        content = path.read_bytes()
        if path.suffix == ".toml":
            told: object = tomllib.loads(content.decode())
        elif path.suffix in (".yaml", ".yml"):
            told = yaml.safe_load(content)
        else:
            raise ConfigError(f"{path}: a configuration is a .yaml, .yml or .toml file")
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror or error}); check the path") from error
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{path} cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(told, dict):
        raise ConfigError(f"{path}: a configuration consists of keys and values")
    return told
