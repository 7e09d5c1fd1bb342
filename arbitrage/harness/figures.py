"""The charts of a run as PNG and SVG for papers: one column wide, letters as large as a caption's. Draws `series`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from arbitrage.errors import MissingExtraError, RunError
from arbitrage.harness import series
from arbitrage.harness.statistics import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from arbitrage.harness.comparison import Comparison

Data = TypeVar("Data")

WIDTH = 3.4
"""Inches: one column of two."""
_HEIGHT = 2.5
_DOTS = 300
_LONGEST_LABEL = 40
_MARKERS = ("o", "s", "D", "^", "X", "*", "p", "P")
_DASHES = ("-", "--", ":", "-.", (0, (6, 2)), (0, (6, 2, 1, 2)))
_TYPE: Any = {
    "font.size": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "legend.fontsize": 7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.grid": True,
    "grid.linewidth": 0.4,
    "grid.alpha": 0.5,
    "lines.linewidth": 1.2,
    "lines.markersize": 4.5,
    "svg.hashsalt": "arbitrage",
}
WHISKERS: dict[str, Any] = {"capsize": 2, "elinewidth": 0.7, "capthick": 0.7}
"""How error bars look."""


def save_figures(comparison: Comparison, folder: Path) -> list[Path]:
    """Write every chart that the run has data for.

    Returns:
        The files: each chart as PNG (300 dpi) and as SVG.

    Raises:
        MissingExtraError: matplotlib is not installed.
        RunError: a file cannot be written.
    """
    return [file for name, draw in _CHARTS.items() for file in save_figure(draw, comparison, folder / name)]


def save_figure(draw: Callable[[Figure, Data], bool], data: Data, stem: Path) -> list[Path]:
    """Write one chart in the style of all.

    Args:
        draw: draws it; false when there is nothing to draw.
        data: what it draws.
        stem: the files' path without suffix.

    Returns:
        The files, PNG and SVG; none when nothing was drawn.

    Raises:
        MissingExtraError: matplotlib is not installed.
        RunError: a file cannot be written.
    """
    try:
        import matplotlib
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError.of("figures for papers", "matplotlib", "report") from error
    with matplotlib.rc_context(_TYPE):
        figure = Figure(figsize=(WIDTH, _HEIGHT), layout="constrained")
        FigureCanvasAgg(figure)
        return _save(figure, stem) if draw(figure, data) else []


def _save(figure: Figure, stem: Path) -> list[Path]:
    files = [stem.with_suffix(".png"), stem.with_suffix(".svg")]
    try:
        stem.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(files[0], dpi=_DOTS, metadata={"Software": None})
        figure.savefig(files[1], metadata={"Date": None})
    except OSError as error:
        raise RunError(f"{stem.parent}: figures cannot be written ({error.strerror or error})") from error
    return files


def _latency(figure: Figure, comparison: Comparison) -> bool:
    """Accuracy over mean latency, the Pareto frontier as a grey line; bounds are dashed."""
    points = series.latency_points(comparison)
    if not points:
        return False
    axes, styles = figure.add_subplot(), series.styles(comparison)
    best = sorted((point for point in points if point.on_frontier), key=lambda point: point.latency_s.value)
    axes.step(
        [point.latency_s.value for point in best],
        [100 * point.accuracy.value for point in best],
        where="post",
        color=series.NEUTRAL,
        alpha=0.4,
        linewidth=3,
        label="Pareto frontier",
    )
    for label, accuracy in series.bounds(comparison).items():
        axes.axhline(100 * accuracy, linestyle="--", color=series.NEUTRAL, label=f"{drawable(label)} (a bound)")
    for point in points:
        style = styles[point.label]
        axes.errorbar(
            [point.latency_s.value],
            [100 * point.accuracy.value],
            xerr=whiskers([point.latency_s]),
            yerr=whiskers([point.accuracy], 100),
            fmt=_marker(style),
            color=style.colour,
            label=drawable(point.label),
            **WHISKERS,
        )
    axes.set_xlabel("mean latency per problem (s)")
    axes.set_ylabel("accuracy (%)")
    axes.set_xlim(left=0)
    legend_below(figure, axes)
    return True


def _acceptance(figure: Figure, comparison: Comparison) -> bool:
    """Accuracy over the share of steps that the draft wrote, one curve a method."""
    curves, styles = series.acceptance_curves(comparison), series.styles(comparison)
    if not curves:
        return False
    axes = figure.add_subplot()
    for name, points in curves.items():
        axes.errorbar(
            [100 * point.acceptance for point in points],
            [100 * point.accuracy.value for point in points],
            yerr=whiskers([point.accuracy for point in points], 100),
            fmt="o-",
            color=styles[points[0].label].colour,
            label=drawable(name),
            **WHISKERS,
        )
    baseline = comparison.baseline
    if baseline is not None and baseline.accuracy is not None:
        axes.axhline(100 * baseline.accuracy, linestyle=":", color=series.NEUTRAL, label=drawable(baseline.strategy))
    axes.set_xlabel("accepted steps (%)")
    axes.set_ylabel("accuracy (%)")
    legend_below(figure, axes)
    return True


def _time(figure: Figure, comparison: Comparison) -> bool:
    """Mean seconds per problem by component, stacked."""
    split = series.time_split(comparison)
    if not split:
        return False
    axes = figure.add_subplot()
    figure.set_figheight(max(_HEIGHT, 1.1 + 0.2 * len(split)))
    # Places, not labels, on the axis: two labels may look the same once they are drawable.
    places = list(range(len(split)))
    left = [0.0] * len(split)
    for component in series.components(split):
        widths = [seconds.get(component, 0.0) for seconds in split.values()]
        colour = series.COMPONENT_COLOURS.get(component)
        axes.barh(places, widths, left=left, height=0.65, color=colour, label=drawable(component))
        left = [start + width for start, width in zip(left, widths, strict=True)]
    axes.set_yticks(places, [drawable(label) for label in split])
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("mean seconds per problem")
    legend_below(figure, axes, columns=3)
    return True


def _position(figure: Figure, comparison: Comparison) -> bool:
    """Acceptance by position in the solution."""
    from matplotlib.ticker import MaxNLocator

    found, styles = series.acceptance_by_position(comparison), series.styles(comparison)
    if not found:
        return False
    axes = figure.add_subplot()
    for label, points in found.items():
        style = styles[label]
        axes.plot(
            [point.index + 1 for point in points],
            [100 * point.accepted.value for point in points],
            color=style.colour,
            marker=_marker(style),
            linestyle=_dash(style),
            label=drawable(label),
        )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("step")
    axes.set_ylabel("accepted (%)")
    legend_below(figure, axes)
    return True


def _by(attribute: series.Attribute, quantity: str) -> Callable[[Figure, Comparison], bool]:
    """Accuracy or acceptance by level or subject, strategies beside each other."""

    def draw(figure: Figure, comparison: Comparison) -> bool:
        found, styles = series.by_group(comparison, attribute), series.styles(comparison)
        shown = {label: told for label, points in found.items() if (told := _values(points, quantity))}
        groups = sorted({group for told in shown.values() for group in told}, key=_natural)
        if not groups:
            return False
        axes = figure.add_subplot()
        for place, (label, told) in enumerate(shown.items()):
            style = styles[label]
            shift = 0.7 * ((place + 0.5) / len(shown) - 0.5)
            axes.errorbar(
                [groups.index(group) + shift for group in told],
                [100 * estimate.value for estimate in told.values()],
                yerr=whiskers(list(told.values()), 100),
                fmt=_marker(style),
                color=style.colour,
                label=drawable(label),
                **(WHISKERS | {"capsize": 0}),
                markersize=3.5,
            )
        slanted = max(map(len, groups)) > 3
        axes.set_xticks(
            range(len(groups)),
            [drawable(group) for group in groups],
            rotation=30 if slanted else 0,
            ha="right" if slanted else "center",
        )
        axes.grid(axis="x", visible=False)
        axes.set_xlabel(attribute)
        axes.set_ylabel("accuracy (%)" if quantity == "accuracy" else "accepted (%)")
        legend_below(figure, axes)
        return True

    return draw


def _natural(group: str) -> tuple[int, str]:
    """Numbers by value, before words by letters."""
    return (int(group), "") if group.isdecimal() else (sys.maxsize, group)


def _values(points: Sequence[series.GroupPoint], quantity: str) -> dict[str, Estimate]:
    if quantity == "accuracy":
        return {point.group: point.accuracy for point in points}
    return {point.group: Estimate(point.acceptance, None, None) for point in points if point.acceptance is not None}


def _calibration(figure: Figure, comparison: Comparison) -> bool:
    """Reliability of the router, with the number of steps in each bin below."""
    found, styles = series.calibrations(comparison), series.styles(comparison)
    if not found:
        return False
    figure.set_figheight(3.2)
    above, below = figure.subplots(2, sharex=True, height_ratios=[3, 1])
    above.plot([0, 1], [0, 100], linestyle=":", color=series.NEUTRAL)
    width = 0.06 / len(found)
    for place, one in enumerate(found):
        style, scores = styles[one.label], [found_bin.score for found_bin in one.bins]
        above.errorbar(
            scores,
            [100 * found_bin.better.value for found_bin in one.bins],
            yerr=whiskers([found_bin.better for found_bin in one.bins], 100),
            marker=_marker(style),
            linestyle=_dash(style),
            color=style.colour,
            label=f"{drawable(one.label)}: ECE {one.ece:.3f}",
            **WHISKERS,
        )
        shift = (place + 0.5 - len(found) / 2) * width
        bars = below.bar(
            [score + shift for score in scores],
            [found_bin.steps for found_bin in one.bins],
            width=width,
            color=style.colour,
            alpha=0.6,
        )
        below.bar_label(bars, fontsize=5.5, padding=1, rotation=90 if len(found) > 1 else 0)
    below.set_yscale("log")
    below.margins(y=0.5)
    above.set_ylabel("target's better (%)")
    below.set_ylabel("steps")
    below.set_xlabel("router score")
    legend_below(figure, above, columns=1)
    return True


_CHARTS: dict[str, Callable[[Figure, Comparison], bool]] = {
    "accuracy_over_latency": _latency,
    "accuracy_over_acceptance": _acceptance,
    "time_by_component": _time,
    "acceptance_by_position": _position,
    "accuracy_by_level": _by("level", "accuracy"),
    "acceptance_by_level": _by("level", "acceptance"),
    "accuracy_by_subject": _by("subject", "accuracy"),
    "acceptance_by_subject": _by("subject", "acceptance"),
    "router_calibration": _calibration,
}
"""How each chart is drawn, by the name of its file; false when the run has no data for it."""


def legend_below(figure: Figure, axes: Axes, columns: int = 2) -> None:
    """A legend under the chart, and the chart as high as it would be without."""
    handles, labels = axes.get_legend_handles_labels()
    lines = -(-len(labels) // columns)
    figure.set_figheight(figure.get_figheight() + 0.15 * lines)
    figure.legend(
        handles, labels, loc="outside lower center", ncols=columns, frameon=False, columnspacing=1, handlelength=2
    )


def whiskers(estimates: Sequence[Estimate], scale: float = 1) -> list[list[float]]:
    """How far the intervals reach below and above their values, as `errorbar` takes it."""
    return [
        [0.0 if one.low is None else scale * max(one.value - one.low, 0.0) for one in estimates],
        [0.0 if one.high is None else scale * max(one.high - one.value, 0.0) for one in estimates],
    ]


def _marker(style: series.Style) -> str:
    return _MARKERS[style.variant % len(_MARKERS)]


def _dash(style: series.Style) -> Any:
    return _DASHES[style.variant % len(_DASHES)]


def drawable(label: str) -> str:
    """A label that is never read as mathematics and has only letters that the font has."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    known = get_font(findfont(FontProperties())).get_charmap()
    clipped = label if len(label) <= _LONGEST_LABEL else label[: _LONGEST_LABEL - 1] + "…"
    return "".join(letter if letter.isprintable() and ord(letter) in known else "?" for letter in clipped).replace(
        "$", r"\$"
    )
