"""Quantises GGUF files with llama.cpp's own quantizer."""

from __future__ import annotations

import os
from pathlib import Path

import llama_cpp

from arbitrage.backends.gguf.engine import initialise
from arbitrage.backends.gguf.header import read_header
from arbitrage.errors import ModelLoadError

_PREFIXES = ("LLAMA_FTYPE_MOSTLY_", "LLAMA_FTYPE_ALL_")


def precisions() -> dict[str, int]:
    """Names that llama.cpp can quantise to, e.g. 'Q3_K_S', with its numbers for them."""
    found = {}
    for key, value in vars(llama_cpp).items():
        for prefix in _PREFIXES:
            if key.startswith(prefix):
                found[key.removeprefix(prefix)] = int(value)
    return found


def quantize(source: Path, out: Path, precision: str, threads: int = 0, requantize: bool = False) -> None:
    """Write `source` in another precision; vocabulary, chat template and other metadata go along.

    Args:
        source: a GGUF file, best in F32, F16 or BF16.
        out: file to write; it appears only when it is whole.
        precision: see `precisions`. K-quants need rows that are a multiple of 256; others fall back to a legacy type.
        threads: 0 for all cores.
        requantize: allow a source that is itself quantised; the errors add up.

    Raises:
        ModelLoadError: an unknown precision, a damaged source, or the quantizer refused.
    """
    numbers = precisions()
    if precision not in numbers:
        raise ModelLoadError(f"llama.cpp has no precision {precision!r}; it has: {', '.join(numbers)}")
    header = read_header(source)
    coarse = [kind for kind in header.types if kind not in ("F32", "F16", "BF16")]
    if coarse and not requantize:
        raise ModelLoadError(
            f"{source}: it is already quantised ({'+'.join(header.types)}); quantise the F16 file instead, or allow "
            "requantising"
        )
    initialise()
    parameters = llama_cpp.llama_model_quantize_default_params()
    parameters.ftype, parameters.nthread, parameters.allow_requantize = numbers[precision], threads, requantize
    partial = out.with_name(out.name + ".partial")
    out.parent.mkdir(parents=True, exist_ok=True)
    code = llama_cpp.llama_model_quantize(os.fsencode(source), os.fsencode(partial), parameters)
    if code:
        partial.unlink(missing_ok=True)
        raise ModelLoadError(f"{source}: llama.cpp could not quantise it to {precision} (code {code})")
    partial.replace(out)
