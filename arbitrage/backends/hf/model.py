"""Causal language models of `transformers`."""

from __future__ import annotations

from typing import Any

from arbitrage.backends.cached import CachedLanguageModel
from arbitrage.backends.hf.codec import HFCodec
from arbitrage.backends.hf.engine import Network, NetworkCache
from arbitrage.interfaces import INSTRUCTION


class HFLanguageModel(CachedLanguageModel):
    """A causal language model of `transformers`, resident on one device."""

    def __init__(
        self,
        name: str,
        module: Any,
        codec: HFCodec,
        instruction: str = INSTRUCTION,
        facts: dict[str, object] | None = None,
    ) -> None:
        """Wrap `module`, a transformers causal language model in evaluation mode; the rest as in the base class."""
        self.network = Network(module, name)
        super().__init__(name, codec, self.network.context_length, instruction, facts)

    def new_cache(self) -> NetworkCache:
        """See `CachedLanguageModel.new_cache`."""
        return NetworkCache(self.network)
