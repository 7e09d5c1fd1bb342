"""The grader's side of its child process: start it, ask it, kill it when it does not answer in time.

Knows processes, pipes and time. Knows no mathematics: what is compared is text that goes through.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib.util
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, Any, final

from arbitrage.errors import MissingExtraError

MEMORY_BYTES = 1 << 30
"""Address space of the child."""
START_LIMIT_S = 60.0
"""Seconds the child may take to start, and to load sympy when it first needs it; not counted as grading time."""
_BOOT = (
    "import sys; sys.path[:] = sys.argv[2:]; from arbitrage.harness.grading.worker import main; main(int(sys.argv[1]))"
)


@dataclass(frozen=True, slots=True)
class Reply:
    """What a comparison came to."""

    equal: bool
    method: str
    """What decided; `timeout`, `crash`, `limit`, `fault` or `start` when nothing did."""
    reason: str


class _GoneError(Exception):
    """The child ended without an answer."""


@final
class Client:
    """One child process that is started when needed, shared by all threads, and replaced when it fails.

    Every comparison holds a lock, so requests and answers cannot mix. A process that forks gets its own child.
    """

    def __init__(self, memory_bytes: int = MEMORY_BYTES) -> None:
        """Prepare; nothing is started before the first question.

        Args:
            memory_bytes: limit on the child's address space.
        """
        self._memory_bytes = memory_bytes
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._count = 0

    def compare(
        self,
        references: Sequence[str],
        answer: str,
        *,
        tolerance: str | None,
        unit: str | None,
        timeout_s: float,
        mode: str | None = None,
    ) -> Reply:
        """Ask whether an answer says the same as all references.

        A child that was lost is replaced and asked once more; one lost twice, or too slow, gives a negative reply.

        Args:
            references: reference answers.
            answer: the extracted answer.
            tolerance: absolute tolerance as a decimal, or None.
            unit: unit of the references, or None.
            timeout_s: seconds for the comparison, without the child's start and loading and without waiting for other
                threads.
            mode: one of `compat.MODES`: compare one reference and an answer, both stripped, by its rules; None compares
                by ours.

        Returns:
            The reply; the method says when the child failed.

        Raises:
            MissingExtraError: mpmath is not installed.
        """
        request = {
            "references": list(references),
            "answer": answer,
            "tolerance": tolerance,
            "unit": unit,
            "limit_s": timeout_s,
            "mode": mode,
        }
        with self._lock:
            for _ in range(2):
                try:
                    if not self._alive():
                        self._start()
                except (OSError, _GoneError, queue.Empty) as error:
                    self._stop()
                    return Reply(False, "start", f"the grading process could not be started: {error}".rstrip(": "))
                try:
                    return self._ask(request, timeout_s)
                except queue.Empty:
                    self._stop()
                    return Reply(False, "timeout", f"no decision within {timeout_s:g} s")
                except (_GoneError, OSError):
                    self._stop()
                except BaseException:
                    self._stop()  # an interrupted question would leave its answer in the pipe for the next one
                    raise
        return Reply(False, "crash", "the grading process ended twice on this answer")

    @property
    def pid(self) -> int | None:
        """Process id of the running child; None when there is none."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    def close(self) -> None:
        """End the child; the next question starts a new one."""
        with self._lock:
            self._stop()

    def forget(self) -> None:
        """Let go of a child that belongs to the process this one was forked from."""
        process, self._process = self._process, None
        self._lock = threading.Lock()
        if process is not None:
            process.returncode = 0  # not ours to wait for
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        os.close(pipe.fileno())

    def _alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _start(self) -> None:
        if importlib.util.find_spec("mpmath") is None:
            raise MissingExtraError("comparing answers needs mpmath. Install it with: pip install mpmath")
        self._stop()
        path = [os.path.abspath(entry) for entry in sys.path]
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", _BOOT, str(self._memory_bytes), *path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="ascii",
            start_new_session=True,  # an interrupt at the keyboard is for the parent
        )
        self._lines = queue.SimpleQueue()
        assert self._process.stdout is not None
        threading.Thread(target=_pump, args=(self._process.stdout, self._lines), daemon=True).start()
        hello = self._receive(START_LIMIT_S)
        if not hello.get("ready"):
            raise _GoneError(hello.get("reason", ""))

    def _ask(self, request: dict[str, Any], timeout_s: float) -> Reply:
        assert self._process is not None
        assert self._process.stdin is not None
        self._count += 1
        self._process.stdin.write(json.dumps({"id": self._count, **request}) + "\n")
        self._process.stdin.flush()
        answer = self._receive(timeout_s)
        if answer.get("loading"):
            self._receive(START_LIMIT_S)
            answer = self._receive(timeout_s)
        if answer.get("id") != self._count:
            raise _GoneError
        return Reply(bool(answer["equal"]), str(answer["method"]), str(answer["reason"]))

    def _receive(self, limit_s: float) -> dict[str, Any]:
        line = self._lines.get(timeout=limit_s)
        if line is None:
            raise _GoneError
        message: dict[str, Any] = json.loads(line)
        return message

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        if process.stdin is not None:
            with contextlib.suppress(OSError):
                process.stdin.close()


def _pump(pipe: IO[str], lines: queue.SimpleQueue[str | None]) -> None:
    """Pass the child's lines on until its pipe closes; then None."""
    with contextlib.suppress(OSError, ValueError), pipe:
        for line in pipe:
            lines.put(line)
    lines.put(None)


SHARED = Client()
"""The child that all gradings of this process use."""

atexit.register(SHARED.close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=SHARED.forget)
