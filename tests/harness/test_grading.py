"""The contract of equality, point by point, on pairs written for these tests."""

from __future__ import annotations

import subprocess
import sys

import pytest

from arbitrage.harness.grading import Status, Verdict, extract_answer, grade, grade_batch
from arbitrage.types import AnswerRules, Problem


def pairs(block: str) -> list[tuple[str, str]]:
    """One pair a line: reference, two bars, answer."""
    lines = [line.split("||") for line in block.strip().splitlines()]
    return [(reference.strip(), answer.strip()) for reference, answer in lines]


EQUAL_FORMATTING = pairs(r"""
    \frac12 || \dfrac{1}{2}
    \frac 3 8 || \tfrac{3}{8}
    \dfrac{\sqrt6}2 || \frac{\sqrt{6}}{2}
    \frac\pi4 || \pi/4
    12\sqrt 3 || $12\sqrt{3}$.
    \left( 4, -\frac{1}{2} \right) || (4,-1/2)
    10,\!080 || 10080
    11,\! 111,\! 111,\! 100 || 11111111100
    90{,}900{,}909 || 90,900,909
    10\,000 || 10 000
    \mathbf{2340} || **2340**
    \mbox{Saturday} || \textbf{Saturday}
    2\sqrt{3} || 2√3
    x^2 + \pi || x² + π
    \le 3x || ≤ 3x
    2 \sqrt{12} || 2*sqrt(12)
    x^{10} || x^10
    2\cdot 10^{-3} || 2 \times 10^{-3}
    5 || {5}
""")

EQUAL_VALUES = pairs(r"""
    \frac{1}{2} || 0.5
    1\frac{4}{5} || \frac95
    -1\frac45 || -1.8
    2.5 || 2 1/2
    3.5\pi || \frac{7\pi}{2}
    1{,}000{,}000 || 10^6
    1.07e16 || 1.07 \times 10^{16}
    0.\overline{3} || 1/3
    0.1\overline{6} || \frac16
    \frac{1}{3} || 0.333...
    .35625 || 0.35625
    2^{2005} || 2 \cdot 2^{2004}
    8^{2/3} || 4
    5 \sqrt[3]{4} || 5\cdot 4^{1/3}
    \frac{15-8 \sqrt{3}}{33} || \frac{5}{11}-\frac{8\sqrt3}{33}
    \sqrt{3+2\sqrt2} || 1+\sqrt2
    \log_2 8 || 3
    \ln 4 || 2\ln 2
    \tan 15^\circ || 2-\sqrt{3}
    \frac{100!}{2^{50}} || 100!/2^{50}
    \binom{10}{3} || 120
    e^{i\pi} || i^2
    \frac{1}{5} + \frac{3}{5}i || \frac{1+3i}{5}
    (a+5)(b+2) || ab+2a+5b+10
    \frac{11x + 5}{x - 2} || \frac{-11x-5}{2-x}
    42x\sqrt{5x} || 42\sqrt{5x^3}
    |x| || \sqrt{x^2}
    \cos^2\alpha || 1-\sin^2\alpha
    \lceil n / 2\rceil+1 || \lfloor (n+1)/2 \rfloor + 1
    \frac{n(n+1)(2 n+1)}{6} || \sum_{k=1}^{n} k^2
    \binom{2n}{n} || \frac{(2n)!}{(n!)^2}
    x^9+6859 || (x^3+19)(x^6-19x^3+361)
    xy+3ab || 3ba+yx
""")

EQUAL_COLLECTIONS = pairs(r"""
    3, 5, 7 || 7, 5, \text{ and } 3
    3, 5, 7 || \{3,5,7\}
    12\text{ and }13 || 13, 12
    1 \pm \sqrt{19} || 1-\sqrt{19}, 1+\sqrt{19}
    \{1\pm\sqrt{5},-2\} || \{-2, 1+\sqrt5, 1-\sqrt5\}
    1,-2 || x=1 or x=-2
    (-4, 27);(2, 15) || (2,15), (-4,27)
    (3,2),(-3,2),(3,-2),(-3,-2) || (\pm 3, \pm 2)
    (2,4) || \langle 2,4\rangle
    (2,4) || (x,y)=(2,4)
    (2,4) || x=2, y=4
    100, 200 || 200,100
    \text{A,C,F} || F, C \text{ and } A
    \begin{pmatrix} 1/5 \\ -18/5 \end{pmatrix} || \frac15\begin{bmatrix} 1 \\ -18 \end{bmatrix}
    \begin{pmatrix} 1/5 \\ -18/5 \end{pmatrix} || (0.2, -3.6)
    \frac{639}{40} || \boxed{15\frac{39}{40}} or \boxed{\frac{639}{40}}
""")

