"""Keeping evaluation problems out of training data: the same text, or a long run of words in common.

A problem is contaminated when it equals an evaluation problem up to spaces and letter case, or when both have n words
in a row in common (n = 13 as in arXiv:2005.14165, appendix C). Pure functions over texts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import final

from arbitrage.harness.router.sampling import normal
from arbitrage.types import Problem

WORDS = 13
"""Length of the runs that are compared."""
EXACT = "same text"
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Contamination:
    """Why a problem may not be trained on."""

    reason: str
    """`same text`, or how many words in a row are the same."""
    evaluation_set: str
    evaluation_id: str
    """Problem of that set."""
    shared: str
    """What both have in common, as words; empty for the same text."""


@final
class EvaluationTexts:
    """The problems of evaluation sets, made ready for being looked for."""

    def __init__(self, sets: Mapping[str, Iterable[Problem]], words: int = WORDS) -> None:
        """Take in evaluation sets by name.

        Args:
            sets: their problems.
            words: length of the runs of words that are compared; 0 compares whole texts only.
        """
        if words < 0:
            raise ValueError(f"words must not be negative, not {words}")
        self._words = words
        self._texts: dict[str, tuple[str, str]] = {}
        self._runs: dict[str, tuple[str, str]] = {}
        for name, problems in sets.items():
            for problem in problems:
                where = (name, problem.id)
                self._texts.setdefault(normal(problem.problem), where)
                for run in _runs(problem.problem, words):
                    self._runs.setdefault(run, where)

    def find(self, text: str) -> Contamination | None:
        """Where `text` was found; None when it is clean."""
        where = self._texts.get(normal(text))
        if where is not None:
            return Contamination(EXACT, *where, shared="")
        for run in _runs(text, self._words):
            where = self._runs.get(run)
            if where is not None:
                return Contamination(f"{self._words} words", *where, shared=run)
        return None


def decontaminate(
    problems: Sequence[Problem], texts: EvaluationTexts
) -> tuple[list[Problem], list[tuple[Problem, Contamination]]]:
    """(clean problems, contaminated ones with the reason)."""
    clean: list[Problem] = []
    removed: list[tuple[Problem, Contamination]] = []
    for problem in problems:
        found = texts.find(problem.problem)
        if found is None:
            clean.append(problem)
        else:
            removed.append((problem, found))
    return clean, removed


def _runs(text: str, length: int) -> Iterator[str]:
    """Every run of `length` words; punctuation and the signs of formulas are no words."""
    if length == 0:
        return
    words = _WORD.findall(text.casefold())
    for start in range(len(words) - length + 1):
        yield " ".join(words[start : start + length])
