"""Causal language models of `transformers`."""

from __future__ import annotations

from typing import Any

from arbitrage.backends.cached import CachedLanguageModel, KVCache
from arbitrage.backends.hf.codec import HFCodec
from arbitrage.backends.hf.engine import Network
from arbitrage.backends.hf.threads import threads_on
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
        lean: bool = True,
    ) -> None:
        """Wrap `module`, a transformers causal language model in evaluation mode; the rest as in the base class."""
        self.network = Network(module, name, lean)
        self.cpu_threads = threads_on(self.network.device)
        facts = {**(facts or {}), "forward": self.network.forward_kind}
        super().__init__(name, codec, self.network.context_length, instruction, facts)

    def new_cache(self) -> KVCache:
        """See `CachedLanguageModel.new_cache`."""
        return self.network.new_cache()
