"""Options that several commands share, and what they turn into."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from arbitrage.cli import completion
from arbitrage.text import unescaped

if TYPE_CHECKING:
    from arbitrage.interfaces import Settings, Strategy

STRATEGY_HELP = (
    "Names with commas between them; parameters after a colon, joined by plus signs: "
    "'rsd:threshold=0.5,arbitrage-router:rate=0.3'. See `arbitrage ls strategies`."
)
_SPEC = "BACKEND:SOURCE@DEVICE, backend and device if needed, e.g. hf:models/{0} or bundled:{0}."


MOST_THREADS = 512
"""More crash llama.cpp."""


def separator(told: str | None) -> str | None:
    """The text that ends a step, as typed in a shell."""
    return None if told is None else unescaped(told)


class Dtype(enum.StrEnum):
    """Number formats that weights can be loaded in."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


BackendName = Annotated[
    str,
    typer.Option(help="Who loads the models; see `arbitrage ls backends`.", autocompletion=completion.backends),
]
DraftSpec = Annotated[str | None, typer.Option("--draft", help="Draft model: " + _SPEC.format("draft"))]
TargetSpec = Annotated[str | None, typer.Option("--target", help="Target model: " + _SPEC.format("target"))]
PrmSpec = Annotated[str | None, typer.Option("--prm", help="Process reward model: " + _SPEC.format("prm"))]
PrmFamily = Annotated[
    str | None,
    typer.Option(
        help="How the PRM reads steps: skywork, qwen-prm, math-shepherd, rlhflow, trl or token-classification; "
        "default: as the checkpoint says."
    ),
]
PrmSeparator = Annotated[
    str | None,
    typer.Option(
        help=r"Text that ends each step for a PRM that leaves the choice, \n for a newline; default: a blank line, "
        "for trl a newline.",
        callback=separator,
    ),
]
RouterSpec = Annotated[str | None, typer.Option("--router", help="Router: " + _SPEC.format("router"))]
DtypeName = Annotated[
    Dtype | None, typer.Option("--dtype", help="Number format of the weights; default: the backend's choice.")
]
Context = Annotated[
    int | None,
    typer.Option(
        "--context",
        min=1,
        metavar="N",
        help="Most tokens of a solution with its prompt, where models take memory for all of them at once, times "
        "--concurrency (gguf). Default: as trained, at most 8192.",
    ),
]
Threads = Annotated[
    str | None,
    typer.Option(
        metavar="N|auto",
        help="CPU threads; 1 is fastest on a busy machine, 'auto' measures which number is. Default: as the backend "
        "likes.",
    ),
]
Seed = Annotated[int, typer.Option(min=0, help="Seed of everything random; greedy runs draw nothing.")]
MaxTokens = Annotated[int, typer.Option(min=1, help="Token budget of a solution.")]
MaxSteps = Annotated[int, typer.Option(min=1, help="Step budget of a solution.")]
Temperature = Annotated[float, typer.Option(min=0.0, help="0 is greedy.")]
TopK = Annotated[int, typer.Option(min=0, help="Sample among the k likeliest tokens; 0: among all.")]
TopP = Annotated[float, typer.Option(help="Sample among the likeliest tokens that hold this much probability.")]
AnswerStop = Annotated[
    bool, typer.Option("--answer-stop", help="End a solution with the step that completes a boxed answer.")
]
Instruction = Annotated[
    str | None, typer.Option(help="Text after the problem in the user's message; default: the target's own.")
]
System = Annotated[str, typer.Option(help="System message; empty sends none.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Only the first N problems.")]
Dataset = Annotated[
    str,
    typer.Option(
        help="A name (see `arbitrage ls datasets`) or the path of a JSONL file.", autocompletion=completion.datasets
    ),
]
Data = Annotated[
    Path | None, typer.Option(help="File or folder to read a named data set from; default: $ARBITRAGE_DATA.")
]
Repeats = Annotated[int, typer.Option(min=1, help="How often each problem is solved by each strategy.")]
WarmUp = Annotated[int, typer.Option(min=0, help="Problems solved before the measured ones, by each strategy.")]
Concurrency = Annotated[
    int,
    typer.Option(
        min=1,
        max=512,
        help="How many problems are solved at once: the same rows and more throughput; latencies are then under load.",
    ),
]
Out = Annotated[Path | None, typer.Option(help="Folder for rows, manifest, table and plot; default: runs/<time>.")]
Resume = Annotated[bool, typer.Option("--resume", help="Continue the run in the folder --out.")]
Config = Annotated[
    Path | None,
    typer.Option(
        help="YAML or TOML file with any of these options (`max_tokens: 512`); flags go before it. Every run writes "
        "its own as config.yaml."
    ),
]


