"""What the tests of the harness share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from arbitrage.harness.grading import grader as grader_module
from arbitrage.harness.grading.client import Client


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """A grading process of the test's own, used by `grade`."""
    own = Client()
    monkeypatch.setattr(grader_module, "SHARED", own)
    yield own
    own.close()
