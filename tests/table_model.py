"""Random but fixed language models for tests of decoding."""

from __future__ import annotations

import numpy as np

from arbitrage.testing import END, VOCABULARY, ScriptedModel


class TableModel(ScriptedModel):
    """A random but fixed language model: logits depend on the last `order` tokens only."""

    def __init__(self, seed: int, vocabulary: int = 6, order: int = 2, mix=None) -> None:
        super().__init__([""], name=f"table{seed}", context_length=600)
        self._random, self._size, self._order, self._mix = seed, vocabulary, order, mix

    def row(self, written):
        tail = written[-self._order :]
        rng = np.random.default_rng([self._random, *map(ord, tail)])
        row = np.full(VOCABULARY, -np.inf, dtype=np.float32)
        letters = [ord("a") + i for i in range(self._size - 2)]
        row[[*letters, ord("\n"), END]] = rng.normal(0, 1.5, self._size)
        row[END] -= 3
        if self._mix is not None:
            other = self._mix.row(written)
            row = np.where(np.isfinite(row), 0.3 * row + 0.7 * other, row).astype(np.float32)
        return row
