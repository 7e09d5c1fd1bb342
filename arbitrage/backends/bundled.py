"""Where the bundled models lie. Light to import: it only knows paths."""

from __future__ import annotations

from pathlib import Path

from arbitrage.errors import ModelLoadError

_ROOT = Path(__file__).parent / "bundled_models"


def bundled_path(model: str) -> Path:
    """Directory of a bundled model: 'draft', 'target', 'prm' or 'router'.

    The language models load with `transformers.AutoModelForCausalLM.from_pretrained`, PRM and router with
    `AutoModelForTokenClassification.from_pretrained`.

    Raises:
        ModelLoadError: there is no bundled model of this name.
    """
    path = _ROOT / model
    if not (path / "config.json").is_file():
        known = sorted(p.parent.name for p in _ROOT.glob("*/config.json"))
        raise ModelLoadError(f"no bundled model named {model!r}; there are: {', '.join(known) or 'none'}")
    return path
