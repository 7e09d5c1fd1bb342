"""For tests of strategies and backends, yours or ours.

`scripted` has models without weights; `backend_conformance` is the suite that every backend passes; the assertions
compare measured results by their intervals (`pytest --benchmark`).
"""

from arbitrage.harness.assertions import (
    assert_accuracy_at_least,
    assert_faster,
    assert_not_slower,
    latency_ratio,
)
from arbitrage.testing.scripted import (
    END,
    VOCABULARY,
    CharacterCodec,
    ScriptedModel,
    ScriptedScorer,
    ScriptedScoreSession,
    ScriptedSession,
)

__all__ = [
    "END",
    "VOCABULARY",
    "CharacterCodec",
    "ScriptedModel",
    "ScriptedScoreSession",
    "ScriptedScorer",
    "ScriptedSession",
    "assert_accuracy_at_least",
    "assert_faster",
    "assert_not_slower",
    "latency_ratio",
]
