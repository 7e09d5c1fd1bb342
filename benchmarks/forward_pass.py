"""One forward pass over a few new tokens: the lean one, packed and not, against that of transformers, interleaved.

python benchmarks/forward_pass.py --out runs/forward-pass                          # the bundled draft and target
python benchmarks/forward_pass.py SmolLM2-135M-Instruct.Q4_1.gguf --threads 2

After 256 tokens of context, in float32, outputs wanted at every new position. Each way runs several passes before it is
the next one's turn, as in use, where a model's weights stay in the processor's cache from token to token; the first do
not count.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from arbitrage.backends.bundled import bundled_path
from arbitrage.backends.hf import HFBackend
from arbitrage.backends.hf.engine import ModuleCache, Network, on_host
from arbitrage.backends.hf.lean import LeanDecoder, Pass
from arbitrage.harness.statistics import ratio
from reporting import Report, interval

CONTEXT = 256
LENGTHS = (1, 2, 4, 8, 32, 128)
UNCOUNTED, COUNTED = 3, 8
"""Passes of one way in a row."""
WAYS = ("lean, packed", "lean", "transformers")


def ways(network: Network) -> dict[str, Callable[[int], None]]:
    """Each way of running a pass over so many tokens behind the same context."""
    ids = [int(token) for token in np.random.default_rng(0).integers(4, network.module.config.vocab_size, CONTEXT)]

    def lean(decoder: LeanDecoder) -> Callable[[int], None]:
        held = decoder.new_cache()
        decoder.run([Pass(ids, held, 1)])

        def run(length: int) -> None:
            on_host(decoder.run([Pass(ids[:length], held, length)])[0])
            held.truncate(CONTEXT)

        return run

    module = ModuleCache(network)
    module.forward(ids, 1)

    def transformers(length: int) -> None:
        module.forward(ids[:length], length)
        module.truncate(CONTEXT)

    decoders = [LeanDecoder(network.module, packed) for packed in (True, False)]
    return dict(zip(WAYS, (*map(lean, decoders), transformers), strict=True))


def seconds(found: dict[str, Callable[[int], None]], length: int, rounds: int) -> dict[str, list[float]]:
    """Times of a pass over `length` tokens, the ways in turn; the first round warms up."""
    times: dict[str, list[float]] = {way: [] for way in found}
    for _ in range(rounds + 1):
        for way, run in found.items():
            for _ in range(UNCOUNTED):
                run(length)
            started = time.perf_counter()
            for _ in range(COUNTED):
                run(length)
            times[way].append((time.perf_counter() - started) / COUNTED)
    return {way: each[1:] for way, each in times.items()}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", help="sources of the hf backend")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    title = f"a pass over k tokens after {CONTEXT}, float32, {arguments.threads} thread(s), medians"
    report = Report(
        title, ["model", "k", *(f"{way}, ms" for way in WAYS), "packed: times faster", "lean: times faster"]
    )
    for source in arguments.models or [str(bundled_path(role)) for role in ("draft", "target")]:
        model = HFBackend().language_model(source, "cpu", dtype="float32", lean=False, threads=arguments.threads)
        found = ways(model.network)
        for length in LENGTHS:
            times = seconds(found, length, arguments.rounds)
            groups = range(arguments.rounds)
            faster = [ratio(times["transformers"], times[way], groups, of="median") for way in WAYS[:2]]
            medians = {way: float(np.median(times[way])) for way in WAYS}
            cells = [f"{1000 * medians[way]:.2f}" for way in WAYS] + [estimate.shown(".2f") for estimate in faster]
            ratios = {way: interval(estimate) for way, estimate in zip(WAYS, faster, strict=False)}
            report.add(
                [model.name, str(length), *cells],
                model=model.name,
                tokens=length,
                median_s=medians,
                times_faster=ratios,
            )
    report.finish(arguments.out, threads=arguments.threads)


if __name__ == "__main__":
    main()
