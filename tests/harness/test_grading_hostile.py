"""Grading survives any text: it answers in time, raises nothing, runs nothing, and outlives its child process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arbitrage.harness.grading import Status, Verdict, grade
from arbitrage.harness.grading import grader as grader_module
from arbitrage.harness.grading.client import Client

HOSTILE = {
    "power tower": "8^{8^{8^{8}}}",
    "long power tower": "9^" * 200 + "9",
    "huge exponent": "1e999999999",
    "huge decimal power": "10^{10^{10^{10}}}",
    "huge literal exponent": "2^{" + "9" * 500 + "}",
    "factorials": "((100!)!)!" + "!" * 50,
    "binomial": r"\binom{10^{9}}{5\cdot 10^{8}}",
    "long sum": r"\sum_{k=1}^{1000000000} \frac{1}{k}",
    "nested sums": r"\sum_{a=1}^{999}\sum_{b=1}^{999}\sum_{c=1}^{999} \sqrt{a+b+c}",
    "symbolic power": "(x+1)^{1000000000}",
    "symbolic tower": "x^{x^{x^{x^{x^{x}}}}}",
    "huge trigonometry": r"\sin(10^{100000})",
    "deep braces": "{" * 500 + "1" + "}" * 500,
    "deep parentheses": "(" * 900 + "1" + ")" * 900,
    "deep fractions": r"\frac{1}{" * 90 + "2" + "}" * 90,
    "deep roots": r"\sqrt{" * 200 + "2" + "}" * 200,
    "bars": "|" * 900,
    "signs": "-" * 1900 + "1",
    "commas": ",".join("1" * 900),
    "unions": r"(0,1)\cup" * 180 + "(0,1)",
    "plus minus": r"\pm 1" * 300,
    "matrix": r"\begin{pmatrix}" + "1&" * 800 + r"1\end{pmatrix}^{1000000}",
    "code": "__import__('os').system('touch CANARY')",
    "code in a box": r"\boxed{__import__('pathlib').Path('CANARY').touch()}",
    "code in an operator": r"\operatorname{exec}(open('CANARY','w'))",
    "lambda": "(lambda: open('CANARY', 'w'))()",
    "input": r"\input{/etc/passwd}",
    "write18": r"\immediate\write18{touch CANARY}",
    "definition": r"\def\x{\x\x}\x",
    "unbalanced": r"\frac{7}{",
    "closers": "}" * 1000,
    "open boxes": r"\boxed{" * 150_000,
    "nul": "7\0",
    "only nul": "\0" * 10,
    "surrogates": "\ud800\udfff 5 \udead",
    "right to left": "\u202e7\u202c",
    "right to left words": "\u202eשבע\u202c",
    "full width": "７" * 30 + "！",
    "emoji": "🎲" * 100,
    "megabyte": "1+" * 500_000 + "1",
    "megabyte of dollars": "$" * 1_000_000,
    "megabyte of prose": "the answer is " * 70_000,
    "megabyte of spaces": "7" + " " * 1_000_000 + "7",
    "megabyte of words": "and or " * 140_000,
    "newlines": "\n" * 100_000,
    "json": '{"id": 1, "equal": true}\n{"id": 2, "equal": true}',
    "not a number": "nan",
    "division by zero": r"\frac{0}{0}",
    "empty interval": r"(\infty,-\infty)",
    "equation of nothing": "=",
    "relation signs": r"=<>\le\ge\in\cup" * 40,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_gets_a_verdict_in_time(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No hostile text is correct, takes long, raises, or touches a file; nor does it as a reference."""
    monkeypatch.chdir(tmp_path)
    started = time.monotonic()
    verdict = grade(HOSTILE[name], "1234567", timeout_s=2)
    swapped = grade("1234567", HOSTILE[name], timeout_s=2)
    grade(HOSTILE[name] + "+1", HOSTILE[name] + "+2", timeout_s=2)
    assert time.monotonic() - started < 20
    assert isinstance(verdict, Verdict)
    assert verdict.status is not Status.CORRECT
    assert swapped.status is not Status.CORRECT
    assert list(tmp_path.iterdir()) == []


