"""Which family of process reward models is this checkpoint of? Asked of its files, before any weight is loaded."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from arbitrage.backends.hf.loading import Source
from arbitrage.backends.sidecar import read_object
from arbitrage.errors import ModelLoadError

_NAMES = {
    "math-shepherd": re.compile(r"math[-_.]?shepherd.*prm", re.IGNORECASE),
    "rlhflow": re.compile(r"llama-?3.*prm.*(mistral|deepseek)-data", re.IGNORECASE),
}
"""Families whose checkpoints are plain language models: only their names tell."""
_SERVED = {
    **_NAMES,
    "skywork": re.compile(r"skywork.*prm", re.IGNORECASE),
    "qwen-prm": re.compile(r"qwen.*(math-prm|prm800k)", re.IGNORECASE),
}
"""All families whose published checkpoints have names that tell."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the files of a checkpoint say."""

    architecture: str
    """From `config.json`; empty when it names none."""
    tensors: frozenset[str]
    """Names of the weights; empty where they cannot be known without unpickling."""
    text: str
    """As the user named the checkpoint."""

    @classmethod
    def of(cls, source: Source) -> Evidence:
        """Read configuration, index and headers.

        Raises:
            ModelLoadError: there is no configuration.
        """
        source.check()
        config = source.file("config.json")
        if config is None:
            raise ModelLoadError(f"{source.text}: the hub has no such model, or cannot be reached (no config.json)")
        architectures = read_object(config).get("architectures") or [""]
        return cls(str(architectures[0]), frozenset(_tensor_names(source)), source.text)

    def signs(self) -> dict[str, str]:
        """Families that something speaks for, and what does."""
        signs = {}
        if value := [name for name in self.tensors if name.endswith("v_head.summary.weight")]:
            signs["skywork"] = f"the tensor {value[0]}"
        elif self.architecture == "Qwen2ForPrmModel":
            signs["skywork"] = f"the architecture {self.architecture}"
        if "score.0.weight" in self.tensors:
            signs["qwen-prm"] = "the tensor score.0.weight"
        elif self.architecture.endswith("ForProcessRewardModel"):
            signs["qwen-prm"] = f"the architecture {self.architecture}"
        if self.architecture.endswith("ForTokenClassification"):
            signs["token-classification"] = f"the architecture {self.architecture}"
        elif "score.weight" in self.tensors:
            signs["token-classification"] = "the tensor score.weight"
        return signs

    def hints(self) -> dict[str, str]:
        """Families that the checkpoint's name speaks of; for language models, whose files say nothing."""
        return {family: "its name" for family, spelling in _NAMES.items() if spelling.search(_last(self.text))}


def detect(source: Source, families: Iterable[str]) -> tuple[str, str]:
    """Name of the family that the checkpoint is of, and what told.

    Raises:
        ModelLoadError: nothing tells, or two things contradict each other.
    """
    names = ", ".join(families)
    how = f'name its family ({names}): family= in Python, --prm-family, or "family" in arbitrage.json'
    if source.gguf:
        raise ModelLoadError(f"{source.text}: GGUF files are not read as PRM or router; give a safetensors directory")
    evidence = Evidence.of(source)
    signs = evidence.signs()
    if not signs and evidence.architecture.endswith("ForCausalLM"):
        signs = evidence.hints()
    if len(signs) == 1:
        return next(iter(signs.items()))
    if signs:
        told = " and ".join(f"{sign} ({family})" for family, sign in signs.items())
        raise ModelLoadError(f"{source.text}: {told} do not go together; {how}")
    what = evidence.architecture or "a checkpoint without architecture"
    raise ModelLoadError(f"{source.text} is {what}, and nothing in it says how it scores steps; {how}")


def by_name(name: str) -> str:
    """Name of the family of a model of which only the name is known.

    Raises:
        ModelLoadError: the name says nothing.
    """
    found = [family for family, spelling in _SERVED.items() if spelling.search(_last(name))]
    if len(found) != 1:
        raise ModelLoadError(
            f"nothing in the name {name!r} says how the model scores steps; name its family with family="
        )
    return found[0]


def _last(name: str) -> str:
    """The model's own name: neither its owner nor the folders above it say what it is."""
    return name.partition("#")[0].rstrip("/").rpartition("/")[2]


def _tensor_names(source: Source) -> Iterable[str]:
    """Names of the weights, from an index or from a header."""
    for index in ("model.safetensors.index.json", "pytorch_model.bin.index.json"):
        if (file := source.file(index)) is not None:
            return set(read_object(file).get("weight_map", {}))
    file = source.file("model.safetensors")
    return [] if file is None else _header(file)


def _header(file: Path) -> Iterable[str]:
    try:
        with safe_open(file, framework="numpy") as opened:
            names: list[str] = list(opened.keys())
            return names
    except (SafetensorError, OSError):  # loading it will say what is wrong
        return []
