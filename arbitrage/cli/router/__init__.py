"""`arbitrage router`: make a router for a pair of models."""

from __future__ import annotations

import typer

from arbitrage.cli.router.calibrate import calibrate
from arbitrage.cli.router.evaluate import evaluate

router = typer.Typer(no_args_is_help=True, help="Make a router for your pair of models: evaluate, calibrate.")
router.command()(evaluate)
router.command()(calibrate)
