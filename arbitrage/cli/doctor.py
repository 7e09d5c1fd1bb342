"""`arbitrage doctor`: what this installation can do, and what would make its timings worthless.

With `--json` one object: `ok` (no check failed), `checks` (a list of `Finding`, each with its `section`), and `prompt`
(a `Prompt`, or null when it cannot be shown).
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import os
import platform
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from arbitrage.cli import completion
from arbitrage.cli.findings import Finding, Section, show, show_live
from arbitrage.cli.self_test import self_test as run_self_test
from arbitrage.cli.text import print_json, table_console
from arbitrage.text import printable

if TYPE_CHECKING:
    from rich.console import Console

CORE = ("numpy", "mpmath", "sympy", "latex2sympy2_extended", "pluggy", "pydantic", "pyyaml", "scipy", "typer", "rich")
EXTRAS = {
    "hf": ("torch", "transformers", "safetensors", "tokenizers", "accelerate", "gguf"),
    "report": ("matplotlib", "plotly", "pyarrow"),
    "pytest": ("pytest", "pytest-benchmark"),
    "router": ("datasets", "matplotlib", "peft", "pyarrow"),
    "gguf": ("llama-cpp-python", "gguf"),
    "gptq": ("gptqmodel", "optimum"),
    "server": ("urllib3",),
}
"""Packages that each extra brings; the same as in pyproject.toml (a test compares them)."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """How the first problem of a data set is put to a backend's bundled target."""

    dataset: str
    backend: str
    text: str
    """With special tokens: a wrong template is the commonest cause of bad accuracy."""
    tokens: int


