"""Is this answer right? Compares the answer in a model's text with a reference, by meaning rather than by letters.

Knows LaTeX answers, how they are written and when two of them say the same. Knows nothing about models, timing, runs or
data files. Answer text is input and never code: it is read by a small parser of our own, inside a child process with a
time and a memory limit; importing this package starts nothing.
"""

from __future__ import annotations

from arbitrage.harness.grading.extraction import extract_answer
from arbitrage.harness.grading.grader import grade, grade_batch
from arbitrage.harness.grading.verdict import Status, Verdict

__all__ = ["Status", "Verdict", "extract_answer", "grade", "grade_batch"]
