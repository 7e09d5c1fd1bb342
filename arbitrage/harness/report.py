"""The table at the end of a run, for terminals and as Markdown, and the JSON beside it. Reads results; decides nothing.

Every table carries the definitions that people mix up, says when a run was limited, and never quotes the latency of a
bound as a method's.
"""

from __future__ import annotations

import dataclasses
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from arbitrage.errors import MissingExtraError
from arbitrage.harness.comparison import BOUNDS
from arbitrage.harness.results import COMPONENTS, BenchmarkResult
from arbitrage.harness.rows import RowStatus
from arbitrage.harness.run_folder import SUMMARY, write_json, write_whole
from arbitrage.harness.statistics import Estimate
from arbitrage.text import one_line

if TYPE_CHECKING:
    from rich.console import Group

    from arbitrage.harness.comparison import Comparison, Versus
    from arbitrage.harness.curves import Reading

EDITIONS = {
    "olympiadbench": "olympiadbench: the edition of 675 rows that published numbers were measured on; 15 of its "
    "statements need a number T that they do not give, and cannot be solved (olympiadbench-674 gives it)",
    "olympiadbench-674": "olympiadbench-674: the corrected edition of 674 rows; published numbers are mostly of the "
    "edition of 675",
}
"""What a table on one of these data sets has to say."""

CHART = "accuracy_latency.png"
TABLE = "table.md"
RESULTS = "results.json"
NONE = "—"
MIXED = "‡"
"""Marks strategies whose draft and target have different tokenizers."""

ONE_AT_A_TIME = (
    "speed-up = target-only's mean latency / the strategy's; latency is wall-clock from prompt to last token, one "
    "problem at a time, grading not included"
)
DEFINITIONS = (
    "acceptance rate = accepted steps / steps (token-level methods: accepted draft tokens / drafted tokens); in "
    "parentheses weighted by tokens",
    "Δ points = accuracy minus target-only's, paired by problem; by target = share of the committed steps it wrote",
    "mean acceptance length = 1 + accepted / drafts (the bonus token counts)",
    "escalated = steps whose draft was discarded for the target's; routing pays below the break-even rate "
    "1 - d/t - r/(L t) (per-token times d, t of draft and target; time r of a decision; step length L)",
    "waste = escalated steps whose target version was rewarded no better than the draft's / escalated steps with both "
    "rewards known; with ≥, where no rewards are known: escalated steps that the target wrote again token for token",
    ONE_AT_A_TIME,
    "square brackets = 95% intervals over problems: accuracy by Wilson, differences by Tango, speed-ups by sign flips "
    "(none under six problems), curves by the expanded bootstrap; p = exact McNemar test",
    "time = share of the latency inside each model's forward passes; the rest is overhead",
)
"""Printed under every table; `definitions` has those of runs with several problems at once."""


CURVE_DEFINITIONS = (
    "curves = a method at its escalation rates, straight between neighbouring ones (each problem at one of the two, by "
    "the toss of a coin)",
    "speed-up at matched accuracy = seconds of the other curve / of this one, each at the lowest rate that reaches the "
    "accuracy; no interval where over 5% of the resamples do not reach it",
    "mean accuracy gap = mean accuracy difference over the acceptance rates that both curves have",
    "share of the oracle's gain = (accuracy - draft-only's) / (the oracle's - draft-only's), at the oracle's own "
    "acceptance rate",
)
"""Printed under tables that have curves."""


