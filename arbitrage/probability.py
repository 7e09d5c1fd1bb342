"""The accept rules of speculative decoding, free of models, devices and randomness: uniform numbers are arguments.

Leviathan et al., arXiv:2211.17192, Alg. 1; Chen et al., arXiv:2302.01318, Alg. 2.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from arbitrage.sampling import Probabilities, draw


def accepts(p: Probabilities, q: Probabilities, token: int, u: float) -> bool:
    """Whether a drafted token is kept: with probability min(1, p/q), written without dividing by a tiny q.

    Args:
        p: target probabilities, shape (vocabulary,).
        q: the probabilities that `token` was drawn from, shape (vocabulary,).
        token: the drafted token.
        u: uniform number in [0, 1).
    """
    return bool(u * q[token] < p[token])


def residual(p: Probabilities, q: Probabilities) -> Probabilities:
    """The law to draw from after a rejected draft token: max(0, p - q), normalised.

    Args:
        p: target probabilities, shape (vocabulary,), sums to 1.
        q: draft probabilities, shape (vocabulary,), same tokenizer as p.

    Returns:
        Shape (vocabulary,). Equals p when p and q coincide (nothing to correct).

    Raises:
        ValueError: shapes differ, or either argument contains NaN.
    """
    if p.shape != q.shape:
        raise ValueError(f"p has shape {p.shape} but q has shape {q.shape}")
    if np.isnan(p).any() or np.isnan(q).any():
        raise ValueError("p and q must not contain NaN")
    excess = np.maximum(p - q, 0.0)
    mass = excess.sum()
    return excess / mass if mass > 0 else p


def verify(p: Probabilities, q: Probabilities, drafted: Sequence[int], uniforms: Sequence[float]) -> tuple[int, int]:
    """One round of speculative sampling.

    Args:
        p: target probabilities, shape (n + 1, vocabulary): row i is the law of the token in place of `drafted[i]`.
        q: the laws the drafted tokens were drawn from, shape (n, vocabulary).
        drafted: n tokens.
        uniforms: n + 1 uniform numbers in [0, 1): one for each drafted token, one for the token that is drawn.

    Returns:
        (number of drafted tokens kept, the token that follows them).
    """
    for i, token in enumerate(drafted):
        if not accepts(p[i], q[i], token, uniforms[i]):
            return i, draw(residual(p[i], q[i]), uniforms[-1])
    return len(drafted), draw(p[len(drafted)], uniforms[-1])
