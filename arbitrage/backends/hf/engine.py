"""One sequence pushed through one transformers model: the forward pass and its cache.

Language-model sessions and step scorers share it. Knows nothing of sampling or steps.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from arbitrage.backends.hf.cache import RewindableCache, attention_layers


class Network:
    """A loaded transformers model with what every sequence needs to know about it."""

    def __init__(self, module: Any, source: str) -> None:
        """Wrap `module`, a transformers model in evaluation mode; `source` is for messages."""
        self.module = module
        self.layers = attention_layers(module.config, source)
        self.device: torch.device = module.device
        self.context_length = int(getattr(module.config.get_text_config(), "max_position_embeddings", 1 << 20))
        self._keeps = "logits_to_keep" in inspect.signature(module.forward).parameters

    def forward(self, ids: Sequence[int], cache: RewindableCache, keep: int) -> NDArray[np.float32]:
        """Encode `ids` after what `cache` holds; outputs at the last `keep` positions, shape (keep, outputs)."""
        extra = {"logits_to_keep": keep} if self._keeps else {}
        with torch.inference_mode():
            tokens = torch.tensor([ids], device=self.device)
            out = self.module(input_ids=tokens, past_key_values=cache, use_cache=True, **extra).logits
            # The copy to the host also waits for the device.
            result: NDArray[np.float32] = out[0, -keep:].float().cpu().numpy()
        return result


class NetworkCache:
    """The encoded prefix of one sequence in one `Network`; a `KVCache`."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._cache = RewindableCache(network.layers)

    @property
    def length(self) -> int:
        """Positions held."""
        return self._cache.length

    def forward(self, ids: Sequence[int], keep: int) -> NDArray[np.float32]:
        """See `KVCache.forward`."""
        return self._network.forward(ids, self._cache, keep)

    def truncate(self, length: int) -> None:
        """See `KVCache.truncate`."""
        self._cache.truncate(length)

    def close(self) -> None:
        """The tensors go with the last reference."""
