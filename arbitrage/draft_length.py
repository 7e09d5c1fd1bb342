"""How many tokens to draft: fixed, or chosen from measured acceptance and cost so that speculation never loses.

With acceptance rate a, a target pass over n drafted tokens taking T(n) = t + n s seconds (t for a pass over one token,
s for each further one) and d seconds a drafted token, drafting n tokens is faster than plain decoding by the factor

    (1 - a^(n+1)) / (1 - a) * t / (t + n (s + d)).

For s = 0 this is Theorem 3.8 of Leviathan et al., arXiv:2211.17192. On a CPU s is anything from 0.02 t (a small model
whose passes are bound by overhead) to t (a large one bound by arithmetic), and decides whether speculation pays at all.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from copy import copy
from dataclasses import dataclass
from typing import final


def expected_speedup(acceptance: float, length: int, cost_ratio: float, verify_cost: float = 0.0) -> float:
    """Expected speed-up over plain decoding.

    Args:
        acceptance: chance that a drafted token is kept, in [0, 1].
        length: drafted tokens a round; 0 is plain decoding and gives 1.
        cost_ratio: seconds of one draft token divided by seconds of a target pass over one token.
        verify_cost: what each drafted token adds to the target's pass, in the same unit.
    """
    produced = float(length + 1) if acceptance >= 1 else (1 - acceptance ** (length + 1)) / (1 - acceptance)
    return produced / (1 + length * (cost_ratio + verify_cost))


@dataclass(frozen=True, slots=True)
class Round:
    """What one round of drafting and checking did and took."""

    drafted: int
    """Tokens that the proposer suggested; 0 when it found nothing worth suggesting."""
    accepted: int
    """Tokens that stood; the round wrote one more."""
    draft_passes: int
    """Passes of the draft model that this took."""
    draft_tokens: int
    """Tokens that these passes encoded: more than the passes when the draft had to catch up with the sequence."""
    target_seconds: float
    """Of the target's pass and its check."""
    draft_seconds: float
    """Of the proposer."""
    catch_up: int = 0
    """Tokens that the target's pass encoded besides the drafted ones and the one before them: a prompt, or steps that
    the target had not read yet."""


class DraftLength(ABC):
    """Chooses the draft length (gamma) of each round. Sequences in several threads may share one."""

    @abstractmethod
    def plain(self) -> int:
        """Tokens to write plainly before the next draft; 0 to draft now. Fewer may be written."""

    @abstractmethod
    def next(self) -> int:
        """Tokens to draft in the coming round, at least 1."""

    @abstractmethod
    def speedup(self) -> float:
        """What drafting that many is expected to gain over plain decoding: the factor of the module's formula."""

    @abstractmethod
    def observe(self, done: Round) -> None:
        """Told after each round how it went."""

    @abstractmethod
    def observe_plain(self, tokens: int, seconds: float | None) -> None:
        """Told how many tokens were written plainly, and in what time; None where that says nothing of later ones."""

    @abstractmethod
    def copy(self) -> DraftLength:
        """One that has learnt the same, and learns on by itself."""


@final
class FixedLength(DraftLength):
    """Always the same number of tokens."""

    def __init__(self, length: int) -> None:
        if length < 1:
            raise ValueError(f"gamma must be at least 1, not {length}")
        self._length = length

    def plain(self) -> int:
        """Always drafts."""
        return 0

    def next(self) -> int:
        """The fixed length."""
        return self._length

    def speedup(self) -> float:
        """Nothing is known; of sources that are alike the first is asked."""
        return 1.0

    def observe(self, done: Round) -> None:
        """Nothing to learn."""

    def observe_plain(self, tokens: int, seconds: float | None) -> None:
        """Nothing to learn."""

    def copy(self) -> FixedLength:
        """Itself: it never changes."""
        return self


_CLIP = 3.0
"""Longest that one measurement may be, in usual times: a hiccup of the machine says nothing about the models."""


class _Average:
    """A fading average that one hiccup of the machine cannot carry away."""

    _FADING = 0.9

    def __init__(self, prior: float) -> None:
        self._sum, self._weight = prior, 1.0
        self.value = prior

    def add(self, seen: float) -> None:
        self._sum = self._FADING * self._sum + min(seen, _CLIP * self.value)
        self._weight = self._FADING * self._weight + 1
        self.value = self._sum / self._weight


