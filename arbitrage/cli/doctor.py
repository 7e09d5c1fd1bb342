"""`arbitrage doctor`: what this installation can do, and what would make its timings worthless."""

from __future__ import annotations

import importlib
import os
import platform
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from arbitrage.cli.text import printable

if TYPE_CHECKING:
    from rich.console import Console

Mark = Literal["ok", "warn", "missing"]
Finding = tuple[Mark, str, str]
"""How it stands, what it is about, what was found."""

CORE = ("numpy", "mpmath", "sympy", "latex2sympy2_extended", "pluggy", "pydantic", "pyyaml", "scipy", "typer", "rich")
EXTRAS = {
    "hf": ("torch", "transformers", "safetensors", "tokenizers", "accelerate", "gguf"),
    "report": ("matplotlib",),
    "pytest": ("pytest", "pytest-benchmark"),
    "gguf": ("llama-cpp-python", "gguf"),
    "gptq": ("gptqmodel", "optimum"),
}
"""Packages that each extra brings; the same as in pyproject.toml (a test compares them)."""

_MARKS = {"ok": "[green]✓[/]", "warn": "[yellow]![/]", "missing": "[dim]·[/]"}


def doctor(
    dataset: Annotated[
        str, typer.Option(help="Show how the first problem of this data set is put to the target.")
    ] = "bundled",
    backend: Annotated[str, typer.Option(help="Backend whose bundled target is asked for its prompt format.")] = "hf",
) -> None:
    """Check versions, extras, hardware, bundled models and data sets, and show the first prompt."""
    from rich.console import Console

    os.environ.setdefault("HF_DATASETS_OFFLINE", "1")  # looking for data sets must not start a download
    console = Console()
    for title, findings in (
        ("Versions", versions()),
        ("Extras", extras()),
        ("Hardware", hardware()),
        ("Bundled models", bundled_models()),
        ("Data sets", datasets()),
    ):
        _print(console, title, findings)
    _print_prompt(console, dataset, backend)


def versions() -> Iterator[Finding]:
    """Python, this package, and what it always needs."""
    from arbitrage import __version__

    yield "ok", "arbitrage", __version__
    yield "ok", "python", f"{platform.python_version()} ({platform.system()} {platform.machine()})"
    for package in CORE:
        version = _version(package)
        yield ("ok", package, version) if version else ("warn", package, "not installed, though always needed")


def extras() -> Iterator[Finding]:
    """Optional packages by the extra that brings them."""
    for extra, packages in EXTRAS.items():
        found = {package: _version(package) for package in packages}
        if all(found.values()):
            yield "ok", extra, ", ".join(f"{package} {version}" for package, version in found.items())
        else:
            absent = ", ".join(package for package, version in found.items() if version is None)
            yield "missing", extra, f"without {absent}; install with: pip install 'arbitrage-decoding[{extra}]'"


def hardware() -> Iterator[Finding]:
    """Cores, memory, GPUs, threads and load."""
    from arbitrage.harness import environment

    if _version("torch"):
        importlib.import_module("torch")  # the description asks torch for threads and GPUs only when it is there
    machine = environment.describe_machine()
    cores = environment.available_cores()
    yield "ok", "processor", f"{machine['cpu']}, {cores} cores"
    memory = machine["memory_bytes"]
    if isinstance(memory, int):
        yield "ok", "memory", f"{memory / 2**30:.1f} GiB"
    accelerators = machine["accelerators"]
    assert isinstance(accelerators, list)
    yield "ok" if accelerators else "missing", "accelerators", ", ".join(accelerators) or "none; models run on the CPU"
    threads = machine["threads"]
    assert isinstance(threads, dict)
    yield "ok", "threads", ", ".join(f"{name}: {value}" for name, value in threads.items()) or "nothing is set"
    load = environment.load_average()
    if load is not None:
        busy = environment.load_warning(load, cores)
        yield ("warn", "load", busy) if busy else ("ok", "load", f"{load[0]:.1f} on {cores} cores")


def bundled_models() -> Iterator[Finding]:
    """Where the models are that come with the package, and how big."""
    from arbitrage.backends.bundled import bundled_path
    from arbitrage.errors import ArbitrageError
    from arbitrage.types import Role

    for role in Role:
        try:
            folder = Path(bundled_path(role.value))
        except ArbitrageError as error:
            yield "warn", role.value, str(error)
            continue
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        yield "ok", role.value, f"{size / 1e6:.1f} MB in {folder}"


def datasets() -> Iterator[Finding]:
    """Which registered data sets can be read right now."""
    from arbitrage.errors import ArbitrageError
    from arbitrage.harness.datasets import load_dataset
    from arbitrage.registry import registry

    for name in registry().names("dataset"):
        try:
            problems = load_dataset(name)
        except ArbitrageError as error:
            yield "missing", name, str(error)
        else:
            yield "ok", name, f"{len(problems)} problems from {problems.source}"


def _print(console: Console, title: str, findings: Iterator[Finding]) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 1))
    for _ in range(3):
        table.add_column(overflow="fold")
    for mark, name, text in findings:
        table.add_row(_MARKS[mark], escape(name), escape(text))
    console.print(f"[bold]{title}[/]")
    console.print(table)
    console.print()


def _print_prompt(console: Console, dataset: str, backend: str) -> None:
    """Show the exact prompt, special tokens included: a wrong template is the commonest cause of bad accuracy."""
    from rich.text import Text

    from arbitrage.errors import ArbitrageError
    from arbitrage.harness.datasets import load_dataset
    from arbitrage.interfaces import Settings
    from arbitrage.registry import registry
    from arbitrage.types import Role

    console.print(f"[bold]First prompt of {dataset!r} for the bundled target of {backend!r}[/]")
    try:
        problem = load_dataset(dataset, limit=1)[0]
        chosen = registry().backend(backend)
        target = chosen.language_model(chosen.bundled(Role.TARGET))
        prompt = Settings().prompt(problem.problem, target)
    except ArbitrageError as error:
        console.print(Text(f"cannot be shown: {error}", "yellow"))
        return
    console.print(Text(printable("".join(target.codec.piece(token) for token in prompt))))
    console.print(Text(f"({len(prompt)} tokens)", "dim"))


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
