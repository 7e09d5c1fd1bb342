"""`compat="qwen"` gives the verdicts of the Qwen2.5-Math evaluator, oddities included, and runs nothing."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arbitrage.harness.grading import Status, Verdict, grade, grade_batch
from arbitrage.harness.grading.compat import announced, last_number, read_beginning, strip
from arbitrage.types import AnswerRules, Problem


def qwen(answer: str, reference: str | Problem) -> Verdict:
    """Grade a boxed answer by the evaluator's rules."""
    return grade(rf"Hence $\boxed{{{answer}}}$.", reference, timeout_s=5, compat="qwen")


RIGHT_ONLY_THERE = [
    ("0.5", "50", "a factor of a hundred"),
    ("50", "0.5", "the same, the other way"),
    ("100", "100.009", "four digits"),
    (r"\frac{1}{3}", "0.33333", "a rounding of a fraction"),
    (r"\sqrt{2}", "1.41421", "a rounding of a root"),
    ("1,-2", "1,5", "only the first of several answers is read"),
    ("3,5,7", "3", "answers may be missing"),
    ("x<3", "x>3", "the direction of a relation"),
    (r"x \le 3", "x < 3", "an end that belongs to it or not"),
    ("(1,2)", "[1,2]", "the kind of bracket"),
    (r"5\text{ cm}", r"5\text{ kg}", "units"),
    ("12", "12,5 inches", "what follows a comma"),
    (r"0.\overline{3}", r"0.\overline{4}", "repeating decimals"),
    ("45_{8}", "45_{9}", "the base of a number"),
    (r"\text{east}", "7", "a reference that is all unit"),
]
WRONG_ONLY_THERE = [
    ("4", r"\text{IV or }4", "a word before the number"),
    ("1,2", "2,1", "the order of answers"),
    (r"x^2+x", "x(x+1)", "a letter before parentheses is a function"),
    (r"\frac{\pi}{2}", "90^\\circ", "degrees and radians"),
    ("-1", "i^2", "the imaginary unit is a letter"),
    (r"[0,\infty)", r"x \ge 0", "an interval and its inequality"),
    ("|x-3|", r"\sqrt{(x-3)^2}", "letters stand for complex numbers"),
    (r"1<x<2", r"1<x<2,0", "a chain of relations"),
]
RIGHT = [
    (r"\frac{1}{2}", "0.5"),
    (r"\frac12", "1/2"),
    ("(x+1)^2", "x^2+2x+1"),
    (r"\sin^2 x", r"1-\cos^2 x"),
    ("y=2x+3-x", "y=x+3"),
    ("2u+v=3", "3-v=2u"),
    ("5", "x=5"),
    (r"(1, \frac{1}{2})", "(1,0.5)"),
    (r"\begin{pmatrix} 1 \\ 2/4 \end{pmatrix}", r"\begin{bmatrix}1\\0.5\end{bmatrix}"),
    (r"\{1,2\}", r"\{2,1\}"),
    ("10,080", "10080"),
    (r"\$18.90", "18.9"),
    (r"15\%", "15"),
    (r"\text{five}", "5"),
    ("C", "(C)"),
    (r"\sqrt{12}", r"2\sqrt3"),
    ("3", r"\log_2 8"),
    (r"\arccos(x)", r"\cos^{-1}(x)"),
    (r"1000", r"1\,000"),
    (r"\begin{pmatrix} 1 & 2 \end{pmatrix}", r"\left(\begin{array}{cc} 1 & 2 \\ \end{array}\right)"),
]
WRONG = [
    ("7", "8"),
    ("100", "100.02"),
    (r"\frac{1}{3}", "0.333"),
    (r"2\pi", "6.28318530718"),
    ("(1,2)", "(2,1)"),
    ("(1,2)", "(1,2,3)"),
    (r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", r"\begin{pmatrix} 1 \\ 3 \end{pmatrix}"),
    (r"\{1,2\}", r"\{1,3\}"),
    ("2u+v=3", "2u+v=4"),
    ("C", "D"),
    (r"\sqrt{2}", r"\sqrt{3}"),
    ("5", "-5"),
]


@pytest.mark.parametrize(("reference", "answer", "why"), RIGHT_ONLY_THERE)
def test_what_only_the_evaluator_takes_for_right(reference: str, answer: str, why: str) -> None:
    """The evaluator is lenient where this grader is not."""
    assert qwen(answer, reference).correct, why
    assert not grade(rf"\boxed{{{answer}}}", reference).correct


@pytest.mark.parametrize(("reference", "answer", "why"), WRONG_ONLY_THERE)
def test_what_only_the_evaluator_takes_for_wrong(reference: str, answer: str, why: str) -> None:
    """The evaluator misses answers that this grader, or a reader, takes for right."""
    assert not qwen(answer, reference).correct, why


@pytest.mark.parametrize(("reference", "answer"), RIGHT)
def test_right_answers(reference: str, answer: str) -> None:
    """What everybody takes for right is right by the evaluator's rules too."""
    assert qwen(answer, reference).correct


@pytest.mark.parametrize(("reference", "answer"), WRONG)
def test_wrong_answers(reference: str, answer: str) -> None:
    """What everybody takes for wrong is wrong by the evaluator's rules too."""
    assert qwen(answer, reference).status is Status.INCORRECT


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"first $\boxed{3}$, then $\boxed{\frac{1}{2}}$", r"\frac{1}{2}"),
        (r"cut \boxed{12", "12"),
        (r"short $\boxed 7$ indeed", "7"),
        ("So the answer is: 12.", " 12"),
        ("The final answer is $x+1$. I hope it is correct.", "x+1"),
        ("we get 5 and later 1,024 apples in all", None),
    ],
)
def test_the_answer_is_where_the_evaluator_looks(text: str, answer: str | None) -> None:
    """The last box, closed or not, then announcing words."""
    assert announced(text) == answer


