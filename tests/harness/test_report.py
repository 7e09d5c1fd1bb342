"""The table and the chart: what must stand there, whatever the results."""

from __future__ import annotations

import io
import json
import sys
from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.text import Annotation
from rich.console import Console

from arbitrage.errors import MissingExtraError
from arbitrage.harness import chart, report
from arbitrage.harness.comparison import Comparison
from arbitrage.harness.rows import Row, RowStatus
from arbitrage.types import EndReason, StepRecord


def row(strategy: str, problem: int, latency_s: float, correct: bool, **fields: Any) -> Row:
    status = RowStatus.CORRECT if correct else RowStatus.INCORRECT
    settings = {"repeat": 0, "status": status, "reference": "1", "started_at": "", "end_reason": EndReason.EOS} | fields
    return Row(strategy=strategy, problem_id=f"p{problem}", latency_s=latency_s, **settings)


def rows(strategy: str, seconds: float, accuracy: float, n: int = 40, **fields: Any) -> list[Row]:
    rng = np.random.default_rng(len(strategy))
    return [row(strategy, k, seconds * float(rng.lognormal(0, 0.2)), k < accuracy * n, **fields) for k in range(n)]


def comparison(*groups: list[Row], complete: bool = True, warnings: tuple[str, ...] = (), **dataset: Any) -> Comparison:
    labels = {group[0].strategy: {"name": group[0].strategy.split(" ")[0]} for group in groups}
    manifest = {
        "schema": 1,
        "identity": {"strategies": labels, "repeats": 1},
        "dataset": {"name": "bundled", "problems": 40} | dataset,
        "rows": sum(map(len, groups)),
        "sessions": [{"warnings": list(warnings)}],
    }
    return Comparison.from_rows(manifest, [row for group in groups for row in group], complete=complete)


ROUTED = {
    "steps": (
        StepRecord(0, "a", "draft", 20, draft_tokens=20),
        StepRecord(1, "b", "target", 20, draft_tokens=20, rejected_text="c", draft_reward=0.4, target_reward=0.3),
    ),
    "time_s": {"draft": 0.1, "target": 0.2, "router": 0.05},
    "token_ids": tuple(range(40)),
}
TARGET = {
    "steps": (StepRecord(0, "a", "target", 40),),
    "time_s": {"target": 0.9},
    "token_ids": tuple(range(40)),
}
SPECULATED = {
    "steps": (StepRecord(0, "a", "target", 40, drafted=50, drafted_accepted=30, drafts=10),),
    "time_s": {"target": 0.3},
}


def full() -> Comparison:
    return comparison(
        rows("arbitrage-router", 0.5, 0.6, **ROUTED),
        rows("token-sd", 0.6, 0.7, **SPECULATED),
        rows("arbitrage-oracle", 2.0, 0.8, **ROUTED),
        rows("target-only", 1.0, 0.7, **TARGET),
        rows("rsd (threshold=0.9)", 1.5, 0.65, **ROUTED),
        limited_to=40,
        available=500,
        warnings=("the machine was busy",),
    )


def cells(found: Comparison) -> dict[str, dict[str, str]]:
    """Cells by strategy and column."""
    by_strategy: dict[str, dict[str, str]] = {}
    for _, titles, lines in report.tables(found):
        for line in lines:
            by_strategy.setdefault(line[0], {}).update(zip(titles, line, strict=True))
    return by_strategy


def test_every_number_of_the_table_is_where_it_belongs() -> None:
    """Cells by strategy and column, on results that can be checked by hand."""
    found = cells(full())
    assert list(found)[0] == "target-only"  # noqa: RUF015 - the order is the point
    assert found["target-only"]["accuracy %"].startswith("70.0 [")
    assert found["arbitrage-router"]["Δ points"].startswith("-10.0, p=0.12 [")
    assert found["arbitrage-router"]["acceptance (tokens)"] == "50% (50%)"
    assert found["arbitrage-router"]["by target (tokens)"] == "50% (50%)"
    assert found["arbitrage-router"]["waste"] == "100%"
    # d = 0.1/40, t = 0.9/40, r = 0.05/2, L = 20: 1 - 0.111 - 0.056
    assert found["arbitrage-router"]["escalated"] == "50% (break-even 83%)"
    assert found["arbitrage-router"]["time"].startswith("draft ")
    assert "router" in found["arbitrage-router"]["time"]
    assert found["token-sd"]["acceptance (tokens)"] == "60%"
    assert found["token-sd"]["acceptance length"] == "4.00"
    assert found["target-only"]["speed-up"] == found["target-only"]["Δ points"] == "—"


