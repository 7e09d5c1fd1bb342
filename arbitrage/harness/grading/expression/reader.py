"""Reads the LaTeX of one expression into a tree. Small, strict, and without any evaluation.

What is not understood is refused rather than guessed: every token has a meaning here or the text is unreadable, so a
part of an answer is never dropped in silence. Knows nothing about numbers' sizes or about equality.
"""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache

from arbitrage.harness.grading.expression.tokens import FUNCTIONS, GREEK, tokens
from arbitrage.harness.grading.expression.tree import Node, UnreadableError, number, symbols

MAX_LENGTH = 2000
"""Characters; longer text is not an answer."""
MAX_DEPTH = 40
"""Nested groups; deeper text is not an answer."""

_MANY = frozenset({"max", "min", "gcd", "lcm"})
_DECORATIONS = frozenset(["overline", "bar", "vec", "hat", "tilde", "widetilde", "overrightarrow", "dot", "underline"])
_CLOSERS = {"(": ")", "[": "]", "{": "}", r"\lfloor": r"\rfloor", r"\lceil": r"\rceil", "|": "|", r"\|": r"\|"}
_APPLIED = frozenset("fgh")
_ENDS = frozenset({r"\rfloor", r"\rceil", r"\}", r"\choose", r"\cdot", r"\times", r"\|"})


@lru_cache(maxsize=4096)
def read(text: str) -> Node:
    """Read normalised text as one expression.

    Args:
        text: output of `normalise`, without relation signs and top-level commas.

    Returns:
        The tree, nothing evaluated.

    Raises:
        UnreadableError: the text is too long, too deep, or holds anything this reader does not know.
    """
    if len(text) > MAX_LENGTH:
        raise UnreadableError("the expression is too long")
    reader = _Reader(tokens(text))
    node = reader.expression()
    reader.expect_end()
    return node


