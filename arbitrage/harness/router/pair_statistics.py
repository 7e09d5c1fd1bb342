"""What a set of step pairs is like: balance, ties, advantages, tokens. Reads pairs one by one and keeps none."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import final

from arbitrage.harness.router.pairs import StepPair, held_out

BINS = 20
"""Of the histogram of Δ over [−1, 1]."""
LAST_POSITION = 9
"""Steps from here on are counted together."""


@final
@dataclass(slots=True)
class Group:
    """Sums over some pairs."""

    steps: int = 0
    problems: set[str] = field(default_factory=set)
    """Their ids."""
    positive: int = 0
    """Pairs with Δ > 0, label 1."""
    ties: int = 0
    """Pairs with Δ = 0."""
    same_text: int = 0
    """Pairs whose committed candidates read the same."""
    escalated: int = 0
    """Pairs whose target step was committed by the roll-in."""
    draft_reward: float = 0.0
    target_reward: float = 0.0
    draft_tokens: int = 0
    target_tokens: int = 0
    """All samples."""

    def add(self, pair: StepPair) -> None:
        """Count one pair in."""
        self.steps += 1
        self.problems.add(pair.problem_id)
        advantage = pair.advantage
        self.positive += advantage > 0
        self.ties += advantage == 0
        self.same_text += pair.draft == pair.targets[0]
        self.escalated += pair.committed == "target"
        self.draft_reward += pair.draft_reward
        self.target_reward += pair.target_reward
        self.draft_tokens += len(pair.draft_ids)
        self.target_tokens += sum(pair.target_tokens)

    def summary(self) -> dict[str, object]:
        """Counts, shares and means, as JSON can hold them; shares and means of nothing are null."""
        return {
            "problems": len(self.problems),
            "steps": self.steps,
            "label_1_share": self._mean(self.positive),
            "tie_share": self._mean(self.ties),
            "same_text_share": self._mean(self.same_text),
            "escalated_share": self._mean(self.escalated),
            "mean_draft_reward": self._mean(self.draft_reward),
            "mean_target_reward": self._mean(self.target_reward),
            "mean_advantage": self._mean(self.target_reward - self.draft_reward),
            "draft_tokens": self.draft_tokens,
            "target_tokens": self.target_tokens,
        }

    def _mean(self, total: float) -> float | None:
        return total / self.steps if self.steps else None


@final
@dataclass(slots=True)
class Outcomes:
    """What roll-outs from both sides came to, where somebody rolled out."""

    steps: int = 0
    draft: float = 0.0
    target: float = 0.0
    """Sums of the shares of right answers after either step."""
    helps: int = 0
    """Pairs after whose target step more roll-outs end right."""
    harms: int = 0
    """Pairs after whose target step fewer do."""
    agrees: int = 0
    """Of those that help or harm: pairs whose Δ has the same sign."""

    def add(self, pair: StepPair) -> None:
        """Count one pair in, if it has outcomes."""
        gain = pair.outcome_advantage
        if gain is None or pair.draft_outcome is None or pair.target_outcome is None:
            return
        self.steps += 1
        self.draft += pair.draft_outcome
        self.target += pair.target_outcome
        self.helps += gain > 0
        self.harms += gain < 0
        self.agrees += gain * pair.advantage > 0

    def summary(self) -> dict[str, object]:
        """Counts and shares, as JSON can hold them."""
        decided = self.helps + self.harms
        return {
            "steps": self.steps,
            "right_after_draft": self.draft / self.steps if self.steps else None,
            "right_after_target": self.target / self.steps if self.steps else None,
            "target_step_helps": self.helps,
            "target_step_harms": self.harms,
            "advantage_agrees_share": self.agrees / decided if decided else None,
        }


@final
@dataclass(slots=True)
class PairStatistics:
    """All pairs, and parts of them."""

    everything: Group = field(default_factory=Group)
    kept_out: Group = field(default_factory=Group)
    """Held-out problems, which training never sees."""
    sources: dict[str, Group] = field(default_factory=dict)
    positions: dict[int, Group] = field(default_factory=dict)
    """By the step's place in its solution; the last one holds all later ones too."""
    roll_ins: dict[str, int] = field(default_factory=dict)
    """Pairs by what decided how their solutions went on."""
    histogram: list[int] = field(default_factory=lambda: [0] * BINS)
    """Pairs by Δ, ties left out."""
    outcomes: Outcomes = field(default_factory=Outcomes)

    @classmethod
    def of(cls, pairs: Iterable[StepPair]) -> PairStatistics:
        """Statistics of `pairs`."""
        found = cls()
        for pair in pairs:
            found.add(pair)
        return found

    def add(self, pair: StepPair) -> None:
        """Count one pair in."""
        self.everything.add(pair)
        if held_out(pair.problem_id):
            self.kept_out.add(pair)
        self.sources.setdefault(pair.source, Group()).add(pair)
        self.positions.setdefault(min(pair.index, LAST_POSITION), Group()).add(pair)
        self.roll_ins[pair.roll_in] = self.roll_ins.get(pair.roll_in, 0) + 1
        if pair.advantage != 0:
            self.histogram[histogram_bin(pair.advantage)] += 1
        self.outcomes.add(pair)

    def summary(self) -> dict[str, object]:
        """Everything, as JSON can hold it."""
        return {
            **self.everything.summary(),
            "held_out": self.kept_out.summary(),
            "by_source": {name: self.sources[name].summary() for name in sorted(self.sources)},
            "by_position": {str(index): self.positions[index].summary() for index in sorted(self.positions)},
            "roll_ins": dict(sorted(self.roll_ins.items())),
            "advantage_histogram": {"from": -1.0, "to": 1.0, "counts": self.histogram},
            "outcomes": self.outcomes.summary() if self.outcomes.steps else None,
        }


def histogram_bin(advantage: float) -> int:
    """Which of the bins holds Δ in [−1, 1]; a bin holds its lower end, the last one both."""
    return min(int((advantage + 1) / 2 * BINS), BINS - 1)
