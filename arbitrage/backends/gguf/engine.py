"""A GGUF model inside llama.cpp: weights, contexts with several sequences, and the cache of one sequence.

Low-level API only. Knows nothing of text, sampling or steps.
"""

from __future__ import annotations

import ctypes
import heapq
import os
import threading
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import llama_cpp
import numpy as np
from numpy.typing import NDArray

from arbitrage.backends.together import Together
from arbitrage.errors import ContextOverflowError, ModelLoadError

_BATCH = 512
_FLASH_ATTENTION_OFF = 0
"""On a CPU, single tokens and batches of 8 are faster without (docs/backends.md)."""


def _say_nothing(level: int, text: bytes, data: object) -> None:
    """llama.cpp reports on standard error; what matters comes back as return codes."""


_quiet = llama_cpp.llama_log_callback(_say_nothing)
_logits_address = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)(
    ctypes.cast(llama_cpp.llama_get_logits, ctypes.c_void_p).value or 0
)
"""`llama_get_logits` as a plain address: making a typed pointer takes longer than the call."""


def initialise() -> None:
    """Start llama.cpp, silently."""
    llama_cpp.llama_log_set(_quiet, ctypes.c_void_p())
    llama_cpp.llama_backend_init()


def system_info() -> str:
    """CPU features that llama.cpp was built with."""
    told: bytes = llama_cpp.llama_print_system_info()
    return told.decode()


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How a model is held in memory."""

    context: int
    """Most tokens of one sequence."""
    sessions: int = 1
    """Sequences in one context, decoded together when asked at the same time; more sessions open further contexts."""
    threads: int = 1
    cache_f32: bool = False
    """Keys and values in F32 instead of F16."""
    gpu_layers: int = 0
    """Layers on the GPU; -1 for all."""
    main_gpu: int = 0


class Weights:
    """A loaded model; freed with the last reference."""

    def __init__(self, path: Path, gpu_layers: int = 0, main_gpu: int = 0) -> None:
        """Load `path`.

        Raises:
            ModelLoadError: llama.cpp refuses it.
        """
        initialise()
        parameters = llama_cpp.llama_model_default_params()
        parameters.n_gpu_layers, parameters.main_gpu = gpu_layers, main_gpu
        # As fast as any other way, and pages are shared with other processes.
        parameters.load_mode = llama_cpp.LLAMA_LOAD_MODE_MMAP
        if "AMX_INT8 = 1" in system_info():
            # Builds with gcc 12 crash in their AMX kernels (llama.cpp issue 20824); others decode as fast.
            parameters.use_extra_bufts = False
        pointer = llama_cpp.llama_model_load_from_file(os.fsencode(path), parameters)
        if not pointer:
            raise ModelLoadError(
                f"{path}: llama.cpp cannot load it; is the architecture supported by llama-cpp-python "
                f"{llama_cpp.__version__}?"
            )
        self.pointer = pointer
        self.vocab = llama_cpp.llama_model_get_vocab(pointer)
        self.vocabulary_size = llama_cpp.llama_vocab_n_tokens(self.vocab)
        self.trained_context = llama_cpp.llama_model_n_ctx_train(pointer)
        self.parameters = llama_cpp.llama_model_n_params(pointer)
        self.bytes = llama_cpp.llama_model_size(pointer)
        self.rewinds = not (llama_cpp.llama_model_is_recurrent(pointer) or llama_cpp.llama_model_is_hybrid(pointer))
        weakref.finalize(self, llama_cpp.llama_model_free, pointer)


class Pool:
    """All contexts of one model. Sequences are handed out and come back."""

    def __init__(self, weights: Weights, options: EngineOptions, name: str) -> None:
        """Nothing is allocated before the first sequence is asked for."""
        self._weights, self._options, self._name = weights, options, name
        self._lock = threading.Lock()
        self._contexts: list[Context] = []

    def cache(self) -> SequenceCache:
        """An empty sequence."""
        with self._lock:
            for context in self._contexts:
                if context.free:
                    return SequenceCache(context, heapq.heappop(context.free))
            context = Context(self._weights, self._options, self._name)
            self._contexts.append(context)
            return SequenceCache(context, heapq.heappop(context.free))

    def use_threads(self, count: int) -> None:
        """Decode with `count` threads from now on."""
        with self._lock:
            self._options = replace(self._options, threads=count)
            for context in self._contexts:
                context.use_threads(count)


class SequenceCache:
    """One sequence of one context; a `KVCache`."""

    def __init__(self, context: Context, sequence: int) -> None:
        self._context, self._sequence = context, sequence
        self._length = 0
        self._open = True

    @property
    def length(self) -> int:
        """Positions held."""
        return self._length

    def forward(self, ids: Sequence[int], keep: int) -> NDArray[np.float32]:
        """See `KVCache.forward`."""
        result = self._context.decode(self._sequence, self._length, ids, keep)
        self._length += len(ids)
        return result

    def truncate(self, length: int) -> None:
        """See `KVCache.truncate`."""
        if length < self._length:
            self._context.forget(self._sequence, length)
            self._length = length

    def close(self) -> None:
        """Give the sequence back."""
        if self._open:
            self._open = False
            self._context.forget(self._sequence, 0)
            heapq.heappush(self._context.free, self._sequence)


@dataclass(frozen=True, slots=True, eq=False)
class _Request:
    """Tokens that one sequence wants encoded."""

    sequence: int
    start: int
    """Position of the first token."""
    ids: Sequence[int]
    keep: int
    """How many of the last positions' logits are wanted."""


