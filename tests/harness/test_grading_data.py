"""The grader on published data: every reference is equal to itself, and near misses are wrong.

The files are not part of the repository. They are looked for in the folder that ARBITRAGE_DATA names, or in
`shared/data` beside the repository.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from arbitrage.harness.grading import Status, grade
from arbitrage.types import AnswerRules, Problem

FOLDER = Path(os.environ.get("ARBITRAGE_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data")


def rows(name: str) -> list[dict[str, Any]]:
    """Rows of a data file; skips the test when the file is not there."""
    path = FOLDER / name
    if not path.is_file():
        pytest.skip(f"{name} is not in {FOLDER}; set ARBITRAGE_DATA to the folder with the data files")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def olympiad_problem(row: dict[str, Any]) -> Problem:
    """An OlympiadBench row as a problem with its rules."""
    rules = AnswerRules(row["is_multiple_answer"], float(row["error"]) if row["error"] else None, row["unit"])
    return Problem(id=str(row["id"]), problem=row["problem"], answers=tuple(row["answers"]), rules=rules)


def test_every_example_of_the_contract_is_graded_as_labelled() -> None:
    """The pairs that fix what equal means, hostile ones included."""
    wrong = [
        r["id"] for r in rows("grader_examples.jsonl") if grade(r["pred"], r["gold"]).correct is not r["equivalent"]
    ]
    assert not wrong


def test_every_math500_reference_equals_itself_boxed_bare_and_in_its_solution() -> None:
    """A grader that rejects the official solution would reject right models too."""
    for row in rows("math500.jsonl"):
        for text in (rf"\boxed{{{row['answer']}}}", row["answer"], f"${row['answer']}$.", row["solution"]):
            assert grade(text, row["answer"]).correct, (row["unique_id"], text)


def test_every_olympiad_row_equals_its_own_answer() -> None:
    """The stored answer string is right for its problem; rows with a damaged answer are the only exceptions."""
    table = rows("olympiadbench.jsonl")
    exceptions = {row["id"] for row in table if not grade(row["answer"], olympiad_problem(row)).correct}
    damaged = {row["id"] for row in table if row["gold_note"]}
    assert exceptions <= damaged
    assert len(exceptions) <= 2


def test_olympiad_answers_may_come_in_boxes_of_their_own_in_any_order() -> None:
    """Several boxes joined by "and" are one answer; leaving one out makes it wrong."""
    for row in rows("olympiadbench.jsonl"):
        if not row["is_multiple_answer"] or len(row["answers"]) < 2 or row["gold_note"]:
            continue
        boxes = [rf"$\boxed{{{answer}}}$" for answer in reversed(row["answers"])]
        problem = olympiad_problem(row)
        assert grade("We get " + " and ".join(boxes) + ".", problem).correct, row["id"]
        assert grade("We get " + " and ".join(boxes[1:]) + ".", problem).status is Status.INCORRECT, row["id"]


def near_misses(reference: str) -> Iterator[str]:
    """Wrong answers made from a right one: another number, another sign, another order, one answer fewer or more."""
    numbers = list(re.finditer(r"\d+", reference))
    for match in {m.start(): m for m in numbers[:1] + numbers[-1:]}.values():
        yield reference[: match.start()] + str(int(match[0]) + 1) + reference[match.end() :]
    if re.match(r"[-\d\\]", reference) and not re.search(r"[=,]|text|pm|begin|^0$", reference):
        yield f"-({reference})"
    if pair := re.fullmatch(r"\(([^,()]+),([^,()]+)\)", reference):
        yield f"[{pair[1]},{pair[2]}]"
        if pair[1].strip() != pair[2].strip():
            yield f"({pair[2]},{pair[1]})"
    parts = re.split(r",(?! ?\d{3})(?!\\)", reference)
    if len(parts) > 1 and not re.search(r"[()\[\]]|text", reference):
        yield ",".join(parts[1:])
        yield reference + ", 1234567"
    if "+" in reference:
        yield reference.replace("+", "-", 1)
    if based := re.fullmatch(r"(\w+)_\{?\d+\}?", reference):
        yield based[1]


def test_near_misses_of_math500_references_are_wrong() -> None:
    """A changed digit, sign, order, bracket or count is never graded as correct."""
    cases = [(row["answer"], miss) for row in rows("math500.jsonl") for miss in near_misses(row["answer"])]
    assert len(cases) > 500
    assert [case for case in cases if grade(case[1], case[0]).correct] == []
