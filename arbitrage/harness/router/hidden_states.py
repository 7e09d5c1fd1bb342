"""What a head would read: the backbone's states at the labelled places, computed once and kept on disk.

Streams that begin another one are read with it, so a step that comes back in later histories costs nothing there.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from arbitrage.harness.router.examples import Example
from arbitrage.harness.run_folder import write_whole

PART = 32
"""Streams in a file: as much work as a stop can cost."""


@dataclass(frozen=True, slots=True)
class Stream:
    """Tokens to be read once."""

    ids: NDArray[np.int32]
    places: NDArray[np.int32]
    """Positions whose states are wanted, rising, each once."""


@final
class States:
    """Stored states; one layer at a time is in memory."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = files

    def layer(self, index: int) -> NDArray[np.float32]:
        """States of one of the layers that were asked for, stream by stream, shape (places, width)."""
        return np.concatenate([np.load(file, mmap_mode="r", allow_pickle=False)[:, index] for file in self._files])


def merged(examples: Sequence[Example]) -> tuple[list[Stream], NDArray[np.intp]]:
    """The streams that have to be read, and for each label of the examples which of their places it is at."""
    # In the order of their bytes, a beginning stands right before what goes on from it.
    order = sorted(range(len(examples)), key=lambda i: examples[i].ids.tobytes())
    hosts, host = [0] * len(examples), -1
    behind: NDArray[np.int32] = np.zeros(0, dtype=np.int32)
    for i in reversed(order):
        ids = examples[i].ids
        if host < 0 or not np.array_equal(ids, behind[: len(ids)]):
            host = i
        hosts[i], behind = host, ids
    wanted: dict[int, set[int]] = {}
    for one, chosen in zip(examples, hosts, strict=True):
        wanted.setdefault(chosen, set()).update(one.places.tolist())
    streams, starts, start = [], {}, 0
    for chosen, places in wanted.items():
        streams.append(Stream(examples[chosen].ids, np.array(sorted(places), dtype=np.int32)))
        starts[chosen] = start, len(streams) - 1
        start += len(places)
    rows = [
        starts[chosen][0] + np.searchsorted(streams[starts[chosen][1]].places, one.places)
        for one, chosen in zip(examples, hosts, strict=True)
    ]
    return streams, np.concatenate([np.zeros(0, dtype=np.intp), *rows]).astype(np.intp)


def stored_states(
    module: Any,
    streams: Sequence[Stream],
    layers: Sequence[int],
    folder: Path,
    micro_batch: int,
    progress: Callable[[int, int], None],
) -> States:
    """Compute what is not in the folder yet.

    Args:
        module: a classifier of which the last layer is the highest one that is wanted; its head is not used.
        streams: what it reads.
        layers: which states: behind how many layers, and then through the final norm, as a backbone of so many layers
            would hand them to its head.
        folder: keeps them; a call with other arguments needs another one.
        micro_batch: streams in a pass.
        progress: told how many streams are done, and of how many.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for start in range(0, len(streams), PART):
        file = folder / f"part-{start // PART:05d}.npy"
        files.append(file)
        if not file.is_file():
            part = streams[start : start + PART]
            content = io.BytesIO()
            np.save(content, _states(module, part, layers, micro_batch), allow_pickle=False)
            write_whole(file, content.getvalue())
            progress(start + len(part), len(streams))
    return States(files)


def _states(module: Any, streams: Sequence[Stream], layers: Sequence[int], micro_batch: int) -> NDArray[np.float32]:
    """Shape (places of all streams, layers, width)."""
    found: dict[int, NDArray[np.float32]] = {}
    shortest_first = sorted(range(len(streams)), key=lambda i: len(streams[i].ids))
    for start in range(0, len(streams), micro_batch):
        chosen = shortest_first[start : start + micro_batch]
        found |= zip(chosen, _batch_states(module, [streams[i] for i in chosen], layers), strict=True)
    return np.concatenate([found[i] for i in range(len(streams))])


def _batch_states(module: Any, streams: Sequence[Stream], layers: Sequence[int]) -> list[NDArray[np.float32]]:
    """Of each stream, shape (places, layers, width)."""
    backbone, device = module.base_model, module.device
    shape = (len(streams), max(len(one.ids) for one in streams))
    ids, mask = torch.zeros(shape, dtype=torch.long), torch.zeros(shape, dtype=torch.long)
    for row, one in enumerate(streams):  # padding stands behind: causal attention never sees it
        ids[row, : len(one.ids)] = torch.from_numpy(one.ids)
        mask[row, : len(one.ids)] = 1
    row_of = torch.cat([torch.full((len(one.places),), row) for row, one in enumerate(streams)])
    place = torch.cat([torch.from_numpy(one.places).long() for one in streams])
    taken: dict[int, Tensor] = {}

    def take(layer: int) -> Callable[..., None]:
        def hook(_module: Any, _inputs: Any, output: Any) -> None:
            states = output[0] if isinstance(output, tuple) else output
            taken[layer] = states[row_of, place]  # (places, width)

        return hook

    hooks = [backbone.layers[layer - 1].register_forward_hook(take(layer)) for layer in set(layers)]
    try:
        with torch.inference_mode():
            backbone(input_ids=ids.to(device), attention_mask=mask.to(device), use_cache=False)
            states = torch.stack([backbone.norm(taken[layer]) for layer in layers], 1).float().cpu()
    finally:
        for hook in hooks:
            hook.remove()
    parts = torch.split(states, [len(one.places) for one in streams])
    return [part.numpy() for part in parts]
