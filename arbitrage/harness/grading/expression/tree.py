"""The tree of one expression. Knows its own structure and nothing about text or values."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction


class UnreadableError(ValueError):
    """The text is not an expression that this reader understands."""


@dataclass(frozen=True, slots=True)
class Node:
    """One operation of an expression, its arguments first to last."""

    op: str
    """num, sym, inf, opaque (a name with arguments), call (a known function), add, mul, div, neg, pow, or the name of a
    built-in: root, log, factorial, double_factorial, binomial, abs, floor, ceil, max, min, gcd, lcm, sum, prod, degree,
    repeat."""
    args: tuple[Node, ...] = ()
    name: str = ""
    """Name of a symbol or function."""
    value: Fraction = Fraction(0)
    """Value of a number."""


def substitute(node: Node, old: str, new: str) -> Node:
    """The tree with one symbol renamed."""
    if node.op == "sym" and node.name == old:
        return Node("sym", name=new)
    return Node(node.op, tuple(substitute(arg, old, new) for arg in node.args), node.name, node.value)


def symbols(node: Node) -> frozenset[str]:
    """Names of the free symbols of a tree; the index of a sum or product is not free."""
    if node.op == "sym":
        return frozenset((node.name,))
    found = frozenset[str]().union(*(symbols(arg) for arg in node.args))
    return found - {node.name} if node.op in ("sum", "prod") else found


def operations(node: Node) -> frozenset[str]:
    """Every operation and function name that occurs in a tree."""
    own = frozenset((node.op, node.name) if node.op == "call" else (node.op,))
    return own.union(*(operations(arg) for arg in node.args))


def is_endless(node: Node) -> bool:
    """Whether a tree holds a sum or product without end, which has no value here."""
    if node.op in ("sum", "prod") and any("inf" in operations(bound) for bound in node.args[1:]):
        return True
    return any(map(is_endless, node.args))


def number(value: int | Fraction) -> Node:
    """A leaf that holds a number."""
    return Node("num", value=Fraction(value))
