"""Options that evaluating and calibrating share."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated, Literal

import typer


class JudgeName(enum.StrEnum):
    """How a scorer's opinion is read."""

    ROUTER = "router"
    PRM = "prm"

    @property
    def judge(self) -> Literal["router", "prm"]:
        """For the functions behind the commands."""
        return "prm" if self is JudgeName.PRM else "router"


class CalibratedAs(enum.StrEnum):
    """What a table of thresholds is for."""

    ROUTER = "router"
    PRM = "prm"
    DRAFT = "draft"


PairsFolder = Annotated[Path, typer.Argument(help="Folder of step pairs.")]
As = Annotated[
    JudgeName, typer.Option("--as", help="prm: it is a process reward model, and low scores escalate (RSD).")
]
HeldOut = Annotated[
    float | None,
    typer.Option(
        "--held-out",
        help="Share of the problems that was kept from training; default: as the router was trained, else 0.1.",
    ),
]
All = Annotated[bool, typer.Option("--all", help="Take all pairs: nothing was trained on them.")]
Workers = Annotated[int, typer.Option("--concurrency", min=1, max=512, help="How many solutions are scored at once.")]


def check_prm_options(judge_as_prm: bool, prm_family: str | None, prm_separator: str | None) -> None:
    """Refuse what would have no effect.

    Raises:
        typer.BadParameter: it is said how a PRM reads, and none is judged.
    """
    if not judge_as_prm and (prm_family or prm_separator):
        raise typer.BadParameter("--prm-family and --prm-separator go with --as prm")


def check_share(held_out: float | None, everything: bool) -> None:
    """Refuse shares that are none.

    Raises:
        typer.BadParameter: not within (0, 1], or beside --all.
    """
    if held_out is not None and (everything or not 0 < held_out <= 1):
        raise typer.BadParameter(
            "it is a share above 0 and at most 1, and --all takes all pairs without it", param_hint="--held-out"
        )
