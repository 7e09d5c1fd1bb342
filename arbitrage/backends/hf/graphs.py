"""Decode passes recorded as CUDA graphs: one launch a token instead of some twenty a layer.

At batch 1 a GPU runs the operations of a small model faster than Python can ask for them. A recording holds the buffer
that it was made over, so buffers are handed on from one solution to the next with their recordings; prompts and several
sequences at once are not recorded.
"""

from __future__ import annotations

import threading
import warnings
from collections import Counter
from collections.abc import Callable
from typing import final

import torch
from torch import Tensor

from arbitrage.backends.hf.key_values import KeyValues
from arbitrage.backends.hf.lean import LeanDecoder, Pass

_MOST_TOKENS = 16
"""Of a recorded pass: longer ones are bound by arithmetic."""
_MOST_SPARE = 8
"""Buffers that wait for their next sequence."""
_FIRST_USES = 3
"""Passes over several tokens that are run before their length is worth a recording; single tokens always are."""

Recorder = Callable[[Callable[[], Tensor]], Callable[[], Tensor]]
"""Records a function of fixed tensors; what it returns runs it again and gives the same output tensor, filled anew."""

device_turn = threading.Lock()
"""Held by every pass on a CUDA device: while one thread records, no other may ask the driver for anything."""


class GraphRecorder:
    """Records as CUDA graphs on one device, all of them in one pool of memory."""

    def __init__(self, device: torch.device) -> None:
        """Record on `device`, whatever the current one is."""
        self._device = device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._pool = torch.cuda.graph_pool_handle()  # replays come one after the other, outputs are copied between

    def __call__(self, run: Callable[[], Tensor]) -> Callable[[], Tensor]:
        """Record `run`; it is run twice before, as torch asks for."""
        with torch.cuda.device(self._device):
            self._stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self._stream):
                for _ in range(2):
                    run()
            torch.cuda.current_stream().wait_stream(self._stream)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"):
                output = run()

        def replay() -> Tensor:
            with torch.cuda.device(self._device):
                graph.replay()
            return output

        return replay


@final
class _Recording:
    """One pass over `count` tokens of one buffer."""

    def __init__(self, lean: LeanDecoder, held: KeyValues, count: int, device: torch.device, record: Recorder) -> None:
        self._where = torch.zeros(2, count, dtype=torch.long, device=device)  # ids, positions
        self._angles = lean.prepare(held.capacity)  # kept alive: the recording reads them
        self._where[1] = held.length + torch.arange(count, device=device)
        self._replay = record(lambda: lean.static_pass(held, self._where[0], self._where[1]))

    def rows(self, one: Pass) -> Tensor:
        """Outputs at all places of `one`; overwritten by the next call."""
        start = one.cache.length
        self._where.copy_(torch.tensor([list(one.ids), list(range(start, start + len(one.ids)))]))
        return self._replay()


@final
class GraphedDecoder:
    """A lean forward pass whose short passes over one sequence are recorded and replayed."""

    def __init__(self, lean: LeanDecoder, device: torch.device, record: Recorder) -> None:
        """Record passes of `lean` on `device`."""
        self._lean, self._device, self._record = lean, device, record
        self._refused = False
        """Whether a recording failed: then nothing is recorded any more."""
        self._uses: Counter[int] = Counter()
        self._spare: list[KeyValues] = []

    def new_cache(self) -> KeyValues:
        """An empty sequence, in a buffer that was used before where there is one."""
        try:
            return self._spare.pop()
        except IndexError:
            return self._lean.new_cache()

    def give_back(self, held: KeyValues) -> None:
        """Take the buffer of a sequence that is done."""
        held.clear()
        if len(self._spare) < _MOST_SPARE:
            self._spare.append(held)

    def run(self, one: Pass) -> Tensor:
        """As `LeanDecoder.run` for one sequence; what is returned is overwritten by the next call."""
        count, held = len(one.ids), one.cache
        self._uses[count] += 1
        if self._refused or count > _MOST_TOKENS or (count > 1 and self._uses[count] <= _FIRST_USES):
            return self._lean.run((one,))[0]
        with torch.inference_mode():
            held.reserve(held.length + count)
            recording = held.recordings.get(count)
            if not isinstance(recording, _Recording):
                try:
                    recording = _Recording(self._lean, held, count, self._device, self._record)
                except RuntimeError as error:  # layers that a graph cannot hold
                    self._refused = True
                    warnings.warn(f"passes are not recorded as CUDA graphs: {error}", stacklevel=2)
                    return self._lean.run((one,))[0]
                held.recordings[count] = recording
            rows = recording.rows(one)
        held.length += count
        return rows[-one.keep :]
