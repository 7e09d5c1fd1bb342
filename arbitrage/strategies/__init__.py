"""Decoding strategies: one file per strategy, one shared step loop, pure probability rules.

To write a step strategy, subclass `StepStrategy` and return a `Policy`; `random_route.py` is the shortest example.
"""

from arbitrage.strategies.confidence import DraftConfidence
from arbitrage.strategies.loop import StepStrategy, write_steps
from arbitrage.strategies.oracle import ArbitrageOracle
from arbitrage.strategies.policy import Decision, Policy, StepContext, WrittenStep
from arbitrage.strategies.random_route import RandomRoute
from arbitrage.strategies.router import ArbitrageRouter
from arbitrage.strategies.rsd import RSD
from arbitrage.strategies.single_model import DraftOnly, TargetOnly
from arbitrage.strategies.speculative import SpeculativeModel
from arbitrage.strategies.token_sd import TokenSD, speculate

__all__ = [
    "RSD",
    "ArbitrageOracle",
    "ArbitrageRouter",
    "Decision",
    "DraftConfidence",
    "DraftOnly",
    "Policy",
    "RandomRoute",
    "SpeculativeModel",
    "StepContext",
    "StepStrategy",
    "TargetOnly",
    "TokenSD",
    "WrittenStep",
    "speculate",
    "write_steps",
]
