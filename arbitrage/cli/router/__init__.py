"""`arbitrage router`: make a router for a pair of models."""

from __future__ import annotations

import typer

from arbitrage.cli.router.collect import collect
from arbitrage.cli.router.stats import stats
from arbitrage.cli.router.train import train

router = typer.Typer(
    no_args_is_help=True, help="Make a router for your pair of models: collect step pairs, train on them."
)
for command in (collect, stats, train):
    router.command()(command)
