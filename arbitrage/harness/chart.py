"""The accuracy-latency chart. Draws results; computes nothing that the table does not show.

A method at several rates is a line with one label. Points carry their labels, and labels avoid each other, the points
and the error bars. A bound is a dashed line, because its latency is not a method's.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from arbitrage.errors import MissingExtraError
from arbitrage.harness.results import BenchmarkResult
from arbitrage.harness.run_folder import write_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Annotation
    from matplotlib.transforms import Bbox

    from arbitrage.harness.comparison import Comparison
    from arbitrage.harness.curves import Curve
    from arbitrage.harness.statistics import Estimate

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Distinct for colour-blind readers (Okabe and Ito 2008)."""
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")


def save_chart(comparison: Comparison, file: Path) -> None:
    """Write the chart as PNG.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    figure, content = draw_chart(comparison), io.BytesIO()
    figure.savefig(content, format="png", dpi=150, metadata={"Software": None})
    write_whole(file, content.getvalue())


def draw_chart(comparison: Comparison) -> Figure:
    """Accuracy over mean latency, one point a strategy and one line a method at several rates, with 95 % intervals.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError.of("the accuracy-latency chart", "matplotlib", "report") from error
    from arbitrage.harness.report import title

    figure = Figure(figsize=(8, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    labels = [_curve(axes, curve, index) for index, curve in enumerate(comparison.sweep.curves)]
    drawn = {point.label for curve in comparison.sweep.curves for point in curve.points}
    for result in _methods(comparison):
        if result.strategy not in drawn and (label := _point(axes, result, len(axes.containers))):
            labels.append(label)
    for result in _bounds(comparison):
        _bound(axes, result)
    axes.set_xlabel("mean latency per problem (s), lower is better")
    axes.set_ylabel("accuracy (%)")
    axes.set_title(title(comparison).replace("$", r"\$"), fontsize=11)
    axes.margins(x=0.2, y=0.12)
    axes.set_xlim(left=0)
    axes.grid(alpha=0.3)
    place_labels(figure, axes, labels)
    return figure


def place_labels(figure: Figure, axes: Axes, labels: Sequence[Annotation]) -> None:
    """Move each label to the nearest place around its point where it covers nothing that is already there."""
    figure.canvas.draw()
    taken = [*_obstacles(axes)]
    frame = axes.get_window_extent()
    points = 72 / figure.dpi
    for label in labels:
        size = text_box(label)

        def cost(place: tuple[float, tuple[float, float]], label: Annotation = label) -> float:
            distance, offset = place
            label.set_position(offset)
            box = text_box(label).padded(1)
            outside = _area(box) - _overlap(box, frame)
            return distance + 2 * sum(_overlap(box, other) for other in taken) + 6 * outside

        label.set_position(min(_places(size.width * points, size.height * points), key=cost)[1])
        taken.append(text_box(label).padded(1))


def text_box(label: Annotation) -> Bbox:
    """Where the letters are, in pixels, without the line that leads to the point."""
    from matplotlib.text import Text

    return Text.get_window_extent(label)


def _methods(comparison: Comparison) -> list[BenchmarkResult]:
    from arbitrage.harness.comparison import BOUNDS

    return [result for result in comparison.values() if result.name not in BOUNDS]


def _bounds(comparison: Comparison) -> list[BenchmarkResult]:
    from arbitrage.harness.comparison import BOUNDS

    return [result for result in comparison.values() if result.name in BOUNDS]


def _point(axes: Axes, result: BenchmarkResult, index: int) -> Annotation | None:
    """Draw one strategy; None when it has no latency."""
    accuracy, latency = result.accuracy_interval, result.latency_interval
    if accuracy is None or latency is None:
        return None
    return _draw(axes, result.strategy, [(latency, accuracy)], 0, index)


def _curve(axes: Axes, curve: Curve, index: int) -> Annotation:
    """Draw one method at its rates, the label at the middle one."""
    points = [(point.latency_s, point.accuracy) for point in curve.points]
    return _draw(axes, curve.name, points, len(points) // 2, index)


def _draw(axes: Axes, name: str, points: Sequence[tuple[Estimate, Estimate]], labelled: int, index: int) -> Annotation:
    """Draw (latency, accuracy) points, joined where there are several, and put the name at one of them."""
    colour = _COLOURS[index % len(_COLOURS)]
    seconds, accuracies = zip(*points, strict=True)
    axes.errorbar(
        [one.value for one in seconds],
        [100 * one.value for one in accuracies],
        xerr=[[_arm(one.value, one.low) for one in seconds], [_arm(one.value, one.high) for one in seconds]],
        yerr=[
            [100 * _arm(one.value, one.low) for one in accuracies],
            [100 * _arm(one.value, one.high) for one in accuracies],
        ],
        fmt=_MARKERS[index % len(_MARKERS)] + ("-" if len(points) > 1 else ""),
        color=colour,
        capsize=3 if len(points) == 1 else 0,
        elinewidth=1 if len(points) == 1 else 0.5,
        markersize=7 if len(points) == 1 else 5,
    )
    return axes.annotate(
        name.replace("$", r"\$"),
        (seconds[labelled].value, 100 * accuracies[labelled].value),
        xytext=(8, 8),
        textcoords="offset points",
        color=colour,
        fontsize=9,
        arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.6, "alpha": 0.6, "shrinkB": 5},
    )


def _bound(axes: Axes, result: BenchmarkResult) -> None:
    accuracy = result.accuracy
    if accuracy is not None:
        axes.axhline(100 * accuracy, linestyle="--", color="0.4", linewidth=1)
        axes.annotate(
            f"{result.strategy} (a bound, no latency)".replace("$", r"\$"),
            (0, 100 * accuracy),
            xycoords=("axes fraction", "data"),
            xytext=(4, 3),
            textcoords="offset points",
            color="0.3",
            fontsize=8,
        )


def _arm(value: float, end: float | None) -> float:
    return 0.0 if end is None else abs(end - value)


def _places(width: float, height: float) -> Iterator[tuple[float, tuple[float, float]]]:
    """Places around a point for a text of this size: distance and lower left corner, all in points of length."""
    for distance in (7, 12, 18, 26, 36, 48, 62, 80, 100):
        for x in (distance, -distance - width, -width / 2):
            for y in (distance, -distance - height, -height / 2):
                if (x, y) != (-width / 2, -height / 2):
                    yield distance, (x, y)


def _obstacles(axes: Axes) -> Iterator[Bbox]:
    """Boxes, in pixels, of markers, error bars and notes that are drawn already."""
    from matplotlib.text import Annotation
    from matplotlib.transforms import Bbox

    for line in axes.get_lines():
        points = line.get_transform().transform(line.get_xydata())
        if len(points):
            yield Bbox.from_extents(*(points.min(axis=0) - 5), *(points.max(axis=0) + 5))
    for collection in axes.collections:
        for path in collection.get_paths():
            yield path.get_extents(collection.get_transform()).padded(2)
    for text in axes.texts:
        if isinstance(text, Annotation) and text.arrow_patch is None:
            yield text.get_window_extent().padded(2)


def _area(box: Bbox) -> float:
    return float(box.width * box.height)


def _overlap(one: Bbox, other: Bbox) -> float:
    width = min(one.x1, other.x1) - max(one.x0, other.x0)
    height = min(one.y1, other.y1) - max(one.y0, other.y0)
    return float(width * height) if width > 0 and height > 0 else 0.0
