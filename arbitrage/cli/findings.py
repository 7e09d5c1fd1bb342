"""What `arbitrage doctor` finds: one record for each check, and how it is shown."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from arbitrage.text import one_line

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

Status = Literal["ok", "warn", "missing", "fail"]
"""Fine; works, but look at it; not installed and not needed; broken. Only the last is a failure."""

_SIGNS: dict[Status, tuple[str, str, str]] = {
    "ok": ("✓", "ok", "green"),
    "warn": ("!", "!", "yellow"),
    "missing": ("·", "-", "dim"),
    "fail": ("✗", "FAILED", "bold red"),
}
"""Sign, its spelling on terminals without Unicode, style."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of one check."""

    status: Status
    name: str
    """What was looked at."""
    text: str
    """What was found."""
    seconds: float | None = None
    """How long it took, where that says something."""


@dataclass(frozen=True, slots=True)
class Section:
    """Checks that belong together. They run while they are iterated over."""

    title: str
    checks: Iterator[Finding]

    def findings(self) -> Iterator[Finding]:
        """The findings; a check that breaks becomes one, and ends its section."""
        try:
            yield from self.checks
        except Exception as error:
            yield Finding("fail", self.title.lower(), f"{type(error).__name__}: {one_line(error)}")


def show(console: Console, section: Section) -> list[Finding]:
    """Print the findings of a section in columns, and return them."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 1))
    for _ in range(3):
        table.add_column(overflow="fold")
    found = list(section.findings())
    for finding in found:
        table.add_row(_sign(console, finding), Text(one_line(finding.name)), Text(one_line(finding.text)))
    console.print(Text(section.title, "bold"))
    console.print(table)
    console.print()
    return found


def show_live(console: Console, section: Section) -> list[Finding]:
    """Print each finding with its seconds as soon as it is there, and return them all."""
    from rich.text import Text

    console.print(Text(section.title, "bold"))
    found = []
    for finding in section.findings():
        found.append(finding)
        took = "" if finding.seconds is None else f"  {finding.seconds:.1f} s"
        line = Text.assemble(_sign(console, finding), f"  {one_line(finding.name)}: {one_line(finding.text)}", took)
        console.print(line, soft_wrap=True)
    console.print()
    return found


def _sign(console: Console, finding: Finding) -> Text:
    from rich.text import Text

    sign, ascii_sign, style = _SIGNS[finding.status]
    return Text(ascii_sign if console.options.ascii_only else sign, style)