def test_the_oracle_has_accuracy_and_no_latency() -> None:
    """Everything timed is a dash for the bound, with a note; its decisions and accuracy count."""
    found = cells(full())["arbitrage-oracle"]
    assert found["latency s: mean / median / p90"] == found["speed-up"] == found["tokens/s"] == "—"
    assert found["accuracy %"].startswith("80.0")
    assert found["escalated"] == "50%"
    assert any("not a method's latency" in note for note in report.footer(full()))


@pytest.mark.parametrize("form", ["rich", "markdown"])
def test_nothing_that_must_be_said_is_missing(form: str) -> None:
    """Definitions, limit, busy machine and losses against target-only stand under both forms of the table."""
    if form == "rich":
        stream = io.StringIO()
        Console(file=stream, width=300).print(full().table())
        text = stream.getvalue()
    else:
        text = report.markdown_table(full())
    for definition in report.DEFINITIONS:
        assert definition in text
    assert "limited to 40 of 500" in text
    assert "the machine was busy" in text
    assert "slower than target-only: rsd (threshold=0.9)" in text
    assert "mean acceptance length = 1 + accepted / drafts (the bonus token counts)" in text


def test_failures_truncation_and_gaps_are_told() -> None:
    """Errors, timeouts, cut solutions, an absent baseline and an unfinished run each have their line."""
    broken = [
        *rows("rsd", 1.0, 0.5, end_reason=EndReason.MAX_TOKENS)[:8],
        row("rsd", 50, 1.0, False, status=RowStatus.ERROR),
        row("rsd", 51, 1.0, False, status=RowStatus.TIMEOUT),
    ]
    text = "\n".join(report.footer(comparison(broken, complete=False)))
    assert "rsd: 1 error, 1 timeout of 10 rows" in text
    assert "cut by the token or step limit: rsd 88.9%" in text
    assert "no target was loaded" in text
    assert "stopped before its end" in text
    assert "INCOMPLETE" in report.title(comparison(broken, complete=False))


def test_tables_survive_markup_pipes_and_empty_results() -> None:
    """Labels are text, never markup; a strategy without a single row is a line of dashes."""
    odd = comparison(rows("x[red]|y", 1.0, 0.5))
    stream = io.StringIO()
    Console(file=stream, width=200).print(odd.table())
    assert "x[red]|y" in stream.getvalue()
    assert "x[red]\\|y" in report.markdown_table(odd)
    empty = Comparison.from_rows({"identity": {"strategies": {"a": {"name": "a"}}}, "sessions": []}, [], complete=False)
    assert cells(empty) == {"a": {"strategy": "a"}}
    json.dumps(empty.summary(), allow_nan=False)


