"""Solutions on the CPU threads that `threads="auto"` measures against one thread and all cores, interleaved.

python benchmarks/threads.py --limit 40 --out runs/threads

Target-only and the router on the bundled models. Loading and choosing come first, so that a burst of load then is
part of what is measured: run it several times. Greedy.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from arbitrage.backends.loading import load_models
from arbitrage.cpu import CpuThreads, granted_cores
from arbitrage.harness.runner import run_comparison
from arbitrage.harness.statistics import ratio
from arbitrage.interfaces import Models, Strategy
from arbitrage.strategies import ArbitrageRouter, TargetOnly
from arbitrage.types import Generation, Problem, Role
from reporting import Report, interval

if TYPE_CHECKING:
    import numpy as np

METHODS: Mapping[str, Strategy] = {"target-only": TargetOnly(), "router": ArbitrageRouter(threshold=0.5)}
ROLES = (Role.DRAFT, Role.TARGET, Role.ROUTER)


class OnThreads(Strategy):
    """A strategy whose models run on given threads."""

    def __init__(self, inner: Strategy, counts: Mapping[CpuThreads, int]) -> None:
        """Set `counts` before every solution."""
        self.inner, self.counts = inner, counts
        self.name = inner.name  # type: ignore[misc]
        self.requires = inner.requires

    def solve(self, problem: Problem, models: Models, rng: np.random.Generator) -> Generation:
        """See `Strategy.solve`."""
        for threads, count in self.counts.items():
            threads.use(count)
        return self.inner.solve(problem, models, rng)


def measure(backend: str, limit: int, report: Report) -> None:
    """Both methods on the threads that were chosen, on one and on all."""
    models = load_models(backend, roles=ROLES, threads="auto")
    held = {role: getattr(models, role.value).cpu_threads for role in ROLES}
    chosen = {held[choice.roles[0]]: choice.threads for choice in models.threads}
    ways = {"auto": chosen, "one": dict.fromkeys(chosen, 1), "all cores": dict.fromkeys(chosen, granted_cores())}
    strategies = {
        f"{method} {way}": OnThreads(strategy, counts)
        for method, strategy in METHODS.items()
        for way, counts in ways.items()
    }
    comparison = run_comparison(strategies, models, dataset="bundled", limit=limit, baseline=False, progress=False)
    told = ", ".join(f"{choice.name}: {choice.threads}" for choice in models.threads)
    for method in METHODS:
        auto = comparison[f"{method} auto"].rows
        for way in list(ways)[1:]:
            other = comparison[f"{method} {way}"].rows
            seconds = ratio([row.latency_s for row in other], [row.latency_s for row in auto], range(len(auto)))
            report.add(
                [backend, method, told, way, seconds.shown(".2f")],
                backend=backend,
                method=method,
                chosen={choice.name: choice.threads for choice in models.threads},
                measured={choice.name: dict(choice.seconds) for choice in models.threads},
                way=way,
                solution_s_ratio=interval(seconds),
                problems=len(auto),
            )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit", type=int, default=40)
    parser.add_argument("--backends", nargs="+", default=["hf", "gguf"])
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    cores = granted_cores()
    report = Report(
        f"seconds a solution on other threads / on those that were chosen, {cores} core(s), greedy",
        ["backend", "method", "chosen", "against", "solution"],
        text_columns=4,
    )
    for backend in arguments.backends:
        measure(backend, arguments.limit, report)
    report.finish(arguments.out, cores=cores)


if __name__ == "__main__":
    main()
