"""What a long count says where there is no terminal."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from arbitrage.cli import counting


def test_lines_come_with_every_twentieth_part_and_after_a_long_silence(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A first line, then none until there is something new to say or five minutes have gone by."""
    clock = iter([10.0, 20.0, 309.0, 310.0, 320.0, 330.0])
    monkeypatch.setattr(counting, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    with counting.counting("collecting", lines=True) as count:
        for done, more in ((0, "a"), (0, "b"), (0, "c"), (0, "d"), (1, "e"), (1, "f")):
            count(done, 20, more)
    assert capsys.readouterr().err.splitlines() == [
        "0/20  collecting: a",
        "0/20  collecting: d",
        "1/20  collecting: e",
    ]
