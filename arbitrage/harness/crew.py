"""Who works on the rows of a run: the calling thread, or several threads that leave everything but solving to it.

What touches files, plugins or a terminal is posted, and done by the thread that called `run`: none of it has to be safe
for threads, and none of it holds a solution up. Knows threads; knows neither rows nor clocks.
"""

from __future__ import annotations

import atexit
import contextlib
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Protocol, Self, TypeVar, final

Task = TypeVar("Task")
Action = Callable[[], object]

MOST_AT_ONCE = 512
"""Each task in work has a thread of its own."""
GRACE_S = 10.0
"""How long a process waits at its end for threads that were told to stop. They do so at the next step of their
solution; a thread that is inside native code while Python shuts down would take the exit code with it."""


class AbandonedError(BaseException):
    """What this thread works on is no longer wanted. Not an `Exception`, so that no strategy takes it for its own."""


class Crew(Protocol):
    """Works on tasks. A context manager: afterwards its threads are gone, or will be after the step they are at."""

    def run(self, tasks: Iterable[Task], work: Callable[[Task], object]) -> None:
        """Call `work` with each task; return when all calls, and all that they posted, are done."""

    def post(self, action: Action) -> None:
        """Have `action` done by the thread that called `run`; those of one task in their order, after each other."""

    def check(self) -> None:
        """To be called now and then by whoever works.

        Raises:
            AbandonedError: the task is no longer wanted.
        """

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: object) -> None: ...


def crew_of(size: int) -> Crew:
    """One that works on `size` tasks at once."""
    return Alone() if size == 1 else Threads(size)


@final
class Alone:
    """The calling thread does everything at once."""

    def run(self, tasks: Iterable[Task], work: Callable[[Task], object]) -> None:
        """See `Crew.run`."""
        for task in tasks:
            work(task)

    def post(self, action: Action) -> None:
        """See `Crew.post`."""
        action()

    def check(self) -> None:
        """Who would be told is the one who tells."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """There are no threads."""


@final
class Threads:
    """Each thread works on one task at a time; the calling thread does what they post.

    An exception ends a run, whether posted actions raise it, `work` does, or the keyboard: tasks that nobody has begun
    are dropped, those in work abandoned. After an interrupt, what had been posted is still done.
    """

    def __init__(self, size: int) -> None:
        """Nothing is started before the first run."""
        self._size = size
        self._tasks: queue.SimpleQueue[Action | None] = queue.SimpleQueue()
        self._posted: queue.SimpleQueue[Action] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._stopped = False

    def run(self, tasks: Iterable[Task], work: Callable[[Task], object]) -> None:
        """See `Crew.run`."""
        left = 0

        def finished() -> None:
            nonlocal left
            left -= 1

        def whole(task: Task) -> None:
            work(task)
            self.post(finished)

        try:
            self._start()
            for task in tasks:
                left += 1
                self._tasks.put(partial(whole, task))
            while left:
                action = self._posted.get()
                with uninterrupted():
                    action()
        except KeyboardInterrupt:
            self._stop()
            self._do_what_is_posted()
            raise
        except BaseException:
            self._stop()
            raise

    def post(self, action: Action) -> None:
        """See `Crew.post`."""
        self._posted.put(action)

    def check(self) -> None:
        """See `Crew.check`."""
        if self._stopped:
            raise AbandonedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._stopped:
            atexit.register(_wait, self._threads)
        else:
            self._stop()
            _wait(self._threads)

    def _start(self) -> None:
        for place in range(len(self._threads), self._size):
            # Daemons, so that nobody waits longer than `GRACE_S` for solutions that are not wanted.
            thread = threading.Thread(target=self._work, name=f"solver {place}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            try:
                self.check()
                task()
            except AbandonedError:
                continue
            except BaseException as error:  # it would end this thread, and the calling one would wait for ever
                self.post(partial(_throw, error))

    def _stop(self) -> None:
        self._stopped = True
        for _ in self._threads:
            self._tasks.put(None)

    def _do_what_is_posted(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                action = self._posted.get_nowait()
                with uninterrupted():
                    action()


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Ctrl-C waits until the block is done: what is half stored would be lost or stored twice."""
    ours = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGINT) if ours else None
    if before is not signal.default_int_handler:  # somebody else listens, or nobody can be interrupted here
        yield
        return
    asked = []
    signal.signal(signal.SIGINT, lambda *_: asked.append(True))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if asked:
        raise KeyboardInterrupt


def _throw(error: BaseException) -> None:
    raise error


def _wait(threads: Sequence[threading.Thread]) -> None:
    deadline = time.monotonic() + GRACE_S
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
