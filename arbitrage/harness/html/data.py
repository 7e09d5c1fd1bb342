"""What the page shows, as plain data: the overview of each run, its list of problems, and one chunk a problem.

The overview is read at once, a chunk only when its problem is opened. Texts go in as they are: that nothing of them is
ever code is the page's business.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from arbitrage.harness import report, series
from arbitrage.harness.comparison import BASELINE, BOUNDS, Comparison
from arbitrage.harness.results import BenchmarkResult
from arbitrage.harness.rows import Row, RowStatus
from arbitrage.types import Problem, StepRecord

Plain = dict[str, Any]

GAINED, LOST, WRONG, WASTED, CUT, FAILED = (1 << bit for bit in range(6))
"""What may be said of a strategy on a problem, in any repeat: bits of a number, for quick filters."""

SEARCHED = 1000
"""Characters of a statement that the list can be searched for."""
_DIGITS = 5


@dataclass(frozen=True, slots=True)
class RunData:
    """One run: its overview, and the chunks that the overview's list of problems refers to by position."""

    overview: Plain
    problems: tuple[tuple[str, tuple[Row, ...]], ...]
    comparison: Comparison

    @classmethod
    def of(cls, name: str, comparison: Comparison) -> RunData:
        """Describe a run under `name`."""
        problems = tuple((problem, tuple(rows)) for problem, rows in _rows_by_problem(comparison).items())
        overview = {
            "name": name,
            "title": report.title(comparison),
            "facts": [[term, told] for term, told in _facts(comparison.manifest)],
            "warnings": report.run_warnings(comparison),
            "notes": _notes(comparison),
            "definitions": report.definitions(comparison),
            "tables": [
                {"caption": caption, "titles": titles, "rows": rows}
                for caption, titles, rows in report.tables(comparison)
            ],
            "strategies": _strategies(comparison),
            "charts": _charts(comparison),
            "problems": [_listed(comparison, problem, rows) for problem, rows in problems],
        }
        return cls(_plain(overview), problems, comparison)

    def chunks(self) -> Iterator[Plain]:
        """Everything about each problem, in the order of the list."""
        places = {label: place for place, label in enumerate(self.comparison)}
        price = target_s_per_token(self.comparison)
        for problem, rows in self.problems:
            told = [
                {"strategy": places[row.strategy]} | _row(row, None if self._is_bound(row) else price) for row in rows
            ]
            yield _plain(_statement(self.comparison.problems.get(problem)) | {"rows": told})

    def _is_bound(self, row: Row) -> bool:
        return self.comparison[row.strategy].name in BOUNDS


def target_s_per_token(comparison: Comparison) -> float | None:
    """Seconds that the target needs for a token when it writes alone; None where that was not measured."""
    baseline = comparison.baseline
    if baseline is None:
        return None
    seconds, written = baseline.seconds("target"), sum(row.tokens for row in baseline.rows)
    return seconds / written if seconds and written else None


def saved_s(step: StepRecord, target_s: float | None) -> float | None:
    """Estimated seconds that keeping the draft's step saved; negative where it cost more than the target's would have.

    Args:
        step: an accepted step has an estimate, any other None.
        target_s: seconds per token of the target alone.
    """
    if step.author != "draft" or target_s is None or not step.time_s:
        return None
    return step.tokens * target_s - sum(step.time_s.values())


def wasted(row: Row) -> bool:
    """Whether an escalation of this row brought nothing: the target's version is the same, or rewarded no better."""
    return any(step.escalated and (step.confirmed or _rewarded_no_better(step)) for step in row.steps)


def _rewarded_no_better(step: StepRecord) -> bool:
    if step.draft_reward is None or step.target_reward is None:
        return False
    return step.target_reward <= step.draft_reward


def _rows_by_problem(comparison: Comparison) -> dict[str, list[Row]]:
    """Rows of all strategies by problem, in the data set's order."""
    found: dict[str, list[Row]] = {problem: [] for problem in comparison.problems}
    for result in comparison.values():
        for row in result.rows:
            found.setdefault(row.problem_id, []).append(row)
    return {problem: rows for problem, rows in found.items() if rows}


