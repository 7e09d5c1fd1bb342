"""A backend of scripted models for tests of commands: no weights, no torch, the same words every time."""

from __future__ import annotations

from types import SimpleNamespace

from arbitrage.hooks import Register, hookimpl
from arbitrage.interfaces import Backend, LanguageModel, StepScorer
from arbitrage.registry import Registry
from arbitrage.testing import ScriptedModel, ScriptedScorer
from arbitrage.types import Role


class Scripted(Backend):
    """The draft errs in its second step, which the PRM and the router notice; the target is right: 2."""

    name = "scripted"

    def language_model(self, source: str, device: str | None = None, **options: object) -> LanguageModel:
        drafts = source.startswith("draft")
        return ScriptedModel(
            ["1 + 1 is asked.", "\\boxed{3}"] if drafts else ["Add the ones.", "\\boxed{2}"], name=source
        )

    def scorer(self, source: str, device: str | None = None, **options: object) -> StepScorer:
        prm = source.startswith("prm")
        calibrated = {0.25: 0.4 if prm else 0.6, 0.5: 0.5, 0.75: 0.6 if prm else 0.4}
        return ScriptedScorer({"\\boxed{3}": 0.1 if prm else 0.9}, default=0.8 if prm else 0.2, thresholds=calibrated)

    def bundled(self, role: Role) -> str:
        return role.value


def scripted_registry() -> Registry:
    """The built-ins and the scripted backend."""

    @hookimpl
    def register_backends(register: Register) -> None:
        register("scripted", Scripted, "for a test")

    return Registry([("test-plugin", SimpleNamespace(register_backends=register_backends))])
