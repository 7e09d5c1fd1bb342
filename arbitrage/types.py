"""The nouns that every room shares: problems, steps, generations. Light to import; knows no models, no torch."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import Ge, Le

Count = Annotated[int, Ge(0), Le(2**53)]
"""What is counted; files from elsewhere cannot hold more."""
Seconds = Annotated[float, Ge(0), Le(1e9)]

Author = Literal["draft", "target"]
"""Which of the two language models wrote a step."""

SEPARATOR = "\n\n"
"""The text that ends a reasoning step (algorithms: a step is a run of text up to a blank line)."""


class Role(enum.StrEnum):
    """What a model is used for inside a strategy."""

    DRAFT = "draft"
    TARGET = "target"
    PRM = "prm"
    ROUTER = "router"


class EndReason(enum.StrEnum):
    """Why a solution ended. Every solution has exactly one."""

    EOS = "eos"
    """The model wrote its end-of-sequence token."""
    MAX_TOKENS = "max_tokens"
    """The token budget was used up; the text is cut."""
    MAX_STEPS = "max_steps"
    """The step budget was used up; the text is cut."""
    STALLED = "stalled"
    """Three empty steps in a row."""
    ANSWER = "answer"
    """A boxed answer was complete and the answer stop was set."""


@dataclass(frozen=True, slots=True)
class AnswerRules:
    """How the reference answers of one problem are to be compared. Rules come from the data set's row."""

    multiple: bool = False
    """Several answers belong to the problem: all of them are required, in any order."""
    tolerance: float | None = None
    """Absolute tolerance, only where the row gives one; None compares exactly."""
    unit: str | None = None
    """Unit the answer is in, as LaTeX, when the row names one."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem of a data set, with its reference."""

    id: str
    """Unique inside its data set."""
    problem: str
    """The statement, as given to the model."""
    answers: tuple[str, ...]
    """Reference answers (LaTeX, no dollars). More than one only under `rules.multiple`."""
    level: int | None = None
    """Difficulty 1 (easy) to 5, when the data set has it."""
    subject: str | None = None
    """Kind or field of mathematics, when the data set has it."""
    solution: str | None = None
    """Reference solution, when the data set has one."""
    rules: AnswerRules = AnswerRules()

    @property
    def answer(self) -> str:
        """The reference as one string: several answers are joined by commas."""
        return ", ".join(self.answers)


@dataclass(frozen=True, slots=True)
class StepRecord:
    """One reasoning step as it ended up in the solution."""

    index: int
    """Position in the solution, from 0."""
    text: str
    """Step text, without the separator."""
    author: Author
    """Which model's text was kept."""
    tokens: Count
    """Tokens committed with this step, separator included."""
    draft_tokens: Count = 0
    """Tokens the draft generated for this step, kept or not."""
    target_tokens: Count = 0
    """Tokens the target generated for this step, kept or not."""
    score: float | None = None
    """What the policy compared with its threshold; None when it compared nothing."""
    draft_reward: float | None = None
    """PRM reward of the draft's version in [0, 1]; None when the strategy did not ask."""
    target_reward: float | None = None
    """PRM reward of the target's version in [0, 1] (mean over samples); None when the strategy did not ask."""
    draft_logprob: float | None = None
    """Mean natural-log probability per token of the draft's version; None when there was none."""
    drafted: Count = 0
    """Tokens proposed to the target by token-level speculation inside this step."""
    drafted_accepted: Count = 0
    """Proposed tokens that the target kept."""
    drafts: Count = 0
    """Rounds in which tokens were proposed."""
    rejected_text: str | None = None
    """The draft's version, when the target's was committed instead."""
    latency_s: Seconds = 0.0
    """Wall-clock seconds for the whole step, discarded attempts included."""
    time_s: Mapping[str, Seconds] = field(default_factory=dict)
    """Of these, the seconds inside model calls, by component: draft, target, prm, router."""
    router_score: float | None = None
    """Router's opinion of the draft's version in [0, 1]; None when nobody asked."""
    unused_target_text: str | None = None
    """The target's version, when it was written and the draft's was committed all the same."""
    confirmed: bool = False
    """Greedy decoding: the target was asked, and its own step is the draft's, token for token. Asking it changed
    nothing."""
    ahead_tokens: Count = 0
    """Tokens that the draft wrote behind its version of this step, before that version was rejected (pipelining)."""

    @property
    def escalated(self) -> bool:
        """Whether the draft's version was discarded for the target's."""
        return self.author == "target" and self.rejected_text is not None


@dataclass(frozen=True, slots=True)
class Generation:
    """One finished solution: what a strategy returns."""

    text: str
    """The whole solution, special tokens removed."""
    token_ids: tuple[int, ...]
    """Committed token ids after the prompt; the target's, where draft and target have different tokenizers."""
    steps: tuple[StepRecord, ...]
    end_reason: EndReason
    prompt_tokens: int = 0
    time_s: Mapping[str, float] = field(default_factory=dict)
    """Wall-clock seconds inside model calls, by component: draft, target, prm, router."""
    calls: Mapping[str, int] = field(default_factory=dict)
    """Forward passes, by component."""
    forwarded_tokens: Mapping[str, int] = field(default_factory=dict)
    """Tokens pushed through each model, by component."""
    dropped_tokens: Mapping[str, int] = field(default_factory=dict)
    """Of these, tokens that were taken back; the others are each model's final stream."""
    repeated_tokens: Mapping[str, int] = field(default_factory=dict)
    """Tokens that a model read although it had read them before at the same place, behind the same tokens."""

    @property
    def tokens(self) -> int:
        """Number of committed tokens."""
        return len(self.token_ids)

    @property
    def accepted_steps(self) -> int:
        """Steps in which the draft's version was kept."""
        return sum(step.author == "draft" for step in self.steps)

    @property
    def escalated_steps(self) -> int:
        """Steps whose draft version was discarded for the target's."""
        return sum(step.escalated for step in self.steps)
