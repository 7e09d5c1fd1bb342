"""Tables for other programs: numbers as CSV, Parquet and JSON; cells as the report shows them as Markdown and LaTeX.

Knows results and formats; computes nothing.
"""

from __future__ import annotations

import csv
import dataclasses
import enum
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from arbitrage.errors import ArbitrageError, MissingExtraError, UnknownNameError
from arbitrage.harness.comparison import BOUNDS, Comparison
from arbitrage.harness.report import markdown_lines, markdown_table, tables, title
from arbitrage.harness.run_folder import to_json, write_whole
from arbitrage.harness.statistics import Estimate

Record = dict[str, Any]


class ExportError(ArbitrageError, ValueError):
    """A table cannot be written in the wanted way."""


class Subject(enum.StrEnum):
    """What a table is about."""

    RESULTS = "results"
    """One line a strategy."""
    ROWS = "rows"
    """One line a solution."""
    STEPS = "steps"
    """One line a step, with both versions where both were written."""
    CURVES = "curves"
    """What methods swept over rates say of each other."""


def parse_subject(text: str) -> Subject:
    """The subject of this name.

    Raises:
        UnknownNameError: there is none.
    """
    try:
        return Subject(text)
    except ValueError:
        raise UnknownNameError.of("table", text, [str(one) for one in Subject]) from None


def export_table(runs: Mapping[str, Comparison], subject: Subject, file: Path) -> Path:
    """Write one table of some runs; the file's suffix chooses the format.

    Args:
        runs: by the name that stands in the column `run`.
        subject: what the lines are about; Markdown and LaTeX know `results` and `curves`.
        file: `.csv`, `.parquet`, `.json`, `.md` or `.tex`. Text in CSV is quoted and otherwise as models wrote it: a
            spreadsheet may take a cell that begins with `=` for a formula, so import such columns as text.

    Raises:
        ExportError: an unknown suffix, or a format that has no such table.
        MissingExtraError: Parquet without pyarrow.
        RunError: the file cannot be written.
    """
    suffix = file.suffix.lower()
    if suffix in _FORMATTED:
        if subject not in (Subject.RESULTS, Subject.CURVES):
            raise ExportError(f"{file}: {subject} are exported as .csv, .parquet or .json")
        content = _FORMATTED[suffix](runs, subject).encode()
    elif suffix in _NUMBERS:
        content = _NUMBERS[suffix](records(runs, subject))
    else:
        known = ", ".join((*_NUMBERS, *_FORMATTED))
        raise ExportError(f"{file}: tables are written as {known}; end the name with one of these")
    file.parent.mkdir(parents=True, exist_ok=True)
    write_whole(file, content)
    return file


def records(runs: Mapping[str, Comparison], subject: Subject) -> list[Record]:
    """The lines of a table as flat mappings, all with the same keys; units stand in the names."""
    make = {Subject.RESULTS: _results, Subject.ROWS: _rows, Subject.STEPS: _steps, Subject.CURVES: _curves}[subject]
    lines = [{"run": name, **line} for name, run in runs.items() for line in make(run)]
    columns = list(dict.fromkeys(key for line in lines for key in line))
    return [{column: line.get(column) for column in columns} for line in lines]


def _results(run: Comparison) -> Iterator[Record]:
    for label, result in run.items():
        told = result.summary()
        line: Record = {key: value for key, value in told.items() if not isinstance(value, dict | list)}
        line |= _flat("accuracy", result.accuracy_interval) | _flat("latency_mean_s", result.latency_interval)
        if result.concurrency > 1 and result.throughput is not None:
            line |= {f"throughput_{name}": value for name, value in dataclasses.asdict(result.throughput).items()}
        line |= {f"time_share_{name}": share for name, share in result.time_shares.items()}
        line |= {f"read_per_kept_{name}": ratio for name, ratio in result.read_per_kept.items()}
        line |= {f"repeated_tokens_{name}": count for name, count in result.repeated_tokens.items()}
        line |= {f"status_{status}": count for status, count in result.statuses.items()}
        versus = run.versus(label)
        if versus is not None:
            for part in dataclasses.fields(versus):
                value = getattr(versus, part.name)
                line |= _flat(part.name, value) if isinstance(value, Estimate) else {part.name: value}
        line["break_even_escalation"] = run.break_even(label)
        if result.name in BOUNDS:
            line = {key: None if any(word in key for word in _TIMES) else value for key, value in line.items()}
        yield line


_TIMES = ("latency", "speed_up", "tokens_per_s", "throughput", "time_share", "overhead", "break_even")
"""In the names of columns that a bound has no value for: its time is not a method's."""


