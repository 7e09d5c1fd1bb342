"""Solutions with models at work at the same time against one after the other: pipelining, catching up, both.

taskset -c 0 python benchmarks/overlap.py --limit 60 --out runs/overlap-one-core
taskset -c 0,1 python benchmarks/overlap.py --limit 60 --out runs/overlap-two-cores

The bundled models, each on one thread. Escalations by chance at two rates, and RSD, whose PRM is the slowest judge.
All four ways are interleaved problem by problem. Greedy.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from arbitrage.backends.loading import load_models
from arbitrage.cpu import available_cores
from arbitrage.harness.runner import run_comparison
from arbitrage.harness.statistics import ratio
from arbitrage.interfaces import Models, Strategy
from arbitrage.strategies import RSD, RandomRoute
from arbitrage.types import Role
from reporting import Report, interval

METHODS: dict[str, type[RSD] | type[RandomRoute]] = {
    "random, rate 0.2": RandomRoute,
    "random, rate 0.6": RandomRoute,
    "rsd, rate 0.4": RSD,
}
WAYS = {
    "one after the other": {},
    "pipeline": {"pipeline": True},
    "catch_up": {"catch_up": True},
    "both": {"pipeline": True, "catch_up": True},
}


def measure(backend: str, models: Models, limit: int, report: Report) -> None:
    """Every method in every way."""
    strategies: dict[str, Strategy] = {
        f"{method} {way}": make(rate=float(method.rsplit(" ", 1)[1]), **switches)
        for method, make in METHODS.items()
        for way, switches in WAYS.items()
    }
    comparison = run_comparison(strategies, models, dataset="bundled", limit=limit, baseline=False, progress=False)
    for method in METHODS:
        plain, *others = (comparison[f"{method} {way}"] for way in WAYS)
        for way, other in zip(list(WAYS)[1:], others, strict=True):
            pairs = list(zip(plain.rows, other.rows, strict=True))
            seconds = ratio([a.latency_s for a, _ in pairs], [b.latency_s for _, b in pairs], range(len(pairs)))
            read, read_before = (sum(row.forwarded_tokens["target"] for row in one.rows) for one in (other, plain))
            more = read / read_before if read_before else None
            same = sum(a.token_ids == b.token_ids for a, b in pairs)
            escalated = sum(step.escalated for row in plain.rows for step in row.steps)
            steps = sum(len(row.steps) for row in plain.rows)
            report.add(
                [
                    backend,
                    method,
                    f"{100 * escalated / steps:.0f}",
                    way,
                    seconds.shown(".2f"),
                    "—" if more is None else f"{more:.2f}",
                    f"{same}/{len(pairs)}",
                ],
                backend=backend,
                method=method,
                escalated=escalated / steps,
                way=way,
                solution_s_ratio=interval(seconds),
                target_tokens_ratio=more,
                same_text=same,
                problems=len(pairs),
            )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit", type=int, default=60)
    parser.add_argument("--backends", nargs="+", default=["hf", "gguf"])
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cores = available_cores()
    report = Report(
        f"one after the other / at the same time, seconds a solution, {cores} core(s), greedy",
        ["backend", "method", "escalated %", "way", "solution", "target reads", "same text"],
        text_columns=2,
    )
    for backend in arguments.backends:
        models = load_models(backend, roles=[Role.DRAFT, Role.TARGET, Role.PRM], threads=1)
        measure(backend, models, arguments.limit, report)
    report.finish(arguments.out, cores=cores)


if __name__ == "__main__":
    main()
