"""A backbone cut to its first layers: the cheapest reader there is. Its final norm stays."""

from __future__ import annotations

from typing import Any

from torch import nn

from arbitrage.harness.router.settings import TrainingError


def layer_count(module: Any) -> int:
    """Layers of a classifier's backbone.

    Raises:
        TrainingError: they are not where those of Llama, Qwen, Mistral and their like are.
    """
    backbone = module.base_model
    if not isinstance(getattr(backbone, "layers", None), nn.ModuleList) or not hasattr(backbone, "norm"):
        raise TrainingError(
            f"{type(module).__name__} has no list of layers with a norm behind it, as Llama, Qwen and Mistral have; "
            "train it without --frozen and --layer"
        )
    return len(backbone.layers)


def keep_layers(module: Any, count: int) -> None:
    """Drop all layers but the first `count`, in the module and in its configuration.

    Raises:
        TrainingError: it has fewer.
    """
    there = layer_count(module)
    if not 1 <= count <= there:
        raise TrainingError(f"layer must be from 1 to {there}, the layers of the initial model; not {count}")
    module.base_model.layers = module.base_model.layers[:count]
    config = module.config.get_text_config()
    config.num_hidden_layers = count
    if getattr(config, "layer_types", None):
        config.layer_types = config.layer_types[:count]
