"""What backends with an own key-value cache share: a sequence over a cache, and the model and session built on it.

A new backend of this kind brings a `KVCache` (its forward pass and how to forget) and a `TextCodec`; prompts,
rewinding, bounds, counting and the decode loop come from here and from `decoding`.
"""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from arbitrage.decoding import LogitsSession
from arbitrage.errors import CapabilityError, ContextOverflowError
from arbitrage.interfaces import INSTRUCTION, Capability, Continuation, LanguageModel, Stop, TextCodec, Usage
from arbitrage.sampling import Logits, Sampling


class KVCache(Protocol):
    """The encoded prefix of one sequence inside one network."""

    @property
    def length(self) -> int:
        """Positions held."""

    def forward(self, ids: Sequence[int], keep: int) -> NDArray[np.float32]:
        """Encode `ids` after what is held.

        Args:
            ids: at least one token.
            keep: how many of the last positions' outputs are wanted, 1..len(ids).

        Returns:
            Shape (keep, outputs), in host memory, the device's work done.
        """

    def truncate(self, length: int) -> None:
        """Forget everything from position `length` on; a no-op when less is held."""

    def close(self) -> None:
        """Free the memory."""


class CachedSequence:
    """A token sequence with the cache of its encoded prefix; tokens are encoded when an output is asked for."""

    def __init__(self, cache: KVCache) -> None:
        self.ids: list[int] = []
        self.usage = Usage()
        self._cache: KVCache | None = cache
        self._behind: list[int] = [0]
        """A number for the tokens up to each encoded position, the empty beginning first."""
        self._seen: set[int] = set()
        """Those of all beginnings that were ever encoded."""
        self._newest: _Known | None = None
        self._anchor: _Known | None = None
        self._anchor_at = -1

    def append(self, ids: Sequence[int]) -> None:
        """Add tokens; nothing is run."""
        self.ids.extend(ids)

    def truncate(self, length: int) -> None:
        """Forget all tokens from position `length` on."""
        cache = self._open()
        if length < cache.length:
            self.usage.dropped += cache.length - length
            cache.truncate(length)
        del self.ids[length:]
        if self._newest is not None and self._newest.length > length:
            self._newest = None
        if self._anchor is not None and self._anchor.length > length:
            self._anchor = None

    def anchor(self) -> None:
        """Keep the output behind what is now the newest token: cut back to here, the sequence need not be run again."""
        self._anchor_at = len(self.ids)
        if self._newest is not None and self._newest.length == self._anchor_at:
            self._anchor = self._newest

    def outputs(self, count: int) -> NDArray[np.float32]:
        """Run whatever is not encoded yet; outputs at the last `count` positions, shape (count, outputs)."""
        held, first = self._open().length, len(self.ids) - count
        if held <= first:
            return self._run(count)
        # Outputs behind held tokens are wanted again. One of them is often known; others have to be run once more.
        for known in (self._newest, self._anchor):
            if known is not None and known.length == held == first + 1:
                return known.row[None] if count == 1 else np.concatenate([known.row[None], self._run(count - 1)])
        self._open().truncate(first)
        self.usage.dropped += held - first
        return self._run(count)

    def catch_up(self) -> None:
        """Run whatever is not encoded yet."""
        if self._open().length < len(self.ids):
            self._run(1)

    def _run(self, count: int) -> NDArray[np.float32]:
        cache, total = self._open(), len(self.ids)
        held = cache.length
        pending = self.ids[held:]
        started = time.perf_counter()
        try:
            result = cache.forward(pending, count)
        except BaseException:
            cache.truncate(held)
            raise
        usage = self.usage
        usage.seconds += time.perf_counter() - started
        usage.calls += 1
        usage.tokens += len(pending)
        behind, seen = self._behind, self._seen
        del behind[held + 1 :]
        number = behind[-1]
        for token in pending:
            number = hash((number, token))
            behind.append(number)
            usage.repeated += number in seen
            seen.add(number)
        self._newest = _Known(total, result[-1].copy() if count > 1 else result[-1])
        if total - count < self._anchor_at <= total:
            self._anchor = _Known(self._anchor_at, result[self._anchor_at - total - 1].copy())
        return result

    def close(self) -> None:
        """Free the cache."""
        if self._cache is not None:
            self._cache.close()
        self._cache = None

    def _open(self) -> KVCache:
        if self._cache is None:
            raise RuntimeError("this session is closed")
        return self._cache


