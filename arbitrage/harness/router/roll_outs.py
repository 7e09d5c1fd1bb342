"""Does escalating here change the final answer? Roll-outs from x·z_d and from x·z_t, to their ends.

Both sides are continued by the same model, so that the step is all that differs: by the draft unless the caller says
otherwise, which asks what this one escalation is worth when no other follows. Knows no grading.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import final

import numpy as np

from arbitrage.boundary import step_text
from arbitrage.decoding import common_prefix
from arbitrage.harness.router.recording import Fork
from arbitrage.interfaces import Models, Session, Stop, StopReason
from arbitrage.requirements import shares_tokenizer
from arbitrage.seeding import step_rng
from arbitrage.strategies.loop import EMPTY_STEPS_BEFORE_END, has_boxed_answer
from arbitrage.strategies.writer import LanguageRole
from arbitrage.types import SEPARATOR, Author, Problem, Role


@dataclass(frozen=True, slots=True)
class RollOuts:
    """Whole solutions through one fork."""

    draft: tuple[str, ...]
    """Through the draft's step."""
    target: tuple[str, ...]
    """Through the target's step (its first sample)."""


def roll_out(
    problem: Problem,
    forks: Sequence[Fork],
    models: Models,
    rng: np.random.Generator,
    role: LanguageRole,
    count: int,
    check: Callable[[], None] = lambda: None,
) -> list[RollOuts | None]:
    """Roll-outs of every fork of one solution whose versions differ; None where they read the same.

    Args:
        problem: what is solved.
        forks: in their order, from the first step on.
        models: draft and target, and the settings of the solution; its budgets hold for roll-outs too.
        rng: randomness of this problem.
        role: who goes on.
        count: roll-outs from each side.
        check: called before each step; may raise.
    """
    if not forks:
        return []
    walk = _Walk(problem, forks[0].pair.prefix_ids, models, rng, role, check)
    with closing(walk):
        return [
            None
            if fork.pair.draft == fork.pair.targets[0]
            else RollOuts(
                tuple(walk.solution(fork, "draft", k) for k in range(count)),
                tuple(walk.solution(fork, "target", k) for k in range(count)),
            )
            for fork in forks
        ]


@final
class _Walk:
    """One model's session over the prefixes of one solution: what they share is encoded once."""

    def __init__(
        self,
        problem: Problem,
        prompt: Sequence[int],
        models: Models,
        rng: np.random.Generator,
        role: LanguageRole,
        check: Callable[[], None],
    ) -> None:
        self._models, self._settings, self._rng, self._check = models, models.settings, rng, check
        self._model = models.language(role)
        draft = models.language(Role.DRAFT)
        self._shared = shares_tokenizer(draft, models.language(Role.TARGET))
        self._reads_prefix = self._shared or self._model is draft
        self._asked = len(prompt)
        """Tokens of the prompt as the draft read it."""
        self._prompt = list(prompt) if self._reads_prefix else self._settings.prompt(problem.problem, self._model)
        self._session: Session = self._model.open(self._prompt)

    def close(self) -> None:
        """Free the session."""
        self._session.close()

    def solution(self, fork: Fork, author: Author, sample: int) -> str:
        """The text of the solution that commits `author`'s step and goes on from there."""
        pair, step = fork.pair, fork.drafted if author == "draft" else fork.targeted
        texts = [*(one.text for one in pair.history), step.text]
        ended = self._settings.answer_stop and has_boxed_answer(step.text)
        if step.continuation.reason is StopReason.SEPARATOR and not ended:
            # The PRM draws nothing, so its streams are free.
            rng = step_rng(self._rng, pair.index, Role.PRM, 2 * sample + (author == "target"))
            self._go_on(texts, self._start(fork, author), fork.left - len(step.ids), rng)
        return SEPARATOR.join(texts)

    def _start(self, fork: Fork, author: Author) -> list[int]:
        """Prompt, committed steps and `author`'s step in the tokenizer of whoever goes on."""
        prefix = fork.pair.prefix_ids
        written = self._models.language(Role.DRAFT if author == "draft" else Role.TARGET)
        step = (fork.drafted if author == "draft" else fork.targeted).ids
        codec = self._model.codec
        if not self._reads_prefix:
            text = self._models.language(Role.DRAFT).codec.decode(prefix[self._asked :])
            prefix = (*self._prompt, *codec.encode(text))
        own = self._shared or written is self._model
        return [*prefix, *(step if own else codec.encode(written.codec.decode(step)))]

    def _go_on(self, texts: list[str], ids: Sequence[int], left: int, rng: np.random.Generator) -> None:
        """Add to a solution's `texts`, which are `ids` in the tokenizer of whoever goes on, up to `left` tokens."""
        if len(ids) >= self._model.context_length:
            return
        common = common_prefix(self._session.ids, ids)
        self._session.rewind(common)
        self._session.extend(ids[common:])
        while left > 0 and len(texts) < self._settings.max_steps and not _stalled(texts):
            self._check()
            written = self._session.generate(Stop(left), self._settings.sampling, rng)
            text = step_text(self._model.codec.decode(written.ids))
            texts.append(text)
            left -= len(written.ids)
            if written.reason is not StopReason.SEPARATOR or (self._settings.answer_stop and has_boxed_answer(text)):
                break


def _stalled(texts: Sequence[str]) -> bool:
    """Whether so many empty steps in a row came last that the solution is over."""
    last = texts[-EMPTY_STEPS_BEFORE_END:]
    return len(last) == EMPTY_STEPS_BEFORE_END and not any(text.strip() for text in last)
