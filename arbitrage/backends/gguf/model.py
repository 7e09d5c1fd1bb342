"""GGUF language models."""

from __future__ import annotations

from typing import final

from arbitrage.backends.cached import CachedLanguageModel
from arbitrage.backends.gguf.codec import GGUFCodec
from arbitrage.backends.gguf.engine import EngineOptions, Pool, SequenceCache, Weights
from arbitrage.cpu import CpuThreads
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
        if options.gpu_layers == 0:
            self.cpu_threads = _OwnThreads(self)

    def new_cache(self) -> SequenceCache:
        """See `CachedLanguageModel.new_cache`."""
        return self._pool.cache()

    def use_threads(self, count: int) -> None:
        """Run on `count` CPU threads from now on."""
        self._pool.use_threads(count)
        self.add_facts(threads=count)


@final
class _OwnThreads(CpuThreads):
    def __init__(self, model: GGUFLanguageModel) -> None:
        self.name, self._model = model.name, model

    def use(self, count: int) -> None:
        """See `CpuThreads.use`."""
        self._model.use_threads(count)
