"""`arbitrage router`: a router for any pair of models, from step pairs to calibrated thresholds."""

from __future__ import annotations

import typer

from arbitrage.cli.router.calibrate import calibrate
from arbitrage.cli.router.collect import collect
from arbitrage.cli.router.evaluate import evaluate
from arbitrage.cli.router.rescore import rescore
from arbitrage.cli.router.stats import stats
from arbitrage.cli.router.train import train

router = typer.Typer(
    no_args_is_help=True, help="Make a router for your pair of models: collect step pairs, train, evaluate, calibrate."
)
for command in (collect, stats, rescore, train, evaluate, calibrate):
    router.command()(command)