class Context:
    """One llama.cpp context with its sequences. Threads may call it at once: what waits is decoded together."""

    def __init__(self, weights: Weights, options: EngineOptions, name: str) -> None:
        """Allocate the caches of `options.sessions` sequences.

        Raises:
            ModelLoadError: there is not enough memory.
        """
        self._weights, self._name = weights, name
        parameters = llama_cpp.llama_context_default_params()
        parameters.n_ctx = options.context * options.sessions
        parameters.n_seq_max = options.sessions
        parameters.n_batch = parameters.n_ubatch = _BATCH
        parameters.n_threads = parameters.n_threads_batch = options.threads
        parameters.flash_attn_type = _FLASH_ATTENTION_OFF
        parameters.kv_unified = False
        if options.cache_f32:
            parameters.type_k = parameters.type_v = llama_cpp.GGML_TYPE_F32
        parameters.swa_full = True  # sliding windows keep what lies behind them: rewinding needs it
        parameters.no_perf = True
        pointer = llama_cpp.llama_init_from_model(weights.pointer, parameters)
        if not pointer:
            raise ModelLoadError(
                f"{name}: no memory for {options.sessions} x {options.context} tokens; pass a smaller --context"
            )
        self.free = list(range(options.sessions))
        """Heap of the sequences that nobody uses; the lowest go first, so that those in use follow each other."""
        self._pointer = pointer
        self._memory = llama_cpp.llama_get_memory(pointer)
        self._batch = _Batch()
        self._rows = np.empty((0, weights.vocabulary_size), dtype=np.float32)
        self._rows_address = 0
        self._together = Together[_Request, NDArray[np.float32]](self._run, self._run_one)
        weakref.finalize(self, _free, pointer, weights)

    def decode(self, sequence: int, start: int, ids: Sequence[int], keep: int) -> NDArray[np.float32]:
        """Encode tokens of a sequence, together with whatever other threads have brought meanwhile.

        Args:
            sequence: its number.
            start: position of the first token.
            ids: the tokens.
            keep: how many of the last positions' logits are wanted.

        Returns:
            Shape (keep, vocabulary).
        """
        return self._together(_Request(sequence, start, ids, keep))

    def use_threads(self, count: int) -> None:
        """Decode with `count` threads from now on."""
        with self._together.turn:
            llama_cpp.llama_set_n_threads(self._pointer, count, count)

    def forget(self, sequence: int, length: int) -> None:
        """Remove positions from `length` on."""
        with self._together.turn:
            if not llama_cpp.llama_memory_seq_rm(self._memory, sequence, length, -1):
                raise RuntimeError(f"{self._name}: llama.cpp cannot take tokens back from this model's memory")

    def _run_one(self, request: _Request) -> NDArray[np.float32]:
        """The short way for one batch of one sequence: nearly every call, once a token."""
        if len(request.ids) > _BATCH:
            result = self._run([request])[0]
            if isinstance(result, Exception):
                raise result
            return result
        self._batch.put(0, request.ids, request.start, request.sequence, request.keep)
        if (error := self._decode(len(request.ids))) is not None:
            raise self._take_back([request], error)
        return self._logits(request.keep).copy()

    def _run(self, requests: list[_Request]) -> list[NDArray[np.float32] | Exception]:
        """Decode all of `requests`; where that fails, each alone, so that one cannot spoil the others."""
        found = self._try(requests)
        if isinstance(found, Exception):
            return [found] if len(requests) == 1 else [self._run([request])[0] for request in requests]
        return list(found)

    def _try(self, requests: list[_Request]) -> list[NDArray[np.float32]] | Exception:
        """Decode `requests` in as few batches as possible; on failure everything is taken back.

        Sequences go in ascending order: llama.cpp computes those together whose numbers follow each other in a batch,
        and in the order in which threads come they hardly ever do.
        """
        batch, filled = self._batch, 0
        rows: list[list[NDArray[np.float32]]] = [[] for _ in requests]
        wanted: list[tuple[list[NDArray[np.float32]], int]] = []
        for request, own in sorted(zip(requests, rows, strict=True), key=lambda pair: pair[0].sequence):
            count = len(request.ids)
            first_kept = count - request.keep
            for start in range(0, count, _BATCH):
                end = min(start + _BATCH, count)
                if filled + end - start > _BATCH:
                    if error := self._decode(filled):
                        return self._take_back(requests, error)
                    self._hand_out(wanted)
                    filled, wanted = 0, []
                kept = min(end - start, max(0, end - first_kept))
                batch.put(filled, request.ids[start:end], request.start + start, request.sequence, kept)
                filled += end - start
                if kept:
                    wanted.append((own, kept))
        if error := self._decode(filled):
            return self._take_back(requests, error)
        self._hand_out(wanted)
        return [own[0] if len(own) == 1 else np.concatenate(own) for own in rows]

    def _decode(self, filled: int) -> Exception | None:
        code = llama_cpp.llama_decode(self._pointer, self._batch.of(filled))
        if code == 1:
            return ContextOverflowError(f"{self._name}: its context is full; load it with a larger --context")
        if code != 0:
            return RuntimeError(f"{self._name}: llama.cpp could not decode {filled} tokens (code {code})")
        return None

    def _logits(self, rows: int) -> NDArray[np.float32]:
        """The rows that the last batch asked for, in its order, inside llama.cpp's memory."""
        address = _logits_address(self._pointer)
        if address != self._rows_address or rows > len(self._rows):
            width = self._weights.vocabulary_size
            held = (ctypes.c_float * (width * rows)).from_address(address)
            self._rows = np.frombuffer(held, dtype=np.float32).reshape(rows, width)
            self._rows_address = address
        return self._rows[:rows]

    def _hand_out(self, wanted: list[tuple[list[NDArray[np.float32]], int]]) -> None:
        """Copy the last batch's rows to those that asked for them."""
        rows = self._logits(sum(kept for _, kept in wanted)) if wanted else self._rows
        at = 0
        for own, kept in wanted:
            own.append(rows[at : at + kept].copy())
            at += kept

    def _take_back(self, requests: list[_Request], error: Exception) -> Exception:
        for request in requests:
            llama_cpp.llama_memory_seq_rm(self._memory, request.sequence, request.start, -1)
        return error


