"""Foreign text: model output, labels, file names and error messages are shown, never obeyed; and typed newlines."""

from __future__ import annotations


def printable(text: str) -> str:
    """`text` with control characters, escape sequences among them, replaced; line ends and tabs stay."""
    return "".join(character if character.isprintable() or character in "\n\t" else "\ufffd" for character in text)


def unescaped(text: str) -> str:
    r"""`text` with newlines where `\n` is typed, as on command lines and in URLs, which hold none."""
    return text.replace("\\n", "\n")


def one_line(text: object) -> str:
    """The words of a message, on one line."""
    return printable(" ".join(str(text).split()))
