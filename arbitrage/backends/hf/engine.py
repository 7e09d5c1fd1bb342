"""One sequence pushed through one transformers model: the forward pass, its cache and its clock.

Language-model sessions and step scorers share it. Knows nothing of sampling or steps.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from arbitrage.backends.hf.cache import RewindableCache, attention_layers
from arbitrage.interfaces import Usage


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


class CachedSequence:
    """A token sequence with the cache of its encoded prefix; tokens are encoded when an output is asked for."""

    def __init__(self, network: Network) -> None:
        self.ids: list[int] = []
        self.usage = Usage()
        self._network = network
        self._cache: RewindableCache | None = RewindableCache(network.layers)

    def append(self, ids: Sequence[int]) -> None:
        """Add tokens; nothing is run."""
        self.ids.extend(ids)

    def truncate(self, length: int) -> None:
        """Forget all tokens from position `length` on."""
        del self.ids[length:]
        self._open().truncate(length)

    def outputs(self, count: int) -> NDArray[np.float32]:
        """Run whatever is not encoded yet; outputs at the last `count` positions, shape (count, outputs)."""
        cache = self._open()
        # A position whose output is wanted again has to be run again.
        cache.truncate(len(self.ids) - count)
        pending = self.ids[cache.length :]
        started = time.perf_counter()
        result = self._network.forward(pending, cache, count)
        self.usage.seconds += time.perf_counter() - started
        self.usage.calls += 1
        self.usage.tokens += len(pending)
        return result

    def close(self) -> None:
        """Free the cache."""
        self._cache = None

    def _open(self) -> RewindableCache:
        if self._cache is None:
            raise RuntimeError("this session is closed")
        return self._cache
