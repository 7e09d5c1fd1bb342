r"""Reads as much of a text as the Qwen2.5-Math evaluator's parser does: the longest beginning that is an expression.

What comes back is text for the strict reader of `expression`. Knows that parser's grammar; compares nothing.
"""

from __future__ import annotations

import re


class _UnreadError(ValueError):
    """The text goes on in a way that is no expression."""


class _BadTokenError(ValueError):
    """A character that belongs to no token; where one is met, nothing of the text counts."""


_SKIPPED = re.compile(
    r"\s+|\\[,:;!]|\\[*\-./\"(=]|\\(?:(?:thin|med|thick)space|q?quad|neg(?:thin|med|thick)space|left(?!\|)|right(?!\|)|"
    r"vrule|vcenter|vbox|vskip|vspace|hfil)(?![A-Za-z])"
)
_TOKEN = re.compile(
    r"(?P<skip> )|(?P<number>\d[\d, ]*(?:\.\d*)?)|(?P<letter>d(?:[A-Za-z]|\\[A-Za-z]+)|[A-Za-z])|"
    r"(?P<command>\\(?:[A-Za-z]+|[{}]))|(?P<quotes>'+)|(?P<sign>&?\s*=|=\s*&|[-+*/(){}\[\]|_^:<>!,.])|(?P<bad>.)",
    re.DOTALL,
)
_DIGITS = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?")
_FUNCTIONS = {
    **{f"\\{name}": f"\\{name}" for name in ("exp", "sin", "cos", "tan", "csc", "sec", "cot", "ln", "lg", "log")},
    **{f"\\arc{name}": f"\\arc{name}" for name in ("sin", "cos", "tan", "csc", "sec", "cot")},
    **{f"\\{name}h": f"\\{name}h" for name in ("sin", "cos", "tan")},
    **{f"\\ar{name}h": f"\\arc{name}h" for name in ("sin", "cos", "tan")},
}
_INVERTIBLE = frozenset((r"\sin", r"\cos", r"\tan", r"\csc", r"\sec", r"\cot"))
_PRODUCT_SIGNS = {"*": "*", r"\times": "*", r"\cdot": "*", "/": "/", r"\div": "/", ":": "/"}
_RELATION_SIGNS = frozenset(
    ["=", "<", ">", r"\neq", r"\leq", r"\le", r"\leqq", r"\leqslant", r"\geq", r"\ge", r"\geqq", r"\geqslant"]
)
_NOT_SYMBOLS = frozenset((
    *_PRODUCT_SIGNS, *_RELATION_SIGNS, r"\lim", r"\int", r"\sum", r"\prod", r"\langle", r"\rangle", r"\to",
    r"\rightarrow", r"\Rightarrow", r"\longrightarrow", r"\Longrightarrow", r"\rfloor", r"\rceil", r"\{", r"\}",
))  # fmt: skip
_CLOSERS = {"(": ")", "[": "]", "{": "}", r"\{": r"\}"}
_FLOORS = {r"\lfloor": r"\rfloor", r"\lceil": r"\rceil"}
_MAX_DEPTH = 60
_BAD = "\0"


def read_beginning(text: str) -> tuple[str, ...] | None:
    """The longest beginning of a text that is an expression, or are expressions with relation signs between them.

    Args:
        text: stripped text.

    Returns:
        The expressions for the strict reader, each name spelled in a way that has no meaning there; None when not even
        the beginning can be read.
    """
    try:
        reader = _Beginning(_tokens(text.replace("\\\\", "\\")))
        sides, signs = [reader.sum()], set[str]()
        while reader.next in _RELATION_SIGNS:
            try:
                sign = reader.take()
                sides.append(reader.sum())
                signs.add(sign)
            except _UnreadError:
                break
    except (_UnreadError, _BadTokenError):
        return None
    return None if len(sides) > 2 and signs != {"="} else tuple(sides)


def _tokens(text: str) -> list[str]:
    found: list[str] = []
    for match in _TOKEN.finditer(_SKIPPED.sub(" ", text)):
        token = match[0]
        if match.lastgroup == "number":
            found.extend(_number_tokens(re.sub(r" |\.$", "", token)))
            if token.endswith("."):
                found.append(_BAD)
        elif match.lastgroup == "bad":
            found.append(_BAD)
        elif match.lastgroup == "sign" and "=" in token:
            found.append("=")
        elif match.lastgroup != "skip":
            found.append(token)
    return found


