"""Strategies as written on a command line: `rsd:threshold=0.5,arbitrage-router:rate=0.3+gamma=4`.

A comma separates strategies, a colon starts the parameters, a plus sign separates them. Values are read by the types of
the strategy's constructor.
"""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from arbitrage.errors import ArbitrageError

if TYPE_CHECKING:
    from arbitrage.interfaces import Strategy
    from arbitrage.registry import Registry

_NEXT_PARAMETER = re.compile(r"\+(?=[A-Za-z_]\w*=)")
"""A plus sign that starts a parameter; the one in 1e+3 does not."""


class SpecError(ArbitrageError, ValueError):
    """A strategy was written in a way that cannot be read, or with a parameter it does not have."""


def parse_strategies(text: str, registry: Registry) -> list[Strategy]:
    """Build every strategy named in `text`.

    Raises:
        SpecError: a parameter is unknown, missing or unreadable, or a strategy is named twice.
        UnknownNameError: nobody registered such a strategy.
    """
    specs = [spec.strip() for spec in text.split(",") if spec.strip()]
    if not specs:
        raise SpecError(f"no strategy named; available: {', '.join(registry.names('strategy'))}")
    twice = sorted({spec for spec in specs if specs.count(spec) > 1})
    if twice:
        raise SpecError(f"strategy {twice[0]!r} is named twice")
    return [parse_strategy(spec, registry) for spec in specs]


def sweep_specs(specs: Sequence[str], rates: Sequence[float]) -> list[str]:
    """Each of `specs` at each escalation rate: `rsd` becomes `rsd:rate=0.1` and so on.

    Raises:
        SpecError: a strategy has a threshold or a rate of its own.
    """
    for spec in specs:
        if re.search(r"[:+]\s*(rate|threshold)\s*=", spec):
            raise SpecError(f"{spec!r} is to be swept over rates; leave its rate and threshold out")
    return [f"{spec}{'+' if ':' in spec else ':'}rate={rate:g}" for spec in specs for rate in rates]


def parse_strategy(spec: str, registry: Registry) -> Strategy:
    """Build one strategy from `name` or `name:parameter=value+parameter=value`."""
    name, colon, rest = spec.partition(":")
    factory = registry.strategy(name.strip())
    words = _NEXT_PARAMETER.split(rest) if colon else []
    given = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key.strip():
            raise SpecError(f"cannot read {word!r} in {spec!r}; write name:parameter=value+parameter=value")
        if key.strip() in given:
            raise SpecError(f"parameter {key.strip()!r} is given twice in {spec!r}")
        given[key.strip()] = value.strip()
    parameters = _parameters(name, factory)
    arguments = {key: _value(name, parameters, key, value) for key, value in given.items()}
    try:
        return factory(**arguments)
    except (TypeError, ValueError) as error:
        raise SpecError(f"strategy {spec!r} cannot be made: {error}") from error


def _parameters(name: str, factory: Callable[..., object]) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(factory, eval_str=True).parameters
    except NameError:  # a type that is imported for type checkers only
        return inspect.signature(factory).parameters
    except (TypeError, ValueError) as error:
        raise SpecError(f"strategy {name!r} has no readable signature: {error}") from error


def _value(name: str, parameters: Mapping[str, inspect.Parameter], key: str, text: str) -> object:
    """`text` as the type that parameter `key` asks for."""
    named = {k: p for k, p in parameters.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    parameter = named.get(key)
    if parameter is None:
        if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            return _guess(text)
        if not named:
            raise SpecError(f"strategy {name!r} takes no parameters, but {key!r} was given")
        close = difflib.get_close_matches(key, named, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise SpecError(f"strategy {name!r} has no parameter {key!r}.{hint} It takes: {', '.join(named)}")
    wanted = parameter.annotation
    if wanted is parameter.empty or isinstance(wanted, str):
        return _guess(text)
    return _read(name, key, wanted, text)


def _read(name: str, key: str, wanted: Any, text: str) -> object:
    from pydantic import PydanticSchemaGenerationError, TypeAdapter, ValidationError

    try:
        adapter = TypeAdapter[object](wanted)
    except PydanticSchemaGenerationError:
        raise SpecError(f"parameter {key!r} of strategy {name!r} cannot be given on a command line") from None
    if text.lower() == "none":
        try:
            return adapter.validate_python(None)
        except ValidationError:
            pass
    try:
        return adapter.validate_strings(text)
    except ValidationError as error:
        reason = error.errors()[0]["msg"]
        raise SpecError(f"parameter {key!r} of strategy {name!r} cannot be {text!r}: {reason}") from None


def _guess(text: str) -> object:
    """A number, a truth value, nothing, or the text itself."""
    fixed: dict[str, object] = {"true": True, "false": False, "none": None}
    if text.lower() in fixed:
        return fixed[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
