"""What a pass over several new tokens costs in llama.cpp, in passes over one: decides whether token-sd can pay.

python benchmarks/pass_cost.py [MODEL.gguf ...] --out runs/pass-cost      # the bundled targets without a model

The fastest of several rounds counts, lengths in turn, after 300 tokens of context, logits at every new position.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from arbitrage.backends.bundled import bundled_gguf
from arbitrage.backends.gguf.engine import EngineOptions, Pool, Weights, system_info
from arbitrage.harness import environment

CONTEXT = 300
LENGTHS = (1, 2, 4, 8, 16, 32)


def pass_seconds(path: Path, threads: int) -> dict[int, float]:
    """Seconds of a pass over each number of new tokens."""
    weights = Weights(path)
    cache = Pool(weights, EngineOptions(context=2 * CONTEXT, threads=threads), path.name).cache()
    cache.forward([100 + i for i in range(CONTEXT)], 1)
    fastest = dict.fromkeys(LENGTHS, float("inf"))
    for _ in range(8 if weights.parameters > 10**8 else 200):
        for length in LENGTHS:
            started = time.perf_counter()
            cache.forward([200 + i for i in range(length)], length)
            fastest[length] = min(fastest[length], time.perf_counter() - started)
            cache.truncate(CONTEXT)
    cache.close()
    return fastest


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    table = Table(title=f"a pass over k new tokens, {arguments.threads} thread(s)", title_justify="left")
    for column in ("model", "k = 1, ms", *(f"k = {length}" for length in LENGTHS[1:])):
        table.add_column(column, justify="left" if column == "model" else "right")
    rows = []
    for path in arguments.models or [bundled_gguf("target", variant) for variant in ("q8_0", "q4_0")]:
        seconds = pass_seconds(path, arguments.threads)
        relative = [seconds[length] / seconds[1] for length in LENGTHS[1:]]
        table.add_row(path.name, f"{1000 * seconds[1]:.2f}", *(f"{ratio:.1f} x" for ratio in relative))
        rows.append({"model": path.name, "seconds": seconds})
    Console(width=120).print(table)
    if arguments.out:
        arguments.out.mkdir(parents=True, exist_ok=True)
        about = {"threads": arguments.threads, "llama_cpp_features": system_info(), **environment.surroundings()}
        (arguments.out / "results.json").write_text(json.dumps({"rows": rows, **about}, indent=1) + "\n")
        with (arguments.out / "table.txt").open("w") as file:
            Console(file=file, width=120).print(table)


if __name__ == "__main__":
    main()
