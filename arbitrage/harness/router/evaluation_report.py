"""The tables of an evaluation, for terminals and as Markdown. Computes nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from arbitrage.harness.report import NONE, markdown_lines, rich_lines
from arbitrage.harness.router.calibrate import RatePoint
from arbitrage.harness.router.evaluate import Evaluation
from arbitrage.harness.router.judging import Verdict
from arbitrage.harness.router.outcomes import SIGNS, Outcomes
from arbitrage.harness.run_folder import write_json, write_whole
from arbitrage.harness.statistics import Estimate

if TYPE_CHECKING:
    from rich.console import Group

Table = tuple[str, list[str], list[list[str]]]
"""Caption, column titles and cells."""
REPORT, NUMBERS = "evaluation.md", "evaluation.json"
_SHOWN_RATES = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7)
_TITLES = {
    "spearman": "Spearman ρ",
    "pearson": "Pearson r",
    "auc": "AUC",
    "captured_area": "area",
    "accuracy_label_0": "accuracy, label 0",
    "accuracy_label_1": "accuracy, label 1",
    "calibration_error": "ECE",
    "brier": "Brier",
    "escalated": "escalated at 0.5",
    "waste": "waste at 0.5",
}


def tables(evaluation: Evaluation) -> list[Table]:
    """All of them."""
    verdicts = evaluation.verdicts
    found = [
        ("how well scores rank the steps", *_measures(verdicts, ("spearman", "pearson", "auc", "captured_area"))),
        ("scores as probabilities", *_measures([one for one in verdicts if one.kind == "router"], tuple(_TITLES)[4:])),
        ("router minus other scores, paired", *_versus(verdicts)),
        ("share of the positive advantage captured at an escalation rate", *_curve(verdicts, "captured")),
        ("share of escalated steps wasted at an escalation rate", *_curve(verdicts, "waste")),
        *((f"thresholds of {name}", *threshold_rows(points)) for name, points in evaluation.thresholds.items()),
        *([] if evaluation.outcomes is None else _outcomes(evaluation.outcomes)),
    ]
    return [table for table in found if table[2]]


def notes(evaluation: Evaluation) -> list[str]:
    """What has to be said under the tables, warnings first."""
    facts = evaluation.facts
    which = "all pairs" if facts["held_out"] is None else f"held-out share {facts['held_out']:g}"
    found = [
        *(f"warning: {warning}" for warning in evaluation.warnings),
        f"{facts['steps']} unbalanced steps of {facts['problems']} problems ({which}): the target is better in "
        f"{evaluation.better:.1%}, equal in {evaluation.ties:.1%}",
        "brackets: 95 % bootstrap intervals over problems",
        "area: under the captured advantage over the escalation rate; 0 is random, 1 the oracle",
        "waste: share of the escalated steps in which the target is not better",
    ]
    if evaluation.unscored:
        found.append(f"{evaluation.unscored} steps are too long for a scorer and were left out for all")
    return found


def rich_report(evaluation: Evaluation) -> Group:
    """All tables for a terminal."""
    from rich.console import Group

    told = tables(evaluation)
    last = len(told) - 1
    return Group(*(rich_lines(*table, notes(evaluation) if index == last else ()) for index, table in enumerate(told)))


def markdown_report(evaluation: Evaluation) -> str:
    """All tables as Markdown."""
    blocks = [f"**{caption}**\n\n{markdown_lines(titles, cells)}\n" for caption, titles, cells in tables(evaluation)]
    return "\n".join([*blocks, "\n".join(f"- {note}" for note in notes(evaluation)) + "\n"])


def save_evaluation(evaluation: Evaluation, out: Path | str) -> list[Path]:
    """Write the numbers, the tables, and the pictures where matplotlib is installed.

    Raises:
        RunError: a file cannot be written.
    """
    from arbitrage.errors import MissingExtraError
    from arbitrage.harness.router.pictures import save_pictures

    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / NUMBERS, evaluation.as_json())
    write_whole(folder / REPORT, markdown_report(evaluation).encode())
    files = [folder / NUMBERS, folder / REPORT]
    try:
        return [*files, *save_pictures(evaluation, folder)]
    except MissingExtraError:
        return files


def threshold_rows(points: Sequence[RatePoint]) -> tuple[list[str], list[list[str]]]:
    """A calibration table: titles and cells."""
    rows = [
        [f"{point.rate:g}", f"{point.threshold:.6g}", _shown(point.realised), "" if point.met else "out of reach"]
        for point in points
    ]
    titles = ["escalation rate", "threshold", "realised", ""]
    return (titles, rows) if any(row[3] for row in rows) else (titles[:3], [row[:3] for row in rows])


def _measures(verdicts: Sequence[Verdict], names: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    return (
        ["score", *(_TITLES[name] for name in names)],
        [
            [one.name, *(_shown(one.measures[name]) if name in one.measures else NONE for name in names)]
            for one in verdicts
        ],
    )


def _versus(verdicts: Sequence[Verdict]) -> tuple[list[str], list[list[str]]]:
    names = ("spearman", "auc", "captured_area")
    rates = (0.1, 0.3)
    rows = [
        [
            f"{one.name} minus {other}",
            *(_shown(told[name]) for name in names),
            *(_shown(one.captured_versus[other][rate]) for rate in rates),
        ]
        for one in verdicts
        for other, told in one.versus.items()
    ]
    return ["difference", *(_TITLES[name] for name in names), *(f"captured at {rate:g}" for rate in rates)], rows


def _curve(verdicts: Sequence[Verdict], which: str) -> tuple[list[str], list[list[str]]]:
    rows = [[one.name, *(_shown(getattr(one, which)[rate]) for rate in _SHOWN_RATES)] for one in verdicts]
    return ["score", *(f"{rate:g}" for rate in _SHOWN_RATES)], rows


def _outcomes(outcomes: Outcomes) -> list[Table]:
    cells = [
        [f"PRM {row}", *(f"{outcomes.counts[row][sign]} ({_shown(outcomes.shares[row][sign])})" for sign in SIGNS)]
        for row in SIGNS
    ]
    agreement = [[_shown(outcomes.disagree), _shown(outcomes.opposed), _shown(outcomes.spearman)]]
    return [
        (f"signs of PRM and outcome advantage, {outcomes.steps} steps", ["", *(f"outcome {s}" for s in SIGNS)], cells),
        ("PRM against outcome advantage", ["signs differ", "signs opposed", "Spearman ρ"], agreement),
        ("scores against the outcome advantage", *_measures(outcomes.verdicts, ("spearman", "auc", "captured_area"))),
    ]


def _shown(estimate: Estimate) -> str:
    return NONE if math.isnan(estimate.value) else estimate.shown(".3f")
