"""Training examples: the stream that a router or PRM will read, where its head is read, and the labels there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Sampler

from arbitrage.harness.router.pairs import StepPair
from arbitrage.types import Author

if TYPE_CHECKING:
    from arbitrage.backends.hf import StreamEncoder

IGNORED = -100.0
"""Label of the positions that are not read."""


@dataclass(frozen=True, slots=True)
class Example:
    """One stream: a pair's draft step behind its history, or a whole solution."""

    ids: NDArray[np.int32]
    """Up to the separator behind the last step."""
    places: NDArray[np.int32]
    """Positions at which the head is read, rising, shape (labels,)."""
    labels: NDArray[np.float32]
    """What it is to say there."""
    problem_id: str

    @classmethod
    def at_end(cls, ids: NDArray[np.int32], label: float, problem_id: str) -> Example:
        """With one label, at the last position."""
        return cls(ids, np.array([len(ids) - 1], dtype=np.int32), np.array([label], dtype=np.float32), problem_id)


def encode(
    pairs: Iterable[StepPair], encoder: StreamEncoder, longest: int
) -> Iterator[tuple[StepPair, NDArray[np.int32] | None]]:
    """Each pair with its stream; where that is longer than `longest` tokens, without its oldest steps.

    The stream is None where problem and step alone are too long: inference refuses those too.
    """

    # Steps come back in the history of every later pair of their solution.
    @lru_cache(maxsize=1 << 16)
    def step(text: str, author: Author) -> list[int]:
        return encoder.step(text, author)

    @lru_cache(maxsize=1 << 10)
    def problem(statement: str) -> list[int]:
        return encoder.problem(statement)

    for pair in pairs:
        head, candidate = problem(pair.statement), step(pair.draft, "draft")
        room = longest - len(head) - len(candidate)
        if room < 0:
            yield pair, None
            continue
        kept: list[list[int]] = []
        for one in reversed(pair.history):
            ids = step(one.text, one.author)
            room -= len(ids)
            if room < 0:
                break
            kept.append(ids)
        stream = [*head, *(token for ids in reversed(kept) for token in ids), *candidate]
        yield pair, np.array(stream, dtype=np.int32)


def collate(examples: Sequence[Example]) -> dict[str, Tensor]:
    """One batch, padded on the right; each tensor has shape (examples, longest)."""
    shape = (len(examples), max(len(one.ids) for one in examples))
    ids, mask = torch.zeros(shape, dtype=torch.long), torch.zeros(shape, dtype=torch.long)
    labels = torch.full(shape, IGNORED)
    for row, one in enumerate(examples):
        ids[row, : len(one.ids)] = torch.from_numpy(one.ids)
        mask[row, : len(one.ids)] = 1
        labels[row, torch.from_numpy(one.places).long()] = torch.from_numpy(one.labels)
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


class Shuffled(Sampler[int]):
    """A fresh order for every epoch, by the seed alone; inside each optimizer step, shortest first.

    The gradient of an optimizer step does not depend on the order inside it, so passes with little padding cost
    nothing: the steps are as random as without.
    """

    def __init__(self, lengths: Sequence[int], batch: int, seed: int) -> None:
        """Order examples of these lengths, `batch` of which make an optimizer step."""
        self._lengths, self._batch, self._seed = np.array(lengths), batch, seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer when an epoch begins."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._lengths)

    def __iter__(self) -> Iterator[int]:
        order = np.random.default_rng([self._seed, self._epoch]).permutation(len(self._lengths))
        for start in range(0, len(order), self._batch):
            step = order[start : start + self._batch]
            yield from step[np.argsort(self._lengths[step], kind="stable")].tolist()
