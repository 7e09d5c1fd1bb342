"""Cuts the text of one expression into tokens. Knows names and spacing and nothing about structure."""

from __future__ import annotations

import re

from arbitrage.harness.grading.expression.tree import UnreadableError

_TOKEN = re.compile(
    r"(?P<number>\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)|(?P<command>\\[A-Za-z]+)|(?P<brace>\\[{}|])|"
    r"(?P<word>[A-Za-z]+)|(?P<mark>[-+*/^_()\[\]{}|!'°,:=<>%])|(?P<space>\s+)|(?P<other>.)",
    re.DOTALL,
)
FUNCTIONS = frozenset({
    "sin", "cos", "tan", "cot", "sec", "csc", "sinh", "cosh", "tanh", "arcsin", "arccos", "arctan", "arccot",
    "arcsec", "arccsc", "arcsinh", "arccosh", "arctanh", "ln", "exp", "log", "lg",
})  # fmt: skip
_WORD_FUNCTIONS = tuple(
    sorted(FUNCTIONS | {"sqrt", "max", "min", "gcd", "lcm", "floor", "ceil", "binom"}, key=len, reverse=True)
)
GREEK = frozenset({
    "alpha", "beta", "gamma", "delta", "epsilon", "varepsilon", "zeta", "eta", "theta", "vartheta", "iota", "kappa",
    "lambda", "mu", "nu", "xi", "rho", "sigma", "tau", "upsilon", "phi", "varphi", "chi", "psi", "omega", "Gamma",
    "Delta", "Theta", "Lambda", "Xi", "Pi", "Sigma", "Upsilon", "Phi", "Psi", "Omega", "ell", "hbar", "aleph", "mho",
})  # fmt: skip


def tokens(text: str) -> list[str]:
    """Tokens of normalised text; a space stays only where it stands between two numbers.

    Raises:
        UnreadableError: a character or a word is unknown.
    """
    found: list[str] = []
    for match in _TOKEN.finditer(text):
        token = match[0]
        if match.lastgroup == "other":
            raise UnreadableError("an unknown character")
        if match.lastgroup == "word":
            found.extend(_split_word(token))
        elif match.lastgroup == "space":
            found.append(" ")
        else:
            found.append(token)
    # A space matters between two numbers only: `3 1/4` is a mixed number and `2 3` is not a number at all.
    around = zip(["", *found], found, [*found[1:], ""], strict=False)
    return [token for before, token, after in around if token != " " or (before[-1:].isdigit() and after[:1].isdigit())]


def _split_word(word: str) -> list[str]:
    """Plain letters: a known name such as sqrt or pi, or one variable after the other."""
    if word in ("pi", "infty", "infinity", "oo") or (word in GREEK and len(word) > 2):
        return [r"\infty" if word in ("infinity", "oo") else "\\" + word]
    for name in _WORD_FUNCTIONS:
        if word.startswith(name) and len(word) - len(name) <= 1:
            return ["\\" + name, *word[len(name) :]]
    if len(word) > 3 and word.islower():
        for name in _WORD_FUNCTIONS:
            if word.endswith(name) and len(word) - len(name) <= 1:
                return [*word[: -len(name)], "\\" + name]
    if len(word) > 6:
        raise UnreadableError("a word and not an expression")
    return list(word)