def test_the_report_is_written_beside_the_rows(tmp_path: Path) -> None:
    """JSON, Markdown and a PNG; the JSON holds the unrounded numbers of the table and its notes."""
    full().save(tmp_path)
    found = json.loads((tmp_path / "results.json").read_text())
    versus = found["strategies"]["arbitrage-router"]["versus_target_only"]
    assert versus["accuracy_difference"]["value"] == pytest.approx(-0.1)
    assert versus["speed_up"]["low"] < versus["speed_up"]["value"] < versus["speed_up"]["high"]
    assert found["strategies"]["arbitrage-oracle"]["latency_is_a_methods"] is False
    assert set(report.DEFINITIONS) <= set(found["notes"])
    assert (tmp_path / "table.md").read_text() == report.markdown_table(full())
    assert (tmp_path / "accuracy_latency.png").read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_everything_but_the_chart_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The chart is an extra: asking for it names the extra, a run goes on without it and leaves no outdated one."""
    (tmp_path / "accuracy_latency.png").write_bytes(b"old")
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError, match=r"\[report\]"):
        chart.save_chart(full(), tmp_path / "chart.png")
    full().save(tmp_path)
    assert (tmp_path / "table.md").exists()
    assert not (tmp_path / "accuracy_latency.png").exists()


@pytest.mark.parametrize("spread", [1.0, 0.1, 0.0])
def test_labels_of_the_chart_do_not_overlap(spread: float) -> None:
    """Eight strategies, far apart, close together and all in one place: no label covers another or leaves the frame."""
    names = ["target-only", "draft-only", "token-sd", "rsd", "arbitrage-router", "random-route", "rsd x", "judge"]
    groups = [rows(name, 1 + spread * k / 8, 0.5 + spread * (k % 3) / 10) for k, name in enumerate(names)]
    figure = chart.draw_chart(comparison(*groups))
    figure.canvas.draw()
    axes = figure.axes[0]
    labels = [text for text in axes.texts if isinstance(text, Annotation)]
    assert [label.get_text() for label in labels] == names
    boxes = [chart.text_box(label) for label in labels]
    assert not [pair for pair in combinations(boxes, 2) if chart._overlap(*pair) > 0]
    frame = axes.get_window_extent()
    assert all(chart._overlap(box, frame) == pytest.approx(box.width * box.height) for box in boxes)


def test_the_overlap_check_notices_labels_left_where_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without placing them, labels of neighbours do overlap: the test above can fail."""
    monkeypatch.setattr(chart, "place_labels", lambda figure, axes, labels: None)
    groups = [rows(name, 1.0, 0.5) for name in ("target-only", "draft-only")]
    figure = chart.draw_chart(comparison(*groups))
    figure.canvas.draw()
    first, second = (chart.text_box(text) for text in figure.axes[0].texts if isinstance(text, Annotation))
    assert chart._overlap(first, second) > 0


def test_points_carry_error_bars_and_the_oracle_is_a_line() -> None:
    """Each method is one point with intervals both ways; a bound has no place on the latency axis."""
    axes = chart.draw_chart(full()).axes[0]
    assert len(axes.containers) == 4
    assert all(bars.has_xerr and bars.has_yerr for bars in axes.containers)  # type: ignore[attr-defined]
    assert any("no latency" in text.get_text() for text in axes.texts)
    assert axes.get_xlim()[0] == 0


def test_dollars_in_labels_are_drawn_as_they_are() -> None:
    """A label is never read as mathematics, so no label can break the drawing."""
    for label, latency in product(("a $x", "b $\\nonsense{$"), (1.0, 1e-4)):
        figure = chart.draw_chart(comparison(rows(label, latency, 0.5)))
        figure.canvas.draw()


def test_labels_from_elsewhere_cannot_command_a_terminal() -> None:
    """Escape sequences in a label, the data set's name or a warning come out as replacement characters."""
    hostile = "\x1b]0;title\x07\x1b[2J"
    shown = comparison(rows(f"a {hostile}", 1.0, 0.5), warnings=(f"busy {hostile}",), name=f"data {hostile}")
    console = Console(file=io.StringIO(), width=200)
    console.print(shown.table())
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    assert "\x1b" not in printed
    assert "\x1b" not in report.markdown_table(shown)
    assert "title" in printed


def test_a_method_at_several_rates_is_one_line_with_one_label() -> None:
    """The chart of a sweep joins a method's rates and names it once."""
    groups = [rows("target-only", 1.0, 1.0), *(rows(f"rsd (rate={r:g})", 1 + r, 0.5 + r / 2) for r in (0.0, 0.5, 1.0))]
    made = comparison(*groups)
    for label, description in made.manifest["identity"]["strategies"].items():
        if label.startswith("rsd"):
            description["rate"] = float(label.split("=")[1].rstrip(")"))
    axes = chart.draw_chart(Comparison.from_rows(made.manifest, [one for group in groups for one in group])).axes[0]
    assert [text.get_text() for text in axes.texts if isinstance(text, Annotation)] == ["rsd", "target-only"]
    assert len(axes.containers) == 2
