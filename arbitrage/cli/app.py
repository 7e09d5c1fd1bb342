"""The typer application: global options and the list of commands."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from arbitrage import __version__
from arbitrage.cli.bench import bench
from arbitrage.cli.compare import compare
from arbitrage.cli.doctor import doctor
from arbitrage.cli.grade import grade
from arbitrage.cli.ls import ls
from arbitrage.cli.models import models
from arbitrage.cli.plan import plan
from arbitrage.cli.report import report
from arbitrage.cli.resume import resume
from arbitrage.cli.router import router
from arbitrage.cli.score import score
from arbitrage.cli.solve import solve
from arbitrage.cli.sweep import sweep


class Commands(TyperGroup):
    """The commands, all of which end the same way when somebody presses Ctrl-C."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; Ctrl-C is one line and exit code 130."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            typer.echo("stopped", err=True)
            raise typer.Exit(130) from None


app = typer.Typer(
    cls=Commands,
    help="Step-level speculative decoding for reasoning models: solve, compare, inspect.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (bench, sweep, resume, report, compare, plan, score, grade, solve, ls, doctor):
    app.command()(command)
app.add_typer(models, name="models")
app.add_typer(router, name="router")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"arbitrage {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and stop.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of errors.")] = False,
) -> None:
    """Options of every command; `--debug` is read by `arbitrage.cli.main` before typer sees it."""
