"""From one JSON row to one `Problem`, for every row format the loaders know.

Knows the fields of the published data sets and which grading rules they imply. Knows nothing of files or hubs.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping

from arbitrage.types import AnswerRules, Problem

Fields = Mapping[str, object]
RowReader = Callable[[Fields, str], Problem | None]
"""Takes a row and the id to use when the row has none; None leaves the row out."""


class RowError(ValueError):
    """A row lacks a field or a field cannot be used; the caller adds file and line."""


def plain(row: Fields, fallback_id: str) -> Problem:
    """A row of anybody's JSONL file: `problem` and `answer`.

    Optional are `id`, `level`, `subject`, `solution`, `unit`, and `tolerance` (or `error`). `answer` is a string, a
    number, or a list of them; a list of several means that all are required. An empty string is a reference that
    nobody has (MATH has two): such problems are solved and stay unscored.

    Raises:
        RowError: a field is absent or has the wrong type.
    """
    return _problem(row, fallback_id, _text(row, "problem"), _answers(row, "answer"))


def math500(row: Fields, fallback_id: str) -> Problem:
    """A row of MATH-500 (Lightman et al., arXiv:2305.20050): `unique_id`, `level` and `subject` are kept."""
    fields = {**row, "id": row.get("unique_id", row.get("id"))}
    return _problem(fields, fallback_id, _text(row, "problem"), _answers(row, "answer"))


def gsm8k(row: Fields, fallback_id: str) -> Problem:
    """A row of GSM8K (Cobbe et al., arXiv:2110.14168), either split into answer and solution or joined by `####`."""
    text = _text(row, "answer")
    solution, mark, answer = text.rpartition("####")
    fields = {**row, "solution": solution.strip()} if mark else row
    statement = _text(row, "problem" if "problem" in row else "question")
    return _problem(fields, fallback_id, statement, (answer.strip(),))


def olympiadbench(row: Fields, fallback_id: str) -> Problem:
    """A row of OlympiadBench (He et al., arXiv:2402.14008): the set of 675 that RSD and Arbitrage published numbers on.

    Reads the fields of the original release (`question`, `final_answer`) and of prepared files (`problem`, `answers`).
    `error` is an absolute tolerance and holds only in the row that has it.
    """
    statement = _text(row, "problem" if "problem" in row else "question")
    return _problem({**row, "subject": row.get("subfield")}, fallback_id, statement, _olympiad_gold(row))


def olympiadbench_674(row: Fields, fallback_id: str) -> Problem | None:
    """The later release of 674: one row fewer, 15 relay statements that got their T, one corrected gold."""
    if row.get("in_674") is False:
        return None
    corrected = row.get("problem_674")
    problem = olympiadbench({**row, "problem": corrected} if corrected else row, fallback_id)
    if problem.id == _DEGREES[0] and problem.answers == (_DEGREES[1],):
        return Problem(problem.id, problem.problem, (_DEGREES[2],), problem.level, problem.subject, problem.solution)
    return problem


_DEGREES = ("2817", "44^\\circ", "44")


def _problem(row: Fields, fallback_id: str, statement: str, answers: tuple[str, ...]) -> Problem:
    identifier = row.get("id")
    if identifier is not None and (isinstance(identifier, bool) or not isinstance(identifier, str | int)):
        raise RowError(f"'id' must be a string or an integer, not {identifier!r:.60}")
    for text in (str(identifier), statement, *answers):
        _check_encodable(text)
    rules = AnswerRules(multiple=len(answers) > 1, tolerance=_tolerance(row), unit=_unit(row))
    return Problem(
        id=fallback_id if identifier is None or identifier == "" else str(identifier),
        problem=statement,
        answers=answers,
        level=_level(row),
        subject=_optional_text(row, "subject"),
        solution=_solution(row),
        rules=rules,
    )


def _check_encodable(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise RowError(f"half a surrogate pair in {text!r:.60}; write the character itself") from error


def _text(row: Fields, name: str) -> str:
    if name not in row:
        raise RowError(f"{name!r} is missing; the row has {', '.join(map(repr, row)) or 'no fields'}")
    value = row[name]
    if not isinstance(value, str) or not value.strip():
        raise RowError(f"{name!r} must be a non-empty string, not {value!r:.60}")
    return value


def _optional_text(row: Fields, name: str) -> str | None:
    value = row.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise RowError(f"{name!r} must be a string, not {value!r:.60}")
    return value


def _solution(row: Fields) -> str | None:
    value = row.get("solution")
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        return "\n\n".join(value) or None
    return _optional_text(row, "solution")


def _answers(row: Fields, name: str) -> tuple[str, ...]:
    if name not in row:
        raise RowError(f"{name!r} is missing; the row has {', '.join(map(repr, row)) or 'no fields'}")
    value = row[name]
    if value == "":
        return ("",)
    answers = tuple(_answer(part, name) for part in (value if isinstance(value, list) else [value]))
    if not answers:
        raise RowError(f"{name!r} is an empty list; a problem needs at least one reference answer")
    return answers


def _answer(value: object, name: str) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float) or not str(value).strip():
        raise RowError(f"{name!r} must be a non-empty string, a number or a list of these, not {value!r:.60}")
    return str(value).strip()


def _level(row: Fields) -> int | None:
    value = row.get("level")
    digits = re.fullmatch(r"(?:Level )?(\d+)", value.strip()) if isinstance(value, str) else None
    if digits is not None:
        return int(digits[1])
    if value is None or value in ("", "Level ?"):
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise RowError(f"'level' must be an integer, not {value!r:.60}")
    return value


def _tolerance(row: Fields) -> float | None:
    value = row.get("tolerance")
    value = row.get("error") if value is None else value
    if value is None or value == "":
        return None
    try:
        number = math.nan if isinstance(value, bool) or not isinstance(value, str | int | float) else float(value)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number >= 0):
        raise RowError(f"the tolerance must be a non-negative number, not {value!r:.60}")
    return number


def _unit(row: Fields) -> str | None:
    unit = _optional_text(row, "unit")
    return unit.replace("$", "").strip() or None if unit else None


def _olympiad_gold(row: Fields) -> tuple[str, ...]:
    if "answers" in row:
        return _answers(row, "answers")
    stored = _answers(row, "final_answer" if "final_answer" in row else "answer")
    cleaned = [answer.replace("$", "").strip() for answer in stored]
    if row.get("is_multiple_answer") is True:
        cleaned = [part for answer in cleaned for part in split_top_level(answer)]
    if not cleaned or not all(cleaned):
        raise RowError("the gold answer is empty once its dollars are removed")
    return tuple(cleaned)


def split_top_level(text: str) -> list[str]:
    """Parts of `text` between commas that stand in no bracket; a comma in a thousands separator `{,}` never counts."""
    parts, depth, start = [], 0, 0
    for position, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        if character == "," and depth == 0:
            parts.append(text[start:position])
            start = position + 1
    return [part.strip() for part in (*parts, text[start:])]
