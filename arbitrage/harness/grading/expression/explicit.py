r"""Writes calculus out so fully that it can be taken in one way only: every product, bracket and bound explicit.

The readers of sympy guess where LaTeX leaves something open (`2(3)` is five to them, `\frac{dy}{dx}` is nothing). This
one refuses instead: what it passes on holds known commands, single letters and numbers only, so no prose and no code.
Knows nothing about values.
"""

from __future__ import annotations

import re

from arbitrage.harness.grading.expression.tokens import FUNCTIONS, GREEK, tokens
from arbitrage.harness.grading.expression.tree import UnreadableError

MAX_LENGTH = 300
"""Characters; a general grammar is slow, and a longer integral is not an answer."""
MAX_DEPTH = 12
"""Nested expressions."""
CALCULUS = re.compile(r"\\(?:int|sum|prod|lim)(?![A-Za-z])|\\frac\s*\{\s*d\s*\}\s*\{\s*d\s*\\?[A-Za-z]+\s*\}")
"""What the strict reader leaves to algebra."""

_WORD = re.compile(r"(?<![A-Za-z\\])[A-Za-z]{2,}(?![A-Za-z])")
_FACTORS = re.compile(r"[A-Za-z]{0,2}(?:d[A-Za-z])+|pi|[A-Za-z]{2}")
_ENGLISH = frozenset({
    "am", "an", "as", "at", "be", "by", "do", "go", "he", "if", "in", "is", "it", "me", "my", "no", "of", "oh", "ok",
    "on", "or", "so", "to", "up", "us", "we", "al", "ie", "eg", "vs", "id", "im", "Mr", "Ms",
})  # fmt: skip
_LETTERS = GREEK - {"gamma", "Gamma", "ell", "hbar", "aleph", "mho", "Pi", "Sigma"}
_CLOSERS = {"(": ")", "[": "]", "{": "}", "|": "|"}
_TRIGONOMETRIC = frozenset({"sin", "cos", "tan", "cot", "sec", "csc", "sinh", "cosh", "tanh"})
_HEADS = frozenset({"int", "sum", "prod", "lim", "frac", "binom", "sqrt", "infty", "pi"}) | FUNCTIONS | _LETTERS


def explicit(text: str, log: str) -> str:
    r"""Normalised text with everything spelled out, for a general LaTeX reader.

    Args:
        text: output of `normalise`.
        log: what a logarithm without a base is written as: `\ln` or `\log_{10}`.

    Returns:
        LaTeX of the same expression.

    Raises:
        UnreadableError: a symbol, word or arrangement that is unknown or could be meant in two ways.
    """
    if len(text) > MAX_LENGTH:
        raise UnreadableError("the expression is too long for algebra")
    for word in _WORD.findall(text):
        if word in _ENGLISH or not _FACTORS.fullmatch(word):
            raise UnreadableError("a word and not an expression")
    writer = _Writer(tokens(text), log)
    written = writer.expression()
    writer.expect_end()
    return written


