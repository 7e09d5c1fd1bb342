"""Options that several commands share, and what they turn into."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from arbitrage.interfaces import Settings

STRATEGY_HELP = (
    "Names with commas between them; parameters after a colon, joined by plus signs: "
    "'rsd:threshold=0.5,arbitrage-router:rate=0.3'. See `arbitrage ls strategies`."
)
_SPEC = "[BACKEND:]SOURCE[@DEVICE], e.g. hf:models/{0} or bundled:{0}."


class Dtype(enum.StrEnum):
    """Number formats that weights can be loaded in."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


BackendName = Annotated[str, typer.Option(help="Who loads the models; see `arbitrage ls backends`.")]
DraftSpec = Annotated[str | None, typer.Option("--draft", help="Draft model: " + _SPEC.format("draft"))]
TargetSpec = Annotated[str | None, typer.Option("--target", help="Target model: " + _SPEC.format("target"))]
PrmSpec = Annotated[str | None, typer.Option("--prm", help="Process reward model: " + _SPEC.format("prm"))]
RouterSpec = Annotated[str | None, typer.Option("--router", help="Router: " + _SPEC.format("router"))]
DtypeName = Annotated[
    Dtype | None, typer.Option("--dtype", help="Number format of the weights; default: the backend's choice.")
]
Threads = Annotated[
    int | None,
    typer.Option(min=1, help="CPU threads of torch; 1 is fastest on a busy machine. Default: as torch likes."),
]
Seed = Annotated[int, typer.Option(min=0, help="Seed of everything random; greedy runs draw nothing.")]
MaxTokens = Annotated[int, typer.Option(min=1, help="Token budget of a solution.")]
MaxSteps = Annotated[int, typer.Option(min=1, help="Step budget of a solution.")]
Temperature = Annotated[float, typer.Option(min=0.0, help="0 is greedy.")]
TopK = Annotated[int, typer.Option(min=0, help="Sample among the k likeliest tokens; 0: among all.")]
TopP = Annotated[float, typer.Option(help="Sample among the likeliest tokens that hold this much probability.")]


def settings(max_tokens: int, max_steps: int, temperature: float, top_k: int, top_p: float) -> Settings:
    """The run's settings.

    Raises:
        typer.BadParameter: the sampling numbers make no law.
    """
    from arbitrage.interfaces import Settings
    from arbitrage.sampling import Sampling

    try:
        sampling = Sampling(temperature, top_k, top_p)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    return Settings(max_tokens=max_tokens, max_steps=max_steps, sampling=sampling)
