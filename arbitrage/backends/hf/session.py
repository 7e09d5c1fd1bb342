"""Language models and sessions over `transformers`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from arbitrage.backends.decoding import LogitsSession
from arbitrage.backends.hf.codec import HFCodec
from arbitrage.backends.hf.engine import CachedSequence, Network
from arbitrage.errors import ContextOverflowError
from arbitrage.interfaces import INSTRUCTION, Capability, LanguageModel, Usage
from arbitrage.sampling import Logits


class HFLanguageModel(LanguageModel):
    """A causal language model of `transformers`, resident on one device."""

    capabilities = frozenset({Capability.LOGITS, Capability.REWIND})

    def __init__(
        self,
        name: str,
        module: Any,
        codec: HFCodec,
        instruction: str = INSTRUCTION,
        facts: dict[str, object] | None = None,
    ) -> None:
        """Wrap a loaded model.

        Args:
            name: how tables call it.
            module: a transformers causal language model in evaluation mode.
            codec: its tokenizer.
            instruction: what it wants to read after a statement.
            facts: where it came from, for the manifest.
        """
        self.name, self.codec, self.instruction = name, codec, instruction
        self._network = Network(module, name)
        self._facts = facts or {}
        self.context_length = self._network.context_length

    def open(self, prompt: Sequence[int]) -> HFSession:
        """See `LanguageModel.open`."""
        if not prompt:
            raise ValueError("a session needs a prompt of at least one token")
        if len(prompt) >= self.context_length:
            raise ContextOverflowError(
                f"the prompt has {len(prompt)} tokens but {self.name!r} holds {self.context_length}; shorten it"
            )
        return HFSession(self, self._network, prompt)

    def describe(self) -> dict[str, object]:
        """Source, revision, dtype, device, parameters, hashes."""
        return {"name": self.name, **self._facts}


class HFSession(LogitsSession):
    """One sequence of an `HFLanguageModel` and its cache."""

    def __init__(self, model: HFLanguageModel, network: Network, prompt: Sequence[int]) -> None:
        self.model = model
        self._sequence = CachedSequence(network)
        self._sequence.append(prompt)

    @property
    def ids(self) -> Sequence[int]:
        """See `Session.ids`."""
        return self._sequence.ids

    @property
    def usage(self) -> Usage:  # type: ignore[override]
        """Work done by this session."""
        return self._sequence.usage

    def extend(self, ids: Sequence[int], logits: int = 0) -> Logits | None:
        """See `Session.extend`."""
        total = len(self._sequence.ids) + len(ids)
        if total > self.model.context_length:
            raise ContextOverflowError(
                f"{total} tokens do not fit into the context of {self.model.name!r}, {self.model.context_length}"
            )
        if not 0 <= logits <= total:
            raise ValueError(f"logits must be within 0..{total} (the length of the sequence), not {logits}")
        self._sequence.append(ids)
        if logits == 0:
            return None
        return self._sequence.outputs(logits)

    def rewind(self, length: int) -> None:
        """See `Session.rewind`."""
        if not 0 <= length <= len(self._sequence.ids):
            raise ValueError(f"cannot rewind to {length}: the sequence has {len(self._sequence.ids)} tokens")
        self._sequence.truncate(length)

    def close(self) -> None:
        """See `Session.close`."""
        self._sequence.close()
