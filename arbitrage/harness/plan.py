"""What a run is: strategies, data set, models and settings resolved from names, the order of its rows, its manifest.

Knows names and facts; solves nothing and writes nothing.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from arbitrage.cpu import available_cores
from arbitrage.errors import DatasetError
from arbitrage.harness import environment
from arbitrage.harness.comparison import BASELINE, DIFFERENT_TOKENIZERS
from arbitrage.harness.crew import MOST_AT_ONCE
from arbitrage.harness.datasets import Dataset, is_name, load_dataset
from arbitrage.harness.grading.verdict import GRADER
from arbitrage.harness.rows import Key
from arbitrage.harness.run_folder import SCHEMA, Manifest, to_json
from arbitrage.interfaces import Models, Settings, Strategy
from arbitrage.requirements import check_requirements, shares_tokenizer
from arbitrage.seeding import order_rng
from arbitrage.types import Problem, Role

if TYPE_CHECKING:
    from arbitrage.interfaces import Backend
    from arbitrage.registry import Kind, Registry

Strategies = str | Strategy | Sequence[str | Strategy] | Mapping[str, str | Strategy]
"""One strategy or several, by name (`rsd`, `rsd:threshold=0.5`) or as objects; a mapping gives them labels."""

_BLOCK = 8
"""Problems that a strategy solves in a row, for each that it solves at once: at the end of a block fewer are left."""

DatasetLike = str | os.PathLike[str] | Dataset | Sequence[Problem]


@dataclass(frozen=True, slots=True)
class Job:
    """One row to be made."""

    label: str
    problem: Problem
    repeat: int

    @property
    def key(self) -> Key:
        """Key of the row."""
        return (self.label, self.problem.id, self.repeat)


@dataclass(frozen=True, slots=True)
class Plan:
    """A run, ready to start: everything is loaded and checked."""

    strategies: Mapping[str, Strategy]
    models: Models
    dataset: Dataset
    seed: int
    repeats: int
    warm_up: int
    concurrency: int = 1
    """How many problems are solved at once."""

    def stretches(self) -> Iterator[list[Job]]:
        """All rows, interleaved: each block of problems by all strategies before the next one.

        A stretch is what one strategy solves without another in between: one problem, or where several are solved at
        once, a block of many, so that they overlap with those of the same strategy only.

        In which order the strategies come is dealt out by chance, anew for each block: drift, warm caches and other
        load hit all alike, and what an interval takes for granted, that equal strategies might as well have been
        swapped, is true even where a disturbance lasts for several problems. A fixed rotation does not give that
        (`benchmarks/aa.py`).
        """
        labels = list(self.strategies)
        for repeat in range(self.repeats):
            for block in self._blocks(self.dataset.problems):
                for place in order_rng(self.seed, block[0].id, repeat).permutation(len(labels)):
                    yield [Job(labels[place], problem, repeat) for problem in block]

    def jobs(self) -> Iterator[Job]:
        """All rows in the order of the stretches."""
        return itertools.chain.from_iterable(self.stretches())

    def keys(self) -> list[Key]:
        """Keys of all rows: repeat by repeat, problem by problem, strategies in the order given."""
        return [
            (label, problem.id, repeat)
            for repeat in range(self.repeats)
            for problem in self.dataset
            for label in self.strategies
        ]

    def warm_up_stretches(self) -> Iterator[list[Job]]:
        """Solutions to make before measuring, on problems outside the measured set where there are any.

        Each strategy is at least once as busy as it will be: it solves `concurrency` problems, if any at all.
        """
        source = self.dataset.spare or self.dataset.problems
        for block in self._blocks(source[: max(self.warm_up, self.concurrency) if self.warm_up else 0]):
            for label in self.strategies:
                yield [Job(label, problem, 0) for problem in block]

    def _blocks(self, problems: Sequence[Problem]) -> Iterator[Sequence[Problem]]:
        size = 1 if self.concurrency == 1 else _BLOCK * self.concurrency
        return (problems[start : start + size] for start in range(0, len(problems), size))


def make_plan(
    strategies: Strategies,
    backend: str | Models,
    *,
    dataset: DatasetLike,
    dataset_path: str | os.PathLike[str] | None,
    limit: int | None,
    seed: int,
    repeats: int,
    warm_up: int,
    concurrency: int,
    baseline: bool,
    settings: Settings | None,
    overrides: Mapping[str, object],
    model_options: Mapping[str, object],
) -> Plan:
    """Resolve names, load data and models, and check that every strategy can run. See `runner.run_comparison`.

    Raises:
        ValueError: repeats, warm_up, concurrency or a setting is out of range.
        ArbitrageError: something cannot be found, loaded, or does what a strategy needs.
    """
    if repeats < 1 or warm_up < 0 or seed < 0:
        raise ValueError(f"need repeats >= 1, warmup >= 0 and seed >= 0, not {repeats}, {warm_up} and {seed}")
    if not 1 <= concurrency <= MOST_AT_ONCE:
        raise ValueError(f"concurrency must be within 1..{MOST_AT_ONCE}, not {concurrency}")
    chosen = resolve_strategies(strategies)
    data = resolve_dataset(dataset, dataset_path, limit)
    if baseline and not any(strategy.name == BASELINE for strategy in chosen.values()):
        from arbitrage.registry import registry

        chosen = {_unused(BASELINE, chosen): registry().strategy(BASELINE)(), **chosen}
        added = next(iter(chosen))
    else:
        added = None
    models = models_for(backend, chosen.values(), model_options, concurrency)
    if added is not None and models.target is None:
        del chosen[added]
    models = models.with_settings(merge_settings(settings or models.settings, overrides))
    for strategy in chosen.values():
        check_requirements(strategy, models)
    return Plan(chosen, models, data, seed, repeats, warm_up, concurrency)


def resolve_strategies(strategies: Strategies) -> dict[str, Strategy]:
    """Strategies by label. Equal labels are told apart by a number: `rsd`, `rsd #2`.

    Raises:
        UnknownNameError: nobody registered such a strategy.
        ValueError: there are none.
    """
    if isinstance(strategies, Mapping):
        chosen = {label: _strategy(strategy) for label, strategy in strategies.items()}
    else:
        listed = [strategies] if isinstance(strategies, str | Strategy) else strategies
        chosen = {}
        for strategy in map(_strategy, listed):
            chosen[_unused(strategy.label, chosen)] = strategy
    if not chosen:
        raise ValueError("no strategy given; name at least one, e.g. 'arbitrage-router'")
    return chosen


def resolve_dataset(dataset: DatasetLike, path: str | os.PathLike[str] | None, limit: int | None) -> Dataset:
    """A data set from its name, its file, or problems already at hand.

    Raises:
        DatasetError: absent or malformed, or a path is given for problems already at hand.
    """
    if isinstance(dataset, str | os.PathLike):
        return load_dataset(dataset, path=path, limit=limit)
    if path is not None:
        raise DatasetError("dataset_path belongs to a data set given by name; these problems are at hand already")
    data = dataset if isinstance(dataset, Dataset) else Dataset("custom", tuple(dataset))
    return data.limited(limit)


def merge_settings(settings: Settings, overrides: Mapping[str, object]) -> Settings:
    """`settings` with every override that is not None; sampling fields are reached by their own names.

    Raises:
        ValueError: a value is out of range.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    sampling_fields = {field.name for field in fields(settings.sampling)}
    sampling = {name: value for name, value in given.items() if name in sampling_fields}
    rest = {name: value for name, value in given.items() if name not in sampling_fields}
    merged = replace(settings, sampling=replace(settings.sampling, **sampling), **rest)  # type: ignore[arg-type]
    if merged.max_tokens < 1 or merged.max_steps < 1:
        raise ValueError(f"max_tokens and max_steps must be at least 1: {merged.max_tokens}, {merged.max_steps}")
    return merged


