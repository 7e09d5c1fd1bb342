"""Requests of several threads become one run, everybody gets the own answer, and nobody waits for ever."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from arbitrage.backends.together import Together


class Doubling:
    """Doubles numbers; notes the sizes of its runs, and can be made to wait."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.sizes: list[int] = []
        self.gate = threading.Event()
        self.gate.set()
        self.inside = 0
        self.together = Together[int, int](self.run, self.run_one)

    def run(self, numbers: list[int]) -> list[int | Exception]:
        self.inside += 1
        assert self.inside == 1, "two runs at once"
        self.sizes.append(len(numbers))
        assert self.gate.wait(10)
        time.sleep(self.seconds)  # lets other threads in, as a model's arithmetic does
        self.inside -= 1
        return [ValueError(f"{n} is odd") if n % 2 else 2 * n for n in numbers]

    def run_one(self, number: int) -> int:
        answer = self.run([number])[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def in_threads(calls: list[Callable[[], object]]) -> list[threading.Thread]:
    threads = [threading.Thread(target=call, daemon=True) for call in calls]
    for thread in threads:
        thread.start()
    return threads


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.0005)


def test_one_caller_is_answered_directly():
    """Alone, every request is a run of one, and errors pass through."""
    work = Doubling()
    assert [work.together(n) for n in (2, 4, 6)] == [4, 8, 12]
    with pytest.raises(ValueError, match="3 is odd"):
        work.together(3)
    assert work.together(8) == 16
    assert work.sizes == [1] * 5


def test_what_waits_is_the_next_run_and_each_gets_its_own_answer():
    """Seven come while one is run: a second run serves all seven, the failed one of them with its own error."""
    work, answers = Doubling(), {}

    def ask(n: int) -> None:
        try:
            answers[n] = work.together(n)
        except ValueError as error:
            answers[n] = str(error)

    work.gate.clear()
    threads = in_threads([lambda: ask(100)])
    until(lambda: work.sizes == [1])
    threads += in_threads([lambda n=n: ask(n) for n in (2, 4, 5, 6, 8, 10, 12)])
    until(lambda: len(work.together._waiting) == 7)
    work.gate.set()
    for thread in threads:
        thread.join(10)
    assert work.sizes == [1, 7]
    assert answers == {100: 200, 2: 4, 4: 8, 5: "5 is odd", 6: 12, 8: 16, 10: 20, 12: 24}


def test_callers_that_keep_coming_back_stay_together():
    """Sixteen threads ask fifty times each; every answer is right, and runs are shared."""
    work, wrong = Doubling(seconds=0.0005), []

    def keep_asking(first: int) -> None:
        for n in range(first, first + 100, 2):
            if work.together(n) != 2 * n:
                wrong.append(n)

    for thread in in_threads([lambda i=i: keep_asking(1000 * i) for i in range(16)]):
        thread.join(30)
        assert not thread.is_alive()
    assert not wrong
    assert sum(work.sizes) == 16 * 50
    assert len(work.sizes) < 16 * 50 / 4


def test_a_run_waits_for_those_that_took_part_before():
    """Three that were run together and come back one after the other are run together again."""
    work = Doubling()
    work.gate.clear()
    threads = in_threads([lambda: work.together(2)])
    until(lambda: work.sizes == [1])
    late = threading.Event()

    def twice(n: int, hurries: bool) -> None:
        work.together(n)
        if not hurries:
            assert late.wait(10)
        work.together(n)

    threads += in_threads([lambda n=n: twice(n, n == 4) for n in (4, 6, 8)])
    until(lambda: len(work.together._waiting) == 3)
    work.seconds = 1.0  # patience is a share of the time that runs take
    work.gate.set()
    until(lambda: work.sizes == [1, 3] and len(work.together._waiting) == 1)
    late.set()
    for thread in threads:
        thread.join(10)
    assert work.sizes == [1, 3, 3]


def test_an_interrupted_leader_leaves_nobody_waiting():
    """Ctrl-C reaches the thread that runs; those that waited get an error, and the next call works."""
    gate, asked, told = threading.Event(), [], []

    def run(numbers: list[int]) -> list[int | Exception]:
        raise KeyboardInterrupt

    def run_one(number: int) -> int:
        asked.append(number)
        assert gate.wait(10)
        return number

    together = Together[int, int](run, run_one)

    def ask(n: int) -> None:
        try:
            told.append(together(n))
        except BaseException as error:
            told.append(type(error).__name__)

    threads = in_threads([lambda: ask(1)])
    until(lambda: asked == [1])
    threads += in_threads([lambda n=n: ask(n) for n in (2, 3)])
    until(lambda: len(together._waiting) == 2)
    gate.set()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    assert sorted(map(str, told)) == ["1", "KeyboardInterrupt", "RuntimeError"]
    assert not together._busy


def test_a_run_that_breaks_is_everybodys_error_and_the_next_one_works():
    """An exception out of the function itself reaches all that took part; nobody is left waiting."""
    gate, asked = threading.Event(), []

    def run(numbers: list[int]) -> list[int | Exception]:
        raise OSError("the device is gone")

    def run_one(number: int) -> int:
        asked.append(number)
        assert gate.wait(10)
        return number

    together, errors = Together[int, int](run, run_one), []

    def ask(n: int) -> None:
        try:
            together(n)
        except OSError as error:
            errors.append(str(error))

    threads = in_threads([lambda: ask(1)])
    until(lambda: asked == [1])
    threads += in_threads([lambda n=n: ask(n) for n in (2, 3, 4)])
    until(lambda: len(together._waiting) == 3)
    gate.set()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    assert errors == ["the device is gone"] * 3
    with pytest.raises(OSError, match="gone"):  # still thinks of company, and is not stuck
        together(5)


def test_whoever_works_on_the_state_keeps_runs_out():
    """While `turn` is held nothing runs."""
    work, answers = Doubling(), []
    with work.together.turn:
        (thread,) = in_threads([lambda: answers.append(work.together(2))])
        until(lambda: work.together._busy)
        assert not work.sizes
    thread.join(10)
    assert answers == [4]