def _notes(comparison: Comparison) -> list[str]:
    """The table's footer without warnings and definitions, which have places of their own."""
    elsewhere = {*report.run_warnings(comparison), *report.definitions(comparison)}
    return [note for note in report.footer(comparison) if note not in elsewhere]


def _strategies(comparison: Comparison) -> list[Plain]:
    looks = series.styles(comparison)
    return [
        {
            "label": label,
            "name": result.name,
            "colour": looks[label].colour,
            "variant": looks[label].variant,
            "baseline": result.name == BASELINE,
            "bound": result.name in BOUNDS,
            "threshold": _threshold(result),
            "description": [[str(key), str(value)] for key, value in result.description.items() if value is not None],
        }
        for label, result in comparison.items()
    ]


def _threshold(result: BenchmarkResult) -> float | None:
    found = result.description.get("threshold")
    return float(found) if isinstance(found, int | float) and not isinstance(found, bool) else None


def _charts(comparison: Comparison) -> Plain:
    split = series.time_split(comparison)
    baseline = comparison.baseline
    return {
        "latency": {
            "points": _records(series.latency_points(comparison)),
            "bounds": list(series.bounds(comparison).items()),
        },
        "acceptance": {
            "curves": [
                {"name": name, "points": _records(points)}
                for name, points in series.acceptance_curves(comparison).items()
            ],
            "baseline": None if baseline is None else baseline.accuracy,
        },
        "time": {
            "components": [[name, series.COMPONENT_COLOURS.get(name)] for name in series.components(split)],
            "bars": [{"label": label, "seconds": seconds} for label, seconds in split.items()],
        },
        "position": _by_label(series.acceptance_by_position(comparison)),
        "level": _by_label(series.by_group(comparison, "level")),
        "subject": _by_label(series.by_group(comparison, "subject")),
        "calibration": _records(series.calibrations(comparison)),
    }


def _by_label(found: Mapping[str, Sequence[Any]]) -> list[Plain]:
    return [{"label": label, "points": _records(points)} for label, points in found.items()]


def _records(found: Iterable[Any]) -> list[Plain]:
    return [dataclasses.asdict(one) for one in found]


def _listed(comparison: Comparison, problem: str, rows: Sequence[Row]) -> Plain:
    """What the list shows and filters by: flags and outcomes by strategy."""
    known = comparison.problems.get(problem)
    baseline = comparison.baseline
    before = {} if baseline is None else {row.repeat: row for row in rows if row.strategy == baseline.strategy}
    places = {label: place for place, label in enumerate(comparison)}
    flags, solved, repeats = [0] * len(places), [0] * len(places), [0] * len(places)
    for row in rows:
        place = places[row.strategy]
        flags[place] |= _flags(row, before.get(row.repeat))
        solved[place] += row.correct
        repeats[place] += 1
    return {
        "id": problem,
        "level": rows[0].level if known is None else known.level,
        "subject": rows[0].subject if known is None else known.subject,
        "text": "" if known is None else known.problem[:SEARCHED],
        "flags": flags,
        "solved": solved,
        "repeats": repeats,
    }


def _flags(row: Row, baseline: Row | None) -> int:
    flipped = baseline is not None and row.correct != baseline.correct
    return (
        GAINED * (flipped and row.correct)
        | LOST * (flipped and not row.correct)
        | WRONG * (not row.correct)
        | WASTED * wasted(row)
        | CUT * row.truncated
        | FAILED * (row.status is RowStatus.ERROR)
    )


def _statement(problem: Problem | None) -> Plain:
    if problem is None:
        return {"problem": None}
    return {"problem": problem.problem, "answers": problem.answers, "rules": _rules(problem)}


def _rules(problem: Problem) -> list[str]:
    rules = problem.rules
    told = ["all answers are required, in any order"] if rules.multiple else []
    told += [f"tolerance {rules.tolerance:g}"] if rules.tolerance is not None else []
    return told + ([f"unit {rules.unit}"] if rules.unit else [])


