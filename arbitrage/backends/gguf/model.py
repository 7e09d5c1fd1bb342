"""GGUF language models."""

from __future__ import annotations

from arbitrage.backends.cached import CachedLanguageModel
from arbitrage.backends.gguf.codec import GGUFCodec
from arbitrage.backends.gguf.engine import EngineOptions, Pool, SequenceCache, Weights
from arbitrage.interfaces import INSTRUCTION, Capability


class GGUFLanguageModel(CachedLanguageModel):
    """A language model in llama.cpp; sessions are sequences of shared contexts."""

    def __init__(
        self,
        name: str,
        weights: Weights,
        codec: GGUFCodec,
        options: EngineOptions,
        instruction: str = INSTRUCTION,
        facts: dict[str, object] | None = None,
    ) -> None:
        """Wrap loaded weights; the rest as in the base class."""
        super().__init__(name, codec, options.context, instruction, facts)
        if not weights.rewinds:
            self.capabilities = self.capabilities - {Capability.REWIND}
        self._pool = Pool(weights, options, name)

    def new_cache(self) -> SequenceCache:
        """See `CachedLanguageModel.new_cache`."""
        return self._pool.cache()
