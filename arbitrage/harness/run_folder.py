"""A run on disk: manifest first, then one line a row, then a summary. Knows files; runs and grades nothing.

manifest.json   what was asked, on what it ran; `identity` holds everything that changes what a row says
problems.jsonl  the problems with their references and rules
rows.jsonl      one line per strategy, problem and repeat, flushed to disk the moment it is done
steps.jsonl     the trace: one line per step, on disk before the row that it belongs to
scores.jsonl    what a PRM and a router said of the steps after the run; one line per row
warmup.jsonl    warm-up solutions
summary.json    written at the end, also when the run is stopped

docs/schema.md has every field.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, final

from arbitrage.errors import RunError
from arbitrage.harness.rows import (
    Key,
    Row,
    StepScores,
    WarmUp,
    problem_from_json,
    problem_to_json,
    row_from_json,
    row_to_json,
    scores_from_json,
    scores_to_json,
    step_from_json,
    steps_to_json,
    warm_up_from_json,
    warm_up_to_json,
)
from arbitrage.types import Problem, StepRecord

MANIFEST = "manifest.json"
PROBLEMS = "problems.jsonl"
ROWS = "rows.jsonl"
STEPS = "steps.jsonl"
SCORES = "scores.jsonl"
NEW_SCORES = "scores.new.jsonl"
WARM_UPS = "warmup.jsonl"
SUMMARY = "summary.json"
SCHEMA = 2
"""Version of the folder's layout and of its lines. Schema 1, steps inside the rows and no problems, is read too."""

Manifest = dict[str, Any]
Record = TypeVar("Record")


@final
@dataclass(frozen=True, slots=True)
class RunFolder:
    """One run's folder, open for writing by one process."""

    path: Path
    manifest: Manifest

    def append(self, row: Row) -> None:
        """Store a row; when this returns it is on disk."""
        if row.steps:
            append_line(self.path / STEPS, steps_to_json(row))
        append_line(self.path / ROWS, row_to_json(row))

    def append_warm_up(self, warm_up: WarmUp) -> None:
        """Store a warm-up."""
        append_line(self.path / WARM_UPS, warm_up_to_json(warm_up))

    def append_scores(self, scores: StepScores) -> None:
        """Store what was said of a row's steps after another run."""
        append_line(self.path / SCORES, scores_to_json(scores))

    def rows(self) -> list[Row]:
        """The stored rows, in the order they were finished."""
        return read_rows(self.path)

    def scores(self) -> dict[Key, StepScores]:
        """What was said of the steps after the run, by row."""
        return read_scores(self.path)

    def warm_ups(self) -> list[WarmUp]:
        """The stored warm-ups."""
        return read_warm_ups(self.path)


@contextlib.contextmanager
def open_run(
    path: str | os.PathLike[str],
    manifest: Mapping[str, Any],
    keys: Collection[Key],
    problems: Iterable[Problem],
    *,
    resume: bool,
) -> Iterator[RunFolder]:
    """Open a folder for writing: a new one, or with `resume` one that holds the same run.

    The manifest is on disk when this returns. Resuming adds this sitting to the manifest's `sessions`, and drops what
    was cut while it was written: half a line, a row without all of its steps, steps without their row.

    Args:
        path: the folder; made when absent.
        manifest: what would be written for a new run; `identity` is compared when resuming.
        keys: the rows that this run consists of.
        problems: what is solved.
        resume: continue the run in the folder, if there is one.

    Raises:
        RunError: the folder holds a run and `resume` is off; it holds another run (the message names what differs); it
            is damaged; or another process is writing to it.
    """
    folder = Path(path)
    check_folder(folder, resume=resume)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{folder}: cannot be made ({error.strerror or error}); choose another folder") from error
    with locked(folder):
        stored = folder / MANIFEST
        if not stored.exists():
            for name in (ROWS, STEPS, SCORES, WARM_UPS):
                if (folder / name).exists():
                    raise RunError(f"{folder} holds {name} but no {MANIFEST}; choose another folder")
            fresh = dict(manifest)
            write_whole(folder / PROBLEMS, b"".join(map(problem_to_json, problems)))
            write_json(stored, fresh)
            yield RunFolder(folder, fresh)
            return
        found = read_manifest(folder)
        check_same_run(found.get("identity"), manifest["identity"], folder)
        strange = {row.key for row in read_rows(folder)} - set(keys)
        if strange:
            raise RunError(f"{folder / ROWS}: row {min(strange)} does not belong to this run; use a new folder")
        _drop_unfinished(folder)
        if not (folder / PROBLEMS).exists():
            write_whole(folder / PROBLEMS, b"".join(map(problem_to_json, problems)))
        found["schema"] = SCHEMA
        found["sessions"] = _sessions(found.get("sessions", []), manifest.get("sessions", []))
        write_json(stored, found)
        yield RunFolder(folder, found)


