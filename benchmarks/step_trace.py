"""Makes benchmarks/step_trace.json, the step lengths that benchmarks/gpu.py replays, from a run folder.

python benchmarks/step_trace.py runs/math500 --strategy "random-route (rate=0.3)" --problems 16

For every step: tokens of the draft's version, tokens of the target's (null where it was not written), and the number
that was compared with the rate: the step is escalated at every rate above it.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from arbitrage.harness.comparison import load_comparison
from arbitrage.harness.rows import Row

TRACE = Path(__file__).with_name("step_trace.json")


def steps_of(row: Row) -> list[list[float | None]]:
    """Draft tokens, target tokens, score of each step that the draft began."""
    return [
        [step.draft_tokens, step.target_tokens or None, round(step.score, 3)]
        for step in row.steps
        if step.draft_tokens and step.score is not None
    ]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--strategy", default="random-route (rate=0.3)")
    parser.add_argument("--problems", type=int, default=16)
    parser.add_argument("--out", type=Path, default=TRACE)
    arguments = parser.parse_args()
    comparison = load_comparison(arguments.run)
    identity = comparison.manifest["identity"]
    rows = [row for row in comparison[arguments.strategy].rows if not row.failed][: arguments.problems]
    models = {role: identity["models"][role]["name"] for role in ("draft", "target")}
    source = {"dataset": comparison.manifest["dataset"]["name"], "strategy": arguments.strategy, **models}
    problems = [{"id": row.problem_id, "prompt_tokens": row.prompt_tokens, "steps": steps_of(row)} for row in rows]
    lines = ",\n".join(f"  {json.dumps(problem)}" for problem in problems)
    arguments.out.write_text(f'{{"source": {json.dumps(source)},\n "problems": [\n{lines}\n]}}\n', encoding="utf-8")


if __name__ == "__main__":
    main()
