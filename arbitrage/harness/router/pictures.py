"""Pictures of an evaluation, in the style of all figures: reliability, captured advantage, scores by label."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from arbitrage.harness import figures, series
from arbitrage.harness.router.evaluate import Evaluation
from arbitrage.harness.statistics import Estimate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLOURS = ("#CC79A7", "#0072B2", "#D55E00", "#009E73", "#E69F00", "#56B4E9", "#000000")
"""Distinct for colour-blind readers (Okabe and Ito 2008)."""
_BOUND_DASHES = (":", "--")


def save_pictures(evaluation: Evaluation, folder: Path) -> list[Path]:
    """Write every picture that there is something to draw in, as PNG and SVG.

    Raises:
        MissingExtraError: matplotlib is not installed.
        RunError: a file cannot be written.
    """
    return [file for name, draw in PICTURES.items() for file in figures.save_figure(draw, evaluation, folder / name)]


def _reliability(figure: Figure, evaluation: Evaluation) -> bool:
    """Share of steps in which the target is better over the score; the dotted line is perfect."""
    routers = [verdict for verdict in evaluation.verdicts if verdict.bins]
    if not routers:
        return False
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], linestyle=":", color=series.NEUTRAL)
    for verdict, colour in zip(routers, itertools.cycle(_COLOURS)):
        shares = [one.better for one in verdict.bins]
        axes.errorbar(
            [one.score for one in verdict.bins],
            [share.value for share in shares],
            yerr=figures.whiskers(shares),
            marker="o",
            color=colour,
            label=f"{figures.drawable(verdict.name)}: ECE {verdict.measures['calibration_error'].shown('.3f')}",
            **figures.WHISKERS,
        )
    axes.set_xlabel("score (mean of a tenth of the steps)")
    axes.set_ylabel("share with Δ > 0")
    figures.legend_below(figure, axes, columns=1)
    return True


def _captured(figure: Figure, evaluation: Evaluation) -> bool:
    """Share of the positive advantage over the escalation rate, intervals as bands."""
    axes = figure.add_subplot()
    colours, dashes = itertools.cycle(_COLOURS), itertools.cycle(_BOUND_DASHES)
    for verdict in evaluation.verdicts:
        bound = verdict.kind == "bound"
        colour = series.NEUTRAL if bound else next(colours)
        rates, told = [0.0, *verdict.captured, 1.0], [_EXACT_0, *verdict.captured.values(), _EXACT_1]
        axes.plot(
            rates,
            [one.value for one in told],
            color=colour,
            linestyle=next(dashes) if bound else "-",
            label=figures.drawable(verdict.name),
        )
        if not bound:
            low = [one.value if one.low is None else one.low for one in told]
            high = [one.value if one.high is None else one.high for one in told]
            axes.fill_between(rates, low, high, color=colour, alpha=0.2, linewidth=0)
    axes.set_xlabel("escalation rate")
    axes.set_ylabel("captured advantage")
    figures.legend_below(figure, axes)
    return True


def _scores(figure: Figure, evaluation: Evaluation) -> bool:
    """Distribution of each router's scores by label, a panel each; steps on a logarithmic scale."""
    found = evaluation.histograms
    figure.set_figheight(1.4 + 1.1 * len(found))
    panels = figure.subplots(len(found), squeeze=False)[:, 0]
    for axes, (name, one) in zip(panels, found.items(), strict=True):
        for counts, label, author in ((one.not_better, "Δ ≤ 0", "draft"), (one.better, "Δ > 0", "target")):
            axes.stairs(
                counts,
                one.edges,
                fill=True,
                alpha=0.45,
                color=series.AUTHOR_COLOURS[author],
                label=label if axes is panels[0] else None,
            )
        axes.set_yscale("symlog", linthresh=1)
        axes.set_ylim(bottom=0)
        axes.set_ylabel("steps")
        axes.set_title(figures.drawable(name), fontsize=7.5, loc="left")
    panels[-1].set_xlabel("score")
    figures.legend_below(figure, panels[0])
    return True


_EXACT_0, _EXACT_1 = Estimate(0.0, None, None), Estimate(1.0, None, None)
PICTURES: dict[str, Callable[[Figure, Evaluation], bool]] = {
    "reliability": _reliability,
    "captured": _captured,
    "scores": _scores,
}
"""How each picture is drawn, by the name of its file; false when there is nothing to draw."""
