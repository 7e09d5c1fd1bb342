"""What benchmarks make of models: ones that never stop writing, and ones that take longer texts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from arbitrage.backends.bundled import bundled_path
from arbitrage.interfaces import LanguageModel


def endless(model: LanguageModel) -> LanguageModel:
    """The model itself; from now on it writes on behind an end of sequence: no token has the id of one."""
    model.codec._eos_ids = frozenset({-1})  # type: ignore[attr-defined]
    return model


def longer(model: str, folder: Path, positions: int) -> Path:
    """A copy of a bundled model that takes `positions` tokens; beyond its training its text means nothing."""
    copy = folder / f"{model}-{positions}"
    if not copy.exists():
        shutil.copytree(bundled_path(model), copy)
        config = json.loads((copy / "config.json").read_text(encoding="utf-8"))
        (copy / "config.json").write_text(json.dumps({**config, "max_position_embeddings": positions}))
    return copy
