"""`arbitrage.json` beside the weights: what their own format has no place for (instruction, stream, calibration)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from arbitrage.errors import ModelLoadError

SIDECAR = "arbitrage.json"


def sidecar_of(weights: Path) -> Path:
    """Where it lies: in a model's directory, or beside a GGUF file (`draft.gguf`: `draft.arbitrage.json`)."""
    return weights.with_suffix(f".{SIDECAR}") if weights.suffix.lower() == ".gguf" else weights / SIDECAR


def read_sidecar(weights: Path | None) -> dict[str, Any]:
    """What it says; empty where there is none.

    Raises:
        ModelLoadError: it is not a JSON object.
    """
    file = None if weights is None else found_sidecar(weights)
    return {} if file is None else read_object(file)


def found_sidecar(weights: Path) -> Path | None:
    """The file, where there is one."""
    file = sidecar_of(weights)
    return file if file.is_file() else None


def sidecar_facts(file: Path | None) -> dict[str, str]:
    """`sidecar_sha256`, empty without a sidecar: the same weights may be read or calibrated in another way."""
    return {} if file is None else {"sidecar_sha256": hashlib.sha256(file.read_bytes()).hexdigest()}


def read_object(file: Path) -> dict[str, Any]:
    """A JSON object that lies beside weights.

    Raises:
        ModelLoadError: the file cannot be read, is not JSON, or holds no object.
    """
    try:
        loaded = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelLoadError(f"{file} is not JSON: {first}") from error
    if not isinstance(loaded, dict):
        raise ModelLoadError(f"{file} must hold a JSON object")
    return loaded


def thresholds_of(sidecar: Mapping[str, Any]) -> dict[float, float]:
    """Its calibration: escalation rate to threshold.

    Raises:
        ModelLoadError: rates or thresholds are no numbers.
    """
    try:
        return {float(rate): float(value) for rate, value in sidecar.get("thresholds", {}).items()}
    except (TypeError, ValueError, AttributeError) as error:
        raise ModelLoadError(f"the thresholds of {SIDECAR} are no numbers: {error}") from error
