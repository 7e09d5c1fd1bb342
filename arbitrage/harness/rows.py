"""One row: everything that is kept about one problem, solved once by one strategy, and its form on disk.

On disk the steps of a row are lines of their own. What is read back is checked field by field; what a folder from
elsewhere contains is data and never code.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np

from arbitrage.errors import RunError
from arbitrage.types import EndReason, Problem, Seconds, StepRecord

if TYPE_CHECKING:
    from pydantic import TypeAdapter, ValidationError

Key = tuple[str, str, int]
"""What a row is about: strategy label, problem id, repeat."""

Record = TypeVar("Record")

_ON_DISK: dict[str, object] = {"ser_json_inf_nan": "strings"}


class RowStatus(enum.StrEnum):
    """How a problem ended: the five grades, or the strategy failed."""

    CORRECT = "correct"
    INCORRECT = "incorrect"
    UNPARSED = "unparsed"
    """No answer could be read from the text."""
    TIMEOUT = "timeout"
    """Grading was stopped at its limit."""
    UNSCORED = "unscored"
    """The reference answer is unusable, or grading failed."""
    ERROR = "error"
    """The strategy raised an exception; there is no solution."""


@dataclass(frozen=True, slots=True)
class Row:
    """One problem, solved once by one strategy."""

    strategy: str
    """Label of the strategy, as in the tables."""
    problem_id: str
    repeat: int
    """0 for the first time this problem was solved in the run."""
    status: RowStatus
    reference: str
    """Reference answer; several are joined by commas."""
    started_at: str
    """When the strategy was called, ISO 8601 with time zone."""
    latency_s: Seconds
    """Wall-clock seconds from prompt to last token, grading not included; in an error row, until the exception. Where
    several problems were solved at once, the time under that load."""
    answer: str | None = None
    """The answer that was read from the text."""
    method: str = ""
    """What decided the grade."""
    reason: str = ""
    """Why the grade is what it is, or the exception's message: one line for a person."""
    text: str = ""
    """The whole solution."""
    token_ids: tuple[int, ...] = ()
    """Committed token ids after the prompt."""
    steps: tuple[StepRecord, ...] = ()
    end_reason: EndReason | None = None
    """Why the solution ended; None in an error row."""
    prompt_tokens: int = 0
    time_s: Mapping[str, Seconds] = field(default_factory=dict)
    """Seconds inside model calls, by component: draft, target, prm, router."""
    calls: Mapping[str, int] = field(default_factory=dict)
    """Forward passes, by component."""
    forwarded_tokens: Mapping[str, int] = field(default_factory=dict)
    """Tokens pushed through each model, by component."""
    dropped_tokens: Mapping[str, int] = field(default_factory=dict)
    """Of these, tokens that were taken back; the others are each model's final stream."""
    repeated_tokens: Mapping[str, int] = field(default_factory=dict)
    """Tokens that a model read although it had read them before at the same place, behind the same tokens."""
    level: int | None = None
    subject: str | None = None
    error: str | None = None
    """The traceback of an error row."""
    share_s: Seconds | None = None
    """Of the wall-clock seconds in which rows were in work, those that fall to this one: each moment is divided by the
    number of rows in work at that moment. None where problems were solved one at a time: all of `latency_s`."""

    __pydantic_config__: ClassVar[dict[str, object]] = _ON_DISK

    @property
    def key(self) -> Key:
        """What the row is about; unique in a run."""
        return (self.strategy, self.problem_id, self.repeat)

    @property
    def machine_s(self) -> float:
        """Seconds of the machine that the row took; of all rows of a strategy they are the time it was busy."""
        return self.latency_s if self.share_s is None else self.share_s

    @property
    def correct(self) -> bool:
        """Whether the answer counts as right; every status but `correct` does not."""
        return self.status is RowStatus.CORRECT

    @property
    def failed(self) -> bool:
        """Whether the strategy raised: there is neither text nor a latency that counts."""
        return self.status is RowStatus.ERROR

    @property
    def tokens(self) -> int:
        """Number of committed tokens."""
        return len(self.token_ids)

    @property
    def accepted_steps(self) -> int:
        """Steps in which the draft's version was kept."""
        return sum(step.author == "draft" for step in self.steps)

    @property
    def escalated_steps(self) -> int:
        """Steps whose draft version was discarded for the target's."""
        return sum(step.escalated for step in self.steps)

    @property
    def truncated(self) -> bool:
        """Whether the token or step budget cut the solution."""
        return self.end_reason in (EndReason.MAX_TOKENS, EndReason.MAX_STEPS)