def make_manifest(
    plan: Plan,
    *,
    backend: str | None,
    dataset: DatasetLike,
    model_options: Mapping[str, object],
    load: tuple[float, float, float] | None,
    now: datetime,
) -> Manifest:
    """Everything that is to be known about a run before its first row."""
    cores = available_cores()
    warning = environment.load_warning(load, cores)
    data = plan.dataset
    told = {
        "schema": SCHEMA,
        "created": now.isoformat(),
        "rows": len(plan.keys()),
        "identity": {
            "strategies": {label: strategy.describe() for label, strategy in plan.strategies.items()},
            "models": model_facts(plan.models),
            "settings": settings_facts(plan.models.settings),
            "dataset": {"name": data.name, "sha256": data.sha256, "problems": len(data)},
            "seed": plan.seed,
            "repeats": plan.repeats,
            **({"concurrency": plan.concurrency} if plan.concurrency > 1 else {}),
            "prompt_sha256": _prompt_hashes(plan),
            "grader": GRADER,
            "versions": environment.package_versions(),
            **_tokenizers(plan.models),
        },
        "dataset": {
            "name": data.name,
            "source": data.source,
            "sha256": data.sha256,
            "file_sha256": data.file_sha256,
            "problems": len(data),
            "available": data.available,
            "limited_to": data.limited_to,
        },
        "request": _request(plan, backend, dataset, model_options),
        "entry_points": _entry_points(plan),
        **({"threads": [asdict(one) for one in plan.models.threads]} if plan.models.threads else {}),
        "sessions": [
            {
                "started": now.isoformat(),
                "arguments": environment.redacted_arguments(sys.argv),
                "machine": environment.describe_machine() | {"load_average": load},
                "commit": environment.commit(),
                "warnings": [warning] if warning else [],
            }
        ],
    }
    manifest: Manifest = json.loads(to_json(told))  # what is compared later is what a file can hold
    return manifest


def _strategy(wanted: str | Strategy) -> Strategy:
    if isinstance(wanted, Strategy):
        return wanted
    from arbitrage.registry import registry

    if ":" in wanted:
        from arbitrage.strategy_specs import parse_strategy

        return parse_strategy(wanted, registry())
    return registry().strategy(wanted)()


