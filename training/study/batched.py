"""A language model that reads and writes many texts at once, and keeps what it has read.

Batches are padded on the left over what is kept and on the right over what is new. Timing never goes through here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import DynamicCache

from training.family.writing import Pen

_BATCH = 128
_KEPT = 5
"""Texts with one beginning whose keys and values are kept."""
_REST = 32
"""After so many tokens those texts that have ended leave the batch."""

Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Text:
    """Token ids, and the name of the family of texts that begin like it."""

    root: str
    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Rows:
    """What the model put out before each token of a run, and its states there."""

    logits: Array
    """Shape (tokens, vocabulary)."""
    states: Array
    """Shape (tokens, 2, hidden): after the middle layer and after the last one (normed)."""


@dataclass(frozen=True, slots=True)
class _Kept:
    ids: tuple[int, ...]
    values: Tensor
    """Keys and values, shape (layers, 2, heads, tokens, size)."""


class Batched:
    """Reads runs behind prefixes, and continues texts."""

    def __init__(self, directory: Path) -> None:
        self.pen = Pen(directory)
        self._model = self.pen.model
        self._middle = self._model.config.num_hidden_layers // 2
        self._kept: dict[str, list[_Kept]] = {}

    def forget(self) -> None:
        """Drop all keys and values."""
        self._kept.clear()

    @torch.inference_mode()
    def read(self, prefixes: Sequence[Text], runs: Sequence[Sequence[int]]) -> list[Rows]:
        """The rows before each token of each run behind its prefix."""
        found: dict[int, Rows] = {}
        jobs = [self._job(prefix, run) for prefix, run in zip(prefixes, runs, strict=True)]
        for chosen in _batches([len(new) + kept for kept, new in ((n, new) for n, _, new in jobs)]):
            cache, mask, ids, positions = self._open([jobs[i] for i in chosen])
            out = self._model.model(
                ids, attention_mask=mask, position_ids=positions, past_key_values=cache, output_hidden_states=True
            )
            logits = self._model.lm_head(out.last_hidden_state)
            states = torch.stack([out.hidden_states[self._middle], out.last_hidden_state], 2)
            for row, i in enumerate(chosen):
                _, _, new = jobs[i]
                at = slice(len(new) - len(runs[i]), len(new))
                found[i] = Rows(logits[row, at].numpy().copy(), states[row, at].numpy().copy())
                whole = (*prefixes[i].ids, *runs[i])[:-1]
                self._keep(prefixes[i].root, whole, cache, row, ids.shape[1] - len(new))
        return [found[i] for i in range(len(jobs))]

    @torch.inference_mode()
    def write(
        self, prefixes: Sequence[Text], stops: Sequence[int], limit: int, sampling: Sampling | None = None
    ) -> list[list[int]]:
        """Continue each text up to its first stop token (included) or `limit` tokens; greedily without `sampling`."""
        out: list[list[int]] = [[] for _ in prefixes]
        jobs = [self._job(prefix, ()) for prefix in prefixes]
        for chosen in _batches([len(prefix.ids) for prefix in prefixes]):
            alive = list(chosen)
            cache, mask, ids, positions = self._open([jobs[i] for i in chosen], pad_left=True)
            for count in range(limit):
                result = self._model(
                    ids, attention_mask=mask, position_ids=positions, past_key_values=cache, logits_to_keep=1
                )
                cache, rows = result.past_key_values, result.logits[:, -1]
                picked = rows.argmax(-1).tolist() if sampling is None else sampling.pick(rows.numpy(), alive)
                for i, token in zip(alive, picked, strict=True):
                    if not (out[i] and out[i][-1] in stops):
                        out[i].append(token)
                going = [row for row, i in enumerate(alive) if out[i][-1] not in stops]
                if not going:
                    break
                positions, ids = positions[:, -1:] + 1, torch.tensor(picked)[:, None]
                mask = torch.cat([mask, mask.new_ones(len(mask), 1)], 1)
                if count % _REST == _REST - 1 or len(going) < len(alive) // 2:
                    rows_left = torch.tensor(going)
                    cache.batch_select_indices(rows_left)
                    alive = [alive[row] for row in going]
                    positions, ids, mask = positions[rows_left], ids[rows_left], mask[rows_left]
        return out

    def _job(self, prefix: Text, run: Sequence[int]) -> tuple[int, _Kept | None, tuple[int, ...]]:
        """(tokens whose keys and values are kept, where, tokens to feed). The last token of the run needs no pass."""
        whole = (*prefix.ids, *run)[: len(prefix.ids) + max(len(run) - 1, 0)]
        most = len(prefix.ids) - 1  # the rows before the run are needed
        best, length = None, 0
        for kept in self._kept.get(prefix.root, ()):
            common = min(_common(kept.ids, whole), most)
            if common > length:
                best, length = kept, common
        return length, best, whole[length:]

    def _open(
        self, jobs: Sequence[tuple[int, _Kept | None, tuple[int, ...]]], pad_left: bool = False
    ) -> tuple[DynamicCache, Tensor, Tensor, Tensor]:
        """Cache, attention mask, ids and positions of one batch."""
        old, new = max(n for n, _, _ in jobs), max(len(ids) for _, _, ids in jobs)
        config = self._model.config
        shape = (config.num_hidden_layers, 2, len(jobs), config.num_key_value_heads, old, config.head_dim)
        values = torch.zeros(shape)
        mask = torch.zeros((len(jobs), old + new), dtype=torch.long)
        ids, positions = (torch.zeros((len(jobs), new), dtype=torch.long) for _ in range(2))
        for row, (length, kept, fed) in enumerate(jobs):
            if kept is not None:
                values[:, :, row, :, old - length :] = kept.values[..., :length, :]
            mask[row, old - length : old] = 1
            start = new - len(fed) if pad_left else 0
            mask[row, old + start : old + start + len(fed)] = 1
            ids[row, start : start + len(fed)] = torch.tensor(fed)
            positions[row, start : start + len(fed)] = torch.arange(length, length + len(fed))
        cache = DynamicCache()
        for layer in range(shape[0]):
            cache.update(values[layer, 0], values[layer, 1], layer)
        return cache, mask, ids, positions

    def _keep(self, root: str, ids: tuple[int, ...], cache: DynamicCache, row: int, padding: int) -> None:
        end = cache.layers[0].keys.shape[2] - padding
        at = slice(end - len(ids), end)
        values = torch.stack([torch.stack([one.keys[row, :, at], one.values[row, :, at]]) for one in cache.layers])
        kept = self._kept.setdefault(root, [])
        kept.append(_Kept(ids, values))
        del kept[:-_KEPT]


class Sampling:
    """Draws tokens from the softmax at a temperature, for each text from its own generator."""

    def __init__(self, temperature: float, generators: Sequence[np.random.Generator]) -> None:
        self._temperature, self._generators = temperature, generators

    def pick(self, rows: Array, texts: Sequence[int]) -> list[int]:
        """One token for each row; `texts` says whose row it is."""
        return [draw(row, self._temperature, self._generators[i].random()) for row, i in zip(rows, texts, strict=True)]


def draw(row: Array, temperature: float, u: float) -> int:
    """The token at the quantile `u` of softmax(row / temperature)."""
    wide = row.astype(np.float64) / temperature
    law = np.exp(wide - wide.max()).cumsum()
    return min(int(np.searchsorted(law, u * law[-1], side="right")), len(row) - 1)


def _common(a: Sequence[int], b: Sequence[int]) -> int:
    for i, (x, y) in enumerate(zip(a, b, strict=False)):
        if x != y:
            return i
    return min(len(a), len(b))


def _batches(lengths: Sequence[int]) -> list[list[int]]:
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    return [order[i : i + _BATCH] for i in range(0, len(order), _BATCH)]