def test_the_last_number_is_the_last_resort() -> None:
    """A text that announces nothing is graded by its last number, commas left out; a bare answer as it stands."""
    assert last_number("we get 5 and later 1,024 apples in all") == "1024"
    assert grade("So we get 5, and later 1,024 apples in all.", "1024", compat="qwen").correct
    assert grade(r"\frac{1}{2}", "0.5", compat="qwen").correct
    nothing = grade("I do not know.", "5", compat="qwen")
    assert (nothing.status, nothing.method) == (Status.UNPARSED, "qwen extraction")


@pytest.mark.parametrize(
    ("text", "stripped"),
    [
        (r"\left( 3, \dfrac{1}{2} \right)", r"(3,\frac{1}{2})"),
        (r"12\text{ square inches}", "12"),
        ("x = 5.00", "5"),
        (r"\$ 1.50", "1.50"),
        (r"30^\circ", "30"),
        (r"\frac1{72}+\sqrt3", r"\frac{1}{72}+\sqrt{3}"),
        ("3/4", r"\frac{3}{4}"),
        ("a+b", "+b"),
        ("twenty-five", "25"),
        ("two hundred thousand and six", "200006"),
        ("three point one four", "3.14"),
        (r"(-\infty,\infty)", r"\mathbb{R}"),
        ("4 apples", "4"),
        ("j+1", "i+1"),
    ],
)
def test_units_letters_and_spacing_go(text: str, stripped: str) -> None:
    """What the evaluator removes or rewrites before it compares, letters that are also units included."""
    assert strip(text) == stripped


def test_the_reader_takes_the_longest_beginning() -> None:
    """A reading stops outside of brackets where the text is no expression any more, and fails inside of them."""
    assert read_beginning("3,5") == read_beginning("3")
    assert read_beginning("45^") == read_beginning("45")
    assert read_beginning("(1,2)") is None
    assert read_beginning("5%") is None
    assert len(read_beginning("x<3") or ()) == 2


def test_the_method_names_the_rule() -> None:
    """The method of every verdict begins with the evaluator's name."""
    methods = {
        qwen(answer, reference).method
        for reference, answer in [
            ("5", "5"),
            ("0.5", "50"),
            ("x", "y"),
            ("(1,2)", "(1,3)"),
            ("2u+v=3", "4u+v=k"),
            ("C", "(C)"),
        ]
    }
    assert methods == {"qwen string", "qwen number", "qwen symbolic", "qwen list", "qwen equation"}


