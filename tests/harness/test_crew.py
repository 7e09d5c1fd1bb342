"""Who works: how many at once, what the calling thread keeps for itself, and how all of it ends."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading

import pytest

from arbitrage.harness import crew as crew_module
from arbitrage.harness.crew import AbandonedError, Alone, Threads, crew_of

WAIT_S = 60
"""Longer than anything here takes: a test that would hang fails."""


def test_the_calling_thread_alone_does_everything_in_order() -> None:
    """With one at a time there is no other thread, and what is posted is done at once."""
    diary: list[object] = []
    crew = crew_of(1)
    assert isinstance(crew, Alone)

    def work(task: int) -> None:
        diary.append((task, threading.current_thread()))
        crew.post(lambda: diary.append(("posted", task)))
        crew.check()

    with crew:
        crew.run([1, 2], work)
    here = threading.current_thread()
    assert diary == [(1, here), ("posted", 1), (2, here), ("posted", 2)]


@pytest.mark.parametrize("size", [2, 5])
def test_as_many_work_at_once_as_asked_for_and_never_more(size: int) -> None:
    """All threads meet at a barrier, three times over; a counter never exceeds their number."""
    barrier, lock, counts, now = threading.Barrier(size), threading.Lock(), [], [0]

    def work(task: int) -> None:
        with lock:
            now[0] += 1
            counts.append(now[0])
        barrier.wait(WAIT_S)
        with lock:
            now[0] -= 1

    with crew_of(size) as crew:
        crew.run(range(3 * size), work)
    assert len(counts) == 3 * size
    assert max(counts) <= size


def test_what_is_posted_is_done_by_the_calling_thread_before_run_returns() -> None:
    """Actions of one task keep their order; several runs use the same threads, which are gone afterwards."""
    done: dict[int, list[int]] = {}
    where, workers = set(), set()
    with Threads(3) as crew:

        def work(task: int) -> None:
            workers.add(threading.current_thread())
            for part in range(4):
                crew.post(lambda part=part: (done.setdefault(task, []).append(part), where.add(threading.get_ident())))

        for start in (0, 10):
            crew.run(range(start, start + 10), work)
            assert done == {task: [0, 1, 2, 3] for task in range(start + 10)}
    assert where == {threading.get_ident()}
    assert len(workers) <= 3
    assert not any(thread.is_alive() for thread in workers)


@pytest.mark.parametrize("raised", [KeyboardInterrupt(), OSError("disk full"), SystemExit(3)])
def test_an_exception_abandons_what_is_in_work_and_drops_what_nobody_began(raised: BaseException) -> None:
    """The three in work end where they look up next, the three that waited are never begun, the exception goes on."""
    diary: list[str] = []
    working, ended = threading.Barrier(3), threading.Semaphore(0)

    def throw() -> None:
        raise raised

    crew = Threads(3)

    def work(task: int) -> None:
        diary.append(f"begun {task}")
        working.wait(WAIT_S)
        if task == 0:
            crew.post(throw)
        try:
            while True:
                crew.check()
        except AbandonedError:
            diary.append("abandoned")
            raise
        finally:
            ended.release()

    with crew, pytest.raises(type(raised)) as caught:
        crew.run(range(6), work)
    assert caught.value is raised
    for _ in range(3):
        assert ended.acquire(timeout=WAIT_S)
    crew_module._wait(crew._threads)
    assert not any(thread.is_alive() for thread in crew._threads)
    assert sorted(diary) == ["abandoned"] * 3 + ["begun 0", "begun 1", "begun 2"]


@pytest.mark.parametrize(("raised", "kept"), [(KeyboardInterrupt(), ["kept"]), (OSError(), [])])
def test_after_an_interrupt_what_was_posted_is_still_done(raised: BaseException, kept: list[str]) -> None:
    """Finished work is kept; after an error of an action, other actions would only fail in the same way."""
    done: list[str] = []
    posted, crew = threading.Event(), Threads(1)

    def throw() -> None:
        assert posted.wait(WAIT_S)
        raise raised

    def work(task: None) -> None:
        crew.post(lambda: done.append("kept"))
        posted.set()

    crew.post(throw)
    with crew, pytest.raises(type(raised)):
        crew.run([None], work)
    assert done == kept


@pytest.mark.parametrize("error", [ValueError("of work"), SystemExit(3)])
def test_an_exception_of_work_reaches_the_caller(error: BaseException) -> None:
    """Nobody waits for ever for a thread that died."""

    def work(task: int) -> None:
        if task == 1:
            raise error

    with pytest.raises(type(error)) as caught, Threads(2) as crew:
        crew.run(range(4), work)
    assert caught.value is error


def test_a_process_ends_although_a_thread_does_not() -> None:
    """Abandoned work that never looks up delays the end by the grace and no longer; the exit code is the program's."""
    program = """
import threading
from arbitrage.harness import crew as module
module.GRACE_S = 0.1
begun = threading.Event()
def work(task):
    begun.set()
    threading.Event().wait()
def throw():
    begun.wait()
    raise KeyboardInterrupt
try:
    with module.Threads(2) as crew:
        crew.post(throw)
        crew.run(range(2), work)
except KeyboardInterrupt:
    raise SystemExit(130)
"""
    done = subprocess.run([sys.executable, "-c", program], timeout=WAIT_S, capture_output=True, text=True)
    assert done.returncode == 130, done.stderr


def test_ctrl_c_in_the_middle_of_keeping_a_row_comes_after_it():
    """What is being stored is stored whole; then the interrupt is raised, once."""
    kept = []

    def keep():
        kept.append("half")
        signal.raise_signal(signal.SIGINT)
        kept.append("whole")

    with Threads(2) as crew, pytest.raises(KeyboardInterrupt):
        crew.run(["task"], lambda task: crew.post(keep))
    assert kept == ["half", "whole"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
