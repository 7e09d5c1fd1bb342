"""For tests of strategies and backends, yours or ours.

`scripted` has models without weights; `backend_conformance` is the suite that every backend passes.
"""

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
]
