"""TokenSD: exact token-level speculative decoding (arXiv:2211.17192, arXiv:2302.01318) as a strategy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from arbitrage.interfaces import Capability, LanguageModel, Models, Strategy
from arbitrage.strategies.draft_length import AdaptiveLength, DraftLength, FixedLength
from arbitrage.strategies.proposers import DraftProposer, NgramProposer, Proposer
from arbitrage.strategies.single_model import write_alone
from arbitrage.strategies.speculative import SpeculativeModel
from arbitrage.types import Generation, Problem, Role


def speculate(
    target: LanguageModel,
    draft: LanguageModel | None,
    gamma: int | Literal["adaptive"] = "adaptive",
    max_gamma: int = 8,
    min_confidence: float = 0.4,
    cost_ratio: float = 0.25,
    verify_cost: float = 0.05,
) -> SpeculativeModel:
    """A model that writes exactly what `target` writes, faster. See `TokenSD` for the arguments."""

    def proposer(prompt: Sequence[int]) -> Proposer:
        return NgramProposer() if draft is None else DraftProposer(draft, prompt, min_confidence)

    def draft_length(clocked: bool) -> DraftLength:
        if gamma == "adaptive":
            return AdaptiveLength(max_gamma, 0.02 if draft is None else cost_ratio, verify_cost, clocked)
        return FixedLength(gamma)

    return SpeculativeModel(target, proposer, draft_length)


class TokenSD(Strategy):
    """The target's own solution, its tokens proposed by the draft (or by n-gram lookup) and checked in parallel."""

    name = "token-sd"

    def __init__(
        self,
        gamma: int | Literal["adaptive"] = "adaptive",
        proposer: Literal["draft", "ngram"] = "draft",
        max_gamma: int = 8,
        min_confidence: float = 0.4,
        cost_ratio: float = 0.25,
        verify_cost: float = 0.05,
    ) -> None:
        """Choose how tokens are proposed.

        Args:
            gamma: tokens drafted a round, or 'adaptive' to choose from measured acceptance and cost, down to plain
                decoding when no draft length pays.
            proposer: 'draft' asks the draft model, 'ngram' looks up earlier text and needs no draft.
            max_gamma: longest draft under 'adaptive'.
            min_confidence: a draft ends before a token that the draft gives less probability than this.
            cost_ratio: seconds of a draft token over seconds of a target pass over one token. Greedy decoding
                measures it; sampling keeps this value, so that rows do not depend on the clock.
            verify_cost: what each drafted token adds to the target's pass, in the same unit and treated alike. Large
                models in llama.cpp on a CPU are near 1: there, give the value when sampling.
        """
        if proposer not in ("draft", "ngram"):
            raise ValueError(f"proposer must be 'draft' or 'ngram', not {proposer!r}")
        if gamma != "adaptive" and gamma < 1:
            raise ValueError(f"gamma must be at least 1 or 'adaptive', not {gamma}")
        self.gamma, self.proposer, self.max_gamma = gamma, proposer, max_gamma
        self.min_confidence, self.cost_ratio, self.verify_cost = min_confidence, cost_ratio, verify_cost
        self._speculative: tuple[LanguageModel, LanguageModel | None, SpeculativeModel] | None = None
        roles = {Role.TARGET, Role.DRAFT} if proposer == "draft" else {Role.TARGET}
        self.requires = frozenset({*roles, Capability.LOGITS, Capability.REWIND})

    def solve(self, problem: Problem, models: Models, rng: np.random.Generator) -> Generation:
        """Write the target's solution; steps record drafted and kept tokens."""
        draft = models.language(Role.DRAFT) if self.proposer == "draft" else None
        target = self._over(models.language(Role.TARGET), draft)
        return write_alone(problem, replace(models, target=target), rng, Role.TARGET)

    def _over(self, target: LanguageModel, draft: LanguageModel | None) -> SpeculativeModel:
        """The speculative model over this pair, kept between problems with what it has learnt."""
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
