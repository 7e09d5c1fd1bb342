"""Who decides which of both steps a collected solution goes on with.

The oracle's choices are the published roll-in; a router's own (DAgger) show it the prefixes that it will meet.
"""

from __future__ import annotations

from dataclasses import dataclass

from arbitrage.harness.router.pairs import PairsError
from arbitrage.interfaces import Models, Strategy
from arbitrage.registry import registry
from arbitrage.requirements import check_requirements
from arbitrage.strategies.loop import StepStrategy
from arbitrage.strategies.oracle import ArbitrageOracle
from arbitrage.strategy_specs import parse_strategy
from arbitrage.types import Role

_SHORT = {"oracle": "arbitrage-oracle", "draft": "random-route:rate=0", "target": "random-route:rate=1"}


@dataclass(frozen=True, slots=True)
class RollIn:
    """A step strategy under the name that pairs are labelled with."""

    name: str
    strategy: StepStrategy

    def check(self, models: Models) -> None:
        """Make sure that `models` can collect pairs under this roll-in.

        Raises:
            CapabilityError: a role is empty, or a model lacks a capability.
        """
        check_requirements(ArbitrageOracle(), models)  # both models write and a PRM reads, whoever decides
        check_requirements(self.strategy, models)

    def label(self, models: Models) -> str:
        """The name, with the router's where one decides."""
        return f"{self.name} of {models.scorer(Role.ROUTER).name}" if self.routed else self.name

    @property
    def routed(self) -> bool:
        """Whether a router decides."""
        return Role.ROUTER in self.strategy.requires


def parse_roll_in(wanted: str | Strategy) -> RollIn:
    """Read `oracle`, `draft`, `target`, or any step strategy as on a command line (`arbitrage-router:rate=0.3`).

    Raises:
        PairsError: the strategy does not decide step by step.
        ArbitrageError: there is no such strategy, or it has no such parameter.
    """
    if isinstance(wanted, str):
        strategy = parse_strategy(_SHORT.get(wanted, wanted), registry())
        name = wanted if wanted in _SHORT else strategy.label
    else:
        strategy, name = wanted, wanted.label
    if not isinstance(strategy, StepStrategy):
        raise PairsError(
            f"{name!r} cannot be the roll-in, as it does not choose between both models' steps; take "
            f"{', '.join(_SHORT)}, or a step strategy such as arbitrage-router:rate=0.3 or random-route:rate=0.5"
        )
    return RollIn(name, strategy)
