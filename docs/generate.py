"""Parts of the documentation that are made from the code, so that they cannot disagree with it.

A page asks for a part by a comment such as `<!-- generated: cli -->` or `<!-- generated: file PATH -->`. The build
fills it in; to see one part:

    python docs/generate.py cli
"""

from __future__ import annotations

import ast
import enum
import html
import importlib
import inspect
import itertools
import re
import sys
import textwrap
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PICTURES = "results"
"""Folder of the site with the pictures of committed results."""
_MARK = re.compile(r"<!-- generated: ([a-z]+)(?: ([\w./-]+))? -->")


# The run folder.


@dataclass(frozen=True, slots=True)
class Part:
    """One table of the schema: a dataclass or a pydantic model, and what is left out of it or added to it on disk."""

    type: str
    """`package.module:Class`."""
    title: str = ""
    """Heading, where a file consists of several parts."""
    without: frozenset[str] = frozenset()
    added: tuple[tuple[str, str, str], ...] = ()
    """Name, type and meaning of what is written although it is no field."""


FILES: tuple[tuple[str, str, tuple[Part, ...]], ...] = (
    (
        "manifest.json",
        "What was asked and on what it ran. It is written before the first row.",
        (
            Part("arbitrage.harness.manifest:RunManifest"),
            Part("arbitrage.harness.manifest:Identity", "`identity`"),
            Part("arbitrage.harness.manifest:DatasetFacts", "`dataset`"),
            Part("arbitrage.harness.manifest:ThreadFacts", "each of `threads`"),
            Part("arbitrage.harness.manifest:Session", "each of `sessions`"),
            Part("arbitrage.harness.manifest:Origin", "each of `entry_points.strategies` and `entry_points.backends`"),
        ),
    ),
    (
        "config.yaml",
        "The options of the run, for `arbitrage bench --config`. Options that were not given have their default value. "
        "Absent when models or problems were handed in as objects.",
        (Part("arbitrage.harness.config:RunConfig"),),
    ),
    (
        "problems.jsonl",
        "One line for each problem, with its reference and the rules of its data set. Reference solutions stay with "
        "the data set.",
        (
            Part("arbitrage.types:Problem", without=frozenset({"solution"})),
            Part("arbitrage.types:AnswerRules", "`rules`"),
        ),
    ),
    (
        "rows.jsonl",
        "One line for each strategy, problem and repeat, in the order in which they ended. It is on disk before the "
        "next one is made, unless several are made at once.",
        (
            Part(
                "arbitrage.harness.rows:Row",
                without=frozenset({"steps"}),
                added=(
                    ("correct", "bool", "Whether `status` is `correct`."),
                    ("tokens", "int", "Number of committed tokens."),
                    ("accepted_steps", "int", "Steps in which the draft's version was kept."),
                    ("escalated_steps", "int", "Steps whose draft version was discarded for the target's."),
                    ("step_count", "int", "How many lines of `steps.jsonl` belong to this row."),
                ),
            ),
        ),
    ),
    (
        "steps.jsonl",
        "The trace: one line for each committed step, on disk before the row that it belongs to. `strategy`, "
        "`problem_id` and `repeat` name the row.",
        (Part("arbitrage.harness.rows:StoredStep"),),
    ),
    (
        "scores.jsonl",
        "Rewards and router scores of the steps, when a PRM or a router read the stored texts after the run. One line "
        "for each row; each list has one entry for each step.",
        (Part("arbitrage.harness.rows:StepScores"),),
    ),
    (
        "warmup.jsonl",
        "Solutions made before measuring. They are reported, never averaged in.",
        (Part("arbitrage.harness.rows:WarmUp"),),
    ),
)
"""Files of a run folder whose lines or contents have a type. A new file is one more entry here."""

