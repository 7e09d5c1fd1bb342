"""Calls that several threads make at the same time, run as one: how problems that are in work together share a model.

Whoever comes while nobody runs, runs at once. Whoever comes meanwhile waits, and all that wait are the next run. Knows
nothing of models.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar, final

_PATIENCE = 0.25
"""Of the time of the latest runs: how long a run waits for the next one of those that took part before to come back."""
_FADING = 0.9
"""Of that time from run to run, when runs get shorter."""

Request = TypeVar("Request")
Result = TypeVar("Result")


@final
class Together(Generic[Request, Result]):
    """A function of several requests that threads call with one request each."""

    def __init__(
        self,
        run: Callable[[list[Request]], list[Result | Exception]],
        run_one: Callable[[Request], Result],
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Wrap both; neither is ever called while one of them runs.

        Args:
            run: answers several requests, with an exception in the place of each that failed.
            run_one: answers a request that came alone, without detours.
            clock: seconds.
        """
        self._run, self._run_one, self._clock = run, run_one, clock
        self.turn = threading.Lock()
        """Held while something runs; hold it to touch what the wrapped function works on."""
        self._state = threading.Lock()
        self._arrival = threading.Condition(self._state)
        self._busy = False
        self._waiting: list[_Call[Request, Result]] = []
        self._company, self._took = 1, 0.0

    def __call__(self, request: Request) -> Result:
        """Answer `request`, together with whatever other threads ask meanwhile."""
        call = _Call[Request, Result](request)
        with self._state:
            leads, alone = not self._busy, self._company == 1
            if leads:
                self._busy = True
            if not (leads and alone):
                self._waiting.append(call)
                self._arrival.notify()
        if leads and alone:
            return self._lead_alone(request)
        if not leads:
            self._wait(call)
        if call.answer is None:  # nobody else has run it: it is on this thread to run all that wait
            self._lead()
        if isinstance(call.answer, Exception):
            raise call.answer
        assert call.answer is not None
        return call.answer

    def _lead_alone(self, request: Request) -> Result:
        try:
            with self.turn:
                return self._run_one(request)
        finally:
            self._hand_over(1, 0.0)

    def _wait(self, call: _Call[Request, Result]) -> None:
        """Until the call was run, or is the one to run all that wait."""
        try:
            call.woken.acquire()
        except BaseException:  # Ctrl-C in a thread that is listened to: nobody may run the call or wait for it
            with self._state:
                waiting = call in self._waiting
                if waiting:
                    first = self._waiting[0] is call
                    self._waiting.remove(call)
                    appointed = first and call.woken.acquire(blocking=False)
            if not waiting:
                with self.turn:  # it is being run: what it works on is not free before
                    pass
            elif appointed:
                self._hand_over(1, 0.0)
            raise

    def _lead(self) -> None:
        """Run all that wait. Whatever happens, everybody gets an answer and somebody else the lead."""
        calls: list[_Call[Request, Result]] = []
        answers: list[Result | Exception] = []
        started = self._clock()
        try:
            with self._state:
                try:
                    while len(self._waiting) < self._company and self._arrival.wait(_PATIENCE * self._took):
                        pass  # as long as somebody comes, others may
                finally:
                    calls, self._waiting = self._waiting, []
            started = self._clock()
            with self.turn:
                answers = self._run([call.request for call in calls])
        except Exception as error:
            answers = [error] * len(calls)
        finally:
            missing = RuntimeError("the run of several requests was interrupted or did not answer them all")
            for place, call in enumerate(calls):
                call.answer = answers[place] if place < len(answers) else missing
                call.woken.release()
            self._hand_over(max(1, len(calls)), self._clock() - started)

    def _hand_over(self, company: int, took: float) -> None:
        """Let the first of those that wait run next.

        The company that is waited for shrinks by one a run: a straggler that runs alone does not part the others.
        """
        with self._state:
            self._company = max(company, self._company - 1, len(self._waiting))
            self._took = max(took, _FADING * self._took)
            if self._waiting:
                self._waiting[0].woken.release()
            else:
                self._busy = False


class _Call(Generic[Request, Result]):
    """One request and, once it was run, its answer."""

    __slots__ = ("answer", "request", "woken")

    def __init__(self, request: Request) -> None:
        self.request = request
        self.answer: Result | Exception | None = None
        self.woken = threading.Lock()
        self.woken.acquire()
