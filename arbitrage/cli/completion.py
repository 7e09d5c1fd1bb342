"""What a shell offers after the tabulator key. Quick, silent, and free of tensor libraries.

Whatever goes wrong, nothing is offered: a traceback in the middle of a command line helps nobody.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from arbitrage.registry import Kind

Offer = tuple[str, str]
"""A word and what it means."""


def _silent(offers: Callable[[str], Iterator[Offer]]) -> Callable[[str], list[Offer]]:
    @functools.wraps(offers)
    def offer(incomplete: str) -> list[Offer]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                return [found for found in offers(incomplete) if found[0].startswith(incomplete)]
            except Exception:
                return []

    # typer reads the annotations to tell the parameters apart.
    del offer.__wrapped__
    offer.__annotations__ = {"incomplete": str}
    return offer


@_silent
def lists(incomplete: str) -> Iterator[Offer]:
    """What `arbitrage ls` can list."""
    from arbitrage.cli.ls import LISTS

    for name in LISTS:
        yield name, ""


@_silent
def strategies(incomplete: str) -> Iterator[Offer]:
    """Strategies; in a list with commas, the last one, and none twice."""
    before, comma, _ = incomplete.rpartition(",")
    taken = {spec.strip().partition(":")[0] for spec in before.split(",")}
    for name, summary in _names("strategy"):
        if name not in taken:
            yield f"{before}{comma}{name}", summary


@_silent
def strategy(incomplete: str) -> Iterator[Offer]:
    """One strategy."""
    yield from _names("strategy")


@_silent
def backends(incomplete: str) -> Iterator[Offer]:
    """Backends."""
    yield from _names("backend")


@_silent
def datasets(incomplete: str) -> Iterator[Offer]:
    """Data sets by name, JSONL files by path."""
    yield from _names("dataset")
    given = Path(incomplete)
    folder = given if incomplete.endswith("/") else given.parent
    prefix = incomplete[: incomplete.rfind("/") + 1]
    for file in sorted(folder.iterdir()):
        if file.suffix == ".jsonl":
            yield f"{prefix}{file.name}", "file"
        elif file.is_dir() and not file.name.startswith("."):
            yield f"{prefix}{file.name}/", "folder"


def _names(kind: Kind) -> Iterator[Offer]:
    from arbitrage.registry import registry

    for entry in registry().entries(kind):
        yield entry.name, entry.summary