class _Known(NamedTuple):
    """The output behind the first `length` tokens of a sequence."""

    length: int
    row: NDArray[np.float32]


class CachedLanguageModel(LanguageModel):
    """A language model whose sessions keep a `KVCache`."""

    capabilities = frozenset({Capability.LOGITS, Capability.REWIND})

    def __init__(
        self,
        name: str,
        codec: TextCodec,
        context_length: int,
        instruction: str = INSTRUCTION,
        facts: dict[str, object] | None = None,
    ) -> None:
        """Wrap a loaded model.

        Args:
            name: how tables call it.
            codec: its tokenizer.
            context_length: most tokens of a session.
            instruction: what it wants to read after a statement.
            facts: where it came from, for the manifest.
        """
        self.name, self.codec, self.context_length, self.instruction = name, codec, context_length, instruction
        self._facts = facts or {}

    @abstractmethod
    def new_cache(self) -> KVCache:
        """An empty cache for one sequence."""

    def open(self, prompt: Sequence[int]) -> CachedSession:
        """See `LanguageModel.open`."""
        if not prompt:
            raise ValueError("a session needs a prompt of at least one token")
        if len(prompt) >= self.context_length:
            raise ContextOverflowError(
                f"the prompt has {len(prompt)} tokens but {self.name!r} holds {self.context_length}; shorten it"
            )
        return CachedSession(self, self.new_cache(), prompt)

    def add_facts(self, **facts: object) -> None:
        """Tell the manifest more."""
        self._facts = {**self._facts, **facts}

    def describe(self) -> dict[str, object]:
        """Source, revision, dtype, device, parameters, hashes."""
        return {"name": self.name, **self._facts}


class CachedSession(LogitsSession):
    """One sequence of a `CachedLanguageModel`."""

    def __init__(self, model: LanguageModel, cache: KVCache, prompt: Sequence[int]) -> None:
        """Start with `prompt`; nothing is run yet."""
        self.model = model
        self._sequence = CachedSequence(cache)
        self._sequence.append(prompt)

    @property
    def ids(self) -> Sequence[int]:
        """See `Session.ids`."""
        return self._sequence.ids

    @property
    def usage(self) -> Usage:  # type: ignore[override]
        """Work done by this session."""
        return self._sequence.usage

    def generate(
        self, stop: Stop, sampling: Sampling, rng: np.random.Generator, proposal: Sequence[int] = ()
    ) -> Continuation:
        """See `Session.generate`."""
        self._sequence.anchor()  # a second version of a step starts from the same output
        return super().generate(stop, sampling, rng, proposal)

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

    def catch_up(self) -> None:
        """See `Session.catch_up`."""
        self._sequence.catch_up()

    def rewind(self, length: int) -> None:
        """See `Session.rewind`."""
        if not 0 <= length <= len(self._sequence.ids):
            raise ValueError(f"cannot rewind to {length}: the sequence has {len(self._sequence.ids)} tokens")
        if length < len(self._sequence.ids) and Capability.REWIND not in self.model.capabilities:
            raise CapabilityError(
                f"{self.model.name!r} keeps a recurrent state that cannot be taken back; it can write alone "
                "(target-only, draft-only) but not take part in speculation"
            )
        self._sequence.truncate(length)

    def close(self) -> None:
        """See `Session.close`."""
        self._sequence.close()