class _Writer:
    """Recursive descent over tokens; each method takes its part and returns it written out."""

    def __init__(self, found: list[str], log: str) -> None:
        self._tokens = found
        self._log = log
        self._at = 0
        self._depth = 0
        self._integrals: list[int] = []
        """Depth of each open integral's body."""
        self._variable = ""
        r"""Variable of a differential that stood in a numerator: `\int\frac{dx}{x}`."""
        self._bars = 0

    @property
    def _next(self) -> str:
        return self._peek(0)

    def _peek(self, ahead: int) -> str:
        return self._tokens[self._at + ahead] if self._at + ahead < len(self._tokens) else ""

    def _take(self) -> str:
        token = self._next
        self._at += 1
        return token

    def _expect(self, *wanted: str) -> None:
        for token in wanted:
            if self._take() != token:
                raise UnreadableError(f"a missing {token}")

    def expect_end(self) -> None:
        if self._next or self._variable:
            raise UnreadableError(f"an unexpected {self._next or 'differential'}")

    # -- sums, products, powers

    def expression(self) -> str:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise UnreadableError("too deeply nested for algebra")
        written = (self._take() if self._next in ("+", "-") else "") + self._term()
        while self._next in ("+", "-") and not self._variable:
            written += self._take() + self._term()
        self._depth -= 1
        return written

    def _term(self) -> str:
        written = last = self._factor()
        divided = False
        while not self._variable:
            if self._next in ("*", r"\cdot", r"\times"):
                self._take()
                last = self._factor()
                written += rf" \cdot {last}"
            elif self._next == "/":
                self._take()
                written += f" / {self._factor()}"
                divided = True
            elif self._starts_factor():
                if divided:  # 1/2x
                    raise UnreadableError("an unclear division")
                factor = self._factor()
                if last.isdigit() and re.match(r"\d|\(?\\frac\{\d+\}\{\d+\}", factor):
                    raise UnreadableError("two numbers side by side")
                last = factor
                written += rf" \cdot {last}"
            else:
                break
        return written

    def _starts_factor(self) -> bool:
        token = self._next
        if token == "|":
            return not self._bars
        if token == "d":
            return False
        return token[:1].isalnum() or token[:1] in ("(", "[", "{", ".") or token[1:] in _HEADS

    def _factor(self) -> str:
        written = self._operand()
        if self._next == "!":
            self._take()
            if self._next == "!":
                raise UnreadableError("a double factorial")
            written = f"({written})!"
        if self._next == "^" and not self._side():
            self._take()
            written = f"({written})^{{{self._exponent()}}}"
            if self._next in ("^", "!"):
                raise UnreadableError("a double exponent")
        return written

    def _exponent(self) -> str:
        return self._number() if self._next.isdigit() else self._argument()

    def _argument(self) -> str:
        """A braced group, or one token as TeX takes it; several digits without braces could be meant in two ways."""
        token = self._next
        if token == "{":
            written = self._group()
            return "(T)" if written == "T" else written
        if (token.isdigit() and len(token) > 1) or (token.startswith("\\") and token[1:] not in _LETTERS | _CONSTANTS):
            raise UnreadableError("a missing brace")
        if token[:1].isalnum() or token.startswith("\\"):
            written = self._operand()
            if self._next == " ":  # \int_0^1 2x
                self._take()
            return "(T)" if written == "T" else written  # a bare T above the line transposes
        raise UnreadableError("a missing argument")

    def _arguments(self) -> tuple[str, str]:
        r"""Both arguments of a fraction, where `\frac12` is a half."""
        if self._next.isdigit() and len(self._next) > 1:
            self._tokens[self._at : self._at + 1] = list(self._next)
        above = self._argument()
        if self._next.isdigit() and len(self._next) > 1:
            self._tokens[self._at : self._at + 1] = [self._next[0], self._next[1:]]
        return above, self._argument()

    def _group(self) -> str:
        opener = self._take()
        bars, self._bars = self._bars, int(opener == "|")
        written = self.expression()
        self._bars = bars
        self._expect(_CLOSERS[opener])
        return written

    # -- operands

    def _operand(self) -> str:
        token = self._next
        if token[:1].isdigit() or token[:1] == ".":
            return self._number()
        if token in ("(", "[", "{"):
            return f"({self._group()})"
        if token == "|":
            return f"|{self._group()}|"
        if token.isalpha() or (token[1:] in _LETTERS and token.startswith("\\")):
            return self._symbol()
        if token.startswith("\\"):
            return self._command()
        raise UnreadableError(f"an unexpected {token or 'end'}")

    def _number(self) -> str:
        whole, _, decimals = self._take().replace(",", "").partition(".")
        if self._next == "_":
            raise UnreadableError("a number with a subscript")
        return rf"(\frac{{{whole}{decimals}}}{{{10 ** len(decimals)}}})" if decimals else whole

    def _symbol(self) -> str:
        name = self._take()
        if name in ("d", "I") or (name in "fgh" and self._next in ("(", "[")):
            raise UnreadableError(f"an unclear {name}")
        if self._next == "'":
            raise UnreadableError("a prime")
        if self._next != "_":
            return name + " " * name.startswith("\\")
        self._take()
        braced = self._next == "{"
        if braced:
            self._take()
        index = self._take()
        if not re.fullmatch(r"\d+" if braced else r"\d", index) or name in ("e", "i"):  # the n of a_n may be bound
            raise UnreadableError("an unclear subscript")
        if braced:
            self._expect("}")
        return f"{name}_{{{index}}}"

    def _command(self) -> str:
        name = self._take()[1:]
        if name in FUNCTIONS:
            return self._function(name)
        if name in _CONSTANTS:
            return f"\\{name} "
        if name == "frac":
            return self._fraction()
        if name == "binom":
            above, below = self._arguments()
            return rf"\binom{{{above}}}{{{below}}}"
        if name == "sqrt":
            degree = f"[{self._group()}]" if self._next == "[" else ""
            content = self._group() if self._next == "(" else self._argument()
            return rf"\sqrt{degree}{{{content}}}"
        if name in ("sum", "prod"):
            return self._big(name)
        if name == "lim":
            return self._limit()
        if name == "int":
            return self._integral()
        raise UnreadableError(f"an unknown command {name}")

    def _fraction(self) -> str:
        head = self._tokens[self._at : self._at + 5]
        if head == ["{", "d", "}", "{", "d"]:
            self._at += 5
            variable = self._bound()
            self._expect("}")
            return rf"(\frac{{d}}{{d{variable}}} ({self._term()}))"
        if self._next != "{" or not self._integrals or self._integrals[-1] != self._depth:
            above, below = self._arguments()
            return rf"\frac{{{above}}}{{{below}}}"
        self._take()
        above = "1" if self._next == "d" else self.expression()
        variable = self._differential() if self._next == "d" else ""
        self._expect("}")
        below = self._argument()
        self._variable = variable
        return rf"\frac{{{above}}}{{{below}}}"

    def _function(self, name: str) -> str:
        power = base = ""
        while self._next in ("^", "_"):
            if self._take() == "^":
                power = self._exponent()
            else:
                base = self._argument()
        if base and name != "log":
            raise UnreadableError("a function with a subscript")
        if power == "-1" and name in _TRIGONOMETRIC:
            name, power = f"arc{name}", ""
        if power.startswith("-"):
            raise UnreadableError("an unclear power of a function")
        argument = self._function_argument()
        if name == "exp":
            written = f"(e)^{{{argument}}}"
        elif name == "lg" or (name == "log" and base):
            written = rf"\log_{{{base or '10'}}}({argument})"
        else:
            written = f"{self._log if name == 'log' else f'{chr(92)}{name}'}({argument})"
        return f"({written})^{{{power}}}" if power else f"({written})"

    def _function_argument(self) -> str:
        """A bracketed group, or what stands beside the function up to a sign, a bracket or another command of note."""
        if self._next in ("(", "[", "{"):
            return self._group()
        factors = [self._factor()]
        while self._starts_factor() and self._next != "(" and self._next[1:] not in FUNCTIONS | _BIG:
            factors.append(self._factor())
        if self._next == "/" and any(r"\pi" in factor for factor in factors):
            raise UnreadableError("an unclear division")
        if len(factors) > 1 and factors[0].isdigit() and re.match(r"\d|\(?\\frac\{\d+\}\{\d+\}", factors[1]):
            raise UnreadableError("two numbers side by side")
        return r" \cdot ".join(factors)

    # -- what binds a variable

    def _bound(self) -> str:
        name = self._take()
        if not (re.fullmatch(r"[A-Za-z]", name) and name not in "deI") and name[1:] not in _LETTERS:
            raise UnreadableError("a missing variable")
        return name

    def _differential(self) -> str:
        self._expect("d")
        return self._bound()

    def _big(self, name: str) -> str:
        self._expect("_", "{")
        index = self._bound()
        self._expect("=")
        lower = self.expression()
        self._expect("}", "^")
        upper = self._argument()
        return rf"(\{name}_{{{index}={lower}}}^{{{upper}}} ({self._term()}))"

    def _limit(self) -> str:
        self._expect("_", "{")
        variable = self._bound()
        self._expect(r"\to")
        target = self.expression()
        side = self._side()
        if side:
            self._at += 2 if self._peek(1) != "{" else 4
        self._expect("}")
        return rf"(\lim_{{{variable} \to {target}{side}}} ({self._term()}))"

    def _side(self) -> str:
        """The mark of a one-sided limit that stands next; empty when there is none."""
        sign = self._peek(2) if self._peek(1) == "{" and self._peek(3) == "}" else self._peek(1)
        inside_limit = self._next == "^" and sign in ("+", "-")
        closed = self._peek(4 if self._peek(1) == "{" else 2) == "}"
        return f"^{{{sign}}}" if inside_limit and closed else ""

    def _integral(self) -> str:
        bounds: dict[str, str] = {}
        while self._next in ("_", "^") and self._next not in bounds:
            mark = self._take()
            bounds[mark] = self._argument()
        if len(bounds) < 2:
            raise UnreadableError("an integral without bounds")
        self._integrals.append(self._depth + 1)
        body = "1" if self._next == "d" else self.expression()
        self._integrals.pop()
        variable, self._variable = self._variable, ""
        variable = variable or self._differential()
        return rf"(\int_{{{bounds['_']}}}^{{{bounds['^']}}} ({body}) d{variable})"


_CONSTANTS = frozenset({"infty", "pi"})
_BIG = frozenset({"sum", "prod", "lim", "int"})