def check_folder(folder: Path, *, resume: bool) -> None:
    """Whether a run can go there; worth a call before models are loaded, which takes long.

    Raises:
        RunError: it holds a run that is not to be continued, or is no folder that can be written to.
    """
    if (folder / MANIFEST).exists() and not resume:
        raise RunError(
            f"{folder} already holds a run; continue it with resume=True "
            f"(arbitrage bench: --resume --out {folder}) or choose another folder"
        )
    nearest = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not nearest.is_dir():
        raise RunError(f"{folder}: {nearest} is not a folder; choose another one")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise RunError(f"{folder}: nothing can be written in {nearest}; choose another folder")


def check_same_run(stored: object, asked: Mapping[str, Any], folder: Path) -> None:
    """Compare everything that changes what a row says.

    Raises:
        RunError: something differs; the message names it, with both values.
    """
    if listed := differences(stored, asked):
        raise RunError(f"{folder} holds another run: {listed}. Ask for the same run, or choose another folder")


def differences(stored: object, asked: Mapping[str, Any]) -> str:
    """What a folder says and what is asked now, for the first fields that differ; empty when none does."""
    before, now = dict(_leaves(stored)), dict(_leaves(json.loads(to_json(asked))))
    different = [key for key in (*now, *before) if before.get(key, _ABSENT) != now.get(key, _ABSENT)]
    return "; ".join(
        f"{key} is {_shown(before.get(key, _ABSENT))} in the folder and {_shown(now.get(key, _ABSENT))} now"
        for key in dict.fromkeys(different[:3])
    )


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a run.

    Raises:
        RunError: there is none, or it cannot be read.
    """
    try:
        manifest = json.loads(_content(folder / MANIFEST))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise RunError(f"{folder} holds no run ({MANIFEST} is missing); check the path") from error
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{folder / MANIFEST} cannot be read: {error}") from error
    if not isinstance(manifest, dict) or not isinstance(manifest.get("identity"), dict):
        raise RunError(f"{folder / MANIFEST} is not a manifest of this package")
    schema = manifest.get("schema")
    if _depth(manifest) > _DEEPEST:
        raise RunError(f"{folder / MANIFEST} is nested too deeply to be a manifest")
    if schema not in range(1, SCHEMA + 1):
        raise RunError(
            f"{folder / MANIFEST} has schema {schema!r}, this version reads 1 to {SCHEMA}; use a matching version"
        )
    from arbitrage.harness.manifest import check_manifest

    check_manifest(manifest, str(folder / MANIFEST))
    return manifest


def read_rows(folder: Path) -> list[Row]:
    """The rows of a run with their steps as its strategies knew them; what was cut while it was written is left out.

    Raises:
        RunError: a line is not a row or a step, a row is there twice, or there are no steps at all.
    """
    stored = _records(folder / ROWS, row_from_json)
    if any(row.step_count for row in stored) and not (folder / STEPS).exists():
        raise RunError(f"{folder} lacks {STEPS}, the trace that its rows belong to; copy the whole folder")
    steps: dict[Key, list[StepRecord]] = {}
    for step in _records(folder / STEPS, step_from_json):
        steps.setdefault(step.key, []).append(step.record)
    rows: dict[Key, Row] = {}
    unfinished: set[Key] = set()  # only at the end: what comes later was written later
    for told in stored:
        row = told.whole(steps.get(told.key, ()))
        if told.key in rows or told.key in unfinished:
            raise RunError(f"{folder / ROWS}: row {told.key} is there twice; use a new folder")
        if row is None:
            unfinished.add(told.key)
        elif unfinished:
            raise RunError(f"{folder / STEPS} does not hold the steps of row {min(unfinished)}; use a new folder")
        else:
            rows[told.key] = row
    return list(rows.values())


def read_scores(folder: Path) -> dict[Key, StepScores]:
    """What a PRM and a router said of the steps after the run.

    Raises:
        RunError: a line holds no scores.
    """
    return {scores.key: scores for scores in _records(folder / SCORES, scores_from_json)}


def read_problems(folder: Path) -> dict[str, Problem]:
    """The problems of a run by id; empty in folders of schema 1.

    Raises:
        RunError: a line is not a problem.
    """
    return {problem.id: problem for problem in _records(folder / PROBLEMS, problem_from_json)}


def read_warm_ups(folder: Path) -> list[WarmUp]:
    """The warm-ups of a run.

    Raises:
        RunError: a line is not a warm-up.
    """
    return _records(folder / WARM_UPS, warm_up_from_json)


@final
class ScoreFile:
    """New scores of one run, beside the old ones until they are complete."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / NEW_SCORES

    def keys(self) -> set[Key]:
        """The rows that have new scores."""
        return {scores.key for scores in _records(self._file, scores_from_json)}

    def append(self, scores: StepScores) -> None:
        """Store the scores of a row."""
        append_line(self._file, scores_to_json(scores))


