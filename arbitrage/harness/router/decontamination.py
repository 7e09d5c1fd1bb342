"""Keeping evaluation problems out of training data: the same text, or a long run of words in common.

A problem is contaminated when it equals an evaluation problem but for typesetting (`text_key`), when both have n words
in a row in common (n = 13 as in arXiv:2005.14165, appendix C), or when it holds all the words of a shorter evaluation
problem in a row, if these are five or more: fewer are in many problems. Pure functions over texts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import final

from arbitrage.harness.router.sampling import text_key
from arbitrage.types import Problem

WORDS = 13
"""Length of the runs that are compared."""
SHORTEST = 5
"""Words that an evaluation problem with fewer than `WORDS` must have to be looked for inside others."""
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
            words: length of the runs of words that are compared, problems with fewer words as a whole; 0 compares whole
                texts only.
        """
        if words < 0:
            raise ValueError(f"words must not be negative, not {words}")
        self._texts: dict[str, tuple[str, str]] = {}
        self._runs: dict[int, dict[str, tuple[str, str]]] = {words: {}} if words else {}
        """Where each run stands, by its length; below `words` these are whole problems."""
        for name, problems in sets.items():
            for problem in problems:
                where = (name, problem.id)
                self._texts.setdefault(text_key(problem.problem), where)
                if words == 0:
                    continue
                written = _words(problem.problem)
                length = words if len(written) >= words else len(written)
                if length == words or length >= SHORTEST:
                    for run in _runs(written, length):
                        self._runs.setdefault(length, {}).setdefault(run, where)

    def find(self, text: str) -> Contamination | None:
        """Where `text` was found; None when it is clean."""
        where = self._texts.get(text_key(text))
        if where is not None:
            return Contamination(EXACT, *where, shared="")
        written = _words(text)
        for length in sorted(self._runs, reverse=True):
            for run in _runs(written, length):
                where = self._runs[length].get(run)
                if where is not None:
                    return Contamination(f"{length} words", *where, shared=run)
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


def _words(text: str) -> list[str]:
    """Words in small letters; punctuation and the signs of formulas are no words."""
    return _WORD.findall(text.casefold())


def _runs(words: Sequence[str], length: int) -> Iterator[str]:
    """Every run of `length` words."""
    for start in range(len(words) - length + 1):
        yield " ".join(words[start : start + length])
