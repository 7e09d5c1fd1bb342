"""Step-level speculative decoding for reasoning models: strategies, backends, and a benchmark that compares them.

Everything public is named here and imported on first use, so `import arbitrage` needs neither torch nor transformers.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from arbitrage.backends.bundled import bundled_path
    from arbitrage.backends.loading import load_models
    from arbitrage.errors import ArbitrageError
    from arbitrage.harness.datasets import load_dataset
    from arbitrage.harness.grading import Verdict, grade
    from arbitrage.harness.runner import run_benchmark, run_comparison
    from arbitrage.hooks import hookimpl
    from arbitrage.interfaces import (
        Backend,
        Capability,
        Continuation,
        LanguageModel,
        Models,
        ScoreSession,
        Session,
        Settings,
        StepScorer,
        Stop,
        StopReason,
        Strategy,
        TextCodec,
        Usage,
    )
    from arbitrage.sampling import Sampling
    from arbitrage.types import AnswerRules, EndReason, Generation, Problem, Role, StepRecord

__version__ = "0.1.0"

_HOMES = {
    "arbitrage.backends.bundled": ("bundled_path",),
    "arbitrage.backends.loading": ("load_models",),
    "arbitrage.errors": ("ArbitrageError",),
    "arbitrage.harness.datasets": ("load_dataset",),
    "arbitrage.harness.grading": ("Verdict", "grade"),
    "arbitrage.harness.runner": ("run_benchmark", "run_comparison"),
    "arbitrage.hooks": ("hookimpl",),
    "arbitrage.interfaces": (
        "Backend",
        "Capability",
        "Continuation",
        "LanguageModel",
        "Models",
        "ScoreSession",
        "Session",
        "Settings",
        "StepScorer",
        "Stop",
        "StopReason",
        "Strategy",
        "TextCodec",
        "Usage",
    ),
    "arbitrage.sampling": ("Sampling",),
    "arbitrage.types": ("AnswerRules", "EndReason", "Generation", "Problem", "Role", "StepRecord"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "AnswerRules",
    "ArbitrageError",
    "Backend",
    "Capability",
    "Continuation",
    "EndReason",
    "Generation",
    "LanguageModel",
    "Models",
    "Problem",
    "Role",
    "Sampling",
    "ScoreSession",
    "Session",
    "Settings",
    "StepRecord",
    "StepScorer",
    "Stop",
    "StopReason",
    "Strategy",
    "TextCodec",
    "Usage",
    "Verdict",
    "__version__",
    "bundled_path",
    "grade",
    "hookimpl",
    "load_dataset",
    "load_models",
    "run_benchmark",
    "run_comparison",
]


def __getattr__(name: str) -> object:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