def resolved(call: typer.Context, config: Path | None) -> dict[str, Any]:
    """The values of a command's options: what was typed, then what the configuration says, then the defaults.

    Raises:
        ConfigError: the configuration cannot be read, or has a key that this command does not know.
    """
    values = dict(call.params)
    if config is None:
        return values
    from arbitrage.harness.config import RunConfig, SweepConfig, load_config

    for key, value in load_config(config, SweepConfig if "rates" in values else RunConfig).items():
        source = call.get_parameter_source(key)
        if source is None or source.name in ("DEFAULT", "DEFAULT_MAP"):
            values[key] = value
    return values


def rates(told: str | list[float]) -> list[float]:
    """Escalation rates: listed, or with three dots as a step from the first to the last.

    Raises:
        typer.BadParameter: they cannot be read, or are not shares.
    """
    from arbitrage.strategies.cutoff import check_rate

    words = told.replace("…", "...").split(",") if isinstance(told, str) else [str(rate) for rate in told]
    try:
        if len(words) == 4 and words[2].strip() == "...":
            first, second, last = float(words[0]), float(words[1]), float(words[3])
            if not first < second <= last:
                raise ValueError(f"{told!r} does not go up")
            count = round((last - first) / (second - first))
            if abs(first + count * (second - first) - last) > 1e-9 or count > 100:
                raise ValueError(f"steps of {second - first:g} from {first:g} do not end at {last:g}, or are too many")
            return [check_rate(round(first + k * (last - first) / count, 6)) for k in range(count + 1)]
        return [check_rate(float(word)) for word in words]
    except ValueError as error:
        raise typer.BadParameter(
            f"{error}; write rates between 0 and 1: '0,0.2,0.5' or '0,0.1,...,1'", param_hint="--rates"
        ) from error


def folder(values: Mapping[str, Any]) -> Path:
    """Where the run goes."""
    return Path(values["out"] or Path("runs") / datetime.now().strftime("%Y%m%d-%H%M%S"))


def run_arguments(values: Mapping[str, Any]) -> dict[str, Any]:
    """What `run_comparison` takes, but for strategies and folder."""
    budget = ("max_tokens", "max_steps", "temperature", "top_k", "top_p", "answer_stop", "instruction", "system")
    same = ("backend", "dataset", "limit", "seed", "repeats", "warmup", "concurrency")
    return {
        **{name: values[name] for name in (*same, "draft", "target", "prm", "router", "prm_family", "prm_separator")},
        "dataset_path": values["data"],
        "threads": thread_count(values["threads"]),
        "settings": settings(**{name: values[name] for name in budget}),
        "dtype": None if values["dtype"] is None else Dtype(values["dtype"]).value,
        "context": values["context"],
    }


def thread_count(told: str | int | None) -> int | str | None:
    """Threads as typed or configured, as `load_models` takes them.

    Raises:
        typer.BadParameter: neither a number that can be had nor 'auto'.
    """
    from arbitrage.backends.threads import AUTO

    if told is None or told == AUTO:
        return told
    try:
        count = int(told)
    except ValueError:
        count = 0
    if not 1 <= count <= MOST_THREADS:
        raise typer.BadParameter(
            f"{told!r} is neither a number within 1..{MOST_THREADS} nor 'auto'", param_hint="--threads"
        )
    return count


def strategies(told: str | list[str] | dict[str, str]) -> list[Strategy] | dict[str, Strategy]:
    """The strategies that a command line or a configuration names; a mapping gives them labels.

    Raises:
        ArbitrageError: one cannot be made.
    """
    from arbitrage.registry import registry
    from arbitrage.strategy_specs import parse_strategies, parse_strategy

    if isinstance(told, dict):
        return {label: parse_strategy(spec, registry()) for label, spec in told.items()}
    return parse_strategies(told if isinstance(told, str) else ",".join(told), registry())


def settings(max_tokens: int, max_steps: int, temperature: float, top_k: int, top_p: float, **more: Any) -> Settings:
    """The run's settings; `more` are other fields of `Settings`.

    Raises:
        typer.BadParameter: the sampling numbers make no law.
    """
    from arbitrage.interfaces import Settings
    from arbitrage.sampling import Sampling

    try:
        sampling = Sampling(temperature, top_k, top_p)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    return Settings(max_tokens=max_tokens, max_steps=max_steps, sampling=sampling, **more)