@dataclass(frozen=True, slots=True)
class StepScores:
    """What a PRM and a router said of the steps of one row after the run; each tuple has one entry a step."""

    strategy: str
    problem_id: str
    repeat: int
    draft_rewards: tuple[float | None, ...]
    """PRM reward of the draft's version in [0, 1]; None where there is none."""
    target_rewards: tuple[float | None, ...]
    """PRM reward of the target's version."""
    router_scores: tuple[float | None, ...]
    """Router's score of the draft's version in [0, 1]."""

    __pydantic_config__: ClassVar[dict[str, object]] = _ON_DISK

    @property
    def key(self) -> Key:
        """Key of the row."""
        return (self.strategy, self.problem_id, self.repeat)

    def applied(self, row: Row) -> Row:
        """The row with these scores; unchanged if they are of other steps.

        They go before those that the strategy itself had asked for: both versions of a step are compared by one model
        in one pass, where rounding cannot tell equal texts apart. What the strategy decided by is still in `score`.
        """
        parts = (self.draft_rewards, self.target_rewards, self.router_scores)
        if any(len(part) != len(row.steps) for part in parts):
            return row
        steps = (
            replace(
                step,
                draft_reward=step.draft_reward if drafted is None else drafted,
                target_reward=step.target_reward if targeted is None else targeted,
                router_score=step.router_score if routed is None else routed,
            )
            for step, drafted, targeted, routed in zip(row.steps, *parts, strict=True)
        )
        return replace(row, steps=tuple(steps))


@dataclass(frozen=True, slots=True)
class WarmUp:
    """One solution made before measuring; reported, never averaged in."""

    strategy: str
    problem_id: str
    latency_s: float
    tokens: int
    started_at: str
    error: str | None = None
    """Message of the exception, when the strategy raised."""

    __pydantic_config__: ClassVar[dict[str, object]] = _ON_DISK


def checked(row: Row) -> Row:
    """The row as it will be read back: numpy numbers become Python's, half surrogate pairs become question marks.

    Raises:
        TypeError: a field has a type that it must not have, so a strategy returned something malformed.
    """
    import pydantic

    adapter = _adapter(Row)
    try:
        return adapter.validate_python(_storable(adapter.dump_python(row, warnings=False)))
    except pydantic.ValidationError as error:
        raise TypeError(f"the strategy's Generation is malformed: {_first_problem(error)}") from error


@dataclass(frozen=True, slots=True)
class StoredRow(Row):
    """A row as it lies on disk: its steps stand elsewhere, here is how many there are."""

    step_count: int | None = None
    """None in rows of schema 1, which hold their steps themselves."""

    __pydantic_config__: ClassVar[dict[str, object]] = _ON_DISK

    def whole(self, steps: Sequence[StepRecord]) -> Row | None:
        """The row with its steps; None when they are not all there."""
        if self.step_count is None:
            steps = self.steps
        elif len(steps) != self.step_count:
            return None
        given = {one.name: getattr(self, one.name) for one in fields(Row)}
        return Row(**{**given, "steps": tuple(steps)})


@dataclass(frozen=True, slots=True)
class StoredStep(StepRecord):
    """A step as it lies on disk: with the row that it belongs to."""

    strategy: str = field(kw_only=True)
    problem_id: str = field(kw_only=True)
    repeat: int = field(kw_only=True)

    __pydantic_config__: ClassVar[dict[str, object]] = _ON_DISK

    @property
    def key(self) -> Key:
        """Key of the row."""
        return (self.strategy, self.problem_id, self.repeat)

    @property
    def record(self) -> StepRecord:
        """The step alone."""
        return StepRecord(**_step_fields(self))