def _number_tokens(text: str) -> list[str]:
    """Numbers with their thousands, and the commas between and after them."""
    found: list[str] = []
    at = 0
    while at < len(text):
        match = _DIGITS.match(text, at)
        found.append(match[0] if match else text[at])
        at = match.end() if match else at + 1
    return found


class _Beginning:
    """Recursive descent that writes what it reads with all brackets, and outside of them stops where it must."""

    def __init__(self, tokens: list[str]) -> None:
        self._tokens = tokens
        self._inside = 0
        self._bars = 0
        self._depth = 0
        self._at = 0

    @property
    def next(self) -> str:
        """The token that comes next; empty at the end."""
        token = self._tokens[self._at] if self._at < len(self._tokens) else ""
        if token == _BAD:
            raise _BadTokenError
        return token

    def take(self) -> str:
        """The next token, which is then behind."""
        token = self.next
        self._at += 1
        return token

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise _UnreadError

    def _mark(self) -> tuple[int, int, int, int]:
        return self._at, self._inside, self._bars, self._depth

    def _stop(self, mark: tuple[int, int, int, int]) -> None:
        """End the expression at a mark that is outside of all brackets."""
        self._at, self._inside, self._bars, self._depth = mark
        if self._inside:
            raise _UnreadError
        del self._tokens[self._at :]

    def sum(self) -> str:
        """Terms with signs between them."""
        self._deeper()
        terms = [self._product()]
        while self.next in ("+", "-"):
            mark = self._mark()
            try:
                sign = self.take()
                terms += [sign, self._product()]
            except _UnreadError:
                self._stop(mark)
        self._depth -= 1
        return "".join(terms)

    def _product(self, *, functions: bool = True) -> str:
        node = f"({self._signed(functions=functions)})"
        while self.next in _PRODUCT_SIGNS:
            mark = self._mark()
            try:
                sign = _PRODUCT_SIGNS[self.take()]
                node += f"{sign}({self._signed(functions=functions)})"
            except _UnreadError:
                self._stop(mark)
        return f"({node})"

    def _signed(self, *, functions: bool) -> str:
        negative = False
        while self.next in ("+", "-"):
            negative ^= self.take() == "-"
        factors = [self._factor()]
        while self._starts_factor(functions):
            mark = self._mark()
            try:
                factors.append(self._factor())
            except _UnreadError:
                self._stop(mark)
        node = "*".join(factors)
        return f"-({node})" if negative else node

    def _starts_factor(self, functions: bool) -> bool:
        token = self.next
        if token == "|":
            return not self._bars
        if not functions and (token in _FUNCTIONS or token in (r"\sqrt", r"\overline")):
            return False
        if token in _CLOSERS or token in _FLOORS or token[:1].isalnum():
            return True
        return token.startswith("\\") and token not in _NOT_SYMBOLS

    def _factor(self) -> str:
        node = self._piece()
        while self.next in ("^", "!"):
            mark = self._mark()
            try:
                if self.take() == "!":
                    node = f"(({node})!)"
                else:
                    node = f"(({node})^{{{self._script()}}})"
                    if self.next == "_":
                        self.take()
                        self._script()
            except _UnreadError:
                self._stop(mark)
        return node

    def _script(self) -> str:
        """What stands after `^` or `_`: a group in braces, a number, a letter, a fraction."""
        if self.next == "{":
            return self._group()
        if self.next[:1].isdigit() or self.next[:1].isalpha():
            return self._atom()
        if self.next in (r"\frac", r"\binom"):
            return self._piece()
        if self._is_symbol(self.next):
            return self._symbol(applied=False)
        raise _UnreadError

    def _atom(self) -> str:
        return f"({self.take().replace(',', '')})" if self.next[0].isdigit() else self._symbol(applied=False)

    def _group(self) -> str:
        closer = _CLOSERS[self.take()]
        self._inside += 1
        bars, self._bars = self._bars, 0
        node = self.sum()
        if self.take() != closer:
            raise _UnreadError
        self._bars = bars
        self._inside -= 1
        return f"({node})"

    def _braced(self) -> str:
        if self.next != "{":
            raise _UnreadError
        return self._group()

    def _piece(self) -> str:
        token = self.next
        if token[:1].isdigit():
            return f"({self.take().replace(',', '')})"
        if token in _CLOSERS:
            return self._group()
        if token == "|":
            return self._absolute()
        if token in _FUNCTIONS:
            return self._function()
        if token in _FLOORS:
            opener = self.take()
            self._inside += 1
            node = self.sum()
            if self.take() != _FLOORS[opener]:
                raise _UnreadError
            self._inside -= 1
            return f"({opener}({node}){_FLOORS[opener]})"
        if token == r"\frac":
            self.take()
            above = self._fraction_part()
            return f"({above}/{self._fraction_part()})"
        if token == r"\binom":
            self.take()
            above = self._braced()
            return rf"(\binom{{{above}}}{{{self._braced()}}})"
        if token == r"\sqrt":
            self.take()
            degree = f"[{self._group()}]" if self.next == "[" else ""
            return rf"(\sqrt{degree}{{{self._braced()}}})"
        if token == r"\overline":
            self.take()
            return self._braced()
        if self._is_symbol(token):
            return self._symbol(applied=True)
        raise _UnreadError

    def _absolute(self) -> str:
        self.take()
        self._inside += 1
        self._bars += 1
        node = self.sum()
        if self.take() != "|":
            raise _UnreadError
        self._bars -= 1
        self._inside -= 1
        return f"(|({node})|)"

    def _fraction_part(self) -> str:
        if self.next[:1].isdigit() and len(self.next) == 1:
            return f"({self.take()})"
        return self._braced()

    @staticmethod
    def _is_symbol(token: str) -> bool:
        return token[:1].isalpha() or (token.startswith("\\") and token not in _NOT_SYMBOLS and token not in _FUNCTIONS)

    def _symbol(self, *, applied: bool) -> str:
        """A letter or a name, or an unknown function of what stands in parentheses after it."""
        name = self.take()
        if name == r"\infty":
            return r"(\infty)"
        self._deeper()
        if name == r"\mathit" and self.next == "{":
            start = self._at
            self._group()
            name = "".join(self._tokens[start + 1 : self._at - 1])
        for _ in range(2):
            if self.next == "_":
                self.take()
                start = self._at
                self._script()
                name += "_" + "".join(self._tokens[start : self._at]).strip("{}")
            elif self.next.startswith("'"):
                name += self.take()
        code = "".join(f"{ord(letter):03d}" for letter in name)
        self._depth -= 1
        if applied and self.next == "(":
            mark = self._mark()
            try:
                return f"(f_{{{code}}}'({self._arguments()}))"
            except _UnreadError:
                self._stop(mark)
        return f"(x_{{{code}}})"

    def _arguments(self) -> str:
        self.take()
        self._inside += 1
        bars, self._bars = self._bars, 0
        args = [self.sum()]
        while self.next == ",":
            self.take()
            args.append(self.sum())
        if self.take() != ")":
            raise _UnreadError
        self._bars = bars
        self._inside -= 1
        return ",".join(args)

    def _log_base(self) -> str:
        r"""A script, which leaves its last digit as the argument when nothing else follows: `\log_28`."""
        start = self._at
        base = self._script()
        token = self._tokens[start]
        if token.isdigit() and len(token) > 1 and not (self.next in ("(", "^") or self._starts_factor(False)):
            self._tokens[start : self._at] = [token[:-1], token[-1]]
            self._at = start + 1
            return f"({token[:-1]})"
        return base

    def _function(self) -> str:
        self._deeper()
        token = self.take()
        name = _FUNCTIONS[token]
        power = base = ""
        inverse = False
        while (self.next == "^" and not power) or (self.next == "_" and not base):
            start = self._at + 1
            if self.take() == "^":
                power = self._script()
                inverse = self._tokens[start : self._at] == ["{", "-", "1", "}"]
            else:
                base = self._log_base()
        argument = self._arguments().split(",")[0] if self.next == "(" else self._product(functions=False)
        self._depth -= 1
        if inverse and token in _INVERTIBLE:
            name, power = name.replace("\\", r"\arc"), ""
        if token == r"\log":
            node = rf"(\ln({argument}))" + (rf"/(\ln({base}))" if base else "")
        else:
            node = f"{name}({argument})"
        return f"(({node})^{{{power}}})" if power else f"({node})"