_COMMON = {
    "label": "Label of the strategy.",
    "accuracy": "Share of problems solved.",
    "acceptance_rate": "Accepted steps over steps.",
    "points": "The method at each of its rates, in their order.",
    "curve": "Name of the method.",
    "reference": "What it is compared with.",
    "estimate": "The value, with its interval.",
    "status": "The grade, or that the strategy failed.",
    "value": "The estimate itself.",
    "low": "Lower end of the interval; null when there is too little data.",
    "high": "Upper end.",
    "strategy": "Label of the strategy, as in the tables.",
    "problem_id": "Id of the problem.",
    "repeat": "0 for the first time this problem was solved in the run.",
    "latency_s": "Wall-clock seconds from prompt to last token.",
    "tokens": "Number of tokens written.",
    "started_at": "When it began, ISO 8601 with time zone.",
    "prompt_tokens": "Length of the prompt in tokens.",
    "level": "Difficulty of the problem, when the data set has it.",
    "subject": "Kind or field of mathematics, when the data set has it.",
    "rules": "How answers to this problem are compared.",
    "seed": "Seed of everything random.",
    "repeats": "How often each problem is solved by each strategy.",
    "created": "When the run began, ISO 8601 with time zone.",
    "started": "When this sitting began, ISO 8601 with time zone.",
    "schema_version": "Version of the folder's layout.",
    "schema": "Version of the folder's layout.",
    "Curve.name": "Name of the method.",
    "DatasetFacts.name": "Name of the data set.",
    "source": "File, hub id or generator that the problems came from.",
    "problems": "How many problems are solved.",
    "available": "How many problems there were before the limit.",
    "dataset": "Which problems are solved.",
    "identity": "Everything that changes what a row says; a resumed run must agree with it.",
    "sessions": "One entry for each sitting: a run that was resumed has several.",
    "warnings": "What makes the latencies less than they seem, such as load on the machine.",
    "version": "Version of that distribution.",
}
"""What fields mean that explain themselves where they are defined."""


def schema() -> str:
    """Every file of a run folder, field by field."""
    return "\n\n".join(
        f"## `{name}`\n\n{meaning}\n\n" + "\n\n".join(_part(part) for part in parts) for name, meaning, parts in FILES
    )


def summary() -> str:
    """The numbers of one strategy in summary.json and results.json, and what results.json adds."""
    from arbitrage.harness.results import BenchmarkResult

    rows = []
    for key in BenchmarkResult("none", ()).summary():
        meaning = _SUMMARY.get(key) or inspect.getdoc(getattr(BenchmarkResult, key))
        rows.append((f"`{key}`", _one_line(meaning or "")))
    throughput = _part(Part("arbitrage.harness.results:Throughput"))
    versus = _part(Part("arbitrage.harness.comparison:Versus"))
    estimate = _part(Part("arbitrage.harness.statistics:Estimate"))
    curve, point, reading = (_part(Part(f"arbitrage.harness.curves:{name}")) for name in ("Curve", "Point", "Reading"))
    return (
        f"{_table(('key', 'meaning'), rows)}\n\n`results.json` adds to each strategy:\n\n"
        f"{_table(('key', 'meaning'), [(f'`{key}`', meaning) for key, meaning in RESULTS_ADD.items()])}\n\n"
        f"### `throughput`\n\n{throughput}\n\n"
        f"### `versus_target_only`\n\n{versus}\n\n### Each estimate\n\n{estimate}\n\n"
        "`curves` and `readings` are empty unless methods were run at several escalation rates.\n\n"
        f"### Each of `curves`\n\n{curve}\n\n### Each of `points`\n\n{point}\n\n### Each of `readings`\n\n{reading}"
    )


_SUMMARY = {
    "strategy": "Label of the strategy.",
    "description": "Name and parameters of the strategy.",
    "dataset": "Name of the data set.",
    "problems": "Number of problems.",
    "rows": "Number of rows: problems times repeats.",
    "end_reasons": "How many solutions ended why: `eos`, `max_tokens`, `max_steps`, `stalled`, `answer`.",
    "accuracy_95": "Both ends of Wilson's 95 % interval of the accuracy.",
    "accuracy_by_level": "Accuracy and number of rows for each level.",
    "accuracy_by_subject": "Accuracy and number of rows for each subject.",
    "latency_mean_s": "Mean latency of the solved rows, in seconds.",
    "latency_mean_95_s": "Both ends of its 95 % bootstrap interval over problems.",
    "latency_median_s": "Median latency of the solved rows.",
    "latency_p90_s": "90 % quantile of the latency of the solved rows.",
    "tokens_per_s": "Committed tokens of all rows over their summed latency.",
    "throughput": "What was done a second; null where problems were solved one at a time.",
    "tokens": "Committed tokens of all rows.",
    "steps": "Committed steps of all rows.",
    "warm_up_s": "Latencies of the warm-ups.",
}