@contextlib.contextmanager
def open_scores(folder: Path, scorers: Mapping[str, Any]) -> Iterator[ScoreFile]:
    """A file for new scores; when the block ends without an error they replace the old ones.

    What an earlier attempt with the same scorers had finished is there already: new scores that were not completed, or
    the old ones, where only rows are missing.

    Raises:
        RunError: another process is writing to the folder, or it cannot be written.
    """
    with locked(folder):
        manifest, fresh = read_manifest(folder), folder / NEW_SCORES
        if manifest.get("scoring") == scorers and fresh.exists():
            keep_lines(fresh, bool)
        else:
            old = folder / SCORES
            same = manifest.get("scored") == scorers and old.exists()
            write_whole(fresh, b"".join(line + b"\n" for line in whole_lines(old)) if same else b"")
            write_json(folder / MANIFEST, {**manifest, "scoring": scorers})
        yield ScoreFile(folder)
        done = {key: value for key, value in read_manifest(folder).items() if key != "scoring"}
        fresh.replace(folder / SCORES)
        write_json(folder / MANIFEST, {**done, "scored": scorers})


def replace_rows(folder: Path, rows: Mapping[Key, Row], note: Manifest) -> None:
    """Put other versions of a run's rows into their places and add `note` to the manifest's list `regraded`.

    Raises:
        RunError: `rows` are not the rows of this run, or another process is writing to it.
    """
    with locked(folder):
        manifest, stored = read_manifest(folder), read_rows(folder)
        if {row.key for row in stored} != rows.keys():
            raise RunError(f"{folder}: its rows have changed meanwhile; grade it again when nothing writes to it")
        if manifest.get("schema") != SCHEMA:  # the steps leave the rows
            write_whole(folder / STEPS, b"".join(map(steps_to_json, stored)))
        write_whole(folder / ROWS, b"".join(row_to_json(rows[row.key]) for row in stored))
        regraded = [*manifest.get("regraded", []), note]
        write_json(folder / MANIFEST, {**manifest, "schema": SCHEMA, "regraded": regraded})