FRAGMENTS = st.sampled_from(
    [
        r"\frac", r"\boxed{", "{", "}", "(", ")", "[", "]", "^", "_", "!", "|", ",", "=", "<", r"\le", r"\pm",
        r"\cup", r"\in", "x", "n", "e", "i", "7", "12", "0.5", r"\pi", r"\sqrt", r"\sum_{k=1}^{9}", r"\text{",
        r"\{", r"\}", "%", r"\$", "°", " ", "-", "+", r"\begin{pmatrix}", r"\end{pmatrix}", "&", "\\\\", r"\infty",
        "and", ":", "'", r"\log", r"\sin", "10^", ";", "/",
    ]
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.lists(FRAGMENTS, max_size=14).map("".join), st.lists(FRAGMENTS, max_size=14).map("".join))
def test_any_arrangement_of_latex_gets_a_verdict(answer: str, reference: str) -> None:
    """Whatever the two strings are, the call returns a verdict and blames no fault on the grader itself."""
    verdict = grade(answer, reference, timeout_s=5)
    assert isinstance(verdict, Verdict)
    assert verdict.method != "fault"


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=60))
def test_any_text_equals_itself_or_is_not_an_answer(text: str) -> None:
    """A boxed text graded against itself is correct, unless it is blank or cannot be a reference or an answer."""
    verdict = grade(rf"\boxed{{{text}}}", text, timeout_s=5)
    braces = {"{", "}"} & set(text)
    assert verdict.status in (Status.CORRECT, Status.UNPARSED, Status.UNSCORED) or braces


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """A child process of the test's own, used by `grade`."""
    own = Client()
    monkeypatch.setattr(grader_module, "SHARED", own)
    yield own
    own.close()


def child_pid(client: Client) -> int:
    """Process id of the running child."""
    assert grade("x+1", "1+x").correct
    pid = client.pid
    assert pid is not None
    return pid


def test_a_killed_child_is_replaced(client: Client) -> None:
    """When the child dies between two questions, the second one is answered by a new child."""
    pid = child_pid(client)
    os.kill(pid, signal.SIGKILL)
    assert grade("x+2", "2+x").correct
    assert client.pid not in (None, pid)


def test_a_comparison_that_is_too_slow_is_a_timeout_and_the_next_one_works(client: Client) -> None:
    """The child is killed at its limit; the verdict says so and the grader goes on."""
    pid = child_pid(client)
    verdict = grade(HOSTILE["nested sums"], r"\sqrt{2}", timeout_s=0.3)
    assert verdict.status is Status.TIMEOUT
    assert grade("x+2", "2+x").correct
    assert client.pid not in (None, pid)


def test_a_child_without_memory_costs_a_verdict_and_no_exception(monkeypatch: pytest.MonkeyPatch) -> None:
    """A memory limit too small to even start in ends in a verdict, and no process stays behind."""
    starved = Client(memory_bytes=1 << 20)
    monkeypatch.setattr(grader_module, "SHARED", starved)
    assert grade("x+1", "1+x").status is Status.UNSCORED
    assert starved.pid is None


def test_threads_share_one_child_without_mixing_answers(client: Client) -> None:
    """Questions from several threads at once get their own answers, and the main thread is not needed."""
    wrong: list[tuple[int, int]] = []

    def ask(thread: int) -> None:
        for k in range(25):
            right = grade(f"x+{k}", f"{k}+x").correct
            other = grade(f"x+{k}", f"{k + thread}+x").correct
            if not right or other:
                wrong.append((thread, k))

    threads = [threading.Thread(target=ask, args=(n,)) for n in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


SCRIPT = """
from arbitrage.harness.grading import grade
from arbitrage.harness.grading.client import SHARED
assert grade("x+1", "1+x").correct
print(SHARED.pid)
"""


def test_a_script_on_standard_input_can_grade_and_leaves_no_child_behind() -> None:
    """No `__main__` guard is needed, and the child ends with its parent."""
    done = subprocess.run([sys.executable, "-"], input=SCRIPT, capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == ""
    with pytest.raises(ProcessLookupError):
        os.kill(int(done.stdout), 0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform has no fork")
def test_a_forked_process_gets_a_child_of_its_own() -> None:
    """After a fork both processes grade, and neither reads the other's answers."""
    fork = SCRIPT + (
        "import os\nmine = SHARED.pid\nforked = os.fork()\n"
        "assert grade('x+3', '3+x').correct and not grade('x+3', '4+x').correct\n"
        "assert (SHARED.pid == mine) == bool(forked)\n"
        "if forked: assert os.waitpid(forked, 0)[1] == 0\n"
    )
    command = [sys.executable, "-W", "ignore", "-c", fork]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