def definitions(comparison: Comparison) -> list[str]:
    """What the words of this run's table mean."""
    if comparison.concurrency == 1:
        return list(DEFINITIONS)
    several = (
        "speed-up = target-only's mean latency / the strategy's; latency is wall-clock from prompt to last token while "
        f"{comparison.concurrency} problems are solved at once, waiting for each other included, grading not: it "
        "compares with no latency of another number at once",
        "throughput = tokens (problems) of a strategy / seconds in which the machine was busy with them; its ratio is "
        "the strategy's problems per second / target-only's, on those that both solved (at matched accuracy: read as "
        "speed-ups are); in work = problems at a time, on average",
    )
    return [text for one in DEFINITIONS for text in (several if one is ONE_AT_A_TIME else (one,))]


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the table; left out when no strategy has a value in it."""

    title: str
    cell: Callable[[Comparison, BenchmarkResult, Versus | None], str]


def tables(comparison: Comparison) -> list[tuple[str, list[str], list[list[str]]]]:
    """The two halves of the table: caption, column titles and cells; the baseline is the first line of each.

    A run with methods at several rates has a third table: what their curves say of each other.
    """
    versus = {label: comparison.versus(label) for label in comparison}
    halves = []
    for caption, columns in (("results", _RESULTS), ("where steps and time went", _ROUTING)):
        cells = [
            [column.cell(comparison, comparison[label], versus[label]) for column in columns] for label in comparison
        ]
        kept = [index for index in range(len(columns)) if any(row[index] != NONE for row in cells)]
        halves.append(
            (
                caption,
                [columns[index].title for index in kept],
                [[one_line(row[index]) for index in kept] for row in cells],
            )
        )
    readings = [
        [one.quantity, one.at, one_line(one.curve), one_line(one.reference), _read(one)]
        for one in comparison.sweep.readings
    ]
    if readings:
        halves.append(("curves", ["quantity", "at", "of", "against", "value"], readings))
    return halves


def rich_table(comparison: Comparison) -> Group:
    """The table for a terminal, its footer below."""
    from rich.console import Group
    from rich.markup import escape
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    parts: list[Table | Padding] = []
    for caption, titles, cells in tables(comparison):
        table = Table(title=escape(f"{title(comparison)}: {caption}"), title_justify="left", padding=(0, 1, 0, 0))
        for index, name in enumerate(titles):
            table.add_column(escape(name), justify="right" if index else "left")
        for row in cells:
            table.add_row(*(escape(cell.replace(" [", "\n[")) for cell in row))
        parts.append(table)
    return Group(*parts, *(Padding(Text(f"• {note}", style="dim"), (0, 0, 0, 1)) for note in footer(comparison)))


def markdown_table(comparison: Comparison) -> str:
    """The same as Markdown."""
    blocks = []
    for caption, titles, cells in tables(comparison):
        blocks.append(f"**{title(comparison)}: {caption}**\n\n{markdown_lines(titles, cells)}\n")
    blocks.append("\n".join(f"- {note}" for note in footer(comparison)) + "\n")
    return "\n".join(blocks)


def markdown_lines(titles: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    """One Markdown table, numbers to the right."""
    lines = [titles, ["---"] + ["---:"] * (len(titles) - 1), *cells]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def rich_lines(caption: str, titles: Sequence[str], cells: Sequence[Sequence[str]], notes: Sequence[str] = ()) -> Group:
    """One table for a terminal, numbers to the right, with notes below it."""
    from rich.console import Group
    from rich.markup import escape
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    table = Table(title=escape(caption), title_justify="left", padding=(0, 1, 0, 0))
    for index, name in enumerate(titles):
        table.add_column(escape(name), justify="right" if index else "left")
    for row in cells:
        table.add_row(*(escape(one_line(cell)) for cell in row))
    return Group(table, *(Padding(Text(f"• {note}", style="dim"), (0, 0, 0, 1)) for note in notes))


def title(comparison: Comparison) -> str:
    """Data set, how much of it, and how often."""
    identity = comparison.manifest.get("identity", {})
    dataset = comparison.manifest.get("dataset", {})
    words = [one_line(str(dataset.get("name", "problems")))]
    if dataset.get("limited_to") is not None:
        words.append(f"limited to {dataset['limited_to']} of {dataset.get('available', 'more')}")
    elif dataset.get("problems") is not None:
        words.append(f"{dataset['problems']} problems")
    if identity.get("repeats", 1) > 1:
        words.append(f"{identity['repeats']} repeats")
    if comparison.concurrency > 1:
        words.append(f"{comparison.concurrency} problems at once")
    if not comparison.complete:
        words.append("INCOMPLETE")
    return ", ".join(words)


def footer(comparison: Comparison) -> list[str]:
    """What has to be said under the table: what went wrong first, then the definitions."""
    notes = []
    if not comparison.complete:
        notes.append("the run was stopped before its end: strategies may have different numbers of rows")
    if comparison.baseline is None:
        notes.append("no target was loaded, so there is no target-only row to compare with")
    if any(result.name in BOUNDS for result in comparison.values()):
        notes.append(f"latency {NONE}: arbitrage-oracle bounds routing from above; its time is not a method's latency")
    if comparison.mixed_tokenizers:
        notes.append(
            f"{MIXED} draft and target have different tokenizers: they exchange text, each step is re-encoded on "
            "commit, and tokens are counted in their author's tokenizer"
        )
    slower = [label for label in comparison if _slower(comparison, label)]
    if slower:
        notes.append(f"slower than target-only: {', '.join(slower)}")
    for label, result in comparison.items():
        lost = [f"{count} {status}" for status, count in result.statuses.items() if status in _NOT_GRADED]
        if lost:
            notes.append(f"{label}: {', '.join(lost)} of {len(result.rows)} rows (counted as not correct)")
    cut = {label: result.truncated_share for label, result in comparison.items() if result.truncated_share}
    if cut:
        listed = ", ".join(f"{label} {share:.1%}" for label, share in cut.items() if share is not None)
        notes.append(f"cut by the token or step limit: {listed}; such accuracy is partly about the limit")
    routed = [row for one in comparison.values() if one.step_routing for row in one.rows if not row.failed]
    scored = sum(row.key in comparison.scores for row in routed)
    if 0 < scored < len(routed):
        notes.append(f"only {scored} of {len(routed)} rows are scored, waste is of those: run `arbitrage score` again")
    notes.extend(_reading_notes(comparison))
    notes.extend(run_warnings(comparison))
    curves = CURVE_DEFINITIONS if comparison.sweep else ()
    return [*map(one_line, [*notes, *grading_notes(comparison)]), *definitions(comparison), *curves]


def _reading_notes(comparison: Comparison) -> list[str]:
    """How much the models read for what they kept."""
    found: dict[str, list[float]] = {}
    for result in comparison.values():
        for name, ratio in result.read_per_kept.items():
            found.setdefault(name, []).append(ratio)
    if not found:
        return []
    ranges = (f"{name} {min(seen):.2f} to {max(seen):.2f}" for name, seen in found.items())
    twice = {label: sum(result.repeated_tokens.values()) for label, result in comparison.items()}
    listed = ", ".join(f"{label} {count} tokens" for label, count in twice.items() if count)
    return [
        f"tokens that a model read / tokens of its final stream, over the strategies: {', '.join(ranges)}; "
        f"read twice at the same place: {listed or 'none'}"
    ]


def grading_notes(comparison: Comparison) -> list[str]:
    """By which rules answers were graded, and what is to be known of the data set's edition."""
    identity = comparison.manifest.get("identity", {})
    regraded = comparison.manifest.get("regraded") or []
    grader = regraded[-1].get("grader") if regraded else identity.get("grader")
    again = f", graded again on {str(regraded[-1].get('at'))[:10]}" if regraded else ""
    notes = [f"answers graded by {grader}{again} (docs/grading.md)"] if grader else []
    edition = EDITIONS.get(str(comparison.manifest.get("dataset", {}).get("name")))
    return [*notes, edition] if edition else notes