class _Batch:
    """The arguments of `llama_decode`, in numpy arrays that are written in place."""

    def __init__(self) -> None:
        self._token, self._position, self._count, self._sequence = np.zeros((4, _BATCH), dtype=np.int32)
        self._wanted = np.zeros(_BATCH, dtype=np.int8)
        self._count[:] = 1
        width = self._sequence.itemsize
        # One pointer a position to its sequence id.
        self._pointers = self._sequence.ctypes.data + width * np.arange(_BATCH, dtype=np.uint64)
        self._struct = llama_cpp.llama_batch()
        for name, array in (
            ("token", self._token),
            ("pos", self._position),
            ("n_seq_id", self._count),
            ("seq_id", self._pointers),
            ("logits", self._wanted),
        ):
            kind = dict(llama_cpp.llama_batch._fields_)[name]
            setattr(self._struct, name, ctypes.cast(array.ctypes.data, kind))

    def put(self, at: int, ids: Sequence[int], position: int, sequence: int, kept: int) -> None:
        """Write tokens from place `at` on; the last `kept` of them return logits."""
        end = at + len(ids)
        if end - at == 1:
            self._token[at], self._position[at] = ids[0], position
            self._sequence[at], self._wanted[at] = sequence, kept
            return
        self._token[at:end] = ids
        self._position[at:end] = np.arange(position, position + end - at)
        self._sequence[at:end] = sequence
        self._wanted[at:end] = 0
        self._wanted[end - kept : end] = 1

    def of(self, count: int) -> llama_cpp.llama_batch:
        """The structure, its first `count` places in use."""
        self._struct.n_tokens = count
        return self._struct


def _free(context: object, weights: Weights) -> None:
    """Free a context while its weights are still there."""
    llama_cpp.llama_free(context)
    del weights
