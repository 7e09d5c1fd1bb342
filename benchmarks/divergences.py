"""Where a lossless strategy's text parts from target-only's: the target's own logits of the two tokens there.

python benchmarks/divergences.py runs/x --target hf:model.gguf --strategy token-sd --out divergences.json

A difference of the order of what chunking moves the logits by is a near-tie; a large one would be a fault.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from arbitrage.backends.loading import load_models
from arbitrage.harness.comparison import load_comparison
from arbitrage.harness.datasets import load_dataset
from arbitrage.interfaces import Settings
from arbitrage.types import Role
from near_ties import first_difference, margin


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--target", required=True)
    parser.add_argument("--strategy", default="token-sd")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    comparison = load_comparison(arguments.run)
    baseline = comparison.baseline
    assert baseline is not None, "the run has no target-only rows"
    plain = {(row.problem_id, row.repeat): row for row in baseline.rows}
    problems = {p.id: p for p in load_dataset(comparison.manifest["dataset"]["name"])}
    target = load_models(roles=[Role.TARGET], target=arguments.target, threads=arguments.threads).target
    assert target is not None
    found, identical = [], 0
    for row in comparison[arguments.strategy].rows:
        other = plain[row.problem_id, row.repeat]
        part = first_difference(row.token_ids, other.token_ids)
        if part is None:
            identical += 1
            continue
        prompt = Settings().prompt(problems[row.problem_id].problem, target)
        ours, theirs = row.token_ids[part], other.token_ids[part]
        seen = margin(target, prompt, other.token_ids[:part], ours, theirs)
        found.append(
            {
                "problem": row.problem_id,
                "token": part,
                "of": len(other.token_ids),
                "target_only": target.codec.decode([theirs]),
                arguments.strategy: target.codec.decode([ours]),
                "margin_token_by_token": round(seen.token_by_token, 4),
                "margin_all_at_once": round(seen.all_at_once, 4),
                "largest_move_by_chunking": round(seen.largest_move, 4),
            }
        )
        print(json.dumps(found[-1]), flush=True)
    summary = {"identical": identical, "parted": len(found), "divergences": found}
    print(f"{identical} identical, {len(found)} parted")
    if arguments.out:
        arguments.out.write_text(json.dumps(summary, indent=1) + "\n")


if __name__ == "__main__":
    main()