def run_warnings(comparison: Comparison) -> list[str]:
    """What the run itself warned of, each once, and that its throughput is of several pieces."""
    sessions = comparison.manifest.get("sessions", [])
    told = list(dict.fromkeys(str(warning) for session in sessions for warning in session.get("warnings", [])))
    begun = sorted(str(session.get("started", "")) for session in sessions)  # one time zone, one form: as text
    sittings = {bisect_right(begun, row.started_at) for result in comparison.values() for row in result.rows}
    if comparison.concurrency > 1 and len(sittings) > 1:
        told.append(
            f"solved in {len(sittings)} sittings: where one ended, problems in work were cut off, and the "
            "others had fewer neighbours; quote throughput from runs that were not interrupted"
        )
    return told


def comparison_summary(comparison: Comparison) -> dict[str, object]:
    """All numbers of the table, unrounded, and the footer."""
    strategies = {}
    for label, result in comparison.items():
        versus = comparison.versus(label)
        strategies[label] = result.summary() | {
            "latency_is_a_methods": result.name not in BOUNDS,
            "break_even_escalation": comparison.break_even(label),
            "versus_target_only": None if versus is None else dataclasses.asdict(versus),
        }
    return {
        "title": title(comparison),
        "complete": comparison.complete,
        "strategies": strategies,
        "warnings": run_warnings(comparison),
        "notes": footer(comparison),
        "curves": [dataclasses.asdict(curve) for curve in comparison.sweep.curves],
        "readings": [dataclasses.asdict(reading) for reading in comparison.sweep.readings],
    }


