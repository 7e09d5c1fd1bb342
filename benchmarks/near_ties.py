"""Where two texts of one model part, and how nearly the model chose the other token there.

A margin of the order of what chunking moves the logits by is a near-tie; a large one would be a fault.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from arbitrage.interfaces import LanguageModel


def first_difference(ours: Sequence[int], theirs: Sequence[int]) -> int | None:
    """Position of the first token that differs; None when there is none up to the end of the shorter text."""
    return next((i for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), None)


@dataclass(frozen=True)
class Margin:
    """How the model saw the two tokens where the texts part."""

    token_by_token: float
    """Logit of their token minus that of ours, after the prefix encoded one by one."""
    all_at_once: float
    """The same after the prefix encoded in one pass."""
    largest_move: float
    """Largest difference that the two ways of encoding make in any logit."""


def margin(model: LanguageModel, prompt: Sequence[int], prefix: Sequence[int], ours: int, theirs: int) -> Margin:
    """Ask `model` about the tokens `ours` and `theirs` after `prompt` and `prefix`, which both texts share."""
    with model.open(prompt) as session:
        for token in prefix:
            session.extend((), logits=1)
            session.extend((token,))
        alone = session.extend((), logits=1)
    with model.open(prompt) as session:
        together = session.extend(prefix, logits=1)
    assert alone is not None
    assert together is not None
    return Margin(
        token_by_token=float(alone[0][theirs] - alone[0][ours]),
        all_at_once=float(together[0][theirs] - together[0][ours]),
        largest_move=float(np.abs(alone[0] - together[0]).max()),
    )