def _unused(label: str, taken: Mapping[str, object]) -> str:
    number = 1
    while (name := label if number == 1 else f"{label} #{number}") in taken:
        number += 1
    return name


def models_for(
    backend: str | Models, strategies: Iterable[Strategy], options: Mapping[str, object], concurrency: int
) -> Models:
    """Models in all roles that `strategies` need, able to solve `concurrency` problems at once.

    Raises:
        TypeError: models are given, and options to load others with.
        ArbitrageError: a model cannot be found or loaded.
    """
    if isinstance(backend, Models):
        given = sorted(name for name, value in options.items() if value is not None)
        if given:
            raise TypeError(f"models are loaded already; {', '.join(given)} cannot be applied to them")
        return backend
    from arbitrage.backends.loading import load_models

    roles = {need for strategy in strategies for need in strategy.requires if isinstance(need, Role)}
    if concurrency > 1 and options.get("sessions") is None:
        options = {**options, "sessions": concurrency}
    return load_models(backend, roles=roles, **options)  # type: ignore[arg-type]


def _roles(models: Models) -> list[Role]:
    return [role for role in Role if role in models.roles()]


def model_facts(models: Models) -> dict[str, dict[str, object]]:
    """What each model says of itself, by role."""
    return {role.value: _describe(models, role) for role in _roles(models)}


def _describe(models: Models, role: Role) -> dict[str, object]:
    if role is Role.DRAFT or role is Role.TARGET:
        return models.language(role).describe()
    return models.scorer(role).describe()


def _tokenizers(models: Models) -> dict[str, object]:
    """Says so when draft and target exchange text instead of token ids."""
    if not {Role.DRAFT, Role.TARGET} <= models.roles():
        return {}
    shared = shares_tokenizer(models.language(Role.DRAFT), models.language(Role.TARGET))
    return {} if shared else {"tokenizers": DIFFERENT_TOKENIZERS}


def settings_facts(settings: Settings) -> dict[str, object]:
    """What of the settings changes a row."""
    return {
        "max_tokens": settings.max_tokens,
        "max_steps": settings.max_steps,
        "sampling": asdict(settings.sampling),
        "answer_stop": settings.answer_stop,
        "instruction": settings.instruction,
        "system": settings.system,
    }


def _prompt_hashes(plan: Plan) -> dict[str, str]:
    """Hash of the first problem's rendered prompt for each language model."""
    hashes = {}
    languages: tuple[Literal[Role.DRAFT, Role.TARGET], ...] = (Role.DRAFT, Role.TARGET)
    for role in languages:
        if role in plan.models.roles():
            ids = plan.models.settings.prompt(plan.dataset[0].problem, plan.models.language(role))
            hashes[role.value] = hashlib.sha256(json.dumps([int(token) for token in ids]).encode()).hexdigest()
    return hashes


def _entry_points(plan: Plan) -> dict[str, dict[str, object]]:
    """Where the code of strategies and backends came from; objects handed in are known by their class."""
    from arbitrage.registry import registry

    names = registry()
    used = {_describe(plan.models, role).get("backend") for role in _roles(plan.models)}
    backends = [name for name in names.names("backend") if name in used]  # others may lack their packages
    return {
        "strategies": {label: _origin(names, "strategy", one) for label, one in plan.strategies.items()},
        "backends": {name: _origin(names, "backend", names.backend(name)) for name in backends},
    }


def _origin(names: Registry, kind: Kind, thing: Strategy | Backend) -> dict[str, object]:
    entry = next((entry for entry in names.entries(kind) if entry.name == thing.name), None)
    known = entry is not None and isinstance(entry.load(), type) and type(thing) is entry.load()
    return {
        "class": f"{type(thing).__module__}:{type(thing).__qualname__}",
        "registered": entry.target if entry and known and isinstance(entry.target, str) else None,
        "plugin": entry.plugin if entry and known else None,
        "version": environment.distribution_version(entry.plugin) if entry and known else None,
    }


def _request(
    plan: Plan, backend: str | None, dataset: DatasetLike, model_options: Mapping[str, object]
) -> dict[str, object]:
    """What `arbitrage.harness.request` needs to make the same call again; objects are only listed."""
    given = {name: value for name, value in model_options.items() if value is not None}
    plain = {name: value for name, value in given.items() if isinstance(value, str | int | float | bool)}
    data = plan.dataset
    file = str(Path(data.source).resolve()) if data.file_sha256 is not None else None
    by_name = isinstance(dataset, str) and is_name(dataset)
    by_path = isinstance(dataset, str | os.PathLike) and not by_name
    return {
        "backend": backend,
        "dataset": dataset if by_name else file if by_path else None,
        "dataset_path": file if by_name else None,
        "model_options": environment.redacted_options(plain),
        "given_objects": sorted(given.keys() - plain.keys()),
        "warmup": plan.warm_up,
    }