EQUAL_REGIONS = pairs(r"""
    x \in [-2,7] || -2 \le x \le 7
    (-\infty, 0] || x \leq 0
    (-\infty, 2) \cup (3, \infty) || x<2 \text{ or } x>3
    (0,9) \cup (9,36) || 0<x<36, x \ne 9
    (-\infty,3)\cup(3,\infty) || \mathbb{R} \setminus \{3\}
    (-\infty, 0) \cup\{1\} || x<0 or x=1
    [3,\infty) || \{x \mid x \ge 3\}
    (2, \infty) || \{x \in \mathbb{R} : x > 2\}
    \left(\frac{3}{5},\frac{8}{3}\right] || (0.6, 8/3]
    [0,2) \cup [1,3] || [0,3]
    [a +b, b] || [b+a,b]
    \mathbb{R} || \text{all real numbers}
    (-\infty,\infty) || \mathbb{R}
    \emptyset || \text{no solution}
    s^2 \le 8r^2 || 8r^2 \ge s^2
    f(2) < f(1) < f(4) || f(4)>f(1)>f(2)
""")

EQUAL_RELATIONS = pairs(r"""
    x=5 || 5
    5 || $x = 5$.
    f(x)=x+22 || x+22
    f(n)=n || f(x)=x
    m_{\max }=n^{2}-n-1 || n^2-n-1
    \angle ABC = 90 || 90^\circ
    y = 2x + 3 || 2x - y + 3 = 0
    5x - 7y + 11z + 4 = 0 || 10x - 14y + 22z = -8
    \frac{x^2}{4}+\frac{y^2}{9}=1 || 9x^2+4y^2=36
    6 || S = 1+2+3 = 6
    0.56 = 56\% || 0.56
    \frac{2}{3} || \frac{2}{3} \approx 0.67
    \frac{\pi}{6}+k\pi || \frac{\pi}{6}+n\pi, n \in \mathbb{Z}
    x=\frac{1}{6} \pi+\pi k || \frac{7\pi}{6}+k\pi
""")

EQUAL_UNITS = pairs(r"""
    15\% || \frac{3}{20}
    62.5% || 62.5
    75^{\circ} || 75°
    90^\circ || \frac{\pi}{2}
    (6,235^\circ) || (6,235)
    \$32,\!348 || 32348
    \$36 || 36 dollars
    864 \mbox{ inches}^2 || 864 \text{ square inches}
    15\mbox{ cm}^2 || 15 cm^2
    1 \text{ hour} || 60 \text{ minutes}
    45\text{ mph} || 45 miles per hour
    9\text{ values} || 9
    36 || 36 apples
""")

EQUAL_NOTATIONS = pairs(r"""
    204_5 || 204_{\text{five}}
    204_5 || 204 \text{ (base 5)}
    152A_{11} || 152a_{11}
    \text{Evelyn} || evelyn
    \text{(B)} || B
    \text{(B)} || (B)
    \text{(C)} || (C) 12
    \text{October 30} || October 30
    \text{twenty-one} || 21
    05\!:\!00 || 5:00
    4:30 || 4:30 p.m.
    9\text{ a.m.} || 9:00 AM
    1:4 || 2:8
""")

EQUAL = (
    EQUAL_FORMATTING
    + EQUAL_VALUES
    + EQUAL_COLLECTIONS
    + EQUAL_REGIONS
    + EQUAL_RELATIONS
    + EQUAL_UNITS
    + EQUAL_NOTATIONS
)

