"""`arbitrage grade`: grade the saved texts of a run again, or one answer."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from arbitrage.cli.counting import counting
from arbitrage.cli.text import print_json
from arbitrage.text import one_line, printable

if TYPE_CHECKING:
    from arbitrage.harness.regrade import Regrading

_SHOWN = 40


class Against(StrEnum):
    """Whose verdicts the new ones are compared with."""

    STORED = "stored"
    QWEN = "qwen"


def grade(
    run: Annotated[Path | None, typer.Argument(help="Folder of a run, as written by `arbitrage bench --out`.")] = None,
    against: Annotated[
        Against,
        typer.Option(help="Compare with the stored verdicts, or with those of the field's usual evaluator."),
    ] = Against.STORED,
    data: Annotated[Path | None, typer.Option(help="The data set's file, when it lies elsewhere now.")] = None,
    write: Annotated[bool, typer.Option("--write", help="Store the new verdicts in the run folder.")] = False,
    everything: Annotated[bool, typer.Option("--all", help=f"List every flipped row, not the first {_SHOWN}.")] = False,
    answer: Annotated[str | None, typer.Option(help="Instead of a run: one answer or response to grade.")] = None,
    reference: Annotated[str | None, typer.Option(help="Its reference answer.")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON: accuracies and every flip, or the verdict.")
    ] = False,
) -> None:
    """Grade a run's saved texts again and show which verdicts changed and why; or grade one answer."""
    if answer is not None or reference is not None:
        if answer is None or reference is None or run is not None:
            raise typer.BadParameter("give a run, or --answer together with --reference")
        _grade_one(answer, reference, as_json)
        return
    if run is None:
        raise typer.BadParameter("name the folder of a run, or give --answer and --reference")
    if write and against is not Against.STORED:
        raise typer.BadParameter("--write stores this grader's verdicts; leave --against out")
    from rich.console import Console

    from arbitrage.harness import regrade

    console = Console(highlight=False)
    with counting("grading") as progress:
        regrading = regrade.regrade(run, against=against.value, dataset_path=data, progress=progress)
    if as_json:
        print_json(_facts(regrading))
    else:
        _show(regrading, console, None if everything else _SHOWN)
    if write:
        regrade.save(regrading, run)
        typer.echo(f"stored in {run}", err=as_json)


def _grade_one(answer: str, reference: str, as_json: bool) -> None:
    from arbitrage.harness.grading import grade as grade_answer

    verdict = grade_answer(answer, reference)
    told = {
        "status": verdict.status.value,
        "answer": verdict.answer,
        "method": verdict.method,
        "reason": verdict.reason,
    }
    if as_json:
        print_json(told)
    else:
        typer.echo(
            one_line(f"{verdict.status}: {verdict.reason} (decided by {verdict.method}; read as: {verdict.answer})")
        )
    raise typer.Exit(0 if verdict.correct else 1)


def _facts(regrading: Regrading) -> dict[str, object]:
    """The regrading as JSON: accuracy of each strategy under both judges, and every flipped row."""
    return {
        "judge": regrading.judge,
        "against": regrading.against,
        "rules_from": regrading.rules_from,
        "accuracy": {
            label: {"before": regrading.before[label].accuracy, "after": after.accuracy}
            for label, after in regrading.after.items()
        },
        "flips": [
            {
                "strategy": flip.after.strategy,
                "problem_id": flip.after.problem_id,
                "repeat": flip.after.repeat,
                "answer": flip.after.answer,
                "reference": flip.after.reference,
                "before": {
                    "status": flip.before.status.value,
                    "method": flip.before.method,
                    "reason": flip.before.reason,
                },
                "after": {"status": flip.after.status.value, "method": flip.after.method, "reason": flip.after.reason},
            }
            for flip in regrading.flips
        ],
    }


def _show(regrading: Regrading, console: object, most: int | None) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from arbitrage.harness.grading import GRADER

    assert isinstance(console, Console)
    table = Table(title=f"graded by {GRADER}, against {regrading.against}", title_justify="left")
    for column in ("strategy", "rows", f"accuracy %: {regrading.against}", "now", "to correct", "to not correct"):
        table.add_column(column, justify="left" if column == "strategy" else "right")
    for label, after in regrading.after.items():
        before = regrading.before[label]
        flips = [flip for flip in regrading.flips if flip.after.strategy == label]
        gained = sum(flip.after.correct for flip in flips)
        table.add_row(
            Text(one_line(label)),
            str(len(after.rows)),
            *(f"{100 * (one.accuracy or 0):.1f}" for one in (before, after)),
            str(gained),
            str(len(flips) - gained),
        )
    console.print(table)
    if regrading.rules_from is None:
        console.print(
            "the data set was not found: graded by the references in the rows, without its rules; give --data"
        )
    for flip in regrading.flips[:most]:
        row = flip.after
        console.print(
            Text(
                printable(
                    f"{row.problem_id} · {row.strategy}: {flip.before.status} → {row.status}\n"
                    f"    answer {row.answer!r}, reference {row.reference!r}\n"
                    f"    before: {flip.before.method}: {flip.before.reason}\n"
                    f"    now:    {row.method}: {row.reason}"
                )
            ),
            soft_wrap=True,
        )
    if most is not None and len(regrading.flips) > most:
        console.print(f"… and {len(regrading.flips) - most} more (--all)")
    if not regrading.flips:
        console.print("no verdict changed")
