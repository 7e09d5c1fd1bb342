"""Where a lossless strategy's text parts from target-only's: the target's own logits of the two tokens there.

python benchmarks/divergences.py runs/x --target hf:model.gguf --strategy token-sd --out divergences.json

A difference of the order of what chunking moves the logits by is a near-tie; a large one would be a fault.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from arbitrage.backends.loading import load_models
from arbitrage.harness.comparison import load_comparison
from arbitrage.harness.datasets import load_dataset
from arbitrage.interfaces import Settings
from arbitrage.types import Role


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
        pairs = zip(row.token_ids, other.token_ids, strict=False)
        part = next((i for i, (a, b) in enumerate(pairs) if a != b), None)
        if part is None:
            identical += 1
            continue
        prompt = Settings().prompt(problems[row.problem_id].problem, target)
        ours, theirs = row.token_ids[part], other.token_ids[part]
        with target.open(prompt) as session:  # token by token, as target-only wrote it
            for token in other.token_ids[:part]:
                session.extend((), logits=1)
                session.extend((token,))
            alone = session.extend((), logits=1)
        with target.open(prompt) as session:  # all at once
            together = session.extend(other.token_ids[:part], logits=1)
        assert alone is not None
        assert together is not None
        found.append(
            {
                "problem": row.problem_id,
                "token": part,
                "of": len(other.token_ids),
                "target_only": target.codec.decode([theirs]),
                arguments.strategy: target.codec.decode([ours]),
                "margin_token_by_token": round(float(alone[0][theirs] - alone[0][ours]), 4),
                "margin_all_at_once": round(float(together[0][theirs] - together[0][ours]), 4),
                "largest_move_by_chunking": round(float(np.abs(alone[0] - together[0]).max()), 4),
            }
        )
        print(json.dumps(found[-1]), flush=True)
    summary = {"identical": identical, "parted": len(found), "divergences": found}
    print(f"{identical} identical, {len(found)} parted")
    if arguments.out:
        arguments.out.write_text(json.dumps(summary, indent=1) + "\n")


if __name__ == "__main__":
    main()
