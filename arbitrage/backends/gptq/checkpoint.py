"""GPTQ checkpoints on disk: the settings they were made with, and the layout that auto-gptq used."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from arbitrage.backends.hf.loading import Source
from arbitrage.backends.sidecar import read_object
from arbitrage.errors import ModelLoadError

_OLD_SETTINGS = "quantize_config.json"
_DEFAULTS: dict[str, Any] = {"group_size": -1, "desc_act": False, "sym": True, "lm_head": False}


@contextmanager
def as_hub_checkpoint(source: Source) -> Iterator[tuple[Source, dict[str, Any]]]:
    """A source that `transformers` can read, and its quantisation settings: bits, group_size, desc_act, ….

    auto-gptq kept its settings in quantize_config.json only and gave its weights a name of its own
    (gptq_model-4bit-128g.safetensors). Such a directory is shown to `transformers` through links in a temporary folder;
    nothing is changed or copied.

    Raises:
        ModelLoadError: the checkpoint is not a GPTQ one, or its settings are damaged.
    """
    if not source.local:
        yield source, _hub_settings(source)
        return
    source.check()
    folder = source.path.resolve()
    config = read_object(folder / "config.json")
    settings = config.get("quantization_config")
    old = folder / _OLD_SETTINGS
    if settings is None and old.is_file():
        settings = read_object(old)
    checked = _checked(settings, source)
    weights = sorted(folder.glob("*.safetensors"))
    if ("quantization_config" in config and (folder / "model.safetensors").is_file()) or len(weights) != 1:
        yield source, checked
        return
    with tempfile.TemporaryDirectory(prefix="arbitrage-gptq-") as temporary:
        view = Path(temporary)
        for file in folder.iterdir():
            if file.is_file() and file.name != "config.json" and file not in weights:
                (view / file.name).symlink_to(file)
        (view / "model.safetensors").symlink_to(weights[0])
        quantization = {**checked, "quant_method": "gptq", "checkpoint_format": "gptq"}
        (view / "config.json").write_text(json.dumps({**config, "quantization_config": quantization}))
        yield Source(str(view)), checked


def _hub_settings(source: Source) -> dict[str, Any]:
    from transformers import AutoConfig

    name, keywords = source.arguments()
    try:
        config = AutoConfig.from_pretrained(name, **keywords)
    except (OSError, ValueError) as error:
        raise ModelLoadError(f"{source.text}: {str(error).strip().splitlines()[0]}") from error
    return _checked(getattr(config, "quantization_config", None), source)


def _checked(settings: Any, source: Source) -> dict[str, Any]:
    if not isinstance(settings, dict) or "bits" not in settings:
        raise ModelLoadError(
            f"{source.text}: it has no GPTQ settings (quantization_config in config.json, or {_OLD_SETTINGS}); load it "
            "with the hf backend, or quantise it: arbitrage models quantize DIR --gptq 4"
        )
    method = settings.get("quant_method", settings.get("method", "gptq"))
    if method != "gptq":
        raise ModelLoadError(f"{source.text}: it is quantised by {method!r}, not by GPTQ; load it with the hf backend")
    return {**_DEFAULTS, **settings}
