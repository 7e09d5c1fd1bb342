"""One model's view of a solution: its session, how much of it is committed, and the steps it writes.

Knows sessions and steps. Knows nothing of policies, or of who writes which step.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Literal

import numpy as np

from arbitrage.boundary import step_text
from arbitrage.decoding import common_prefix
from arbitrage.interfaces import LanguageModel, Session, Settings, Stop
from arbitrage.strategies.policy import WrittenStep
from arbitrage.types import Author, Role

LanguageRole = Literal[Role.DRAFT, Role.TARGET]


class StepWriter:
    """A language model at work on one solution."""

    def __init__(self, model: LanguageModel, role: LanguageRole, prompt: Sequence[int], stack: ExitStack) -> None:
        """Open a session over `prompt`; `stack` closes it."""
        self.model = model
        self.role: LanguageRole = role
        self.author: Author = "draft" if role is Role.DRAFT else "target"
        self.session: Session = stack.enter_context(model.open(prompt))
        self.prompt = len(prompt)
        self.base = len(prompt)
        """Tokens of prompt and committed steps, in this model's tokenizer."""
        self.written = 0
        """Tokens of the steps that it wrote since somebody set this to 0."""

    @property
    def room(self) -> int:
        """Tokens that fit after the committed ones."""
        return self.model.context_length - self.base

    def prefix(self) -> tuple[int, ...]:
        """Prompt and committed steps."""
        return tuple(self.session.ids[: self.base])

    def write(
        self, stop: Stop, settings: Settings, rng: np.random.Generator, proposal: Sequence[int] = ()
    ) -> WrittenStep:
        """Write one step after the committed ones; `proposal` is somebody else's version of it, or nothing."""
        if len(self.session.ids) > self.base:
            self.session.rewind(self.base)
        return self.count(self.go_on(stop, settings, rng, proposal))

    def go_on(
        self, stop: Stop, settings: Settings, rng: np.random.Generator, proposal: Sequence[int] = ()
    ) -> WrittenStep:
        """Write one step after whatever the session holds, without counting it."""
        continuation = self.session.generate(stop, settings.sampling, rng, proposal)
        return WrittenStep(step_text(self.model.codec.decode(continuation.ids)), continuation)

    def count(self, step: WrittenStep) -> WrittenStep:
        """Count in `step`, which this writer wrote."""
        self.written += len(step.ids)
        return step

    def commit(self, ids: Sequence[int], ahead: bool = False) -> None:
        """Bring the session to the committed prefix; tokens it did not write are encoded when it next runs.

        What the session holds already, up to the first difference, stays encoded.

        Args:
            ids: the committed step.
            ahead: whether it is this writer's own, and the session is at work on the next one already.
        """
        if ahead:
            self.base += len(ids)
            return
        held = self.session.ids[self.base :]
        common = common_prefix(held, ids)
        if common < len(held):
            self.session.rewind(self.base + common)
        if common < len(ids):
            self.session.extend(ids[common:])
        self.base += len(ids)
