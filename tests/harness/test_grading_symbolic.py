"""Calculus that the strict reader leaves to sympy: what is equal, what is not, and what is never asked."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from arbitrage.harness.grading import Status, grade
from arbitrage.harness.grading.client import Client
from arbitrage.harness.grading.equivalence import compare, symbolic
from arbitrage.harness.grading.equivalence.decision import UNREADABLE, Context
from arbitrage.harness.grading.equivalence.shape import Kind, Shape
from arbitrage.harness.grading.expression import UnreadableError
from arbitrage.harness.grading.expression.explicit import explicit
from arbitrage.harness.grading.normalise import normalise

LIMIT_S = 30.0
"""Seconds for comparisons that have to be decided, on a busy machine too."""


def pairs(block: str) -> list[tuple[str, str]]:
    """One pair a line: reference, two bars, answer."""
    lines = [line.split("||") for line in block.strip().splitlines()]
    return [(reference.strip(), answer.strip()) for reference, answer in lines]


EQUAL = pairs(r"""
    \frac13 || \int_0^1 x^2\,dx
    \int_{0}^{1} x^{2} \, \mathrm{d}x || \frac{1}{3}
    \int_0^1 x^2 dx || \int_0^1 t^2 dt
    \int_0^1 x^x dx || \int_0^1 t^t dt
    3+\ln 2 || \int_1^2 \frac{dx}{x} + 3
    \frac{\sqrt\pi}{2} || \int_0^{\infty} e^{-x^2} dx
    \frac14 || \int_0^1\int_0^1 xy\,dxdy
    1 || \int_{-1}^1 |x| dx
    \frac{\pi}{2} || \int_0^\pi \sin^2 \theta d\theta
    -1 || \int_0^1 \ln x dx
    -1 || \int_0^1 \log x dx
    \frac1a || \int_0^\infty e^{-ax}dx
    \frac{T^2}{2} || \int_0^T x dx
    \sin 1 + i(1-\cos 1) || \int_0^1 e^{ix} dx
    \frac{\pi^2}{6} || \sum_{n=1}^{\infty}\frac{1}{n^2}
    \frac{\pi^2}{6}+1 || 1+\sum_{n=1}^\infty n^{-2}
    e^x || \sum_{k=0}^{\infty} \frac{x^k}{k!}
    \frac{1}{1-x} || \sum_{n=0}^{\infty} x^n
    \ln 2 || \sum_{n=1}^\infty \frac{(-1)^{n+1}}{n}
    \infty || \sum_{n=1}^\infty \frac1n
    \frac{\pi^4}{36} || \sum_{i=1}^\infty\sum_{j=1}^\infty \frac{1}{i^2j^2}
    1.5 || \sum_{n=0}^\infty \frac{1}{3^n}
    1 || \lim_{x\to 0}\frac{\sin x}{x}
    e || \lim_{n \rightarrow \infty} \left(1+\frac1n\right)^n
    -1 || \lim_{x\to 0^{-}} \frac{|x|}{x}
    2x || \lim_{h \to 0}\frac{(x+h)^2-x^2}{h}
    2x+1 || \frac{d}{dx}(x^2+x)
    x=\frac13 || \int_0^1 x^2 dx
    5,\frac13 || \int_0^1 x^2 dx, 5
    \frac13\text{ cm} || \int_0^1 x^2 dx
""")


@pytest.mark.parametrize(("reference", "answer"), EQUAL)
def test_calculus_equals_its_value(reference: str, answer: str) -> None:
    """Integrals, sums, products, limits and derivatives equal their closed form, whichever side they are on."""
    assert grade(answer, reference, timeout_s=LIMIT_S).correct
    assert grade(reference, answer, timeout_s=LIMIT_S).correct


UNEQUAL = pairs(r"""
    \frac14 || \int_0^1 x^2 dx
    \int_0^1 x^2 dx || \int_0^1 x^3 dx
    \frac{\pi^2}{7} || \sum_{n=1}^{\infty}\frac{1}{n^2}
    1.644934066848 || \sum_{n=1}^{\infty}\frac{1}{n^2}
    -\frac{1}{12} || \sum_{n=1}^\infty n
    -\frac12 || \sum_{n=1}^\infty (-1)^n
    \frac{1}{1+x} || \sum_{n=0}^{\infty} x^n
    -2 || \int_{-1}^1 \frac{1}{x^2} dx
    0 || \int_{-1}^1 \frac{1}{x} dx
    1 || \lim_{x\to 0} \frac{|x|}{x}
    \infty || \lim_{x\to 0} \frac{1}{x}
    0 || \lim_{x\to\infty} \sin x
    x || \frac{d}{dx} x^2
    1 || \int_0^1 x^x dx
    0 || \prod_{n=1}^{\infty} \frac{n}{n+\sin n}
