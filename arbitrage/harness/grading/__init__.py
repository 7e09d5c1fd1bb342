"""Is this answer right? Compares the answer in a model's text with a reference, by meaning rather than by letters.

Knows LaTeX answers, how they are written and when two of them say the same. Knows nothing about models, timing, runs or
data files. Answer text is input and never code.

Who decides what, first to last:

- This process, with the standard library only: the same text, and plain rational numbers (`fractions`).
- A child process with a time and a memory limit, for all the rest. There a small strict reader of our own takes
  expressions apart and `fractions` compares their values exactly; those that are not rational, or that hold symbols,
  are compared by `mpmath`, to more than 35 digits, at fixed points. Lists, sets, intervals, matrices, relations, units
  and words are taken apart in this package, and their parts compared in the same way.
- In that child and last, for what the strict reader does not know: definite integrals, sums and products without end,
  limits and derivatives are written out without ambiguity, read by `latex2sympy2_extended` and decided by `sympy`.
  Equal is what sympy proves equal; what it cannot decide is not correct. The two are loaded when the first such answer
  comes, outside its time limit; where they are not installed, such answers are equal only as text.

`math-verify` decides nothing here. Importing this package starts nothing and loads none of these libraries.
"""

from __future__ import annotations

from arbitrage.harness.grading.extraction import extract_answer
from arbitrage.harness.grading.grader import grade, grade_batch
from arbitrage.harness.grading.verdict import GRADER, Status, Verdict

__all__ = ["GRADER", "Status", "Verdict", "extract_answer", "grade", "grade_batch"]
