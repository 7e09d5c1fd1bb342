"""TokenSD: exact token-level speculative decoding (arXiv:2211.17192, arXiv:2302.01318) as a strategy."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from arbitrage.draft_length import AdaptiveLength, DraftLength, FixedLength
from arbitrage.interfaces import Capability, LanguageModel, Models, Strategy
from arbitrage.proposals import NgramProposer, Proposer
from arbitrage.strategies.proposers import DraftProposer
from arbitrage.strategies.single_model import write_alone
from arbitrage.strategies.speculative import Drafting, SpeculativeModel
from arbitrage.types import Generation, Problem, Role

_LOOKUP_COST = 0.02
"""Expected seconds of a looked-up token over seconds of a target pass."""


def speculate(
    target: LanguageModel,
    draft: LanguageModel | None,
    gamma: int | Literal["adaptive"] = "adaptive",
    max_gamma: int = 16,
    min_confidence: float = 0.4,
    cost_ratio: float = 0.25,
    verify_cost: float = 0.05,
    lookup: bool = False,
) -> SpeculativeModel:
    """A model that writes exactly what `target` writes, faster. See `TokenSD` for the arguments.

    Args:
        target: whose output is reproduced.
        draft: who proposes; None leaves it to n-gram lookup.
        gamma: as in `TokenSD`, like the arguments after it.
        max_gamma: see there.
        min_confidence: see there.
        cost_ratio: see there.
        verify_cost: see there.
        lookup: whether n-gram lookup proposes beside the draft.
    """

    def lengths(cost: float) -> Callable[[bool], DraftLength]:
        if gamma == "adaptive":
            return lambda clocked: AdaptiveLength(max_gamma, cost, verify_cost, clocked)
        return lambda clocked: FixedLength(gamma)

    def drafts(prompt: Sequence[int]) -> Proposer:
        assert draft is not None
        return DraftProposer(draft, prompt, min_confidence)

    looked_up = [Drafting(lambda prompt: NgramProposer(), lengths(_LOOKUP_COST))]
    drafted = [Drafting(drafts, lengths(cost_ratio))]
    if draft is None:
        return SpeculativeModel(target, looked_up)
    return SpeculativeModel(target, [*looked_up, *drafted] if lookup else drafted)


class TokenSD(Strategy):
    """The target's own solution, its tokens proposed by the draft (or by n-gram lookup) and checked in parallel."""

    name = "token-sd"

    def __init__(
        self,
        gamma: int | Literal["adaptive"] = "adaptive",
        proposer: Literal["draft", "ngram", "mixed"] = "draft",
        max_gamma: int = 16,
        min_confidence: float = 0.4,
        cost_ratio: float = 0.25,
        verify_cost: float = 0.05,
    ) -> None:
        """Choose how tokens are proposed.

        Args:
            gamma: tokens drafted a round, or 'adaptive' to choose from measured acceptance and cost, down to plain
                decoding when no draft length pays.
            proposer: 'draft' asks the draft model, 'ngram' looks up earlier text and needs no draft; 'mixed' looks up
                first where that is expected to gain more, and else asks the draft.
            max_gamma: longest draft under 'adaptive'.
            min_confidence: a draft ends before a token that the draft gives less probability than this.
            cost_ratio: seconds of a draft token over seconds of a target pass over one token. Greedy decoding
                measures it; sampling keeps this value, so that rows do not depend on the clock.
            verify_cost: what each drafted token adds to the target's pass, in the same unit and treated alike. Large
                models in llama.cpp on a CPU are near 1: there, give the value when sampling.
        """
        if proposer not in ("draft", "ngram", "mixed"):
            raise ValueError(f"proposer must be 'draft', 'ngram' or 'mixed', not {proposer!r}")
        if gamma != "adaptive" and gamma < 1:
            raise ValueError(f"gamma must be at least 1 or 'adaptive', not {gamma}")
        self.gamma, self.proposer, self.max_gamma = gamma, proposer, max_gamma
        self.min_confidence, self.cost_ratio, self.verify_cost = min_confidence, cost_ratio, verify_cost
        self._lock = threading.Lock()
        self._speculative: tuple[LanguageModel, LanguageModel | None, SpeculativeModel] | None = None
        roles = {Role.TARGET} if proposer == "ngram" else {Role.TARGET, Role.DRAFT}
        self.requires = frozenset({*roles, Capability.LOGITS, Capability.REWIND})

    def solve(self, problem: Problem, models: Models, rng: np.random.Generator) -> Generation:
        """Write the target's solution; steps record drafted and kept tokens."""
        draft = None if self.proposer == "ngram" else models.language(Role.DRAFT)
        target = self._over(models.language(Role.TARGET), draft)
        return write_alone(problem, replace(models, target=target), rng, Role.TARGET)

    def _over(self, target: LanguageModel, draft: LanguageModel | None) -> SpeculativeModel:
        """The speculative model over this pair, kept between problems with what it has learnt."""
        with self._lock:  # problems may be solved in several threads
            known = self._speculative
            if known is None or known[0] is not target or known[1] is not draft:
                model = speculate(
                    target,
                    draft,
                    self.gamma,
                    self.max_gamma,
                    self.min_confidence,
                    self.cost_ratio,
                    self.verify_cost,
                    lookup=self.proposer == "mixed",
                )
                self._speculative = known = (target, draft, model)
            return known[2]

    def describe(self) -> dict[str, object]:
        """Name and parameters."""
        return {
            "name": self.name,
            "gamma": self.gamma,
            "proposer": self.proposer,
            "max_gamma": self.max_gamma,
            "min_confidence": self.min_confidence,
            "cost_ratio": self.cost_ratio,
            "verify_cost": self.verify_cost,
        }

    @property
    def label(self) -> str:
        """Name, with what differs from the default."""
        parts = [] if self.gamma == "adaptive" else [f"gamma={self.gamma}"]
        parts += [] if self.proposer == "draft" else [self.proposer]
        return f"{self.name} ({', '.join(parts)})" if parts else self.name