RESULTS_ADD = {
    "latency_is_a_methods": "False for bounds such as the oracle, whose time is not a method's.",
    "break_even_escalation": "Escalation rate below which routing beats target-only.",
    "versus_target_only": "The comparison with target-only, paired by problem; null for runs without it.",
}


VALUES = ("arbitrage.harness.rows:RowStatus", "arbitrage.types:EndReason")
"""Sets of words that fields of rows and steps consist of."""


_PLAIN = {"correct": "The answer equals the reference.", "incorrect": "It does not."}


def values() -> str:
    """What each of these words means."""
    return "\n\n".join(
        f"### `{kind.__name__}`\n\n{_one_line(inspect.getdoc(kind) or '')}\n\n"
        + _table(
            ("value", "meaning"),
            [(f"`{member.value}`", _said(kind).get(member.name, _PLAIN.get(member.value, ""))) for member in kind],
        )
        for kind in map(load, VALUES)
    )


def _said(kind: type) -> dict[str, str]:
    """Docstrings of the members of an enumeration."""
    body = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0].body  # type: ignore[attr-defined]
    return {
        one.targets[0].id: _one_line(after.value.value)
        for one, after in itertools.pairwise(body)
        if isinstance(one, ast.Assign) and isinstance(after, ast.Expr)
    }


def _part(part: Part) -> str:
    kind = load(part.type)
    rows = [(f"`{name}`", _types(told), meaning) for name, told, meaning in fields_of(kind) if name not in part.without]
    rows += [(f"`{name}`", _types(told), meaning) for name, told, meaning in part.added]
    heading = f"### {part.title}\n\n" if part.title else ""
    return heading + _table(("field", "type", "meaning"), rows)


def _types(annotation: str) -> str:
    """Alternatives in words, because a table knows no vertical bar inside of code."""
    return " or ".join("null" if one == "None" else f"`{one}`" for one in annotation.split(" | "))


def load(place: str) -> type:
    """The class at `package.module:Class`."""
    module, _, name = place.partition(":")
    found: type = getattr(importlib.import_module(module), name)
    return found


def fields_of(kind: type) -> list[tuple[str, str, str]]:
    """Name, type and meaning of every field, inherited ones first; the docstring of a field stands behind it."""
    found: dict[str, tuple[str, str]] = {}
    for base in reversed(kind.__mro__):
        for name, annotation, doc in _declared(base):
            found[name] = (annotation, doc or _COMMON.get(f"{kind.__name__}.{name}") or _COMMON.get(name, ""))
    aliases = {
        name: field.alias for name, field in getattr(kind, "model_fields", {}).items() if field.alias is not None
    }
    return [(aliases.get(name, name), annotation, doc) for name, (annotation, doc) in found.items()]


def _declared(kind: type) -> Iterator[tuple[str, str, str]]:
    if not kind.__module__.startswith("arbitrage"):
        return
    tree = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
    assert isinstance(tree, ast.ClassDef)
    for statement, after in zip(tree.body, [*tree.body[1:], None], strict=True):
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
            continue
        annotation = ast.unparse(statement.annotation)
        if annotation.startswith("ClassVar") or statement.target.id.startswith("_"):
            continue
        said = (
            isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) and isinstance(after.value.value, str)
        )
        yield statement.target.id, annotation, _one_line(after.value.value) if said else ""  # type: ignore[union-attr, arg-type]


# The command line.


@dataclass(frozen=True, slots=True)
class Command:
    """A command, or a group of commands."""

    name: str
    help: str
    function: Callable[..., object] | None
    """None for a group without options."""
    children: tuple[str, ...] = ()
    """Last words of the commands of a group."""


def commands() -> dict[str, Command]:
    """Every command by its full name, groups included."""
    from arbitrage.cli.app import app

    return {command.name: command for command in _commands("arbitrage", app)}


