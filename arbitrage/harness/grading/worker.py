"""The child process of the grader: reads comparisons from a pipe, one JSON object a line, and answers each of them.

Started by `client.py` only. It can be killed at any moment; it holds no state and writes nothing but its answers.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from fractions import Fraction
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from arbitrage.harness.grading.compat import Ruling
    from arbitrage.harness.grading.equivalence import Decision

READY = {"ready": True}
"""First line of every worker, and its word that a pause for loading is over."""
LOADING = {"loading": True}
"""Sent before the first question with calculus in it: sympy is being loaded, which is not grading time."""
GRACE_S = 5
"""Seconds after the client's limit at which a forgotten worker ends by itself."""


def main(memory_bytes: int) -> None:
    """Serve until the pipe closes.

    Args:
        memory_bytes: limit on address space, where the platform has one.
    """
    requests, replies = _private_pipes()
    sys.setrecursionlimit(4000)
    _limit_memory(memory_bytes)
    try:
        from arbitrage.harness.grading.compat import decide
        from arbitrage.harness.grading.compat_values import same_value
        from arbitrage.harness.grading.equivalence import equivalent
        from arbitrage.harness.grading.expression import CALCULUS, algebra
    except (ImportError, MemoryError) as error:
        _send(replies, {"ready": False, "reason": f"{type(error).__name__}: {error}"})
        return
    _send(replies, READY)
    loaded = False
    for line in requests:
        request: dict[str, Any] = json.loads(line)
        texts = "\n".join((*request["references"], request["answer"]))
        if not loaded and not request["mode"] and CALCULUS.search(texts):
            _send(replies, LOADING)
            algebra.load()
            loaded = True
            _send(replies, READY)
        _arm(request["limit_s"])
        tolerance = request["tolerance"]
        try:
            decision: Decision | Ruling
            if request["mode"]:
                decision = decide(request["answer"], request["references"][0], same_value)
            else:
                decision = equivalent(
                    request["references"],
                    request["answer"],
                    tolerance=None if tolerance is None else Fraction(tolerance),
                    unit=request["unit"],
                )
            reply = {"equal": decision.equal, "method": decision.method, "reason": decision.reason}
        except MemoryError:
            reply = {"equal": False, "method": "limit", "reason": "the comparison ran out of memory"}
        except Exception as error:  # a fault of the grader must cost one verdict and not the run
            reply = {"equal": False, "method": "fault", "reason": f"the comparison failed with {type(error).__name__}"}
        _arm(0)
        _send(replies, {"id": request["id"], **reply})


def _private_pipes() -> tuple[Any, Any]:
    """The protocol's two pipes on private descriptors; whatever else prints or reads gets an empty device."""
    requests = os.fdopen(os.dup(0), "r", encoding="ascii", newline="\n")
    replies = os.fdopen(os.dup(1), "w", encoding="ascii", newline="\n")
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    os.close(null)
    return requests, replies


def _limit_memory(memory_bytes: int) -> None:
    try:
        import resource
    except ImportError:  # not a POSIX system
        return
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = memory_bytes if hard == resource.RLIM_INFINITY else min(memory_bytes, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


def _arm(limit_s: float) -> None:
    """Let the system end this process when the client is gone and the comparison does not stop; 0 disarms."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, limit_s + GRACE_S if limit_s else 0)


def _send(replies: Any, reply: dict[str, Any]) -> None:
    replies.write(json.dumps(reply) + "\n")
    replies.flush()
