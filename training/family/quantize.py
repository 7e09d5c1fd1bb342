"""Quantise the bundled draft and target: GGUF files and GPTQ checkpoints, put where the package keeps them.

python -m training.family.quantize

Needs the extras gguf and gptq. Everything is made from the shipped weights; GPTQ is calibrated on fresh problems of the
split `train`, with a fixed seed.
"""

from __future__ import annotations

import itertools
import shutil
import tempfile
from pathlib import Path

import torch

from arbitrage.backends.bundled import bundled_path
from arbitrage.backends.gguf.export import export_gguf
from arbitrage.backends.gguf.quantize import quantize as quantize_gguf
from arbitrage.harness.synthetic import Split, generate

GGUF = {"draft": ("Q8_0",), "target": ("Q8_0", "Q4_0", "Q3_K_S", "Q2_K")}
GPTQ = {"draft": (4,), "target": (4, 3)}
CALIBRATION = 256
SEED = 41


def main() -> None:
    """Write all files anew."""
    torch.set_num_threads(2)
    shipped = bundled_path("target").parent
    for name, precisions in GGUF.items():
        with tempfile.TemporaryDirectory() as folder:
            whole = Path(folder) / "whole.gguf"
            export_gguf(bundled_path(name), whole, "F16")
            for precision in precisions:
                quantize_gguf(whole, shipped / "gguf" / f"{name}-{precision}.gguf", precision)
                print(f"{name}: GGUF {precision}", flush=True)
    from arbitrage.backends.gptq.quantize import quantize as quantize_gptq

    problems = list(itertools.islice(generate(Split.TRAIN, SEED), CALIBRATION))
    for name, widths in GPTQ.items():
        for bits in widths:
            out = shipped / f"{name}-gptq{bits}"
            shutil.rmtree(out, ignore_errors=True)
            quantize_gptq(bundled_path(name), out, problems, bits=bits, group_size=128, seed=SEED)
            print(f"{name}: GPTQ {bits} bits", flush=True)


if __name__ == "__main__":
    main()
