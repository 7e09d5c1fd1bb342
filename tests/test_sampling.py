"""Log-probabilities of written tokens."""

from __future__ import annotations

import numpy as np
import pytest

from arbitrage.sampling import Sampling, TokenLogprobs


@pytest.mark.parametrize("vocabulary", [7, 512, 70_000])
def test_logprobs_are_the_log_softmax_at_each_token_whatever_is_put_together(vocabulary):
    """Small vocabularies fill several blocks, a large one is normalised at once; impossible tokens do no harm."""
    rng = np.random.default_rng(0)
    count = 300 if vocabulary < 1000 else 3
    rows = rng.normal(0, 8, (count, vocabulary)).astype(np.float32)
    rows[:, 0] = -np.inf
    tokens = rng.integers(1, vocabulary, count)
    logprobs = TokenLogprobs()
    for i, (row, token) in enumerate(zip(rows, tokens, strict=True)):
        assert len(logprobs) == i
        logprobs.add(row, int(token))
    exact = rows.astype(np.float64)
    exact -= np.logaddexp.reduce(exact, axis=-1, keepdims=True)
    np.testing.assert_allclose(logprobs.values(), exact[np.arange(count), tokens], rtol=1e-5, atol=1e-5)
    assert all(type(value) is float for value in logprobs.values())


def test_nothing_written_has_no_logprobs():
    """An empty call gives an empty tuple."""
    assert TokenLogprobs().values() == ()


@pytest.mark.parametrize(
    "numbers", [{"temperature": float("inf")}, {"temperature": float("nan")}, {"top_p": float("nan")}]
)
def test_numbers_that_make_no_law_are_refused(numbers):
    """Infinity and not-a-number pass comparisons that are written carelessly."""
    with pytest.raises(ValueError, match="must be"):
        Sampling(**numbers)