def _commands(name: str, app: Any) -> Iterator[Command]:
    children = {
        info.name or info.callback.__name__.replace("_", "-"): info.callback for info in app.registered_commands
    }
    groups = {info.name: info.typer_instance for info in app.registered_groups}
    options = app.registered_callback.callback if app.registered_callback else None
    yield Command(name, app.info.help or "", options, tuple(sorted([*children, *groups])))
    for child in sorted([*children, *groups]):
        if child in groups:
            yield from _commands(f"{name} {child}", groups[child])
        else:
            yield Command(f"{name} {child}", inspect.getdoc(children[child]) or "", children[child])


@dataclass(frozen=True, slots=True)
class Parameter:
    """One argument or option of a command, from the annotation of the function behind it."""

    name: str
    type: Any
    default: object
    told: Any
    """What typer was told about it."""

    @property
    def is_argument(self) -> bool:
        """Whether it is given by its place."""
        return type(self.told).__name__ == "ArgumentInfo"

    @property
    def required(self) -> bool:
        """Whether there is no default."""
        return self.default is inspect.Parameter.empty

    @property
    def spelling(self) -> str:
        """As it is typed."""
        if self.is_argument:
            word = self.name.upper() + ("…" if typing.get_origin(self.type) is list else "")
            return word if self.required else f"[{word}]"
        first = (self.told.default,) if isinstance(self.told.default, str) else ()  # where typer keeps it
        told = " ".join((*first, *(self.told.param_decls or ()))).replace("/", " ")  # on and off
        return told or "--" + self.name.replace("_", "-")


def parameters(command: Command) -> list[Parameter]:
    """Arguments and options in the order of the help."""
    if command.function is None:
        return []
    found = []
    for one in inspect.signature(command.function, eval_str=True).parameters.values():
        if typing.get_origin(one.annotation) is not typing.Annotated:
            continue  # typer's own context
        kind, *told = typing.get_args(one.annotation)
        found.append(Parameter(one.name, _without_none(kind), one.default, told[0]))
    return found


def cli() -> str:
    """Every command with its arguments and options."""
    return "\n\n".join(map(_command, commands().values()))


def _command(command: Command) -> str:
    found = parameters(command)
    arguments, options = [one for one in found if one.is_argument], [one for one in found if not one.is_argument]
    words = [command.name, *(one.spelling for one in arguments)]
    words += [word for word, there in (("[OPTIONS]", options), ("COMMAND", command.children)) if there]
    blocks = [f"## {command.name}", _escaped(command.help), f"```\n{' '.join(words)}\n```"]
    if command.children:
        anchor = command.name.replace(" ", "-")
        blocks.append("Commands: " + ", ".join(f"[`{child}`](#{anchor}-{child})" for child in command.children) + ".")
    if arguments:
        rows = [(f"`{one.spelling}`", _type(one), _escaped(one.told.help or "")) for one in arguments]
        blocks.append(_table(("argument", "type", "meaning"), rows))
    if options:
        told = [(f"`{one.spelling}`", _type(one), _default(one), _escaped(one.told.help or "")) for one in options]
        blocks.append(_table(("option", "type", "default", "meaning"), told))
    return "\n\n".join(blocks)


def _without_none(kind: Any) -> Any:
    """`X` for `X | None`."""
    if isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union:
        (kind,) = [one for one in typing.get_args(kind) if one is not types.NoneType]
    return kind


def _type(one: Parameter) -> str:
    kind, several = one.type, ""
    if typing.get_origin(kind) is list:
        (kind,), several = typing.get_args(kind), ", several"
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return ", ".join(f"`{member.value}`" for member in kind) + several
    words = {bool: "flag", str: "text", int: "whole number", float: "number", Path: "path"}
    least = "" if one.told.min is None else f" ≥ {one.told.min:g}"
    return words.get(kind, str(kind)) + least + several


def _default(one: Parameter) -> str:
    if one.required:
        return "required"
    if one.default is None:
        return ""
    if isinstance(one.default, bool):
        return "on" if one.default else "off"
    return f"`{one.default.value if isinstance(one.default, enum.Enum) else one.default}`"


# What is registered.


