"""One transformers model and the sequences in it: the forward pass, its caches, and several sequences in one pass.

Language-model sessions and step scorers share it. Knows nothing of sampling or steps.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from arbitrage.backends.cached import KVCache
from arbitrage.backends.hf.cache import RewindableCache, attention_layers
from arbitrage.backends.hf.graphs import GraphedDecoder, GraphRecorder, device_turn
from arbitrage.backends.hf.lean import LeanDecoder, Pass
from arbitrage.backends.together import Together


class Network:
    """A loaded transformers model with what every sequence needs to know about it."""

    def __init__(self, module: Any, source: str, lean: bool = True) -> None:
        """Wrap a transformers model.

        Args:
            module: in evaluation mode.
            source: for messages.
            lean: whether our own forward pass may stand in for the module's where it is the same function.
        """
        self.module = module
        self.layers = attention_layers(module.config, source)
        self.device: torch.device = module.device
        self.context_length = int(getattr(module.config.get_text_config(), "max_position_embeddings", 1 << 20))
        self.lean = LeanDecoder.of(module) if lean else None
        """Our own forward pass; None where the module's has to do."""
        self.narrows = self.device.type != "cpu"
        """Whether greedy decoding gets the best token of each row and not the row: on a CPU rows are there already."""
        recorded = self.device.type == "cuda"
        self.graphs: GraphedDecoder | None = None
        """Recorded decode passes, on CUDA."""
        if self.lean is not None and recorded:
            self.graphs = GraphedDecoder(self.lean, self.device, GraphRecorder(self.device))
        self._keeps = "logits_to_keep" in inspect.signature(module.forward).parameters
        self.together = Together[Pass, NDArray[np.float32]](self._forward, self._forward_one)

    @property
    def forward_kind(self) -> str:
        """Whose forward pass runs, for the manifest."""
        return "transformers" if self.lean is None else "lean, packed" if self.lean.packed else "lean"

    def new_cache(self) -> KVCache:
        """An empty sequence."""
        return ModuleCache(self) if self.lean is None else LeanCache(self, self.lean)

    def forward(self, ids: Sequence[int], cache: RewindableCache, keep: int, best: bool = False) -> NDArray[np.float32]:
        """Encode `ids` after what `cache` holds by the module; outputs at the last `keep` positions, or their best."""
        extra = {"logits_to_keep": keep} if self._keeps else {}
        with self._device_turn(), torch.inference_mode():
            tokens = torch.tensor([ids], device=self.device)
            out = self.module(input_ids=tokens, past_key_values=cache, use_cache=True, **extra).logits
            return on_host(out[0, -keep:], best)

    def _forward(self, passes: list[Pass]) -> list[NDArray[np.float32] | Exception]:
        """All passes as one; where that fails, each alone, so that one cannot spoil the others."""
        assert self.lean is not None
        if len(passes) == 1:
            try:
                return [self._forward_one(passes[0])]
            except Exception as error:
                return [error]
        held = [one.cache.length for one in passes]
        try:
            with self._device_turn():
                return [on_host(rows, one.best) for one, rows in zip(passes, self.lean.run(passes), strict=True)]
        except Exception:
            for one, length in zip(passes, held, strict=True):
                one.cache.truncate(length)
            return [self._forward([one])[0] for one in passes]

    def _forward_one(self, one: Pass) -> NDArray[np.float32]:
        assert self.lean is not None
        with self._device_turn():
            return on_host(self.lean.run((one,))[0] if self.graphs is None else self.graphs.run(one), one.best)

    def _device_turn(self) -> AbstractContextManager[object]:
        """Passes on a CUDA device come one after the other, those of other models included (`graphs.device_turn`)."""
        return _FREE if self.device.type != "cuda" else device_turn


_FREE: AbstractContextManager[object] = nullcontext()


def on_host(rows: torch.Tensor, best: bool = False) -> NDArray[np.float32]:
    """Outputs as float32 in host memory, or the best of each row as `best_of` tells it; waits for the device."""
    if best:
        rows = best_of(rows)
    if rows.device.type == "cuda":
        pinned = torch.empty(rows.shape, dtype=torch.float32, pin_memory=True)
        pinned.copy_(rows, non_blocking=True)
        torch.cuda.current_stream(rows.device).synchronize()
        rows = pinned
    result: NDArray[np.float32] = rows.float().cpu().numpy()
    return result


def best_of(rows: torch.Tensor) -> torch.Tensor:
    """Where each row has its first maximum and the log-softmax there: (tokens, outputs) to (tokens, 2), float32.

    In float32 a place is exact up to 2^24. As in numpy, NaN counts as the maximum, and all sums are those of float32.
    """
    with torch.inference_mode():
        rows = rows.float()
        place = rows.argmax(-1, keepdim=True)
        logprob = (rows - rows.gather(-1, place)).exp_().sum(-1, keepdim=True).log_().neg_()
        return torch.cat([place.float(), logprob], -1)


class LeanCache:
    """The encoded prefix of one sequence under our own forward pass; a `KVCache`."""

    def __init__(self, network: Network, lean: LeanDecoder) -> None:
        self._together, self._graphs = network.together, network.graphs
        self.narrows = network.narrows
        self.held = lean.new_cache() if network.graphs is None else network.graphs.new_cache()
        """Keys and values."""
        self._closed = False

    @property
    def length(self) -> int:
        """Positions held."""
        return self.held.length

    def forward(self, ids: Sequence[int], keep: int) -> NDArray[np.float32]:
        """See `KVCache.forward`. What other threads ask of the same model meanwhile goes into the same pass."""
        return self._together(Pass(ids, self.held, keep))

    def best(self, ids: Sequence[int], keep: int) -> NDArray[np.float32]:
        """See `NarrowingCache.best`."""
        return self._together(Pass(ids, self.held, keep, best=True))

    def truncate(self, length: int) -> None:
        """See `KVCache.truncate`."""
        self.held.truncate(length)

    def close(self) -> None:
        """The tensors go with the last reference, or to the next sequence."""
        if self._graphs is not None and not self._closed:
            self._graphs.give_back(self.held)
        self._closed = True


class ModuleCache:
    """The encoded prefix of one sequence under the module's forward pass; a `KVCache`."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._cache = RewindableCache(network.layers)
        self.narrows = network.narrows

    @property
    def length(self) -> int:
        """Positions held."""
        return self._cache.length

    def forward(self, ids: Sequence[int], keep: int) -> NDArray[np.float32]:
        """See `KVCache.forward`."""
        with self._network.together.turn:
            return self._network.forward(ids, self._cache, keep)

    def best(self, ids: Sequence[int], keep: int) -> NDArray[np.float32]:
        """See `NarrowingCache.best`."""
        with self._network.together.turn:
            return self._network.forward(ids, self._cache, keep, best=True)

    def truncate(self, length: int) -> None:
        """See `KVCache.truncate`."""
        self._cache.truncate(length)

    def close(self) -> None:
        """The tensors go with the last reference."""
