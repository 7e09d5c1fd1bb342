"""How many tokens to draft: fixed, or chosen from measured acceptance and cost so that speculation never loses.

Expected speed-up of drafting n tokens with acceptance rate a and cost ratio c (one draft token over one target pass):
(1 - a^(n+1)) / ((1 - a)(n c + 1)); Leviathan et al., arXiv:2211.17192, Theorem 3.8.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import final


def expected_speedup(acceptance: float, length: int, cost_ratio: float) -> float:
    """Expected speed-up over plain decoding.

    Args:
        acceptance: chance that a drafted token is kept, in [0, 1].
        length: drafted tokens a round; 0 is plain decoding and gives 1.
        cost_ratio: seconds of one draft token divided by seconds of one target pass.
    """
    produced = float(length + 1) if acceptance >= 1 else (1 - acceptance ** (length + 1)) / (1 - acceptance)
    return produced / (length * cost_ratio + 1)


class DraftLength(ABC):
    """Chooses the draft length (gamma) of each round."""

    @abstractmethod
    def next(self) -> int:
        """Tokens to draft in the coming round; 0 decodes plainly."""

    @abstractmethod
    def observe(self, drafted: int, accepted: int) -> None:
        """Told after each round how many tokens were drafted and kept."""

    def measure(self, cost_ratio: float) -> None:  # noqa: B027 - a fixed length does not care about cost
        """Told the measured cost ratio, where clocks may influence the choice."""


@final
class FixedLength(DraftLength):
    """Always the same number of tokens."""

    def __init__(self, length: int) -> None:
        if length < 1:
            raise ValueError(f"gamma must be at least 1, not {length}")
        self._length = length

    def next(self) -> int:
        """The fixed length."""
        return self._length

    def observe(self, drafted: int, accepted: int) -> None:
        """Nothing to learn."""


@final
class AdaptiveLength(DraftLength):
    """The length with the best expected speed-up under what was seen so far; 0 when none pays.

    Acceptance is an exponentially fading average per drafted token. After a run of plain rounds one short draft probes
    whether the text has become easier.
    """

    def __init__(self, longest: int = 8, cost_ratio: float = 0.25, fading: float = 0.97, probe_every: int = 24) -> None:
        if longest < 1:
            raise ValueError(f"the longest draft must be at least 1, not {longest}")
        self._longest = longest
        self._cost_ratio = cost_ratio
        self._fading = fading
        self._probe_every = probe_every
        # A weak prior: 4 tokens of which 3 were kept.
        self._tried, self._kept = 4.0, 3.0
        self._plain = 0

    @property
    def acceptance(self) -> float:
        """Current estimate of the chance that a drafted token is kept."""
        return self._kept / self._tried

    def next(self) -> int:
        """The best length now."""
        speedups = [expected_speedup(self.acceptance, n, self._cost_ratio) for n in range(self._longest + 1)]
        best = max(range(len(speedups)), key=speedups.__getitem__)
        if best == 0 and self._plain >= self._probe_every:
            return 2
        return best

    def observe(self, drafted: int, accepted: int) -> None:
        """Update the acceptance estimate; tokens behind the first rejected one were never tried."""
        if drafted == 0:
            self._plain += 1
            return
        self._plain = 0
        tried = min(accepted + 1, drafted)
        fade = self._fading**tried
        self._tried = self._tried * fade + tried
        self._kept = self._kept * fade + accepted

    def measure(self, cost_ratio: float) -> None:
        """Use the measured cost ratio from now on."""
        self._cost_ratio = cost_ratio
