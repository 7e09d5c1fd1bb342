"""Where the bundled models lie. Light to import: it only knows paths."""

from __future__ import annotations

from pathlib import Path

from arbitrage.errors import ModelLoadError

_ROOT = Path(__file__).parent / "bundled_models"


def bundled_path(model: str) -> Path:
    """Directory of a bundled model: 'draft', 'target', 'prm' or 'router'.

    All four load with `transformers.AutoModelForCausalLM.from_pretrained`: PRM and router are a language model, and how
    its surprise is read (`arbitrage.backends.hf.likelihood`).

    Raises:
        ModelLoadError: there is no bundled model of this name.
    """
    path = _ROOT / model
    if not (path / "config.json").is_file():
        known = sorted(p.parent.name for p in _ROOT.glob("*/config.json"))
        raise ModelLoadError(f"no bundled model named {model!r}; there are: {', '.join(known) or 'none'}")
    return path


def bundled_gguf(model: str, variant: str) -> Path:
    """GGUF file of a bundled model.

    Args:
        model: 'draft' or 'target'.
        variant: precision in any case, or its beginning: 'q8_0', 'Q3_K_S', 'q3_k', 'q3'.

    Raises:
        ModelLoadError: there is no such file, or the beginning fits several.
    """
    files = {p.stem.removeprefix(f"{model}-"): p for p in sorted((_ROOT / "gguf").glob(f"{model}-*.gguf"))}
    fitting = [name for name in files if name.lower().startswith(variant.lower())]
    if variant.upper() in files:
        fitting = [variant.upper()]
    if len(fitting) != 1:
        known = ", ".join(name.lower() for name in files) or "none"
        raise ModelLoadError(f"no bundled {model} in {variant!r}; as GGUF there are: {known}")
    return files[fitting[0]]
