"""The families of process reward models: what their stream of tokens looks like, and what is read where.

A family says how a checkpoint's weights become a module, how a solution becomes token ids, and what the outputs at the
end of a step mean. Sessions, caches and truncation are the same for all (`arbitrage.backends.hf.scorer`). Closing
tokens of a format (the end of the assistant's turn) are left out: what precedes them cannot see them.
"""

from __future__ import annotations

from collections.abc import Mapping

from arbitrage.backends.hf.families.detection import by_name, detect
from arbitrage.backends.hf.families.family import Family
from arbitrage.backends.hf.families.qwen import QWEN
from arbitrage.backends.hf.families.rlhflow import RLHFLOW
from arbitrage.backends.hf.families.shepherd import SHEPHERD
from arbitrage.backends.hf.families.skywork import SKYWORK
from arbitrage.backends.hf.families.token_classification import TOKEN_CLASSIFICATION
from arbitrage.backends.hf.families.trl import TRL
from arbitrage.backends.hf.loading import LoadOptions, Source
from arbitrage.errors import ModelLoadError

__all__ = ["FAMILIES", "Family", "by_name", "choose", "named"]

FAMILIES: Mapping[str, Family] = {
    family.name: family for family in (SKYWORK, QWEN, SHEPHERD, RLHFLOW, TRL, TOKEN_CLASSIFICATION)
}
"""By the name that users type."""


def choose(source: Source, sidecar: Mapping[str, object], options: LoadOptions) -> tuple[Family, str]:
    """The family of a checkpoint, and how it was found: by option, by `arbitrage.json`, or from the checkpoint.

    Raises:
        ModelLoadError: the name is unknown, or the checkpoint says nothing or two things.
    """
    name, found = options.family, "the option family"
    if name is None and "family" in sidecar:
        name, found = str(sidecar["family"]), "arbitrage.json"
    if name is None:
        name, found = detect(source, FAMILIES)
        if name == TOKEN_CLASSIFICATION.name and "stream" not in sidecar:  # ours always say how they read
            name, found = TRL.name, f"{found}, without a stream in arbitrage.json"
    return named(name), found


def named(name: str) -> Family:
    """The family with this name.

    Raises:
        ModelLoadError: there is none.
    """
    if name not in FAMILIES:
        raise ModelLoadError(f"no family of PRMs named {name!r}; there are: {', '.join(FAMILIES)}")
    return FAMILIES[name]