def doctor(
    dataset: Annotated[
        str,
        typer.Option(
            help="Show how the first problem of this data set is put to the target.",
            autocompletion=completion.datasets,
        ),
    ] = "bundled",
    backend: Annotated[
        str,
        typer.Option(
            help="Backend whose bundled target is asked for its prompt format.", autocompletion=completion.backends
        ),
    ] = "hf",
    self_test: Annotated[
        bool, typer.Option("--self-test", help="Also solve a few problems with every installed backend (a minute).")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check versions, extras, hardware, bundled models and data sets, and show the first prompt.

    The exit code is 1 when something is broken. What is merely not installed is no failure.
    """
    from arbitrage.errors import UnknownNameError
    from arbitrage.harness.datasets import load_dataset
    from arbitrage.registry import registry

    os.environ.setdefault("HF_DATASETS_OFFLINE", "1")  # looking for data sets must not start a download
    if backend not in registry().names("backend"):
        raise UnknownNameError.of("backend", backend, registry().names("backend"))
    problem = load_dataset(dataset, limit=1)[0]
    console = table_console(quiet=as_json)
    checks: list[dict[str, object]] = []
    with contextlib.redirect_stdout(sys.stderr):  # some libraries greet there
        for section in (
            Section("Versions", versions()),
            Section("Extras", extras()),
            Section("Hardware", hardware()),
            Section("Bundled models", bundled_models()),
            Section("Data sets", datasets()),
        ):
            checks += _records(section, show(console, section))
        prompt = _first_prompt(dataset, problem.problem, backend)
        if isinstance(prompt, Prompt):
            _show_prompt(console, prompt)
        else:
            section = Section("First prompt", iter([prompt]))
            checks += _records(section, show(console, section))
        if self_test:
            section = Section("Self-test", run_self_test())
            checks += _records(section, show_live(console, section))
    failed = [str(check["name"]) for check in checks if check["status"] == "fail"]
    if as_json:
        shown = dataclasses.asdict(prompt) if isinstance(prompt, Prompt) else None
        print_json({"ok": not failed, "checks": checks, "prompt": shown})
    if failed:
        typer.echo(f"failed: {', '.join(failed)}", err=True)
        raise typer.Exit(1)


def versions() -> Iterator[Finding]:
    """Python, this package, and what it always needs."""
    from arbitrage import __version__

    yield Finding("ok", "arbitrage", __version__)
    yield Finding("ok", "python", f"{platform.python_version()} ({platform.system()} {platform.machine()})")
    for package in CORE:
        version = _version(package)
        yield Finding("ok" if version else "fail", package, version or "not installed, though always needed")


def extras() -> Iterator[Finding]:
    """Optional packages by the extra that brings them."""
    for extra, packages in EXTRAS.items():
        found = {package: _version(package) for package in packages}
        if all(found.values()):
            yield Finding("ok", extra, ", ".join(f"{package} {version}" for package, version in found.items()))
        else:
            absent = ", ".join(package for package, version in found.items() if version is None)
            text = f"without {absent}; install with: pip install 'arbitrage-decoding[{extra}]'"
            yield Finding("missing", extra, text)


def hardware() -> Iterator[Finding]:
    """Cores, memory, GPUs, threads and load."""
    from arbitrage.cpu import available_cores
    from arbitrage.harness import environment

    if _version("torch"):
        importlib.import_module("torch")  # the description asks torch for threads and GPUs only when it is there
    machine = environment.describe_machine()
    cores = available_cores()
    yield Finding("ok", "processor", f"{machine['cpu']}, {cores} cores")
    memory = machine["memory_bytes"]
    if isinstance(memory, int):
        yield Finding("ok", "memory", f"{memory / 2**30:.1f} GiB{_free_memory()}")
    accelerators = machine["accelerators"]
    assert isinstance(accelerators, list)
    devices = ", ".join(accelerators) or "none; models run on the CPU"
    yield Finding("ok" if accelerators else "missing", "accelerators", devices)
    if _version("llama-cpp-python"):
        offloads = importlib.import_module("llama_cpp").llama_supports_gpu_offload()
        yield Finding("ok", "llama.cpp", "built for GPUs" if offloads else "built for the CPU only")
    threads = machine["threads"]
    assert isinstance(threads, dict)
    named = ", ".join(f"{name}: {value}" for name, value in threads.items())
    yield Finding("ok", "threads", named or "nothing is set")
    load = environment.load_average()
    if load is not None:
        busy = environment.load_warning(load, cores)
        yield Finding("warn" if busy else "ok", "load", busy or f"{load[0]:.1f} on {cores} cores")


def bundled_models() -> Iterator[Finding]:
    """Whether the files of the models that come with the package are whole, and how big they are."""
    from arbitrage.cli import inventory
    from arbitrage.cli.weights import DamagedError, check_model

    for model in inventory.bundled_models():
        try:
            check_model(Path(model.path))
        except DamagedError as error:
            yield Finding("fail", model.name, f"{error}; install the package again")
        else:
            yield Finding("ok", model.name, f"{model.bytes / 1e6:.1f} MB, {model.backend}, {model.path}")


def datasets() -> Iterator[Finding]:
    """Which registered data sets can be read right now."""
    from arbitrage.errors import ArbitrageError
    from arbitrage.harness.datasets import load_dataset
    from arbitrage.registry import registry

    for name in registry().names("dataset"):
        try:
            problems = load_dataset(name)
        except ArbitrageError as error:
            yield Finding("missing", name, str(error))
        else:
            yield Finding("ok", name, f"{len(problems)} problems from {problems.source}")


def _records(section: Section, findings: Sequence[Finding]) -> list[dict[str, object]]:
    return [{"section": section.title, **dataclasses.asdict(finding)} for finding in findings]


def _first_prompt(dataset: str, statement: str, backend: str) -> Prompt | Finding:
    """The exact prompt, or why there is none."""
    from arbitrage.errors import MissingExtraError
    from arbitrage.interfaces import Settings
    from arbitrage.registry import registry
    from arbitrage.types import Role

    try:
        chosen = registry().backend(backend)
        target = chosen.language_model(chosen.bundled(Role.TARGET))
        prompt = Settings().prompt(statement, target)
    except MissingExtraError as error:
        return Finding("missing", "prompt", str(error))
    except Exception as error:
        return Finding("fail", "prompt", f"{type(error).__name__}: {error}")
    return Prompt(dataset, backend, "".join(target.codec.piece(token) for token in prompt), len(prompt))


def _show_prompt(console: Console, prompt: Prompt) -> None:
    from rich.text import Text

    title = f"First prompt of {prompt.dataset!r} for the bundled target of {prompt.backend!r}"
    console.print(Text(title, "bold"))
    console.print(Text(printable(prompt.text)), soft_wrap=True)
    console.print(Text(f"({prompt.tokens} tokens)\n", "dim"))


def _free_memory() -> str:
    """What the system could give at once, where it tells."""
    try:
        found = re.search(r"^MemAvailable:\s*(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
    except OSError:
        return ""
    return f", {int(found[1]) / 2**20:.1f} GiB of it available" if found else ""


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
