"""The file `arbitrage.json` beside a scorer's weights: what it says, and how one part of it is replaced."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from arbitrage.backends.sidecar import read_sidecar, sidecar_of
from arbitrage.errors import ModelLoadError
from arbitrage.harness.run_folder import write_json

_FROM_THE_HUB = ("hf", "gguf", "gptq")
"""Backends whose scorers may be hub ids; all load them as `hf` does."""


def place_of(spec: str, backend: str = "hf") -> Path | None:
    """The directory or GGUF file of a model on this machine; None for hub ids and registered scorers.

    Args:
        spec: `[BACKEND:]SOURCE[@DEVICE]`.
        backend: used when the spec names none.
    """
    from arbitrage.backends.bundled import bundled_path
    from arbitrage.backends.loading import BUNDLED, parse_spec

    found = parse_spec(spec, backend)
    folder = bundled_path(found.source) if found.backend == BUNDLED else Path(found.source).expanduser()
    return folder if folder.is_dir() or (folder.suffix.lower() == ".gguf" and folder.is_file()) else None


def told_by(spec: str, backend: str = "hf") -> dict[str, Any]:
    """What a model's sidecar says, on this machine or on the hub; empty for scorers that have none.

    Args:
        spec: `[BACKEND:]SOURCE[@DEVICE]`.
        backend: used when the spec names none.

    Raises:
        ModelLoadError: there is no such model, or its sidecar is not a JSON object.
    """
    from arbitrage.backends.loading import parse_spec

    found = parse_spec(spec, backend)
    if (place := place_of(spec, backend)) is not None or found.backend not in _FROM_THE_HUB:
        return read_sidecar(place)
    from arbitrage.backends.hf.loading import Source

    source = Source(found.source)
    source.check()
    return source.sidecar()


def update_sidecar(folder: Path, entries: Mapping[str, object]) -> None:
    """Replace entries and leave all others; readers see the old file or the new one.

    Raises:
        ModelLoadError: what is there is not a JSON object.
        RunError: it cannot be written; it is as it was.
    """
    write_json(sidecar_of(folder), {**read_sidecar(folder), **entries})


def writable_place(spec: str, backend: str = "hf", out: Path | None = None) -> Path:
    """Where a scorer's calibration is to be stored, checked before any work is done.

    Args:
        spec: the scorer.
        backend: used when the spec names none.
        out: store it in a copy of the scorer's directory at this path; the copy is made when it is time to write.

    Raises:
        ModelLoadError: it has no directory, the directory is not to be written to, or `out` holds something.
    """
    from arbitrage.backends.bundled import bundled_path

    folder = place_of(spec, backend)
    if folder is None:
        raise ModelLoadError(
            f"{spec}: there is no such directory, so nothing can be stored beside its weights; download a hub model "
            "first (hf download OWNER/NAME --local-dir DIR), and give other scorers a threshold by hand"
        )
    if out is not None and folder.is_file():
        raise ModelLoadError(f"{spec}: --out copies directories; copy the file yourself and calibrate the copy")
    if out is not None:
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise ModelLoadError(f"{out} is there already; --out makes a new directory")
        return out
    if folder.resolve().is_relative_to(bundled_path("router").parent.resolve()):
        raise ModelLoadError(f"{spec} is part of the package and stays as it is; calibrate a copy with --out DIR")
    if not os.access(folder if folder.is_dir() else folder.parent, os.W_OK):
        raise ModelLoadError(f"{folder} cannot be written to; calibrate a copy with --out DIR")
    return folder


def copy_directory(source: Path, target: Path) -> None:
    """Copy a scorer's files.

    Raises:
        ModelLoadError: they cannot be copied.
    """
    try:
        shutil.copytree(source, target, dirs_exist_ok=True)
    except (OSError, shutil.Error) as error:
        raise ModelLoadError(f"{source} cannot be copied to {target}: {error}") from error