def row_to_json(row: Row) -> bytes:
    """One line of JSON, newline included, without the steps. Derived numbers help readers without this package."""
    derived = {name: getattr(row, name) for name in ("correct", "tokens", "accepted_steps", "escalated_steps")}
    derived["step_count"] = len(row.steps)
    told = _adapter(Row).dump_json(row, exclude={"steps"})
    return told[:-1] + b"," + json.dumps(derived, separators=(",", ":")).encode()[1:] + b"\n"


def steps_to_json(row: Row) -> bytes:
    """One line of JSON for each step of the row."""
    strategy, problem_id, repeat = row.key
    adapter = _adapter(StoredStep)
    stored = (
        StoredStep(**_step_fields(step), strategy=strategy, problem_id=problem_id, repeat=repeat) for step in row.steps
    )
    return b"".join(adapter.dump_json(step) + b"\n" for step in stored)


def row_from_json(line: bytes, where: str) -> StoredRow:
    """Read a row back.

    Raises:
        RunError: the line is not a row; the message starts with `where`.
    """
    return _from_json(_adapter(StoredRow), line, where)


def step_from_json(line: bytes, where: str) -> StoredStep:
    """Read a step back.

    Raises:
        RunError: the line is not a step; the message starts with `where`.
    """
    return _from_json(_adapter(StoredStep), line, where)


def scores_to_json(scores: StepScores) -> bytes:
    """One line of JSON, newline included."""
    return _adapter(StepScores).dump_json(scores) + b"\n"


def scores_from_json(line: bytes, where: str) -> StepScores:
    """Read scores back.

    Raises:
        RunError: the line holds no scores; the message starts with `where`.
    """
    return _from_json(_adapter(StepScores), line, where)


def warm_up_to_json(warm_up: WarmUp) -> bytes:
    """One line of JSON, newline included."""
    return _adapter(WarmUp).dump_json(warm_up) + b"\n"


def warm_up_from_json(line: bytes, where: str) -> WarmUp:
    """Read a warm-up back.

    Raises:
        RunError: the line is not a warm-up; the message starts with `where`.
    """
    return _from_json(_adapter(WarmUp), line, where)


def problem_to_json(problem: Problem) -> bytes:
    """One line of JSON, newline included; reference solutions stay with the data set."""
    return _adapter(Problem).dump_json(problem, exclude={"solution"}) + b"\n"


def problem_from_json(line: bytes, where: str) -> Problem:
    """Read a problem back.

    Raises:
        RunError: the line is not a problem; the message starts with `where`.
    """
    return _from_json(_adapter(Problem), line, where)


def _storable(value: object) -> object:
    if isinstance(value, str) and not isinstance(value, enum.Enum):
        return value.encode(errors="replace").decode()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {key: _storable(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_storable(inner) for inner in value]
    return value


def _from_json(adapter: TypeAdapter[Record], line: bytes, where: str) -> Record:
    import pydantic

    try:
        return adapter.validate_json(line)
    except pydantic.ValidationError as error:
        raise RunError(f"{where}: not a line of this version ({_first_problem(error)}); use a new folder") from error


def _first_problem(error: ValidationError) -> str:
    first = error.errors()[0]
    field_name = ".".join(map(str, first["loc"]))
    return f"{first['msg']}{f' in {field_name!r}' if field_name else ''}"


def _step_fields(step: StepRecord) -> dict[str, Any]:
    return {one.name: getattr(step, one.name) for one in fields(StepRecord)}


_ADAPTERS: dict[type, TypeAdapter[Any]] = {}


def _adapter(kind: type[Record]) -> TypeAdapter[Record]:
    if kind not in _ADAPTERS:
        from pydantic import TypeAdapter

        _ADAPTERS[kind] = TypeAdapter(kind)
    return _ADAPTERS[kind]