""")


@pytest.mark.parametrize(("reference", "answer"), UNEQUAL)
def test_calculus_is_not_a_value_it_does_not_have(reference: str, answer: str) -> None:
    """Other values, roundings, divergent sums, limits that do not exist, and what stays undecided are not correct."""
    verdict = grade(answer, reference, timeout_s=LIMIT_S)
    assert (verdict.status, verdict.method) == (Status.INCORRECT, "symbolic")


UNCLEAR = [
    r"\int_0^1 x dx is ten",
    r"\int_0^1 x dx \text{ exactly}",
    r"the sum \sum_{n=1}^\infty \frac{1}{n^2}",
    r"\int x dx",
    r"\int_0^1 x",
    r"\int_0^1 ad dx",
    r"\int_0^12 x dx",
    r"\int_0^1 1/2x dx",
    r"\int_0^1 1\frac12 dx",
    r"\int_0^1 2 3 dx",
    r"\int_0^1 f(x) dx",
    r"\int_0^1 y' dx",
    r"\int_0^1 x dx dy",
    r"\int_0^1 \sqrt{\frac{dx}{x}}",
    r"\frac{dy}{dx}",
    r"\sum_{n=1}^\infty a_n",
    r"\sum_{n\ge 1} \frac{1}{n^2}",
    r"\lim_{n\to\infty} \gamma",
    r"\int_0^1 5_3 dx",
    r"\int_0^1 \operatorname{eval}(x) dx",
    r"\int_0^1 \input{x} dx",
    r"\int_0^1 x dx; x",
    r"\int_0^1 __import__(x) dx",
]


@pytest.mark.parametrize("text", UNCLEAR)
def test_what_could_be_meant_in_two_ways_never_reaches_sympy(text: str) -> None:
    """Words, unknown commands and unclear arrangements are refused and not guessed."""
    with pytest.raises(UnreadableError):
        explicit(normalise(text), r"\ln ")
    assert not grade(text, "5", timeout_s=LIMIT_S).correct


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("2(3)", r"2 \cdot (3)"),
        (r"\int_0^1 0.5 dx", r"(\int_{0}^{1} ((\frac{05}{10})) dx)"),
        (r"\sin 2x\cos x", r"(\sin(2 \cdot x)) \cdot (\cos(x))"),
        (r"\sin x\cdot y", r"(\sin(x)) \cdot y"),
        (r"\tan^{-1} x", r"(\arctan(x))"),
        (r"\int_1^2 \frac{dx}{x}+3", r"(\int_{1}^{2} (\frac{1}{x}) dx)+3"),
    ],
)
def test_calculus_is_written_out_in_full(text: str, written: str) -> None:
    """Products, arguments and bodies are explicit, so that the library has nothing to guess."""
    assert explicit(normalise(text), r"\ln ") == written


HOSTILE = {
    "tower in a bound": r"\sum_{n=0}^{10^{10^{10}}} n",
    "tower in a body": r"\int_0^1 x^{10^{10^{10}}} dx",
    "tower of variables": r"\int_0^1 x^{x^{x^{x^{x^{x^{x^x}}}}}} dx",
    "factorials": r"\int_0^1 ((9!)!)! dx",
    "factorial in a product": r"\prod_{n=1}^{\infty} ((n^n)!)!",
    "long product": r"\prod_{n=1}^{10^9} \int_0^n x dx",
    "huge power": r"\lim_{x\to 1} (x+1)^{999999999}",
    "huge expansion": r"\int_0^1 (x+y+z+1)^{900} dx",
    "huge number": r"\int_0^1 " + "9" * 250 + " dx",
    "huge binomial": r"\sum_{n=1}^{\infty} \binom{10^9}{5\cdot 10^8}",
    "nested functions": r"\int_0^1 \sin(\cos(\sin(\cos(\sin(\cos(\sin(x))))))) dx",
    "nested garbage": r"\int_{\int_{\sum}^{\lim}}^{\prod} \frac{\int}{\sum} dx",
    "nested integrals": r"\int_0^{" * 9 + "1" + "} x dx" * 9,
    "many integrals": r"\int_0^1" * 200,
    "nested brackets": r"\int_0^1 " + "(" * 50 + "x" + ")" * 50 + " dx",
    "nested fractions": r"\int_0^1 " + r"\frac{1}{1+" * 10 + "x" + "}" * 10 + " dx",
    "long": r"\int_0^1 x" + "+x" * 900 + " dx",
    "hard sum": r"\sum_{n=1}^{\infty} \frac{\sin(n^2)}{n^n+n!}",
    "code": r"\int_0^1 __import__('os').system('touch CANARY') dx",
    "code in a text": r"\int_0^1 \text{open('CANARY','w')} dx",
    "code in a symbol": r"\sum_{n=1}^{\infty} \mathrm{exec}('open(\"CANARY\",\"w\")')",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_calculus_gets_a_verdict_in_time(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends within the limit and the time of a child's start, is not correct, and does nothing else."""
    monkeypatch.chdir(tmp_path)
    grade(r"\int_0^1 x dx", "7", timeout_s=LIMIT_S)  # a child that has its libraries, so that only grading is timed
    started = time.monotonic()
    verdict = grade(HOSTILE[name], r"\sqrt{1234567}", timeout_s=2)
    assert time.monotonic() - started < 4
    assert verdict.status is not Status.CORRECT
    assert list(tmp_path.iterdir()) == []


def test_loading_sympy_is_not_grading_time(client: Client) -> None:
    """A limit far below what loading takes is kept for the comparison alone, and the child survives it."""
    assert grade("x+1", "1+x").correct
    before = client.pid
    verdict = grade(r"\sum_{k=1}^{2} k", "3", timeout_s=0.3)
    assert (verdict.correct, client.pid) == (True, before)


def test_without_the_libraries_calculus_is_equal_as_text_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """The decider passes, and the chain says that the answer cannot be read."""
    monkeypatch.setattr(symbolic.algebra, "load", lambda: False)
    gold, pred = (Shape(Kind.LEAF, text) for text in (r"\frac13", r"\int_0^1 x^2 dx"))
    assert symbolic.decide_symbolic(gold, pred, Context(compare)) is None
    assert compare(gold, pred, Context(compare)).method == UNREADABLE


def test_reading_calculus_leaves_other_comparisons_without_sympy() -> None:
    """The chain itself imports no sympy before the first calculus."""
    code = (
        "import sys; from arbitrage.harness.grading.equivalence import equivalent;"
        "assert equivalent([r'\\sqrt{8}'], r'2\\sqrt{2}').equal and 'sympy' not in sys.modules;"
        "assert not equivalent([r'\\int_0^1 x'], 'for all x').equal"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
