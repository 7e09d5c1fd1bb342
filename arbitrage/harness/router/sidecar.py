"""The file `arbitrage.json` beside a scorer's weights: what it says, and how one part of it is replaced."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from arbitrage.errors import ModelLoadError
from arbitrage.harness.run_folder import write_json

SIDECAR = "arbitrage.json"


def directory_of(spec: str, backend: str = "hf") -> Path | None:
    """Where the weights of a scorer lie on this machine; None for hub ids and registered scorers.

    Args:
        spec: `[BACKEND:]SOURCE[@DEVICE]`.
        backend: used when the spec names none.
    """
    from arbitrage.backends.bundled import bundled_path
    from arbitrage.backends.loading import BUNDLED, parse_spec

    found = parse_spec(spec, backend)
    folder = bundled_path(found.source) if found.backend == BUNDLED else Path(found.source).expanduser()
    return folder if folder.is_dir() else None


def read_sidecar(folder: Path | None) -> dict[str, Any]:
    """What the scorer says of itself; empty when it says nothing.

    Raises:
        ModelLoadError: the file is not a JSON object.
    """
    if folder is None or not (folder / SIDECAR).is_file():
        return {}
    try:
        told = json.loads((folder / SIDECAR).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelLoadError(f"{folder / SIDECAR} is not JSON: {error}") from error
    if not isinstance(told, dict):
        raise ModelLoadError(f"{folder / SIDECAR} must hold a JSON object")
    return told


def update_sidecar(folder: Path, entries: Mapping[str, object]) -> None:
    """Replace entries and leave all others; readers see the old file or the new one.

    Raises:
        ModelLoadError: what is there is not a JSON object.
        RunError: it cannot be written; it is as it was.
    """
    write_json(folder / SIDECAR, {**read_sidecar(folder), **entries})


def writable_directory(spec: str, backend: str = "hf", out: Path | None = None) -> Path:
    """Where a scorer's calibration is to be stored, checked before any work is done.

    Args:
        spec: the scorer.
        backend: used when the spec names none.
        out: store it in a copy of the scorer's directory at this path; the copy is made when it is time to write.

    Raises:
        ModelLoadError: it has no directory, the directory is not to be written to, or `out` holds something.
    """
    from arbitrage.backends.bundled import bundled_path

    folder = directory_of(spec, backend)
    if folder is None:
        raise ModelLoadError(
            f"{spec}: there is no such directory, so nothing can be stored beside its weights; download a hub model "
            "first (hf download OWNER/NAME --local-dir DIR), and give other scorers a threshold by hand"
        )
    if out is not None:
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise ModelLoadError(f"{out} is there already; --out makes a new directory")
        return out
    if folder.resolve().is_relative_to(bundled_path("router").parent.resolve()):
        raise ModelLoadError(f"{spec} is part of the package and stays as it is; calibrate a copy with --out DIR")
    if not os.access(folder, os.W_OK):
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
