"""The capability table: what each registered backend says of itself, as Markdown.

python -m arbitrage.backends.capabilities
"""

from __future__ import annotations

from arbitrage.errors import MissingExtraError
from arbitrage.interfaces import Capability
from arbitrage.registry import registry

_COLUMNS = (
    "backend",
    "reads",
    "devices",
    *(str(capability) for capability in Capability),
    "PRM and router",
    "sessions batched together",
    "bundled target",
)


def table() -> str:
    """One line a backend; what is not installed is left out and said below."""
    lines = ["| " + " | ".join(_COLUMNS) + " |", "|" + " --- |" * len(_COLUMNS)]
    absent = []
    for name in registry().names("backend"):
        try:
            facts = registry().backend(name).facts
        except MissingExtraError as error:
            absent.append(f"\n`{name}` is not listed: {error}")
            continue
        if facts is None:
            lines.append(f"| `{name}` |" + " ? |" * (len(_COLUMNS) - 1))
            continue
        cells = [
            f"`{name}`",
            facts.reads,
            facts.devices,
            *(_yes(capability in facts.capabilities) for capability in Capability),
            _yes(facts.scorers),
            _yes(facts.together),
            ", ".join(facts.bundled),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, *absent]) + "\n"


def _yes(holds: bool) -> str:
    return "yes" if holds else "no"


if __name__ == "__main__":
    print(table(), end="")
