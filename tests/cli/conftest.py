"""What the tests of the command line share: commands as a user starts them, and a registry without real models."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from arbitrage.registry import Registry
from tests.scripted_backend import scripted_registry

Run = Callable[..., subprocess.CompletedProcess[bytes]]


@pytest.fixture
def run() -> Run:
    """Start `arbitrage` in a process of its own; keywords are environment variables, None removes one."""

    def start(*words: str, stdin: bytes = b"", **environment: str | None) -> subprocess.CompletedProcess[bytes]:
        merged = {**os.environ, **environment}
        kept = {name: value for name, value in merged.items() if value is not None}
        command = [sys.executable, "-m", "arbitrage", *words]
        return subprocess.run(command, input=stdin, capture_output=True, env=kept, timeout=120, check=False)

    return start


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> Registry:
    """The registry that commands see, with a scripted backend; a machine that is never busy; no data folder."""
    names = scripted_registry()
    monkeypatch.setattr("arbitrage.registry._shared", names)
    monkeypatch.setattr("arbitrage.harness.environment.load_average", lambda: (0.0, 0.0, 0.0))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.delenv("ARBITRAGE_DATA", raising=False)
    monkeypatch.delenv("COLUMNS", raising=False)
    return names
