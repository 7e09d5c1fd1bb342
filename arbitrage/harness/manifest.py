"""What a run's manifest holds, as pydantic models. Heavy to import: reach for it where a manifest is read.

Every field may be absent, because early versions wrote fewer; one that is there must have its type. Unknown fields are
kept: a later version may have written them.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from arbitrage.errors import RunError
from arbitrage.harness.crew import MOST_AT_ONCE

Facts = dict[str, Any]


class _Part(BaseModel):
    model_config = ConfigDict(extra="allow")


class Identity(_Part):
    """Everything that changes what a row says; a resumed run must agree with it, field by field."""

    strategies: dict[str, Facts] = {}
    """Name and parameters of each strategy, by label."""
    models: dict[str, Facts] = {}
    """Each role's backend, source, hash of the weights, number format and tokenizer."""
    settings: Facts = {}
    """Budgets, sampling, instruction and system prompt."""
    dataset: Facts = {}
    """Name, hash of the problems that are solved, and how many they are."""
    seed: int | None = None
    repeats: int | None = None
    concurrency: int = Field(default=1, ge=1, le=MOST_AT_ONCE)
    """How many problems were solved at once; absent for one at a time."""
    prompt_sha256: dict[str, str] = {}
    """Hash of the first problem's prompt as token ids, for draft and target."""
    grader: str | None = None
    """Version of the rules that answers are graded by."""
    versions: dict[str, str] = {}
    """This package and those that compute or grade."""
    tokenizers: str | None = None
    """`different` when draft and target exchange text instead of token ids."""


class DatasetFacts(_Part):
    """Where the problems came from."""

    name: str | None = None
    source: str | None = None
    sha256: str | None = None
    """Hash of the problems that are solved."""
    file_sha256: str | None = None
    """Hash of the file that they were read from."""
    problems: int | None = None
    available: int | None = None
    limited_to: int | None = None
    """How many problems a limit left; null when all were solved."""


class Origin(_Part):
    """Where the code of a strategy or backend came from."""

    code_class: str | None = Field(default=None, alias="class")
    """Module and class."""
    registered: str | None = None
    """The string that a plugin registered it by; null for objects handed in."""
    plugin: str | None = None
    """The distribution that registered it."""
    version: str | None = None


class RequestFacts(_Part):
    """How the run was asked for."""

    backend: str | None = None
    """Null when loaded models were handed in."""
    dataset: str | None = None
    """Name or file; null when problems were handed in."""
    dataset_path: str | None = None
    model_options: dict[str, str | int | float | bool | None] = {}
    """What was passed to the backends, secrets masked."""
    given_objects: list[str] = []
    """Options that were objects, which a file cannot hold."""
    warmup: int | None = None


class ThreadFacts(_Part):
    """A number of CPU threads that was chosen by measuring."""

    name: str
    """Whose threads they are: `torch`, or a model with threads of its own."""
    roles: list[str]
    """Whose passes run on them."""
    threads: int = Field(ge=1, le=512)
    """The choice, for every sitting of the run."""
    seconds: dict[str, float] = {}
    """Sum of the mean seconds of the passes, for each number of threads that was tried."""


class Session(_Part):
    """One sitting: a run that was resumed has several."""

    started: str | None = None
    arguments: list[str] = []
    """The command line, secrets masked."""
    machine: Facts = {}
    """CPU, cores, memory, threads, accelerators, load before the run."""
    commit: Facts | None = None
    """Commit of this package's source and whether files were changed; null unless it runs from a checkout."""
    warnings: list[str] = []


class RunManifest(_Part):
    """What was asked and on what it ran; written before the first row."""

    schema_version: int | None = Field(default=None, alias="schema")
    created: str | None = None
    rows: int | None = None
    """How many rows the whole run has."""
    identity: Identity
    dataset: DatasetFacts = DatasetFacts()
    request: RequestFacts = Field(default_factory=lambda: RequestFacts())
    """What is needed to make the same call again."""
    entry_points: dict[str, dict[str, Origin]] = {}
    """Under `strategies` by label, under `backends` by name."""
    threads: list[ThreadFacts] = []
    """What `threads="auto"` chose when the run began."""
    sessions: list[Session] = []
    regraded: list[Facts] = []
    """When stored texts were graded again, by which rules, and how many verdicts changed."""
    scored: dict[str, Facts] | None = None
    """Which scorers wrote scores.jsonl, by role."""
    scoring: dict[str, Facts] | None = None
    """Which scorers are writing scores.new.jsonl; absent when they have finished."""


def check_manifest(manifest: object, where: str) -> None:
    """Make sure that what a file holds is shaped like a manifest.

    Raises:
        RunError: it is not; the message starts with `where` and names the field.
    """
    try:
        RunManifest.model_validate(manifest, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise RunError(f"{where} is not a manifest of this package: {first['msg']} in {field!r}") from error
