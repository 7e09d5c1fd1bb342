"""The learning curve of a router: loss, and what held-out steps say."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from arbitrage.harness.run_folder import write_whole

_LINES = {"loss": "#0072B2", "spearman": "#009E73", "auc": "#D55E00"}
_NAMES = {"spearman": "Spearman ρ with the advantage", "auc": "AUC"}


def save_curve(curve: Mapping[str, Sequence[Mapping[str, float]]], file: Path) -> None:
    """Write the curve as PNG; for its shape see `saving.curve_of`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    loss, measures = figure.subplots(1, 2)
    training, held_out = curve["training"], curve["held_out"]
    loss.plot(*_series(training, "loss"), color=_LINES["loss"], alpha=0.5, label="training")
    loss.plot(*_series(held_out, "loss"), color=_LINES["loss"], marker="o", label="held out, unbalanced")
    loss.set(xlabel="optimizer step", ylabel="loss")
    loss.legend()
    for name, label in _NAMES.items():
        measures.plot(*_series(held_out, name), color=_LINES[name], marker="o", label=label)
    measures.set(xlabel="optimizer step", title="held-out steps")
    measures.legend()
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=120, metadata={"Software": None})
    write_whole(file, content.getvalue())


def _series(points: Sequence[Mapping[str, float]], name: str) -> tuple[list[float], list[float]]:
    kept = [one for one in points if name in one]
    return [one["step"] for one in kept], [one[name] for one in kept]
