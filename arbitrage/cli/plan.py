"""`arbitrage plan`: what recorded strategies would take and cost on another machine."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from arbitrage.cli.text import print_json, table_console

if TYPE_CHECKING:
    from arbitrage.harness.costs import ModelCost
    from arbitrage.harness.hardware import Gpu, Machine

_SIZE = "Size of the {0}: parameters and format, '8e9@bf16', '70B@int4', '1.5B' (bf16), '32B@4.5bit'."
_TIME = "Milliseconds of a {0} over one token, '12', or with those of each further token in the pass, '12+0.05'."
_COUNT = "GPUs of the {0}; 0: it runs on one of the target's."


def plan(
    runs: Annotated[
        list[Path],
        typer.Argument(
            help="Folders of runs of the same models on one machine, as written by `arbitrage bench --out`."
        ),
    ],
    draft: Annotated[str | None, typer.Option(help=_SIZE.format("draft"))] = None,
    target: Annotated[str | None, typer.Option(help=_SIZE.format("target"))] = None,
    prm: Annotated[str | None, typer.Option(help=_SIZE.format("process reward model"))] = None,
    router: Annotated[str | None, typer.Option(help=_SIZE.format("router"))] = None,
    draft_ms: Annotated[str | None, typer.Option(help=_TIME.format("pass of the draft"))] = None,
    target_ms: Annotated[str | None, typer.Option(help=_TIME.format("pass of the target"))] = None,
    prm_ms: Annotated[str | None, typer.Option(help=_TIME.format("pass of the process reward model"))] = None,
    router_ms: Annotated[str | None, typer.Option(help=_TIME.format("pass of the router"))] = None,
    gpu: Annotated[
        str | None, typer.Option(help="Bandwidth, operations and memory by the data sheet: a100, h100 or h200 (SXM).")
    ] = None,
    bandwidth: Annotated[
        str | None, typer.Option(help="Memory bandwidth of one GPU, '3.35TB/s'; goes before that of --gpu.")
    ] = None,
    tflops: Annotated[
        float | None,
        typer.Option(min=0.001, help="10¹² operations a second of one GPU in bf16, dense; goes before --gpu."),
    ] = None,
    efficiency: Annotated[
        float, typer.Option(min=0.01, max=1.0, help="Share of bandwidth and operations that passes reach: assumed.")
    ] = 0.6,
    all_reduce_us: Annotated[
        float,
        typer.Option(min=0.0, help="Microseconds of an all-reduce among the GPUs of one model, two a layer: assumed."),
    ] = 10.0,
    launch_ms: Annotated[
        float, typer.Option(min=0.0, help="Milliseconds of every pass for starting kernels; 0 with CUDA graphs.")
    ] = 0.0,
    target_gpus: Annotated[int, typer.Option(min=1, help="GPUs that share the target.")] = 1,
    draft_gpus: Annotated[int, typer.Option(min=0, help=_COUNT.format("draft"))] = 1,
    prm_gpus: Annotated[int, typer.Option(min=0, help=_COUNT.format("process reward model"))] = 1,
    router_gpus: Annotated[int, typer.Option(min=0, help=_COUNT.format("router"))] = 1,
    price: Annotated[
        float | None, typer.Option(min=0.0, help="Price of one GPU for an hour, in any currency: shows cost.")
    ] = None,
    scale_tokens: Annotated[
        float, typer.Option(min=0.01, help="Factor on the length of every step, for models that write more.")
    ] = 1.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Predict latency, cost and break-even rate of recorded strategies for larger models and other machines.

    First the check: costs are fitted on one half of the problems and predict the other. Then the forecast: from sizes
    and a machine, or from times; without any, for the recorded machine itself.
    """
    from arbitrage.harness.costs import fit_costs
    from arbitrage.harness.forecast import Setting, check, forecast
    from arbitrage.harness.forecast_report import Planned
    from arbitrage.harness.hardware import Machine
    from arbitrage.harness.trace import Trace

    sizes = {"draft": draft, "target": target, "prm": prm, "router": router}
    times = {"draft": draft_ms, "target": target_ms, "prm": prm_ms, "router": router_ms}
    gpus = {"draft": draft_gpus, "target": target_gpus, "prm": prm_gpus, "router": router_gpus}
    for number in (tflops, efficiency, all_reduce_us, launch_ms, price, scale_tokens):
        if number is not None and not math.isfinite(number):
            raise typer.BadParameter(f"{number} is no amount of anything; write a finite number")
    machine = None
    if any(sizes.values()):
        machine = Machine(_gpu(gpu, bandwidth, tflops), efficiency, all_reduce_us / 1e6, launch_ms / 1e3)
    elif gpu or bandwidth or tflops:
        raise typer.BadParameter("--gpu, --bandwidth and --tflops say nothing without sizes: give --draft and --target")
    given = {name: cost for name in sizes if (cost := _cost(name, sizes[name], times[name], gpus[name], machine))}

    trace = Trace.read(runs)
    measured = fit_costs(one.row for one in trace.rows)
    setting = Setting(measured, {}, price, scale_tokens)
    if given:
        setting = Setting(dataclasses.replace(measured, models=given), gpus, price, scale_tokens)
    told, missing = forecast(trace, setting)
    assumed = machine.assumptions() if machine else ()
    planned = Planned(trace, check(trace), measured, setting, told, missing, assumed, elsewhere=bool(given))
    if as_json:
        from arbitrage.harness.run_folder import to_json

        print_json(json.loads(to_json(planned.summary())))
        return
    console = table_console()
    console.print(planned.check_table())
    console.print(planned.forecast_table())


def _gpu(name: str | None, bandwidth: str | None, tflops: float | None) -> Gpu:
    """What the options say of one GPU."""
    from arbitrage.harness.hardware import GPUS, Gpu, parse_rate

    known = None
    if name is not None and (known := GPUS.get(name.lower())) is None:
        raise typer.BadParameter(
            f"no data sheet of {name!r}; known: {', '.join(GPUS)}. For others give --bandwidth and --tflops",
            param_hint="--gpu",
        )
    try:
        rate = parse_rate(bandwidth) if bandwidth else known and known.bandwidth
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--bandwidth") from error
    flops = tflops * 1e12 if tflops else known and known.flops
    if not rate or not flops:
        raise typer.BadParameter("a model's size needs a machine: give --gpu, or --bandwidth and --tflops")
    return Gpu(rate, flops, known.memory_bytes if known else None)


def _cost(name: str, size: str | None, time: str | None, gpus: int, machine: Machine | None) -> ModelCost | None:
    """What the options say of one model; None when they say nothing."""
    from arbitrage.harness.hardware import ModelSize, parse_time

    if size and time:
        raise typer.BadParameter(f"--{name} and --{name}-ms say the same thing; give one of them")
    try:
        if time:
            return parse_time(time)
        return machine.cost(ModelSize.parse(size), max(1, gpus)) if size and machine else None
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=f"--{name}-ms" if time else f"--{name}") from error
