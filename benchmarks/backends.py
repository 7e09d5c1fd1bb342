"""The bundled target alone in every precision and backend: accuracy, speed, memory; interleaved problem by problem.

python benchmarks/backends.py --limit 200 --out benchmarks/results/backends
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from arbitrage.backends.cached import CachedLanguageModel
from arbitrage.backends.gguf.model import GGUFLanguageModel
from arbitrage.backends.hf import HFLanguageModel
from arbitrage.backends.loading import load_models
from arbitrage.harness.runner import run_comparison
from arbitrage.interfaces import LanguageModel, Models
from arbitrage.strategies import TargetOnly
from arbitrage.types import Generation, Problem, Role

BASE = "hf float32"
VARIANTS = {
    BASE: ("bundled:target", "float32"),
    "hf bfloat16": ("bundled:target", "bfloat16"),
    "gptq 4 bits": ("bundled:target@gptq4", "float32"),
    "gptq 3 bits": ("bundled:target@gptq3", "float32"),
    "gguf Q8_0": ("bundled:target@q8_0", None),
    "gguf Q4_0": ("bundled:target@q4_0", None),
    "gguf Q3_K_S": ("bundled:target@q3_k", None),
    "gguf Q2_K": ("bundled:target@q2_k", None),
}


class TargetOn(TargetOnly):
    """Target-only on a target of its own, so that several can be compared in one run."""

    def __init__(self, target: LanguageModel) -> None:
        self._target = target

    def solve(self, problem: Problem, models: Models, rng: np.random.Generator) -> Generation:
        """See `TargetOnly.solve`."""
        return super().solve(problem, replace(models, target=self._target), rng)

    def describe(self) -> dict[str, object]:
        """With the model's facts."""
        return {"name": self.name, "target": self._target.describe()}


def targets(threads: int) -> Iterator[tuple[str, CachedLanguageModel]]:
    """Every variant, loaded."""
    for name, (spec, dtype) in VARIANTS.items():
        model = load_models(roles=[Role.TARGET], target=spec, dtype=dtype, threads=threads).target
        assert isinstance(model, CachedLanguageModel)
        yield name, model


def weight_bytes(model: CachedLanguageModel) -> int:
    """Weights in memory; caches and buffers of the runtime not counted."""
    if isinstance(model, GGUFLanguageModel):
        return int(str(model.describe()["bytes"]))
    assert isinstance(model, HFLanguageModel)
    module = model.network.module
    return sum(t.nbytes for t in (*module.parameters(), *module.buffers()))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--limit", type=int, default=200)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    models = dict(targets(arguments.threads))
    strategies = {f"target-only on {name}": TargetOn(model) for name, model in models.items()}
    run = arguments.out / "run"
    comparison = run_comparison(
        strategies,
        Models(target=models[BASE]),
        dataset="bundled",
        limit=arguments.limit,
        out=run,
        resume=run.exists(),
    )
    table = Table(title=f"the bundled target alone, {arguments.limit} problems", title_justify="left")
    for column in ("backend", "accuracy %", "tokens/s", "against hf float32", "weights MB", "same text %"):
        table.add_column(column, justify="left" if column == "backend" else "right")
    rows = []
    for (label, result), (name, model) in zip(comparison.items(), models.items(), strict=True):
        accuracy, versus = result.accuracy_interval, comparison.versus(label)
        tokens, seconds = sum(r.tokens for r in result.rows), sum(r.latency_s for r in result.rows)
        base = comparison.baseline
        assert base is not None
        assert accuracy is not None
        base_speed = sum(r.tokens for r in base.rows) / sum(r.latency_s for r in base.rows)
        same = versus.identical_share if versus else None
        rows.append(
            {
                "backend": name,
                "accuracy": [accuracy.value, accuracy.low, accuracy.high],
                "tokens_per_s": tokens / seconds,
                "against_hf_float32": tokens / seconds / base_speed,
                "weight_bytes": weight_bytes(model),
                "same_text": same,
                "model": model.describe(),
            }
        )
        table.add_row(
            name,
            f"{100 * accuracy.value:.1f} [{100 * (accuracy.low or 0):.1f}, {100 * (accuracy.high or 0):.1f}]",
            f"{tokens / seconds:.0f}",
            f"{tokens / seconds / base_speed:.2f}",
            f"{weight_bytes(model) / 1e6:.1f}",
            "—" if same is None else f"{100 * same:.0f}",
        )
    Console(width=120).print(table)
    (arguments.out / "results.json").write_text(json.dumps({"rows": rows}, indent=1) + "\n")
    with (arguments.out / "table.txt").open("w") as file:
        Console(file=file, width=120).print(table)


if __name__ == "__main__":
    main()
