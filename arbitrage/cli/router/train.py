"""`arbitrage router train`: a router from step pairs, or a process reward model from graded solutions."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated

import typer

from arbitrage.cli import options
from arbitrage.cli.results import JsonWanted
from arbitrage.cli.router.choices import JudgeName
from arbitrage.cli.text import print_json
from arbitrage.text import printable


class Labels(enum.StrEnum):
    """What the head learns."""

    BINARY = "binary"
    QUANTILE = "quantile"
    ORDINAL = "ordinal"
    REGRESSION = "regression"


class Label(enum.StrEnum):
    """What counts as gain."""

    ADVANTAGE = "advantage"
    FIRST_SAMPLE = "first-sample"
    OUTCOME = "outcome"


class Device(enum.StrEnum):
    """Where it is trained."""

    CPU = "cpu"
    CUDA = "cuda"
    MPS = "mps"


def train(
    sources: Annotated[
        list[Path],
        typer.Argument(
            help="Folders of step pairs, as `arbitrage router collect` makes them; with --as prm also runs, as "
            "`arbitrage bench --out` writes them."
        ),
    ],
    init: Annotated[
        str,
        typer.Option(
            help="Begin with: a PRM, a language model or a router; a directory, a hub id, a .gguf file or bundled:NAME."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the router; the same command again goes on with it.")],
    train_as: Annotated[
        JudgeName, typer.Option("--as", help="prm: a process reward model, whose score says how good a step is.")
    ] = JudgeName.ROUTER,
    frozen: Annotated[
        bool, typer.Option("--frozen", help="Leave the backbone as it is and fit a linear head to its states: cheap.")
    ] = False,
    layer: Annotated[
        list[int] | None,
        typer.Option(min=1, help="Keep only the first N layers; given several times with --frozen, the best N."),
    ] = None,
    labels: Annotated[
        Labels, typer.Option(help="Learn whether there is a gain, its quantile class, the same in order, or the gain.")
    ] = Labels.BINARY,
    classes: Annotated[int, typer.Option(min=2, help="Classes of quantile and ordinal labels: 4 or 10.")] = 4,
    label: Annotated[
        Label,
        typer.Option(help="Gain by rewards (mean over the target's samples, or the first one), or by roll-outs."),
    ] = Label.ADVANTAGE,
    annotation: Annotated[
        bool | None,
        typer.Option(
            "--annotation/--no-annotation",
            help="Tag each step with its author. Default: yes, or as a router of --init.",
        ),
    ] = None,
    balance: Annotated[
        bool, typer.Option("--balance/--no-balance", help="Downsample the majority side of the training split.")
    ] = True,
    separator: Annotated[
        str | None,
        typer.Option(
            help=r"Text whose last token ends each step, \n for a newline. Default: as --init reads, or a blank line.",
            callback=options.separator,
        ),
    ] = None,
    chat: Annotated[
        bool | None,
        typer.Option(
            "--chat/--no-chat", help="Render the problem by the chat template. Default: as --init reads, or no."
        ),
    ] = None,
    lr: Annotated[
        float | None, typer.Option(help="Peak learning rate of AdamW. Default: 1e-5, or 1e-4 with --lora.")
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Pairs in an optimizer step, over all devices.")] = 1024,
    epochs: Annotated[float, typer.Option(help="Passes over the training pairs.")] = 3.0,
    warmup: Annotated[float, typer.Option(help="Share of the steps in which the learning rate rises.")] = 0.05,
    max_length: Annotated[
        int | None, typer.Option(min=16, help="Tokens of a stream; the oldest steps go first. Default: the context.")
    ] = None,
    lora: Annotated[
        int, typer.Option(min=0, help="Rank of low-rank adapters, merged at the end; 0 trains all weights.")
    ] = 0,
    held_out: Annotated[float, typer.Option(help="Share of the problems for measures and calibration.")] = 0.1,
    seed: options.Seed = 0,
    device: Annotated[
        Device | None, typer.Option(help="Default: the first accelerator. Several GPUs: see docs/routers.md.")
    ] = None,
    dtype: options.DtypeName = None,
    micro_batch: Annotated[int, typer.Option(min=1, help="Pairs at once on a device; less needs less memory.")] = 16,
    gradient_checkpointing: Annotated[
        bool, typer.Option("--gradient-checkpointing", help="Less memory, about a third more time.")
    ] = False,
    threads: Annotated[int | None, typer.Option(min=1, max=512, help="CPU threads. Default: as torch likes.")] = None,
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Run Python code that comes with the initial model.")
    ] = False,
    allow_pickle: Annotated[
        bool, typer.Option("--allow-pickle", help="Read an initial model's .bin weights, which are pickles.")
    ] = False,
    as_json: JsonWanted = False,
) -> None:
    """Train a router or a PRM, measure and calibrate it on held-out problems, and save it with a model card."""
    from arbitrage.harness.router.card import measure_rows
    from arbitrage.harness.router.settings import TrainingSettings

    settings = TrainingSettings(
        purpose=train_as.judge,
        frozen=frozen,
        layers=tuple(layer or ()),
        labels=labels.value,
        classes=classes,
        label=label.value,
        annotated=annotation,
        balanced=balance,
        separator=separator,
        chat=chat,
        lr=lr,
        batch=batch,
        epochs=epochs,
        warmup=warmup,
        max_length=max_length,
        lora=lora,
        held_out=held_out,
        seed=seed,
        dtype=None if dtype is None else dtype.value,
        device=None if device is None else device.value,
        micro_batch=micro_batch,
        gradient_checkpointing=gradient_checkpointing,
        threads=threads,
        trust_remote_code=trust_remote_code,
        allow_pickle=allow_pickle,
    )
    import arbitrage.backends.hf  # noqa: F401 - names the extra when torch or transformers is missing
    from arbitrage.harness.router.train import train_router

    done = train_router(sources, init, out, settings, lambda line: typer.echo(line, err=True))
    if as_json:
        print_json({"path": str(done.path), "steps": done.steps, "seconds": done.seconds, "measures": done.measures})
        return
    for key, value in measure_rows(done.measures).items():
        typer.echo(f"{key.replace('_', ' '):44}{'-' if value is None else format(value, '.4f')}")
    effort = "only the head" if frozen else f"{done.steps} optimizer steps"
    typer.echo(f"{printable(str(done.path))}  {effort}, {done.seconds:.0f} s")