DIFFERENT = pairs(r"""
    \frac{1}{3} || 0.333
    \sqrt2 || 1.41421356
    \pi || \frac{22}{7}
    e || 2.718281828
    3^{200} || 3^{200}+1
    10^{100}\pi || (10^{100}+1)\pi
    10^{100} x || 10^{100} x+1
    8^{8^{8^{8}}} || 8^{8^{8^{9}}}
    23 || 2 3
    1000 || 1.000
    12 || 1,2
    5 || 5x
    36 || 36!
    (3,4] || (3,4)
    (20,100) || [20,100]
    (2,\infty) || x \ge 2
    (-\infty, 2) \cup (3, \infty) || x<2 \text{ and } x>3
    3, 5, 7 || 3,5
    3, 5, 7 || 3,5,7,9
    7 || 7 or 8
    (1,2) || 1,2
    (1,2) || \{1,2\}
    (2,4) || x=4, y=2
    \pm 3 || 3
    \begin{pmatrix} 1 \\ 2 \end{pmatrix} || \begin{pmatrix} 1 & 2 \end{pmatrix}
    y = 2x + 3 || 3
    y = 2x + 3 || x = 2y+3
    x=5 || y=5
    5x - 7y + 11z + 4 = 0 || 5x-7y+11z-4=0
    s^2 \le 8r^2 || s^2 \ge 8r^2
    f(n)=n, g(n)=1 || f(n)=1, g(n)=n
    f'(x) || f(x)
    x_1 || x_2
    |x| || x
    \lfloor n/2 \rfloor || n/2
    1/2x || \frac{1}{2x}
    \sin 2x || 2 \sin x
    \log_2 8 || \log_8 2
    3ab || 3
    x+2 mn || x+2
    15\mbox{ cm}^2 || 15 m^2
    15\mbox{ cm}^2 || 15 \text{ cm}
    \$36 || 36 cents
    15 || 0.15
    2516_8 || 2516
    2516 || 2516_8
    2516_8 || 2516_9
    \text{(B)} || C
    \text{even} || odd
    \text{four} || -\text{four}
    LQSX || QLSX
    4:30 p.m. || 4:30 a.m.
    4:30 || 2:15
    1:4 || 4:1
    \frac{\pi}{6}+k\pi || \frac{\pi}{6}+2k\pi
    2k || 2n
    \text{no solution} || 0
    \infty || -\infty
""")


@pytest.mark.parametrize(("reference", "answer"), EQUAL)
def test_equal_answers_are_correct_in_both_directions(reference: str, answer: str) -> None:
    """Whatever the notation, two answers that say the same are equal, whichever of them is the reference."""
    assert grade(answer, reference).correct
    if "boxed" not in answer:
        assert grade(reference, answer).correct


@pytest.mark.parametrize(("reference", "answer"), DIFFERENT)
def test_different_answers_are_never_correct(reference: str, answer: str) -> None:
    """Close, similar or partly right is not equal, whichever of the two is the reference."""
    assert grade(answer, reference).status in (Status.INCORRECT, Status.UNPARSED)
    assert not grade(reference, answer).correct


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"First \boxed{35}. No: it is $\boxed{\frac{3}{4}}$.", r"\frac{3}{4}"),
        (r"We get $\boxed{2}$ and $\boxed{8}$.", "2, 8"),
        (r"\boxed{1}, \boxed{2} \text{ or } \boxed{3}", "1, 2, 3"),
        (r"\boxed{1} is a root. Also \boxed{2}", "2"),
        (r"\boxed{\boxed{5}}", "5"),
        (r"$\fbox{7}$", "7"),
        (r"so \boxed 7", "7"),
        (r"\boxed{6} and then \boxed{\frac{1}{", "6"),
        ("She sells 9 eggs.\n#### 18", "18"),
        ("Therefore, the final answer is $5$. I hope it is correct.", "5"),
        ("**Final Answer:** 3", "3"),
        ("The answers are $2$ and $8$.", "2, 8"),
        ("So she makes 9 * 2 = 18 dollars every day.", "18"),
        ("Adding these we find $x + 1 = 4$.", "x + 1 = 4"),
        (r"\frac{1}{2}", r"\frac{1}{2}"),
        ("all real numbers", "all real numbers"),
    ],
)
def test_the_answer_is_found_in_a_response(text: str, answer: str) -> None:
    """The last box counts, then an announcing phrase, then the whole text, then the end of the last sentence."""
    assert extract_answer(text) == answer