def save_report(comparison: Comparison, folder: Path) -> None:
    """Write summary.json, results.json, table.md and, where matplotlib is installed, the chart."""
    save_summary(comparison, folder)
    write_json(folder / RESULTS, comparison_summary(comparison))
    write_whole(folder / TABLE, markdown_table(comparison).encode())
    from arbitrage.harness.chart import save_chart

    try:
        save_chart(comparison, folder / CHART)
    except MissingExtraError:
        (folder / CHART).unlink(missing_ok=True)  # better none than one of an earlier state


def save_summary(comparison: Comparison, folder: Path) -> None:
    """Write summary.json: each strategy by itself, nothing compared."""
    summaries = {label: result.summary() for label, result in comparison.items()}
    write_json(folder / SUMMARY, {"complete": comparison.complete, "strategies": summaries})


def _read(reading: Reading) -> str:
    value = reading.estimate
    if reading.unit == "times":
        return f"{value.value:.2f}×{_interval(value, '.2f')}"
    if reading.unit == "share":
        return f"{value.value:.0%}{_interval(value, '.0%')}"
    return f"{100 * value.value:+.1f} points{_interval(value, '+.1f', 100)}"


_NOT_GRADED = (RowStatus.ERROR, RowStatus.UNSCORED, RowStatus.TIMEOUT)


def _slower(comparison: Comparison, label: str) -> bool:
    versus = comparison.versus(label)
    if versus is None or versus.speed_up is None or comparison[label].name in BOUNDS:
        return False
    return versus.speed_up.high is not None and versus.speed_up.high < 1


def _label(comparison: Comparison, result: BenchmarkResult, versus: Versus | None) -> str:
    both = all(any(row.calls.get(role) for row in result.rows) for role in ("draft", "target"))
    return f"{result.strategy} {MIXED}" if comparison.mixed_tokenizers and both else result.strategy


def _accuracy(comparison: Comparison, result: BenchmarkResult, versus: Versus | None) -> str:
    return _percent(result.accuracy_interval)


def _difference(comparison: Comparison, result: BenchmarkResult, versus: Versus | None) -> str:
    if versus is None or result is comparison.baseline:
        return NONE
    points = versus.accuracy_difference
    return f"{100 * points.value:+.1f}, p={versus.mcnemar_p:.2g}{_interval(points, '+.1f', 100)}"


def _latency(comparison: Comparison, result: BenchmarkResult, versus: Versus | None) -> str:
    latency = result.latency
    if result.name in BOUNDS or latency.mean_s is None or latency.median_s is None or latency.p90_s is None:
        return NONE
    return " / ".join(_seconds(value) for value in (latency.mean_s, latency.median_s, latency.p90_s))


def _speed_up(comparison: Comparison, result: BenchmarkResult, versus: Versus | None) -> str:
    if versus is None or versus.speed_up is None or result.name in BOUNDS or result is comparison.baseline:
        return NONE
    return f"{versus.speed_up.value:.2f}×{_interval(versus.speed_up, '.2f')}"


def _tokens_per_s(comparison: Comparison, result: BenchmarkResult, versus: Versus | None) -> str:
    rate = result.latency.tokens_per_s
    return NONE if rate is None or result.name in BOUNDS or comparison.concurrency > 1 else f"{rate:.1f}"