def _rows(run: Comparison) -> Iterator[Record]:
    for result in run.values():
        for row in result.rows:
            told = dataclasses.asdict(dataclasses.replace(row, steps=()))
            times = {f"time_s_{name}": seconds for name, seconds in row.time_s.items()}
            plain = {key: value for key, value in told.items() if not isinstance(value, dict | list | tuple)}
            counts = {"correct": row.correct, "tokens": row.tokens, "steps": len(row.steps)}
            yield plain | counts | {"escalated_steps": row.escalated_steps} | times


def _steps(run: Comparison) -> Iterator[Record]:
    for result in run.values():
        for row in result.rows:
            for step in row.steps:
                told = dataclasses.asdict(step)
                times = {f"time_s_{name}": seconds for name, seconds in told.pop("time_s").items()}
                key = {"strategy": row.strategy, "problem_id": row.problem_id, "repeat": row.repeat}
                yield key | told | {"escalated": step.escalated} | times


def _curves(run: Comparison) -> Iterator[Record]:
    for reading in run.sweep.readings:
        told = dataclasses.asdict(reading)
        del told["estimate"]
        yield told | _flat("value", reading.estimate)


def _flat(name: str, estimate: Estimate | None) -> Record:
    """A value and its interval as three columns."""
    if estimate is None:
        return {name: None, f"{name}_low": None, f"{name}_high": None}
    return {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}


def _csv(lines: Sequence[Record]) -> bytes:
    text = io.StringIO(newline="")
    columns = list(lines[0]) if lines else ["run"]
    writer = csv.DictWriter(text, columns, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue().encode(errors="replace")


def _json(lines: Sequence[Record]) -> bytes:
    return to_json([json.loads(to_json(line)) for line in lines]).encode()


def _parquet(lines: Sequence[Record]) -> bytes:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise MissingExtraError.of("Parquet export", "pyarrow", "report") from error
    plain = [
        {key: str(value) if isinstance(value, enum.Enum) else value for key, value in line.items()} for line in lines
    ]
    stream = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(plain), stream)
    return stream.getvalue()


def _markdown(runs: Mapping[str, Comparison], subject: Subject) -> str:
    if subject is Subject.RESULTS:
        blocks = [(name, markdown_table(run)) for name, run in runs.items()]
        return "\n".join(f"## {name}\n\n{table}" if len(runs) > 1 else table for name, table in blocks)
    parts = []
    for name, run in runs.items():
        for caption, titles, cells in _chosen(run, subject):
            parts.append(f"**{name}, {title(run)}: {caption}**\n\n{markdown_lines(titles, cells)}\n")
    return "\n".join(parts)


def _latex(runs: Mapping[str, Comparison], subject: Subject) -> str:
    """Tables for a paper, with the package booktabs."""
    parts = ["% needs \\usepackage{booktabs}"]
    for name, run in runs.items():
        for caption, titles, cells in _chosen(run, subject):
            lines = ["{}" + " & ".join(map(escape_latex, line)) + r" \\" for line in (titles, *cells)]
            where = f"{name}, {title(run)}" if len(runs) > 1 else title(run)
            parts += [
                r"\begin{table}",
                r"\centering",
                rf"\caption{{{escape_latex(f'{where}: {caption}')}}}",
                rf"\begin{{tabular}}{{l{'r' * (len(titles) - 1)}}}",
                r"\toprule",
                lines[0],
                r"\midrule",
                *lines[1:],
                r"\bottomrule",
                r"\end{tabular}",
                r"\end{table}",
                "",
            ]
    return "\n".join(parts)


def _chosen(run: Comparison, subject: Subject) -> list[tuple[str, list[str], list[list[str]]]]:
    return [table for table in tables(run) if (table[0] == "curves") == (subject is Subject.CURVES)]


_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "%": r"\%",
    "#": r"\#",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "τ": r"$\tau$",
    "γ": r"$\gamma$",
    "Δ": r"$\Delta$",
    "×": r"$\times$",
    "—": "---",
    "–": "--",
    "‡": r"\ddag{}",
    "…": r"\ldots{}",
}


def escape_latex(text: str) -> str:
    """Text for LaTeX: characters with a meaning escaped, symbols that fonts may lack as question marks."""
    return "".join(_LATEX.get(one, one if one.isascii() and one.isprintable() else "?") for one in text)


_NUMBERS: Mapping[str, Callable[[Sequence[Record]], bytes]] = {".csv": _csv, ".parquet": _parquet, ".json": _json}
_FORMATTED: Mapping[str, Callable[[Mapping[str, Comparison], Subject], str]] = {".md": _markdown, ".tex": _latex}