def strategies() -> str:
    """Registered strategies of this package with their parameters."""
    from arbitrage.registry import Registry

    registry = Registry()
    rows = []
    for entry in registry.entries("strategy"):
        signature = inspect.signature(registry.strategy(entry.name))
        parameters = [f"`{_shown(one)}`" for one in signature.parameters.values()]
        rows.append((f"`{entry.name}`", _escaped(entry.summary), ", ".join(parameters) or "—"))
    return _table(("name", "what it does", "parameters and defaults"), rows)


def datasets() -> str:
    """Registered data sets of this package."""
    from arbitrage.registry import Registry

    return _table(
        ("name", "what it is"),
        [(f"`{entry.name}`", _escaped(entry.summary)) for entry in Registry().entries("dataset")],
    )


def _shown(parameter: inspect.Parameter) -> str:
    default = parameter.default
    if default is None:
        return parameter.name
    return f"{parameter.name}={default:g}" if isinstance(default, float) else f"{parameter.name}={default}"


# Committed results.


def pictures() -> dict[str, Path]:
    """Pictures of committed results by the name of their folder."""
    return {file.parent.name: file for file in sorted(RESULTS.glob("*/accuracy_latency.png"))}


def results() -> str:
    """The report on all committed results, and their tables."""
    report = _links((RESULTS / "README.md").read_text(encoding="utf-8")).partition("\n")[2]
    blocks = [
        report.strip(),
        "## Full tables",
        "As written by the runs. The folders under `benchmarks/results/` also hold "
        "`results.json` with unrounded numbers and `manifest.json`.",
    ]
    for folder in sorted(path for path in RESULTS.iterdir() if path.is_dir()):
        blocks += [f"### `{folder.name}`", *_result(folder)]
    return "\n\n".join(blocks)


def _result(folder: Path) -> Iterator[str]:
    if folder.name in pictures():
        yield f"![accuracy over latency]({PICTURES}/{folder.name}.png){{ width=640 loading=lazy }}"
    for file in sorted(folder.glob("table.*")):
        text = file.read_text(encoding="utf-8").strip()
        body = _links(text) if file.suffix == ".md" else f"```\n{text}\n```"
        yield f'??? note "Table"\n\n{textwrap.indent(body, "    ")}'


def how() -> str:
    """Which command makes which committed result."""
    text = _links((ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8"))
    return text.partition("\n")[2].strip()


def file(path: str) -> str:
    """A file of the repository, as it is."""
    content = (ROOT / path).read_text(encoding="utf-8").strip()
    return f'```{_LANGUAGES[Path(path).suffix]} title="{path}"\n{content}\n```'


_LANGUAGES = {".py": "python", ".toml": "toml"}


def _links(text: str) -> str:
    """Links as they are seen from a page of the site; links to files outside of it become plain text."""
    text = re.sub(r"\]\((?:\.\./)*docs/([\w-]+\.md)", r"](\1", text)
    return re.sub(r"(?<!!)\[([^\]]*)\]\((?!https?:|#|[\w-]+\.md)[^)]*\)", r"\1", text)


# Shared.

SLOTS: Mapping[str, Callable[..., str]] = {
    "cli": cli,
    "datasets": datasets,
    "file": file,
    "how": how,
    "results": results,
    "schema": schema,
    "strategies": strategies,
    "summary": summary,
    "values": values,
}


def fill(markdown: str) -> str:
    """`markdown` with every generated part in its place.

    Raises:
        KeyError: a page asks for a part that nobody makes.
    """
    return _MARK.sub(lambda match: SLOTS[match[1]](*([match[2]] if match[2] else [])), markdown)


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [titles, ["---"] * len(titles), *rows]
    table = "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
    return f'<div class="reference" markdown>\n\n{table}\n\n</div>'


def _escaped(text: str) -> str:
    """Text that Markdown leaves as it is. Code stays code, and options become code."""
    text = re.sub(r"(?<![`\w-])(--[a-z][\w-]*)", r"`\1`", _one_line(text))
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(
        part if index % 2 else re.sub(r"([\[\]*_$])", r"\\\1", html.escape(part, quote=False))
        for index, part in enumerate(parts)
    )


def _one_line(text: str) -> str:
    return " ".join(text.split())


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    for wanted in sys.argv[1:]:
        print(SLOTS[wanted]())