def _throughput(comparison: Comparison, result: BenchmarkResult, versus: Versus | None) -> str:
    done = result.throughput
    if comparison.concurrency == 1 or done is None or result.name in BOUNDS:
        return NONE
    return f"{done.tokens_per_s:.1f} ({done.problems_per_s:.3g})"


def _throughput_ratio(comparison: Comparison, result: BenchmarkResult, versus: Versus | None) -> str:
    if versus is None or versus.throughput_ratio is None or result.name in BOUNDS or result is comparison.baseline:
        return NONE
    return f"{versus.throughput_ratio.value:.2f}×{_interval(versus.throughput_ratio, '.2f')}"


def _in_work(comparison: Comparison, result: BenchmarkResult, versus: Versus | None) -> str:
    done = result.throughput
    return NONE if comparison.concurrency == 1 or done is None else f"{done.in_work:.1f}"


def _acceptance(comparison: Comparison, result: BenchmarkResult, versus: Versus | None) -> str:
    if result.acceptance_rate is None:
        return NONE
    weighted = f" ({result.token_acceptance_rate:.0%})" if result.token_acceptance_rate is not None else ""
    return f"{result.acceptance_rate:.0%}{weighted}" if result.step_routing else f"{result.acceptance_rate:.0%}"


def _acceptance_length(comparison: Comparison, result: BenchmarkResult, versus: Versus | None) -> str:
    return NONE if result.mean_acceptance_length is None else f"{result.mean_acceptance_length:.2f}"


def _target_share(comparison: Comparison, result: BenchmarkResult, versus: Versus | None) -> str:
    if result.target_share is None or result.target_token_share is None:
        return NONE
    return f"{result.target_share:.0%} ({result.target_token_share:.0%})"


def _escalated(comparison: Comparison, result: BenchmarkResult, versus: Versus | None) -> str:
    if result.escalation_rate is None or result.name == "draft-only":
        return NONE
    break_even = None if result.name in BOUNDS else comparison.break_even(result.strategy)
    return f"{result.escalation_rate:.0%}" + ("" if break_even is None else f" (break-even {break_even:.0%})")


def _waste(comparison: Comparison, result: BenchmarkResult, versus: Versus | None) -> str:
    if result.wasted_share is not None:
        return f"{result.wasted_share:.0%}"
    return f"≥{result.confirmed_share:.0%}" if result.confirmed_share else NONE


def _time(comparison: Comparison, result: BenchmarkResult, versus: Versus | None) -> str:
    if result.overhead_share is None:
        return NONE
    shares = result.time_shares
    named = [*(name for name in COMPONENTS if name in shares), *(name for name in shares if name not in COMPONENTS)]
    parts = [f"{name} {shares[name]:.0%}" for name in named]
    return ", ".join([*parts, f"overhead {result.overhead_share:.0%}"])


def _percent(estimate: Estimate | None) -> str:
    return NONE if estimate is None else estimate.shown(".1f", 100)


def _interval(estimate: Estimate, form: str, scale: float = 1) -> str:
    if estimate.low is None or estimate.high is None:
        return ""
    return f" [{scale * estimate.low:{form}}, {scale * estimate.high:{form}}]"


def _seconds(value: float) -> str:
    return f"{value:.2f}" if value >= 0.1 else f"{value:.3g}"


_RESULTS: Sequence[Column] = (
    Column("strategy", _label),
    Column("accuracy %", _accuracy),
    Column("Δ points", _difference),
    Column("latency s: mean / median / p90", _latency),
    Column("speed-up", _speed_up),
    Column("tokens/s", _tokens_per_s),
    Column("throughput: tokens/s (problems/s)", _throughput),
    Column("throughput ratio", _throughput_ratio),
    Column("in work", _in_work),
)
_ROUTING: Sequence[Column] = (
    Column("strategy", _label),
    Column("acceptance (tokens)", _acceptance),
    Column("acceptance length", _acceptance_length),
    Column("by target (tokens)", _target_share),
    Column("escalated", _escalated),
    Column("waste", _waste),
    Column("time", _time),
)
