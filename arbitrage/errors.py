"""Every error `arbitrage` raises on purpose. Each message says what to do next."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ArbitrageError(Exception):
    """Base of all errors raised on purpose; catching it catches every one of them."""


class UnknownNameError(ArbitrageError, LookupError):
    """A strategy, backend, scorer or data set was asked for by a name that nobody registered."""

    @classmethod
    def of(cls, kind: str, name: str, known: Iterable[str]) -> UnknownNameError:
        """Build the message: the name, the closest known one, and all that are available."""
        names = sorted(known)
        close = difflib.get_close_matches(name, names, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        return cls(f"no {kind} named {name!r}.{hint} Available: {', '.join(names) or 'none'}")


class PluginError(ArbitrageError):
    """A plugin clashes with another one, misspells a hook, or registers something unusable."""


class MissingExtraError(ArbitrageError, ImportError):
    """An optional dependency is not installed; the message names the extra that brings it."""

    @classmethod
    def of(cls, what: str, package: str, extra: str) -> MissingExtraError:
        """Build the message for a feature `what` that needs `package` from the extra `extra`."""
        return cls(f"{what} needs {package}. Install it with: pip install 'arbitrage-decoding[{extra}]'")


class CapabilityError(ArbitrageError):
    """A strategy needs something that the chosen models cannot do; raised before the first token."""


class VocabularyMismatchError(ArbitrageError):
    """Draft and target do not share a tokenizer where they have to."""


class ModelLoadError(ArbitrageError):
    """A model directory, hub id or file cannot be loaded, or is refused for safety."""


class ServerError(ArbitrageError):
    """A model's server cannot be reached, refuses, or answers nonsense."""


class DatasetError(ArbitrageError):
    """A data set is absent, empty or malformed."""


class DatasetAbsentError(DatasetError):
    """A published data set is neither in the data folder nor to be had from the hub."""


class RunError(ArbitrageError):
    """A run folder cannot be used: it is somebody else's, broken, or made with other settings."""


class ContextOverflowError(ArbitrageError):
    """More tokens were put into a session than the model's context holds."""
