"""Grades one answer: find it, decide the plain cases at once, and leave the others to the child process."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction

from arbitrage.harness.grading import compat as evaluators
from arbitrage.harness.grading.client import SHARED, Client, Reply
from arbitrage.harness.grading.extraction import Extraction, Source, find_answer
from arbitrage.harness.grading.normalise import compact, normalise
from arbitrage.harness.grading.plain import has_separator, parse_number
from arbitrage.harness.grading.verdict import Status, Verdict
from arbitrage.types import AnswerRules, Problem

MAX_ANSWER = 2000
"""Characters; a longer answer is not compared."""
_MAX_NESTING = 60
_PROSE_WORD = re.compile(r"(?<![A-Za-z\\])[A-Za-z]{2,}(?![A-Za-z(])")
_MOST_PROSE = 6
_GUESSED = {Source.FORMULA: "the last formula", Source.NUMBER: "the last number"}
_STOPPED = {"timeout": Status.TIMEOUT, "crash": Status.TIMEOUT, "limit": Status.TIMEOUT, "start": Status.UNSCORED}


def grade(answer_text: str, reference: str | Problem, *, timeout_s: float = 2.0, compat: str | None = None) -> Verdict:
    """Grade an answer against its reference.

    Args:
        answer_text: a bare answer or a whole response, any string.
        reference: the right answer as LaTeX, or the problem with its references and rules.
        timeout_s: seconds that the comparison may take; starting the child process and loading its libraries (once) is
            not counted.
        compat: None for this grader's own rules; "qwen" for the verdict that the Qwen2.5-Math evaluator would give,
            with its tolerance and unit removal, and without the rules of a problem. The method then begins with "qwen".

    Returns:
        The verdict. No string makes this call raise, run anything, or take much longer than the limit.

    Raises:
        ValueError: timeout_s is not positive, or compat is unknown.
        MissingExtraError: the arithmetic library is not installed.
    """
    return _grade(answer_text, reference, timeout_s, SHARED, compat)


def grade_batch(
    pairs: Iterable[tuple[str, str | Problem]], *, timeout_s: float = 2.0, compat: str | None = None
) -> list[Verdict]:
    """Grade many answers.

    Args:
        pairs: answer text and reference, as for `grade`.
        timeout_s: seconds for each comparison.
        compat: as for `grade`.

    Returns:
        One verdict for each pair, in order.

    Raises:
        ValueError: timeout_s is not positive, or compat is unknown.
        MissingExtraError: the arithmetic library is not installed.
    """
    return [grade(answer_text, reference, timeout_s=timeout_s, compat=compat) for answer_text, reference in pairs]


def _grade(answer_text: str, reference: str | Problem, timeout_s: float, client: Client, compat: str | None) -> Verdict:
    if not timeout_s > 0:
        raise ValueError(f"timeout_s must be positive, not {timeout_s}")
    if compat is not None and compat not in evaluators.MODES:
        raise ValueError(f"unknown compat {compat!r}; there is: {', '.join(evaluators.MODES)}, or None")
    references = (reference,) if isinstance(reference, str) else reference.answers
    if compat is not None:
        other = _compat(answer_text, ", ".join(references), timeout_s, client, compat)
        return replace(other, answer=other.answer or None, method=f"{compat} {other.method}")
    rules = AnswerRules() if isinstance(reference, str) else reference.rules
    found = find_answer(answer_text)
    defect = _reference_defect(references)
    if found is None:
        status = Status.UNSCORED if defect else Status.UNPARSED
        return Verdict(status, None, "extraction", defect or "no answer was found in the text")
    verdict = _at_once(found, references, rules, defect)
    if verdict is None:
        tolerance = None if rules.tolerance is None else repr(rules.tolerance)
        reply = client.compare(references, found.text, tolerance=tolerance, unit=rules.unit, timeout_s=timeout_s)
        verdict = _from_reply(found, reply)
    return verdict


def _compat(answer_text: str, reference: str, timeout_s: float, client: Client, mode: str) -> Verdict:
    """The verdict by the rules of another evaluator; its method still lacks the prefix."""
    if len(reference) > MAX_ANSWER:
        return Verdict(Status.UNSCORED, None, "reference", f"the reference is longer than {MAX_ANSWER} characters")
    if not reference.strip():
        return Verdict(Status.UNSCORED, None, "reference", "the reference is empty")
    text = evaluators.announced(answer_text)
    if text is None:
        found = find_answer(answer_text) if len(answer_text) <= MAX_ANSWER else None
        is_bare = found is not None and found.source is Source.BARE
        text = answer_text.strip() if is_bare else evaluators.last_number(answer_text)
    if len(text) > MAX_ANSWER:
        return Verdict(Status.UNPARSED, text, "limit", f"the answer is longer than {MAX_ANSWER} characters")
    gold = evaluators.strip(reference)  # may be empty, as that of \text{east} is; every answer is right then
    answer = evaluators.fitted(evaluators.strip(text), gold, answer_text)
    if gold and not answer:
        return Verdict(Status.UNPARSED, None, "extraction", "no answer was found in the text")
    found_here = Extraction(text, Source.PHRASE)
    ruling = evaluators.decide_text(answer, gold)
    if ruling is not None:
        return _verdict(found_here, ruling.equal, ruling.method, ruling.reason)
    reply = client.compare([gold], answer, tolerance=None, unit=None, timeout_s=timeout_s, mode=mode)
    return _from_reply(found_here, reply)


def _at_once(found: Extraction, references: tuple[str, ...], rules: AnswerRules, defect: str | None) -> Verdict | None:
    """The verdict where it takes no mathematics; None where it does."""
    if len(found.text) > MAX_ANSWER:
        return Verdict(Status.UNPARSED, found.text, "limit", f"the answer is longer than {MAX_ANSWER} characters")
    if sum(map(len, references)) > MAX_ANSWER:
        return Verdict(
            Status.UNSCORED, found.text, "reference", f"the reference is longer than {MAX_ANSWER} characters"
        )
    answer = compact(normalise(found.text))
    if not answer:
        return Verdict(Status.UNPARSED, None, "extraction", "the answer is empty")
    gold = compact(normalise(", ".join(references)))
    if gold and gold == answer:
        return _verdict(found, True, "string", "the same text")
    if defect:
        return Verdict(Status.UNSCORED, found.text, "reference", defect)
    defect = _bracket_defect(found.text)
    if defect:
        return Verdict(Status.UNPARSED, found.text, "limit", f"the answer {defect}")
    ambiguous = has_separator(gold) and has_separator(answer)
    if len(references) > 1 or ambiguous or (rules.unit and "%" in rules.unit):
        return None
    expected, value = parse_number(gold), parse_number(answer)
    if expected is None or value is None:
        return None
    if rules.tolerance is not None:
        equal = abs(expected - value) <= Fraction(repr(rules.tolerance))
        return _verdict(found, equal, "number", "within the tolerance" if equal else "outside the tolerance")
    return _verdict(found, expected == value, "number", "the same number" if expected == value else "different numbers")


def _from_reply(found: Extraction, reply: Reply) -> Verdict:
    if reply.method in _STOPPED:
        return Verdict(_STOPPED[reply.method], found.text, reply.method, reply.reason)
    if reply.method in ("unreadable", "fault"):
        return Verdict(Status.UNPARSED, found.text, reply.method, reply.reason)
    return _verdict(found, reply.equal, reply.method, reply.reason)


def _verdict(found: Extraction, equal: bool, method: str, reason: str) -> Verdict:
    guessed = _GUESSED.get(found.source)
    reason = f"{reason}; the answer was taken from {guessed}" if guessed else reason
    return Verdict(Status.CORRECT if equal else Status.INCORRECT, found.text, method, reason)


def _reference_defect(references: tuple[str, ...]) -> str | None:
    """Why references cannot be used; None when they can."""
    if not references or not all(normalise(reference[: MAX_ANSWER + 1]) for reference in references):
        return "the reference is empty"
    if sum(map(len, references)) > MAX_ANSWER:
        return f"the reference is longer than {MAX_ANSWER} characters"
    for reference in references:
        if defect := _bracket_defect(reference):
            return f"the reference {defect}"
        if re.search(r"[\d=\\]", reference) and len(_PROSE_WORD.findall(reference)) > _MOST_PROSE:
            return "the reference is a sentence and not an answer"
    return None


def _bracket_defect(text: str) -> str | None:
    """What is wrong with the braces of a text; None when nothing is."""
    depth = deepest = 0
    for match in re.finditer(r"\\.|[{}()\[\]]", text, re.DOTALL):
        if match[0] in "{([":
            depth += 1
            deepest = max(deepest, depth)
        elif match[0] in "})]":
            depth -= 1
    braces = re.sub(r"\\.", "", text, flags=re.DOTALL)
    if braces.count("{") != braces.count("}"):
        return "has unbalanced braces"
    return "is nested too deeply" if deepest > _MAX_NESTING else None
