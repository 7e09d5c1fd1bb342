"""A folder of pairs that is being written: whole problems, in shards, so that a stopped collection can go on.

manifest.json     how the pairs are made, before the first of them
shard-*.parquet   the pairs
finished.jsonl    one line a finished problem, with or without pairs
failed.jsonl      one line a problem that could not be solved; the next call tries it again
removed.jsonl     problems that were left out, and why
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, final

from arbitrage.harness import environment
from arbitrage.harness.crew import uninterrupted
from arbitrage.harness.router.pairs import (
    MANIFEST,
    PairsError,
    StepPair,
    finished_problems,
    read_manifest,
    write_manifest,
    write_shard,
)
from arbitrage.harness.run_folder import append_line, differences, keep_lines, locked, whole_lines, write_whole
from arbitrage.types import Generation, Problem

FINISHED = "finished.jsonl"
FAILED = "failed.jsonl"
REMOVED = "removed.jsonl"
MOST_PROBLEMS = 256
"""Finished problems that may wait for their shard."""
LONGEST_WAIT_S = 120.0
"""A problem that is finished so long after the last storing has everything stored. A process that is killed loses what
was finished since then and what is in work; one that is interrupted loses nothing that is finished."""


@contextlib.contextmanager
def claimed(folder: Path, manifest: Mapping[str, Any]) -> Iterator[None]:
    """Have a folder for oneself: a new one, or one whose pairs were made in the same way; it is told so.

    Args:
        folder: where; made when absent.
        manifest: how the pairs are made. `identity` is compared with that of the folder, one of `sessions` is added.

    Raises:
        PairsError: the folder holds pairs that were made in another way, or files without a manifest.
        RunError: another process is writing to it, or nothing can be written there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        told = dict(manifest)
        if (folder / MANIFEST).exists():
            stored = read_manifest(folder)
            if listed := differences(stored.get("identity"), manifest["identity"]):
                raise PairsError(
                    f"{folder} holds pairs that were made in another way: {listed}. Ask for the same, or choose "
                    "another folder; folders can be read together"
                )
            told = {**stored, "sessions": [*stored.get("sessions", []), *manifest["sessions"]]}
        elif strange := sorted(file.name for file in folder.iterdir()):
            raise PairsError(f"{folder} holds {strange[0]} but no {MANIFEST}; choose an empty folder")
        write_manifest(folder, told)
        yield


@contextlib.contextmanager
def open_store(
    folder: Path, manifest: Mapping[str, Any], clock: Callable[[], float] = time.monotonic
) -> Iterator[Store]:
    """A folder for more pairs, `claimed`. When the block ends, by an error too, what waits is stored.

    Args:
        folder: where; made when absent.
        manifest: how the pairs are made.
        clock: seconds.
    """
    with claimed(folder, manifest):
        store = Store(folder, clock)
        try:
            yield store
        finally:
            store.flush()


@final
class Store:
    """Finished and failed problems of one folder."""

    def __init__(self, folder: Path, clock: Callable[[], float]) -> None:
        self.folder = folder
        lines = _read(folder / FINISHED)
        self._statements = {line["id"]: line["statement_sha256"] for line in lines}
        self.finished = set(self._statements) | finished_problems(folder)
        """Ids of problems that need no more work."""
        self.failed = {line["id"]: line["reason"] for line in _read(folder / FAILED)}
        """Why, by problem."""
        self._clock, self._stored_at = clock, clock()
        self._pairs: list[StepPair] = []
        self._lines: list[dict[str, Any]] = []

    def check(self, problem: Problem) -> None:
        """Make sure that a problem which is finished is the very one that is asked for.

        Raises:
            PairsError: it has another statement.
        """
        before = self._statements.get(problem.id)
        if before is not None and before != _digest(problem.problem):
            raise PairsError(
                f"{self.folder} holds pairs of another problem with id {problem.id!r}; choose another folder"
            )

    def add(self, problem: Problem, pairs: Sequence[StepPair], generation: Generation) -> None:
        """Take in a finished problem; stored now or before long."""
        self._pairs += pairs
        self._lines.append(
            {
                "id": problem.id,
                "statement_sha256": _digest(problem.problem),
                "pairs": len(pairs),
                "steps": len(generation.steps),
                "tokens": generation.tokens,
                "end_reason": generation.end_reason.value,
            }
        )
        self.finished.add(problem.id)
        self.failed.pop(problem.id, None)
        if len(self._lines) >= MOST_PROBLEMS or self._clock() - self._stored_at >= LONGEST_WAIT_S:
            self.flush()

    def fail(self, problem: Problem, error: Exception) -> None:
        """Note a problem that could not be solved."""
        self.failed[problem.id] = f"{type(error).__name__}: {error}"

    def flush(self) -> None:
        """Store what waits: pairs first, so that no problem is called finished whose pairs are not there."""
        with uninterrupted():
            if self._pairs:
                write_shard(self.folder, self._pairs)
                self._pairs = []  # at once: what fails below must not have them stored again
            if self._lines:
                if (self.folder / FINISHED).exists():
                    keep_lines(self.folder / FINISHED, bool)  # a line that was torn would swallow the next one
                append_line(self.folder / FINISHED, _jsonl(self._lines))
                self._lines = []
            if self.failed or (self.folder / FAILED).exists():
                write_whole(self.folder / FAILED, _jsonl([{"id": k, "reason": v} for k, v in self.failed.items()]))
            self._stored_at = self._clock()

    def removed(self, lines: Sequence[Mapping[str, Any]]) -> None:
        """Say which problems were left out of the data set."""
        if lines or (self.folder / REMOVED).exists():
            write_whole(self.folder / REMOVED, _jsonl(lines))


def this_call() -> dict[str, Any]:
    """When, how and where pairs are being made, for `sessions` of the manifest."""
    return {
        "started": datetime.now(UTC).isoformat(),
        "arguments": environment.redacted_arguments(sys.argv),
        "machine": environment.describe_machine(),
        "commit": environment.commit(),
    }


def lasting(told: Mapping[str, object]) -> dict[str, object]:
    """What a model says of itself, without how it is run: pairs may be gone on with on more or fewer threads."""
    return {key: value for key, value in told.items() if key not in ("sessions", "threads")}


def _read(file: Path) -> list[dict[str, Any]]:
    try:
        return [json.loads(line) for line in whole_lines(file)]
    except ValueError as error:
        raise PairsError(f"{file} is damaged: {error}; delete the line, or the file") from error


def _jsonl(lines: Sequence[Mapping[str, Any]]) -> bytes:
    return b"".join(json.dumps(line, ensure_ascii=False).encode() + b"\n" for line in lines)


def _digest(statement: str) -> str:
    return hashlib.sha256(statement.encode()).hexdigest()