def _row(row: Row, target_s: float | None) -> Plain:
    told: Plain = {
        "repeat": row.repeat,
        "status": str(row.status),
        "reference": row.reference,
        "answer": row.answer,
        "method": row.method,
        "reason": row.reason,
        "end_reason": None if row.end_reason is None else str(row.end_reason),
        "latency_s": row.latency_s,
        "tokens": row.tokens,
        "time_s": dict(row.time_s),
        "error": row.error,
        "steps": [_step(step, target_s) for step in row.steps],
    }
    if not row.steps:
        told["text"] = row.text
    return told


def _step(step: StepRecord, target_s: float | None) -> Plain:
    """The step's fields, without those that say nothing."""
    told = {one.name: getattr(step, one.name) for one in dataclasses.fields(step)} | {
        "escalated": step.escalated,
        "saved_s": saved_s(step, target_s),
    }
    return {name: value for name, value in told.items() if value is not None and value is not False}


def _facts(manifest: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Who, what and when: what a reader has to know to quote a number."""
    sessions = manifest.get("sessions") or [{}]
    last = _mapping(sessions[-1])
    identity, commit = _mapping(manifest.get("identity")), _mapping(last.get("commit"))
    created = str(manifest.get("created", "")).replace("T", " ")[:16]
    if created:
        yield "date", created + " UTC" + (f", {len(sessions)} sittings" if len(sessions) > 1 else "")
    if commit.get("commit"):
        changed = ", with changed files" if commit.get("changed_files") else ""
        yield "commit", f"{str(commit['commit'])[:12]}{changed}"
    machine = ", ".join(_machine(_mapping(last.get("machine"))))
    if machine:
        yield "machine", machine
    for role, model in _mapping(identity.get("models")).items():
        yield str(role), ", ".join(_model(_mapping(model)))
    settings = ", ".join(_settings(identity))
    if settings:
        yield "settings", settings
    versions = _mapping(identity.get("versions"))
    if versions:
        yield "versions", ", ".join(f"{name} {version}" for name, version in versions.items() if version)


def _machine(machine: Mapping[str, Any]) -> Iterator[str]:
    if machine.get("cpu"):
        yield f"{machine.get('available_cores', '?')} × {machine['cpu']}"
    threads = _mapping(machine.get("threads")).get("torch")
    if threads:
        yield f"{threads} thread{'' if str(threads) == '1' else 's'}"
    memory = machine.get("memory_bytes")
    if isinstance(memory, int):
        yield f"{memory / 2**30:.0f} GiB"
    for accelerator in machine.get("accelerators") or []:
        yield str(_mapping(accelerator).get("name", accelerator))
    for key in ("platform", "python"):
        if machine.get(key):
            yield f"Python {machine[key]}" if key == "python" else str(machine[key])


def _model(model: Mapping[str, Any]) -> Iterator[str]:
    yield f"{model.get('backend', '?')}:{model.get('source') or model.get('name', '?')}"
    parameters = model.get("parameters")
    if isinstance(parameters, int):
        yield f"{parameters / 1e9:.2f} B parameters" if parameters >= 1e8 else f"{parameters / 1e6:.1f} M parameters"
    for key in ("dtype", "device"):
        if model.get(key):
            yield str(model[key])


def _settings(identity: Mapping[str, Any]) -> Iterator[str]:
    settings = _mapping(identity.get("settings"))
    for key, words in (("max_tokens", "tokens at most"), ("max_steps", "steps at most")):
        if settings.get(key) is not None:
            yield f"{settings[key]} {words}"
    temperature = _mapping(settings.get("sampling")).get("temperature")
    if temperature is not None:
        yield "greedy" if temperature == 0 else f"temperature {temperature}"
    if identity.get("seed") is not None:
        yield f"seed {identity['seed']}"


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _plain(value: Any) -> Any:
    """JSON's types only: numbers rounded to what can be seen, those that JSON lacks null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None
    return value