def to_json(value: object) -> str:
    """Readable JSON; values that JSON lacks become strings, numbers that it lacks become null."""
    return json.dumps(_plain(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def write_json(file: Path, value: object) -> None:
    """Replace a file by `value` as JSON: readers see the old file or the new one, never half of one."""
    write_whole(file, to_json(value).encode())


def write_whole(file: Path, content: bytes) -> None:
    """Replace a file by `content`: readers see the old file or the new one, never half of one.

    Raises:
        RunError: it cannot be written; the old file is as it was.
    """
    draft: Path | None = None
    try:
        # A name that nobody can have prepared: a folder from elsewhere may hold links to other files.
        descriptor, name = tempfile.mkstemp(prefix=f".{file.name}.", suffix=".part", dir=file.parent)
        draft = Path(name)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        draft.chmod(0o666 & ~_umask())
        draft.replace(file)
    except OSError as error:
        if draft is not None:
            with contextlib.suppress(OSError):
                draft.unlink()
        raise RunError(f"{file}: cannot be written ({error.strerror or error}); it is as it was before") from error


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


_DEEPEST = 20


def _depth(value: object, limit: int = _DEEPEST + 1) -> int:
    """How deeply JSON is nested, counted up to a limit."""
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return 1 + max((_depth(one, limit - 1) for one in inner), default=0) if limit > 0 else 1


_ABSENT = object()


def _sessions(before: Sequence[Manifest], now: Sequence[Manifest]) -> list[Manifest]:
    """All sittings; a new one is told what it does not share with the one before it."""
    sessions = list(before)
    for session in now:
        if session in sessions:
            continue
        changes = _changes(sessions[-1], session) if sessions else []
        sessions.append({**session, "warnings": [*session.get("warnings", []), *changes]})
    return sessions


def _changes(before: Manifest, now: Manifest) -> list[str]:
    old, new = before.get("machine", {}), now.get("machine", {})
    keys = [key for key in ("cpu", "available_cores", "accelerators", "threads") if old.get(key) != new.get(key)]
    warnings = []
    if keys:
        warnings.append(f"resumed on another machine ({', '.join(keys)} changed): do not quote latencies of this run")
    if before.get("commit") != now.get("commit"):
        warnings.append("resumed with another version of the source: see the commits in the manifest")
    return warnings


def _shown(value: object) -> str:
    return "absent" if value is _ABSENT else f"{value!r:.80}"


def _leaves(value: object, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Dotted paths and values of nested mappings; lists are values."""
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _leaves(inner, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, value


def _plain(value: object) -> object:
    """The same value made of JSON's types only."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, set | frozenset):
        return sorted(str(inner) for inner in value)
    if isinstance(value, float):
        return float(value) if value - value == 0 else None
    if value is None or isinstance(value, bool | int):
        return value
    return str(value)


def append_line(file: Path, line: bytes) -> None:
    """One write call, so that an interrupt finds the whole line in the file or none of it."""
    no_links = getattr(os, "O_NOFOLLOW", 0)  # a folder from elsewhere may hold some
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | no_links, 0o644)
    except OSError as error:
        raise RunError(f"{file}: cannot be written ({error.strerror})") from error
    try:
        written = os.write(descriptor, line)
        while written < len(line):
            written += os.write(descriptor, line[written:])
        os.fsync(descriptor)
    except OSError as error:
        raise RunError(f"{file}: cannot be written ({error.strerror}); rows before this one are safe") from error
    finally:
        os.close(descriptor)


def _records(file: Path, read: Callable[[bytes, str], Record]) -> list[Record]:
    lines = whole_lines(file)
    return [read(line, f"{file}:{number}") for number, line in enumerate(lines, start=1) if line.strip()]


def whole_lines(file: Path) -> Sequence[bytes]:
    """Lines that were written to their end."""
    return _content(file).split(b"\n")[:-1] if file.exists() else []


def _content(file: Path) -> bytes:
    """The bytes of a regular file: a folder from elsewhere may hold pipes and devices, which never end."""
    if not stat.S_ISREG(file.stat().st_mode):
        raise RunError(f"{file} is not a regular file; look at what is in this folder")
    return file.read_bytes()


def _drop_unfinished(folder: Path) -> None:
    """Leave whole lines, rows that have all of their steps, and steps that have a row."""
    finished = {row.key for row in read_rows(folder)}

    def row_stays(line: bytes) -> bool:
        return row_from_json(line, ROWS).key in finished

    def step_stays(line: bytes) -> bool:
        return step_from_json(line, STEPS).key in finished

    def scores_stay(line: bytes) -> bool:
        return scores_from_json(line, SCORES).key in finished

    files = ((ROWS, row_stays), (STEPS, step_stays), (SCORES, scores_stay), (NEW_SCORES, scores_stay), (WARM_UPS, bool))
    for name, stays in files:
        if (folder / name).exists():
            keep_lines(folder / name, stays)


def keep_lines(file: Path, stays: Callable[[bytes], bool]) -> None:
    """Leave the whole lines that may stay; a file without any other is not touched."""
    kept = b"".join(line + b"\n" for line in whole_lines(file) if line.strip() and stays(line))
    if kept != _content(file):
        write_whole(file, kept)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes from writing to the folder, where the system has file locks."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RunError(f"{folder}: another process is writing to it; wait for that or stop it") from error
        except OSError:  # a file system without locks
            pass
        yield
    finally:
        os.close(descriptor)
