"""`arbitrage models`: make other precisions of a model."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from arbitrage.text import printable

if TYPE_CHECKING:
    from arbitrage.types import Problem

models = typer.Typer(no_args_is_help=True, help="Quantise and export models.")


@models.command()
def quantize(
    source: Annotated[Path, typer.Argument(help="A GGUF file, or a checkpoint directory for --gptq.")],
    to: Annotated[
        str | None, typer.Option("--to", help="GGUF precisions with commas between them, e.g. Q4_0,Q3_K_S,Q2_K.")
    ] = None,
    gptq: Annotated[int | None, typer.Option("--gptq", help="GPTQ bits: 2, 3, 4 or 8.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="GGUF: folder for the files; GPTQ: new directory. Default: beside the source."),
    ] = None,
    group_size: Annotated[int, typer.Option(help="GPTQ: weights that share a scale: 32, 64 or 128.")] = 128,
    act_order: Annotated[bool, typer.Option("--act-order", help="GPTQ: quantise columns by activation.")] = False,
    dataset: Annotated[
        str, typer.Option(help="GPTQ: calibrate on this data set (a name or a JSONL file with solutions).")
    ] = "bundled",
    limit: Annotated[int, typer.Option(min=1, help="GPTQ: how many of its problems.")] = 128,
    requantize: Annotated[bool, typer.Option("--requantize", help="GGUF: allow a source that is quantised.")] = False,
    threads: Annotated[int, typer.Option(min=0, help="GGUF: CPU threads; 0 for all.")] = 0,
) -> None:
    """Write a model in fewer bits: GGUF by llama.cpp's quantizer (--to), or GPTQ (--gptq)."""
    from arbitrage.errors import ModelLoadError

    if (to is None) == (gptq is None):
        raise ModelLoadError("say either --to with GGUF precisions, or --gptq with a number of bits")
    if to is not None:
        if not to.strip(" ,"):
            raise ModelLoadError("--to names no precision; write e.g. --to Q4_0,Q3_K_S")
        _gguf(source, [name.strip().upper() for name in to.split(",") if name.strip()], out, threads, requantize)
        return
    from arbitrage.backends.gptq import GPTQBackend  # names the extra when it is missing
    from arbitrage.backends.gptq.quantize import quantize as make

    assert gptq is not None
    where = out or source.with_name(f"{source.resolve().name}-{GPTQBackend.name}{gptq}")
    make(source, where, _calibration(dataset, limit), gptq, group_size, act_order)
    _done(where)


@models.command()
def export(
    source: Annotated[Path, typer.Argument(help="Checkpoint directory of a LlamaForCausalLM.")],
    to: Annotated[str, typer.Option("--to", help="F16 or F32.")] = "F16",
    out: Annotated[Path | None, typer.Option(help="File to write. Default: beside the source.")] = None,
) -> None:
    """Write a checkpoint as a GGUF file."""
    from arbitrage.backends.gguf.export import export_gguf

    precision = to.upper()
    where = out or source.resolve().with_name(f"{source.resolve().name}-{precision}.gguf")
    export_gguf(source, where, precision)
    _done(where)


def _calibration(dataset: str, limit: int) -> list[Problem]:
    """Problems to calibrate on. The bundled data set is generated: its training problems, never those it measures."""
    if dataset == "bundled":
        from arbitrage.harness.synthetic import Split, generate

        return list(islice(generate(Split.TRAIN, 0), limit))
    from arbitrage.harness.datasets import load_dataset

    return list(load_dataset(dataset, limit=limit))


def _gguf(source: Path, precisions: list[str], folder: Path | None, threads: int, requantize: bool) -> None:
    from arbitrage.backends.gguf.quantize import precisions as known
    from arbitrage.backends.gguf.quantize import quantize as make
    from arbitrage.errors import UnknownNameError

    for precision in precisions:
        if precision not in known():
            raise UnknownNameError.of("GGUF precision", precision, known())
    stem = source.stem
    for suffix in ("F16", "F32", "BF16"):
        stem = stem.removesuffix(f"-{suffix}").removesuffix(f"-{suffix.lower()}")
    for precision in precisions:
        where = (folder or source.parent) / f"{stem}-{precision}.gguf"
        make(source, where, precision, threads, requantize)
        _done(where)


def _done(where: Path) -> None:
    size = sum(f.stat().st_size for f in ([where] if where.is_file() else where.iterdir()))
    typer.echo(f"{printable(str(where))}  {size / 1e6:.1f} MB")
