"""Foreign text: model output, labels, file names and error messages are shown, never obeyed."""

from __future__ import annotations


def printable(text: str) -> str:
    """`text` with control characters, escape sequences among them, replaced; line ends and tabs stay."""
    return "".join(character if character.isprintable() or character in "\n\t" else "\ufffd" for character in text)


def one_line(text: object) -> str:
    """The words of a message, on one line."""
    return printable(" ".join(str(text).split()))
