"""Escalated steps with and without the draft's rejected step as a proposal: same texts, seconds side by side.

python benchmarks/reuse.py --limit 60 --out runs/reuse

The bundled draft, and quantised copies of the target as its draft. Every other step is escalated by chance, so that
there is something to measure wherever the draft is good; the router's own decisions stand beside it. Greedy.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from arbitrage.backends.loading import load_models
from arbitrage.harness.runner import run_comparison
from arbitrage.harness.statistics import ratio
from arbitrage.interfaces import Models, Strategy
from arbitrage.strategies import ArbitrageRouter, RandomRoute
from arbitrage.types import Role, StepRecord
from reporting import Report, interval

PAIRS = {
    "small draft, hf": ("hf", "bundled:draft", "bundled:target"),
    "4-bit copy drafts, hf": ("hf", "bundled:target@gptq4", "bundled:target"),
    "2-bit copy drafts, gguf": ("gguf", "bundled:target@q2_k", "bundled:target@q8_0"),
}


def measure(name: str, models: Models, limit: int, report: Report) -> None:
    """Both methods with and without, interleaved problem by problem."""
    strategies: dict[str, Strategy] = {}
    for on in (True, False):
        strategies[f"random {on}"] = RandomRoute(rate=0.5, reuse=on)
        strategies[f"router {on}"] = ArbitrageRouter(threshold=0.5, reuse=on)
    comparison = run_comparison(strategies, models, dataset="bundled", limit=limit, baseline=False, progress=False)
    for method in ("random", "router"):
        pairs = list(zip(comparison[f"{method} False"].rows, comparison[f"{method} True"].rows, strict=True))
        same = sum(without.token_ids == reused.token_ids for without, reused in pairs)
        steps = [
            tuple([step for step in row.steps if step.escalated] for row in pair)
            for pair in pairs
            if pair[0].token_ids == pair[1].token_ids and any(step.escalated for step in pair[0].steps)
        ]
        if not steps:
            continue  # this method escalated nothing
        groups = range(len(steps))

        def seconds(which: int, part: str | None, found: list[tuple[list[StepRecord], ...]] = steps) -> list[float]:
            return [
                sum(step.latency_s if part is None else step.time_s.get(part, 0.0) for step in each[which])
                for each in found
            ]

        target = ratio(seconds(0, "target"), seconds(1, "target"), groups)
        whole = ratio(seconds(0, None), seconds(1, None), groups)
        solution = ratio([a.latency_s for a, _ in pairs], [b.latency_s for _, b in pairs], range(len(pairs)))
        confirmed = comparison[f"{method} True"].confirmed_share
        report.add(
            [
                name,
                method,
                str(sum(len(each[1]) for each in steps)),
                "—" if confirmed is None else f"{100 * confirmed:.0f}",
                *(estimate.shown(".2f") for estimate in (target, whole, solution)),
                f"{same}/{len(pairs)}",
            ],
            pair=name,
            method=method,
            confirmed=confirmed,
            target_s_ratio=interval(target),
            step_s_ratio=interval(whole),
            solution_s_ratio=interval(solution),
            same_text=same,
            problems=len(pairs),
        )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit", type=int, default=100)
    parser.add_argument("--pairs", nargs="+", choices=list(PAIRS), default=list(PAIRS))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    report = Report(
        "without the rejected step / with it, greedy",
        ["pair", "method", "escalated", "confirmed %", "target's seconds", "whole step", "whole solution", "same text"],
        text_columns=2,
    )
    for name in arguments.pairs:
        backend, draft, target = PAIRS[name]
        models = load_models(
            backend,
            roles=[Role.DRAFT, Role.TARGET, Role.ROUTER],
            draft=draft,
            target=target,
            router="bundled:router",
            threads=arguments.threads,
        )
        measure(name, models, arguments.limit, report)
    report.finish(arguments.out, threads=arguments.threads)


if __name__ == "__main__":
    main()
