"""Our sessions against each runtime's own loop: prefill of 256 tokens, then decode of 64, greedy, interleaved.

python benchmarks/session_speed.py --smollm2 SmolLM2-135M-Instruct.Q4_1.gguf --out benchmarks/results/session-speed
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from arbitrage.backends.bundled import bundled_gguf, bundled_path
from arbitrage.backends.gguf import GGUFBackend
from arbitrage.backends.gguf.export import export_gguf
from arbitrage.backends.hf import HFBackend
from arbitrage.harness import environment
from arbitrage.harness.statistics import ratio
from arbitrage.interfaces import LanguageModel, Stop
from arbitrage.sampling import Sampling
from model_variants import endless

PROMPT, TOKENS = 256, 64


@dataclass(frozen=True)
class Timed:
    """One run."""

    prefill_s: float
    """Until the first token."""
    decode_s: float
    """For the 64 tokens after it."""
    ids: tuple[int, ...]


Loop = Callable[[list[int]], Timed]


def ours(model: LanguageModel) -> Loop:
    """Our session, told to go on behind an end of sequence."""
    endless(model)
    rng = np.random.default_rng(0)

    def run(prompt: list[int]) -> Timed:
        with model.open(prompt) as session:
            start = time.perf_counter()
            first = session.generate(Stop(1, at_separator=False), Sampling(), rng)
            middle = time.perf_counter()
            rest = session.generate(Stop(TOKENS, at_separator=False), Sampling(), rng)
            return Timed(middle - start, time.perf_counter() - middle, (*first.ids, *rest.ids))

    return run


class _Clock:
    """A streamer that notes when tokens arrive."""

    def __init__(self) -> None:
        self.at: list[float] = []

    def put(self, value: Any) -> None:
        """The prompt, then each token."""
        self.at.append(time.perf_counter())

    def end(self) -> None:
        """Nothing."""


def transformers_generate(module: Any) -> Loop:
    """`transformers`' own generate."""

    def run(prompt: list[int]) -> Timed:
        clock = _Clock()
        ids = torch.tensor([prompt])
        with torch.inference_mode():
            start = time.perf_counter()
            out = module.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=TOKENS + 1,
                do_sample=False,
                eos_token_id=None,
                pad_token_id=0,
                streamer=clock,
            )
        return Timed(clock.at[1] - start, clock.at[-1] - clock.at[1], tuple(out[0, len(prompt) :].tolist()))

    return run


def llama_class(path: Path, threads: int) -> Loop:
    """llama_cpp.Llama's own generate, with its defaults for everything that is not said here."""
    theirs = llama_cpp.Llama(
        model_path=str(path), n_ctx=512, n_threads=threads, n_threads_batch=threads, verbose=False, seed=0
    )

    def run(prompt: list[int]) -> Timed:
        start = time.perf_counter()
        tokens = theirs.generate(prompt, top_k=1, temp=0.0, repeat_penalty=1.0)
        ids = [next(tokens)]
        middle = time.perf_counter()
        ids += [next(tokens) for _ in range(TOKENS)]
        return Timed(middle - start, time.perf_counter() - middle, tuple(map(int, ids)))

    return run


def cases(threads: int, smollm2: Path | None, folder: Path) -> Iterator[tuple[str, Loop, Loop, int]]:
    """(name, ours, theirs, vocabulary)."""
    hf, gguf = HFBackend(), GGUFBackend()
    f16 = folder / "target-F16.gguf"
    export_gguf(bundled_path("target"), f16, "F16")
    for dtype in ("float32", "bfloat16"):
        model = hf.language_model(str(bundled_path("target")), "cpu", dtype=dtype, threads=threads)
        yield f"bundled target, transformers, {dtype}", ours(model), transformers_generate(model.network.module), 512
    for name, path in (("F16", f16), ("Q4_0", bundled_gguf("target", "q4_0"))):
        loaded = gguf.language_model(str(path), "cpu", threads=threads, context=512)
        yield f"bundled target, llama.cpp, {name}", ours(loaded), llama_class(path, threads), 512
    if smollm2 is not None:
        model = hf.language_model(str(smollm2), "cpu", dtype="bfloat16", threads=threads)
        yield "SmolLM2-135M, transformers, bfloat16", ours(model), transformers_generate(model.network.module), 49_152
        del model
        loaded = gguf.language_model(str(smollm2), "cpu", threads=threads, context=512)
        yield "SmolLM2-135M, llama.cpp, Q4_1", ours(loaded), llama_class(smollm2, threads), 49_152


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--smollm2", type=Path)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    table = Table(title=f"decode {TOKENS} after {PROMPT}, greedy, {arguments.threads} thread(s)", title_justify="left")
    for column in (
        "model",
        "ours tok/s",
        "theirs tok/s",
        "decode: ours / theirs",
        "prefill: ours / theirs",
        "same text",
    ):
        table.add_column(column, justify="left" if column == "model" else "right")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, mine, theirs, vocabulary in cases(arguments.threads, arguments.smollm2, Path(folder)):
            rng = np.random.default_rng(1)
            runs: list[tuple[Timed, Timed]] = []
            for repeat in range(arguments.repeats + 1):
                prompt = rng.integers(4, vocabulary, PROMPT).tolist()
                pair = [loop(prompt) for loop in ((mine, theirs) if repeat % 2 else (theirs, mine))]
                if repeat:  # the first warms up
                    runs.append((pair[0], pair[1]) if repeat % 2 else (pair[1], pair[0]))
            groups = range(len(runs))
            decode = ratio([t.decode_s for _, t in runs], [m.decode_s for m, _ in runs], groups, of="median")
            prefill = ratio([t.prefill_s for _, t in runs], [m.prefill_s for m, _ in runs], groups, of="median")
            speed = [TOKENS / float(np.median([pair[i].decode_s for pair in runs])) for i in (0, 1)]
            same = sum(m.ids == t.ids for m, t in runs)
            cells = [estimate.shown(".2f") for estimate in (decode, prefill)]
            table.add_row(name, f"{speed[0]:.0f}", f"{speed[1]:.0f}", *cells, f"{same}/{len(runs)}")
            rows.append(
                {
                    "model": name,
                    "ours_tokens_per_s": speed[0],
                    "theirs_tokens_per_s": speed[1],
                    "decode_speed_ratio": [decode.value, decode.low, decode.high],
                    "prefill_speed_ratio": [prefill.value, prefill.low, prefill.high],
                    "same_text": same,
                    "runs": len(runs),
                }
            )
            Console().print(name, cells[0], highlight=False)
    Console(width=160).print(table)
    if arguments.out:
        arguments.out.mkdir(parents=True, exist_ok=True)
        about = {"threads": arguments.threads, **environment.surroundings()}
        (arguments.out / "results.json").write_text(json.dumps({"rows": rows, **about}, indent=1) + "\n")
        with (arguments.out / "table.txt").open("w") as file:
            Console(file=file, width=160).print(table)


if __name__ == "__main__":
    main()