class _Reader:
    """Recursive descent over the tokens of one expression."""

    def __init__(self, found: list[str]) -> None:
        self._tokens = found
        self._at = 0
        self._depth = 0
        self._open_bars = 0

    # -- tokens

    @property
    def _next(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _take(self) -> str:
        token = self._next
        self._at += 1
        return token

    def _skip_space(self) -> None:
        if self._next == " ":
            self._at += 1

    def _expect(self, token: str) -> None:
        if self._take() != token:
            raise UnreadableError(f"a missing {token}")

    def expect_end(self) -> None:
        if self._next:
            raise UnreadableError(f"an unexpected {self._next}")

    # -- sums, products, powers

    def expression(self) -> Node:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise UnreadableError("too deeply nested")
        terms = [self._term()]
        while self._next in ("+", "-"):
            sign = self._take()
            term = self._term()
            terms.append(Node("neg", (term,)) if sign == "-" else term)
        self._depth -= 1
        return terms[0] if len(terms) == 1 else Node("add", tuple(terms))

    def _term(self) -> Node:
        negative = self._signs()
        node = self._factor()
        while True:
            token = self._next
            if token in ("*", r"\cdot", r"\times"):
                self._take()
                node = self._product(node, self._signed_factor())
            elif token == "/":
                self._take()
                node = Node("div", (node, self._signed_factor()))
            elif token == " ":
                node = self._mixed(node)
            elif self._starts_factor(token):
                node = self._juxtaposed(node)
            else:
                return Node("neg", (node,)) if negative else node

    def _signs(self) -> bool:
        negative = False
        while self._next in ("+", "-"):
            negative ^= self._take() == "-"
        return negative

    def _signed_factor(self) -> Node:
        negative = self._signs()
        node = self._factor()
        return Node("neg", (node,)) if negative else node

    @staticmethod
    def _product(left: Node, right: Node) -> Node:
        return Node("mul", (left, right))

    def _juxtaposed(self, left: Node) -> Node:
        after_number = left.op == "num" and self._tokens[self._at - 1][-1].isdigit()
        token = self._next
        if after_number and token[0].isdigit():
            raise UnreadableError("two numbers side by side")
        right = self._factor()
        if after_number and token == r"\frac" and left.value.denominator == 1:
            if _is_proper(right):
                return Node("add", (left, right))
            if right.op == "degree" and _is_proper(right.args[0]):  # 141\frac{3}{7}^\circ
                return Node("degree", (Node("add", (left, right.args[0])),))
        return self._product(left, right)

    def _mixed(self, left: Node) -> Node:
        self._take()
        if left.op != "num" or left.value.denominator != 1:
            raise UnreadableError("two numbers side by side")
        above = self._number(self._take())
        self._expect("/")
        fraction = Node("div", (above, self._number(self._take())))
        if not _is_proper(fraction):
            raise UnreadableError("two numbers side by side")
        return Node("add", (left, fraction))

    def _starts_factor(self, token: str) -> bool:
        if token == "|":
            return not self._open_bars
        return token[:1].isalnum() or token[:1] in ("(", "[", "{", ".") or (token[:1] == "\\" and token not in _ENDS)

    def _factor(self) -> Node:
        node = self._postfix(self._base())
        if self._next == "^":
            self._take()
            node = Node("pow", (node, self._exponent()))
            node = self._postfix(node)
            if self._next == "^":
                raise UnreadableError("a double exponent")
        return node

    def _postfix(self, node: Node) -> Node:
        while self._next in ("!", "°", "%"):
            mark = self._take()
            if mark == "%":
                raise UnreadableError("a percent sign inside an expression")
            if mark == "!" and self._next == "!":
                self._take()
                node = Node("double_factorial", (node,))
            else:
                node = Node("factorial" if mark == "!" else "degree", (node,))
        return node

    def _exponent(self) -> Node:
        if self._next in ("-", "+"):
            negative = self._take() == "-"
            node = self._exponent()
            return Node("neg", (node,)) if negative else node
        if self._next == "(":
            return self._group()
        if self._next == "{" or self._next.startswith("\\") or self._next[:1].isalpha():
            return self._argument()
        return self._number(self._take())

    # -- single pieces

    def _base(self) -> Node:
        token = self._next
        if not token:
            raise UnreadableError("something missing")
        if token[0].isdigit() or token[0] == ".":
            return self._number_token()
        if token.isalpha():
            return self._symbol(self._take())
        if token in ("(", "[", "{"):
            return self._group()
        if token in ("|", r"\|"):
            return self._bars()
        if token.startswith("\\"):
            return self._command()
        raise UnreadableError(f"an unexpected {token}")

    def _number_token(self) -> Node:
        token = self._take()
        if self._next in (r"\overline", r"\dot", r"\bar"):
            raise UnreadableError("a repeating decimal inside an expression")
        if self._next == "_":
            raise UnreadableError("a number with a subscript")
        return self._number(token)

    @staticmethod
    def _number(token: str) -> Node:
        try:
            return number(Fraction(token.replace(",", "")))
        except ValueError:
            raise UnreadableError("a missing number") from None

    def _symbol(self, name: str) -> Node:
        name += self._subscript()
        primes = 0
        while self._next == "'":
            self._take()
            primes += 1
        if (name in _APPLIED or primes) and self._next == "(":
            return Node("opaque", self._arguments(), name + "'" * primes)
        return Node("sym", name=name + "'" * primes)

    def _subscript(self) -> str:
        if self._next != "_":
            return ""
        self._take()
        if self._next != "{":
            return "_" + self._take_digit()
        return "_" + self._raw_group()

    def _take_digit(self) -> str:
        """One TeX token: a command, a letter, or the first digit of a number."""
        token = self._next
        if token[:1].isdigit() and len(token) > 1:
            self._tokens[self._at] = token[1:]
            return token[0]
        if not token or not (token[0].isalnum() or token[0] == "\\" or token == "*"):
            raise UnreadableError("an empty subscript")
        return self._take()

    def _raw_group(self) -> str:
        """The tokens of a braced group, as a name."""
        self._expect("{")
        depth, parts = 1, []
        while depth:
            token = self._take()
            if not token:
                raise UnreadableError("a missing }")
            depth += {"{": 1, "}": -1}.get(token, 0)
            parts.append(token)
        return "".join(parts[:-1])

    def _group(self) -> Node:
        closer = _CLOSERS[self._take()]
        bars, self._open_bars = self._open_bars, 0
        node = self.expression()
        self._open_bars = bars
        if closer == "}" and self._next == r"\choose":
            self._take()
            node = Node("binomial", (node, self.expression()))
        self._expect(closer)
        if self._next == "_":
            raise UnreadableError("a group with a subscript")
        return node

    def _bars(self) -> Node:
        closer = self._take()
        self._open_bars += 1
        node = self.expression()
        self._open_bars -= 1
        self._expect(closer)
        return Node("abs", (node,))

    def _argument(self) -> Node:
        """What a command is applied to: a braced group, a command with its own arguments, a letter or one digit."""
        self._skip_space()
        token = self._next
        if token == "{":
            return self._group()
        if token.startswith("\\"):
            return self._command()
        if token.isalpha():
            return Node("sym", name=self._take())
        if token[:1].isdigit():
            return self._number(self._take_digit())
        raise UnreadableError("a missing argument")

    def _arguments(self) -> tuple[Node, ...]:
        opener = self._take()
        closer = {"(": ")", "{": "}", r"\{": r"\}", "[": "]"}.get(opener)
        if closer is None:
            raise UnreadableError("missing arguments")
        args = [self.expression()]
        while self._next == ",":
            self._take()
            args.append(self.expression())
        self._expect(closer)
        return tuple(args)

    # -- commands

    def _command(self) -> Node:
        name = self._take()[1:]
        if name in FUNCTIONS:
            return self._function(name)
        if name in ("frac", "binom"):
            if self._tokens[self._at : self._at + 5] == ["{", "d", "}", "{", "d"]:
                raise UnreadableError("a derivative")
            above = self._argument()
            return Node("div" if name == "frac" else "binomial", (above, self._argument()))
        if name == "sqrt":
            return self._root()
        if name == "pi" or name in GREEK:
            return self._symbol("\\" + name)
        if name == "infty":
            return Node("inf")
        if name in _MANY:
            return Node(name, self._arguments())
        if name in ("floor", "ceil"):
            return Node(name, self._arguments())
        if name in ("lfloor", "lceil"):
            node = self.expression()
            self._expect(_CLOSERS["\\" + name])
            return Node(name[1:], (node,))
        if name in ("sum", "prod"):
            return self._big(name)
        if name in _DECORATIONS:
            content = self._raw_group() if self._next == "{" else self._take_digit()
            return self._symbol(f"\\{name}{{{content}}}")
        if name in ("angle", "triangle"):
            letters = "".join(iter(lambda: self._take() if self._next.isalpha() else "", ""))
            return self._symbol(f"\\{name}{letters}")
        raise UnreadableError(f"an unknown command {name}")

    def _root(self) -> Node:
        degree = number(2)
        if self._next == "[":
            self._take()
            degree = self.expression()
            self._expect("]")
        if self._next == "(":
            return Node("root", (self._group(), degree))
        return Node("root", (self._argument(), degree))

    def _function(self, name: str) -> Node:
        power: Node | None = None
        base: Node | None = None
        while self._next in ("^", "_"):
            if self._take() == "^":
                power = self._exponent()
            else:
                base = self._log_base()
        if base is not None and name != "log":
            raise UnreadableError("a function with a subscript")
        if power == Node("neg", (number(1),)) and not name.startswith(("arc", "l", "e")):
            name, power = "arc" + name, None
        argument = self._function_argument()
        if name in ("log", "lg", "ln"):
            base = base or {"ln": Node("sym", name="e"), "lg": number(10), "log": Node("sym", name="\\logbase")}[name]
            node = Node("log", (argument, base))
        else:
            node = Node("call", (argument,), name)
        return node if power is None else Node("pow", (node, power))

    def _log_base(self) -> Node:
        follower = "".join(self._tokens[self._at + 1 : self._at + 2])
        if self._next[:1].isdigit() and follower not in (
            "",
            "+",
            "-",
            ")",
            "}",
        ):  # else the base is the first digit only
            return self._number(self._take())
        return self._argument()

    def _function_argument(self) -> Node:
        """A group, or what stands beside the function up to a sign, an explicit product or another function."""
        if self._next in ("(", "{", "["):
            node = self._group()
            return Node("degree", (node,)) if self._next == "°" and self._take() else node
        self._skip_space()
        node = self._signed_factor()
        while self._starts_factor(self._next) and self._next[1:] not in FUNCTIONS and self._next != "(":
            node = self._juxtaposed(node)
        if self._next == "/" and r"\pi" in symbols(node):  # \sin\pi/6
            self._take()
            node = Node("div", (node, self._factor()))
        return node

    def _big(self, name: str) -> Node:
        self._expect("_")
        self._expect("{")
        index = self._take()
        if not index.isalpha():
            raise UnreadableError("a sum without an index")
        self._expect("=")
        lower = self.expression()
        self._expect("}")
        self._expect("^")
        upper = self._exponent()
        return Node(name, (self._term(), lower, upper), index)


def _is_proper(node: Node) -> bool:
    """Whether the node is a fraction of two integers below one, as in a mixed number."""
    return (
        node.op == "div"
        and all(arg.op == "num" and arg.value.denominator == 1 for arg in node.args)
        and 0 <= node.args[0].value < node.args[1].value
    )
