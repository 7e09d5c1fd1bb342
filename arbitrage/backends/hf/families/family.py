"""What a family of process reward models brings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from arbitrage.backends.hf.codec import HFCodec
from arbitrage.backends.hf.readout import RowReadout
from arbitrage.backends.hf.scorer import Encoder, StreamFormat
from arbitrage.types import SEPARATOR


@dataclass(frozen=True, slots=True)
class Family:
    """How the checkpoints of one family are loaded and read."""

    name: str
    """What users type."""
    module_class: Callable[[], Any]
    """The class (or auto class) whose `from_pretrained` reads the weights; called when it is needed."""
    encoder: Callable[[HFCodec, StreamFormat], Encoder]
    """Problem and steps to token ids."""
    readout: Callable[[HFCodec], RowReadout]
    """Outputs at the end of a step to the score."""
    labels: int | None = None
    """How many outputs the head must have; None: it is a vocabulary."""
    separated: bool = False
    """Whether the text that ends a step can be chosen."""
    separator: str = SEPARATOR
    """What it is where nobody chooses."""
    renamed: Mapping[str, str] = field(default_factory=dict)
    """Beginnings of tensor names in checkpoints, and what the module calls them."""
    overrides: Mapping[str, Any] = field(default_factory=dict)
    """Fields of `config.json` that are replaced."""