def test_the_rules_of_a_problem_do_not_count() -> None:
    """Tolerance and unit of a problem are this grader's; the evaluator compares with its references only."""
    problem = Problem(id="p", problem="?", answers=("7",), rules=AnswerRules(tolerance=1.0))
    assert grade("7.5", problem).correct
    assert not grade("7.5", problem, compat="qwen").correct
    assert [v.correct for v in grade_batch([("0.07", problem), ("6", problem)], compat="qwen")] == [True, False]


def test_an_unknown_evaluator_is_refused() -> None:
    """The error lists what there is."""
    with pytest.raises(ValueError, match="qwen"):
        grade("5", "5", compat="quack")


def test_the_parent_stays_light() -> None:
    """The text rules load neither mpmath nor sympy."""
    code = (
        "import sys; from arbitrage.harness.grading import grade; assert grade('5', '500', compat='qwen').correct;"
        "print(sorted({'mpmath', 'sympy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


HOSTILE = {
    "import": "__import__('os').system('touch CANARY')",
    "open": "open('CANARY','w')",
    "tuple": "(1, open('CANARY','w'))",
    "set": r"\{open('CANARY','w'),2\}",
    "equation": "x=open('CANARY','w')",
    "lambda": "(lambda: open('CANARY','w'))()",
    "matrix": r"\begin{pmatrix}open('CANARY','w')\\2\end{pmatrix}",
    "tower": "8^{8^{8^{8}}}",
    "factorials": "((100!)!)!",
    "fractions": r"\frac{1}{" * 300 + "2" + "}" * 300,
    "names": "x" + "_a" * 900,
    "functions": r"\sin" * 450 + "x",
    "elements": r"\{" + ",".join("abc"[i % 3] for i in range(900)) + r"\}",
    "parts": "(" + ",".join("1" * 900) + ")",
    "open boxes": r"\boxed{" * 100_000,
    "megabyte of digits": "1" * 1_000_000,
    "megabyte of words": "the answer is " * 70_000,
    "megabyte of dollars": "$" * 1_000_000,
    "bars": "|" * 900,
    "nul": "\0" * 9,
    "surrogates": "\ud800 \udead",
    "digits of other scripts": "٣²½",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_gets_a_verdict_and_runs_nothing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Text of any kind, as an answer or as a reference, gets a verdict in time, and no file appears."""
    monkeypatch.chdir(tmp_path)
    text = HOSTILE[name]
    started = time.monotonic()
    for answer, reference in [(text, "1234567"), ("1234567", text), (rf"\boxed{{{text}}}", text + "+1")]:
        verdict = grade(answer, reference, timeout_s=2, compat="qwen")
        assert isinstance(verdict, Verdict)
        assert verdict.method.startswith("qwen ")
    assert time.monotonic() - started < 20
    assert list(tmp_path.iterdir()) == []


PIECES = st.sampled_from(
    [r"\frac", r"\boxed{", "{", "}", "(", ")", "[", "]", "^", "_", "!", "|", ",", "=", "<", r"\le", r"\sin", "x", "e",
     "7", "12", "0.5", ".", r"\pi", r"\sqrt", r"\text{", r"\{", r"\}", "%", r"\$", " ", "-", "+", r"\begin{pmatrix}",
     r"\end{pmatrix}", "&", "\\\\", r"\infty", "and", "two", "point", "'", r"\log", "/", r"\mathit", "A"]
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.lists(PIECES, max_size=12).map("".join), st.lists(PIECES, max_size=12).map("".join))
def test_any_arrangement_of_latex_gets_a_verdict(answer: str, reference: str) -> None:
    """Whatever the two strings are, the call returns a verdict."""
    verdict = grade(rf"\boxed{{{answer}}}", reference, timeout_s=5, compat="qwen")
    assert isinstance(verdict, Verdict)


@settings(max_examples=200, deadline=None)
@given(st.lists(PIECES, max_size=14).map("".join))
def test_reading_never_raises_and_writes_what_it_read(text: str) -> None:
    """The reader gives expressions or None, with balanced brackets."""
    for side in read_beginning(text) or ():
        assert side.count("(") == side.count(")")
        assert side.count("{") == side.count("}")
