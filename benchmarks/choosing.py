"""What greedy decoding does with a row of logits: fetch it and look at it, or have its best told by the device.

python benchmarks/choosing.py --out runs/choosing                   # on a CPU: rows are in host memory already
python benchmarks/choosing.py --device cuda --out runs/choosing

Per token, from the logits on the device to its number and its log-probability on the host; 1 row is a token written
alone, 8 are a check of 7 proposed ones. Both ways in turn.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from arbitrage.backends.hf.engine import on_host
from arbitrage.harness.statistics import ratio
from arbitrage.sampling import Sampling, TokenLogprobs, choose
from reporting import Report, interval

VOCABULARIES = (512, 49_152, 151_936)
ROWS = (1, 8)
PASSES = 40
"""Passes of one way in a row; as many as log-probabilities of a small vocabulary may wait to be taken together."""


def whole_rows(logits: torch.Tensor) -> None:
    """Every row to the host, and there its maximum and its log-softmax."""
    logprobs, greedy, rng = TokenLogprobs(), Sampling(), np.random.default_rng(0)
    for _ in range(PASSES):
        for row in on_host(logits):
            logprobs.add(row, choose(row, greedy, rng))
    logprobs.values()


def best_only(logits: torch.Tensor) -> None:
    """Both on the device."""
    for _ in range(PASSES):
        on_host(logits, best=True).tolist()


def seconds(run: Callable[[torch.Tensor], None], logits: torch.Tensor) -> float:
    """Seconds of one row."""
    started = time.perf_counter()
    run(logits)
    return (time.perf_counter() - started) / (PASSES * len(logits))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    title = f"choosing a token from logits on {arguments.device}, {arguments.dtype}, medians, µs a row"
    report = Report(title, ["vocabulary", "rows", "whole row", "best only", "times faster"])
    for vocabulary in VOCABULARIES:
        for rows in ROWS:
            logits = torch.randn(rows, vocabulary, dtype=getattr(torch, arguments.dtype), device=arguments.device)
            timed = [(seconds(whole_rows, logits), seconds(best_only, logits)) for _ in range(arguments.rounds + 1)]
            whole, best = map(list, zip(*timed[1:], strict=True))  # the first warms up
            faster = ratio(whole, best, range(arguments.rounds), of="median")
            medians = [float(np.median(each)) for each in (whole, best)]
            report.add(
                [str(vocabulary), str(rows), *(f"{1e6 * each:.1f}" for each in medians), faster.shown(".2f")],
                vocabulary=vocabulary,
                rows=rows,
                median_s=medians,
                times_faster=interval(faster),
            )
    report.finish(arguments.out, device=arguments.device, dtype=arguments.dtype, threads=arguments.threads)


if __name__ == "__main__":
    main()
