"""Pairs with a label and a reason, written without knowledge of the grader: every one is graded as labelled."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from arbitrage.harness.grading import grade

FOLDER = Path(__file__).parent / "labelled_pairs"


def pairs(name: str) -> list[dict[str, Any]]:
    """Rows of a file of labelled pairs."""
    return [json.loads(line) for line in (FOLDER / name).read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("name", sorted(file.name for file in FOLDER.glob("*.jsonl")))
def test_every_labelled_pair_is_graded_as_labelled(name: str) -> None:
    """Both kinds of error are listed with the reason of the label."""
    wrong = [
        (row["gold"], row["pred"], row["equivalent"], row["note"])
        for row in pairs(name)
        if grade(row["pred"], row["gold"]).correct is not row["equivalent"]
    ]
    assert not wrong


def test_the_set_is_large_and_looks_both_ways() -> None:
    """At least 1,500 pairs, none twice, nearly half and half, each with a reason."""
    rows = [row for file in FOLDER.glob("*.jsonl") for row in pairs(file.name)]
    assert len(rows) >= 1500
    assert len({(row["gold"], row["pred"]) for row in rows}) == len(rows)
    assert 0.4 < sum(row["equivalent"] for row in rows) / len(rows) < 0.6
    assert all(row["note"].strip() for row in rows)
