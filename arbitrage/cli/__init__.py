"""The command `arbitrage`. One module per command; whatever is heavy is imported when a command runs."""

from __future__ import annotations

import io
import sys
import warnings
from collections.abc import Sequence
from typing import TextIO

from arbitrage.errors import ArbitrageError
from arbitrage.text import one_line


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    0 done; 1 a check, a comparison or an answer failed; 2 wrong input, or an error that says what to do; 130 Ctrl-C.

    Args:
        arguments: words after the program's name; None takes them from the process.
    """
    words, debug = _take_debug(sys.argv[1:] if arguments is None else arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal that lacks a letter gets its number, not a traceback
        sys.stdout.reconfigure(errors="backslashreplace")
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        try:
            from arbitrage.cli.app import app

            app(args=words, prog_name="arbitrage")
        except KeyboardInterrupt:  # while importing; later the application says so itself
            return 130
        except SystemExit as stopped:
            return stopped.code if isinstance(stopped.code, int) else int(bool(stopped.code))
        except ArbitrageError as error:
            if debug:
                raise
            _print_error(error)
            return 2
        except OSError as error:
            if debug:
                raise
            where = "" if error.filename is None else f"{error.filename}: "
            _print_error(f"{where}{error.strerror or error}; check path, rights and space, or see more with --debug")
            return 2
    return 0


def _take_debug(words: Sequence[str]) -> tuple[list[str], bool]:
    """`--debug` may stand anywhere before a bare `--`; the application itself knows it as a leading option."""
    end = words.index("--") if "--" in words else len(words)
    debug = "--debug" in words[:end]
    rest = [word for word in words[:end] if word != "--debug"] + list(words[end:])
    return (["--debug", *rest] if debug else rest), debug


def _print_error(error: object) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True, soft_wrap=True)
    console.print(Text.assemble(("error: ", "bold red"), (one_line(error), "red")))


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True, soft_wrap=True)
    console.print(Text.assemble(("warning: ", "bold yellow"), (one_line(message), "yellow")))
