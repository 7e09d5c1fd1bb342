"""`arbitrage router`: a router of one's own, for any pair of models."""

from __future__ import annotations

import typer

from arbitrage.cli.router.train import train

router = typer.Typer(no_args_is_help=True, help="Make a router for your own pair of models.")
router.command()(train)