@pytest.mark.parametrize(
    "text",
    ["", "  \n", r"\boxed{}", r"$\boxed{ }$", "We know that 3 + 4 is 7, so we", "The answer is", "Let $x = 3$ and $y"],
)
def test_a_text_without_an_answer_is_unparsed(text: str) -> None:
    """An empty or cut-off text is not wrong but unparsed, and never right."""
    verdict = grade(text, "7")
    assert verdict == Verdict(Status.UNPARSED, None, verdict.method, verdict.reason)


def test_a_guessed_answer_says_so() -> None:
    """An answer that was only the last number of a sentence is marked in the reason."""
    verdict = grade("So she makes 9 * 2 = 18 dollars every day.", "18")
    assert verdict.correct
    assert "last number" in verdict.reason


@pytest.mark.parametrize(
    "reference", ["", "  ", "$$", r"\frac{7}{", "f(x)=ax where a is an arbitrary integer with no more than two"]
)
def test_an_unusable_reference_is_unscored(reference: str) -> None:
    """A reference that is empty, broken or a sentence does not make answers wrong."""
    assert grade("7", reference).status is Status.UNSCORED
    assert grade("", reference).status is Status.UNSCORED


def problem(*answers: str, **rules: object) -> Problem:
    """A problem with these references and rules."""
    return Problem(id="p", problem="", answers=answers, rules=AnswerRules(**rules))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("4,2", True),
        (r"\{2,4\}", True),
        (r"\boxed{4} and \boxed{2}", True),
        ("2", False),
        ("2,4,6", False),
        ("(2,4)", False),
    ],
)
def test_all_answers_of_a_problem_are_required_in_any_order(answer: str, right: bool) -> None:
    """With several references, each has to be given exactly once."""
    assert grade(answer, problem("2", "4", multiple=True)).correct is right


@pytest.mark.parametrize(
    ("answer", "right"), [("4.2", True), ("4.1", True), ("4.3", True), ("4.05", False), ("0.042", False)]
)
def test_a_tolerance_is_absolute_and_holds_only_where_given(answer: str, right: bool) -> None:
    """Within the row's tolerance is right, at its edge too; without one only the value itself is."""
    assert grade(answer, problem("4.2", tolerance=0.1, unit="%")).correct is right
    assert grade(answer, problem("4.2")).correct is (answer == "4.2")


@pytest.mark.parametrize(
    ("unit", "answer", "right"),
    [
        ("km", r"\frac{41}{12}", True),
        ("km", r"\frac{41}{12}\text{ km}", True),
        ("km", r"\frac{41}{12}\text{ cm}", False),
        ("%", r"\frac{41}{12}\%", True),
        ("$cm^2$", r"\frac{41}{12} cm^2", True),
        (r"^{\circ}", r"\frac{41}{12}^\circ", True),
    ],
)
def test_the_unit_of_a_row_may_be_left_out_but_not_changed(unit: str, answer: str, right: bool) -> None:
    """The unit named by the data row is known; another unit of measure is another value."""
    assert grade(answer, problem(r"\frac{41}{12}", unit=unit)).correct is right


def test_a_batch_is_graded_in_order() -> None:
    """One verdict for each pair, the same as graded alone."""
    batch = [("1", "1"), ("2", "1"), ("", "1"), (r"\sqrt{4}", "2")]
    assert grade_batch(batch) == [grade(answer, reference) for answer, reference in batch]


def test_a_limit_that_is_not_positive_is_refused() -> None:
    """A nonsensical limit is a mistake of the caller, not a verdict."""
    with pytest.raises(ValueError, match="positive"):
        grade("1", "1", timeout_s=0)


def test_importing_the_grader_brings_no_mathematics_and_starts_nothing() -> None:
    """The parent process needs neither sympy nor mpmath, and no child runs before the first hard question."""
    code = (
        "import sys, arbitrage.harness.grading as g; from arbitrage.harness.grading.client import SHARED;"
        "assert g.grade('1/2', '0.5').correct and SHARED.pid is None;"
        "assert g.grade('x+1', '1+x').correct and SHARED.pid;"
        "assert not {'sympy', 'mpmath', 'torch', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