@final
class AdaptiveLength(DraftLength):
    """The length with the best expected speed-up under what was seen so far, as long as drafting pays in fact.

    Two questions, answered apart. *How long* a draft should be comes from the formula above with fading averages of
    acceptance, s and d. *Whether* to draft is decided by what happened, not by the formula: when the time per written
    token of the latest drafting rounds is not clearly below that of a plain token, decoding goes on plainly. A trial
    that has only begun may lag behind by a few tokens: the draft has to read the prompt first, and clocks stutter.
    Drafting is tried again after so many plain tokens that all trials together may lose at most one per cent; the
    first pause is short, because the first passes of a process are slow and prove nothing. A trial begins with
    short drafts and with the expectation of s: what a few rounds taught on a busy machine, or with drafts of one
    token, which cost most, must not stand for ever.
    """

    _SETTLING, _SETTLE_FIRST, _SETTLE_EVERY = 12, 32, 512
    """Plain tokens before the first draft, and again after so many drafting rounds, twice as many each time up to the
    last number: they tell the time of a plain token. A lone plain pass among drafting rounds does not: it pays for the
    change."""
    _SHORT = 4
    """Longest draft at the beginning of a trial; twice as long after each round in which it was made."""
    _LEAST = 0.01
    """Smallest expectation of a cost, so that what is measured can correct it."""
    _STRETCH = 64
    """Most plain tokens at once."""
    _TRIAL, _TRIED = 4, 24
    """Drafting rounds before they are judged, and before they are judged without patience."""
    _PATIENCE = 16
    """Plain tokens by which a trial may lag behind."""
    _GAIN = 1.05
    """Least speed-up by its own account that lets drafting go on: what lies between the rounds is not measured."""
    _LOSS = 0.01
    """The share of plain decoding's time that trials may lose."""
    _FIRST_PAUSE, _LONGEST_PAUSE = 256, 16384
    """Most plain tokens after the first failed trial, and after each further one."""
    _MOSTLY_CATCH_UP = 8
    """Tokens to catch up with for each drafted one, above which the time of a pass is left out."""
    _USUAL_CATCH_UP = 2
    """Tokens that the draft has not seen after a drafting round: its last suggestion and the target's own token."""
    _FADING = 0.97
    """Of acceptance, per drafted token; of the time per token, per round."""

    def __init__(
        self, longest: int = 8, cost_ratio: float = 0.25, verify_cost: float = 0.05, clocked: bool = True
    ) -> None:
        """Start from expectations.

        Args:
            longest: longest draft.
            cost_ratio: expected d / t.
            verify_cost: expected s / t.
            clocked: whether measured times correct these expectations; else they stand, and only acceptance is learnt.
        """
        if longest < 1:
            raise ValueError(f"the longest draft must be at least 1, not {longest}")
        self._longest = longest
        self._cost_ratio, self._verify_cost, self._clocked = cost_ratio, verify_cost, clocked
        self._plain: _Average | None = None if clocked else _Average(1.0)
        self._draft, self._further = _Average(cost_ratio), _Average(verify_cost)
        self._lock = threading.RLock()
        # A weak prior: 2 tokens of which 1.5 were kept.
        self._tried, self._kept = 2.0, 1.5
        self._pause, self._settle_after = 0, self._SETTLE_FIRST
        self._until_settling = self._settle_after
        self._rounds, self._time, self._written, self._loss = 0, 0.0, 0.0, 0.0
        self._reach = min(self._SHORT, longest)
        self._longest_pause = self._FIRST_PAUSE

    @property
    def acceptance(self) -> float:
        """Current estimate of the chance that a drafted token is kept."""
        return self._kept / self._tried

    def plain(self) -> int:
        """What is left of the current pause."""
        with self._lock:
            if self._plain is None:
                return self._SETTLING
            if self._pause == 0:
                plain = self._plain.value
                if self._until_settling <= 0 and self._clocked:
                    self._pause, self._settle_after = self._SETTLING, min(2 * self._settle_after, self._SETTLE_EVERY)
                    self._until_settling = self._settle_after
                elif self._rounds >= self._TRIAL and self._lags(plain):
                    earned = max(0.0, self._loss / (self._LOSS * plain))
                    self._pause = int(min(earned, self._longest_pause))
                    self._longest_pause = self._LONGEST_PAUSE
                    self._begin_trial()
            return min(self._pause, self._STRETCH)

    def next(self) -> int:
        """The length with the best expected speed-up."""
        return self._best()[1]

    def speedup(self) -> float:
        """Under what was seen so far."""
        return self._best()[0]

    def _best(self) -> tuple[float, int]:
        """The best expected speed-up and the shortest draft that reaches it."""
        with self._lock:
            plain = 1.0 if self._plain is None else self._plain.value
            draft, further, acceptance = self._draft.value / plain, self._further.value / plain, self.acceptance
            longest = self._reach
        best, length = expected_speedup(acceptance, 1, draft, further), 1
        while length < longest:  # as a function of the length it has one peak
            longer = expected_speedup(acceptance, length + 1, draft, further)
            if longer <= best:
                break
            best, length = longer, length + 1
        return best, length

    def observe_plain(self, tokens: int, seconds: float | None) -> None:
        """Learn the time of a plain token from a stretch of them."""
        with self._lock:
            self._observe_plain(tokens, seconds)

    def _observe_plain(self, tokens: int, seconds: float | None) -> None:
        self._pause = max(0, self._pause - tokens)
        if not self._clocked or seconds is None or tokens < self._SETTLING // 2:
            return
        each = seconds / tokens
        if self._plain is None:
            self._plain, self._draft = _Average(each), _Average(max(self._cost_ratio, self._LEAST) * each)
            self._begin_trial()
        else:
            self._plain.add(each)

    def copy(self) -> AdaptiveLength:
        """See `DraftLength.copy`."""
        with self._lock:
            twin = copy(self)
            twin._lock = threading.RLock()
            twin._draft, twin._further, twin._plain = copy(self._draft), copy(self._further), copy(self._plain)
        return twin

    def observe(self, done: Round) -> None:
        """Learn from a round. Tokens behind the first rejected one were never tried."""
        with self._lock:
            self._observe(done)

    def _observe(self, done: Round) -> None:
        if self._plain is None:
            return
        plain, written = self._plain.value, done.accepted + 1
        self._learn_acceptance(done)
        mostly_catch_up = done.catch_up > self._MOSTLY_CATCH_UP * max(1, done.drafted)
        if self._clocked:
            pass_time, draft_time = done.target_seconds, done.draft_seconds
            if mostly_catch_up:  # a prompt: its time says nothing of checking
                pass_time = plain + done.drafted * self._further.value
            elif done.catch_up:  # would have been read in any case: only the drafted tokens' share counts
                share = done.drafted / (done.drafted + done.catch_up)
                pass_time = plain + max(0.0, pass_time - plain) * share
        else:
            pass_time, draft_time = 1 + self._verify_cost * done.drafted, self._cost_ratio * done.draft_passes
        catching_up = done.draft_tokens > done.draft_passes + self._USUAL_CATCH_UP
        # Reading many tokens at once takes no longer than drafting as many.
        longest_draft = done.draft_tokens if catching_up else _CLIP * max(1, done.drafted)
        usual_pass = plain + done.drafted * self._further.value
        spent = min(pass_time, _CLIP * usual_pass) + min(draft_time, longest_draft * self._draft.value)
        self._rounds += 1
        self._until_settling -= 1
        self._loss += spent - written * plain
        self._time = self._FADING * self._time + spent
        self._written = self._FADING * self._written + written
        if done.drafted >= self._reach:
            self._reach = min(2 * self._reach, self._longest)
        if done.drafted and not mostly_catch_up:
            self._further.add(max(0.0, pass_time - plain) / done.drafted)
        if done.drafted and not catching_up:
            self._draft.add(draft_time / done.drafted)

    def _learn_acceptance(self, done: Round) -> None:
        tried = min(done.accepted + 1, done.drafted)
        fade = self._FADING**tried
        self._tried = self._tried * fade + tried
        self._kept = self._kept * fade + done.accepted

    def _lags(self, plain: float) -> bool:
        """Whether the latest rounds took too long for what they wrote."""
        patience = self._PATIENCE if self._rounds < self._TRIED else 0
        return self._time >= (self._written / self._GAIN + patience) * plain

    def _begin_trial(self) -> None:
        self._rounds, self._time, self._written, self._loss = 0, 0.0, 0.0, 0.0
        self._reach = min(self._SHORT, self._longest)
        if self._clocked and self._plain is not None:
            self._further = _Average(max(self._verify_cost, self._LEAST) * self._plain.value)
