"""The `hf` backend: `transformers` models in bf16 or fp32, on CPU or CUDA."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from arbitrage.errors import MissingExtraError, ModelLoadError

try:
    import torch  # noqa: F401
    import transformers  # noqa: F401
except ImportError as error:
    raise MissingExtraError.of("the hf backend", "torch and transformers", "hf") from error

from arbitrage.backends.bundled import bundled_path
from arbitrage.backends.hf.codec import HFCodec
from arbitrage.backends.hf.likelihood import LikelihoodScorer, readout
from arbitrage.backends.hf.loading import LoadOptions, Source, default_device, load, load_tokenizer
from arbitrage.backends.hf.model import HFLanguageModel
from arbitrage.backends.hf.readout import described
from arbitrage.backends.hf.scorer import HFScoreSession, HFStepScorer, StreamEncoder, StreamFormat
from arbitrage.interfaces import INSTRUCTION, Backend, BackendFacts
from arbitrage.types import Role

__all__ = [
    "HFBackend",
    "HFCodec",
    "HFLanguageModel",
    "HFScoreSession",
    "HFStepScorer",
    "LikelihoodScorer",
    "StreamEncoder",
    "StreamFormat",
]


class HFBackend(Backend):
    """Loads bundled models, local directories, hub ids (`owner/name#revision`) and GGUF files (dequantised)."""

    name = "hf"
    facts = BackendFacts(
        reads="safetensors directory or hub id; .gguf (dequantised)",
        devices="CPU, CUDA, MPS",
        capabilities=HFLanguageModel.capabilities,
        scorers=True,
        together=True,
        bundled=("bf16 weights, run in float32",),
    )
    options = frozenset(field.name for field in fields(LoadOptions))

    def language_model(self, source: str, device: str | None = None, **options: object) -> HFLanguageModel:
        """See `Backend.language_model`. Options: see `LoadOptions`."""
        return self._load(Source(source), device or default_device(), LoadOptions.of(options), {})

    def _load(self, where: Source, device: str, how: LoadOptions, extra: dict[str, Any]) -> HFLanguageModel:
        """`extra` goes to `from_pretrained`."""
        from transformers import AutoModelForCausalLM

        module, facts = load(AutoModelForCausalLM, where, device, how, **extra)
        codec = HFCodec(load_tokenizer(where, how), _eos_ids(module))
        instruction = where.sidecar().get("instruction", INSTRUCTION)
        return HFLanguageModel(where.name, module, codec, instruction, facts, how.lean)

    def scorer(self, source: str, device: str | None = None, **options: object) -> HFStepScorer:
        """See `Backend.scorer`. The checkpoint's `arbitrage.json` names the stream format.

        Reads token classifiers, with two labels unless the sidecar's `readout` entry says otherwise, and causal
        language models whose sidecar has a `likelihood` entry.

        Raises:
            ModelLoadError: it is neither, or cannot be loaded.
        """
        from transformers import AutoModelForCausalLM, AutoModelForTokenClassification

        where, how = Source(source), LoadOptions.of(options)
        sidecar = where.sidecar()
        likelihood = sidecar.get("likelihood")
        kind = AutoModelForTokenClassification if likelihood is None else AutoModelForCausalLM
        module, facts = load(kind, where, device or default_device(), how)
        codec, stream = HFCodec(load_tokenizer(where, how), _eos_ids(module)), _stream_format(sidecar)
        if likelihood is None:
            head = described(sidecar.get("readout", {}))
            if module.config.num_labels != head.outputs:
                raise ModelLoadError(
                    f"{source} has {module.config.num_labels} labels; "
                    + (
                        f"the readout in its arbitrage.json is for {head.outputs}"
                        if "readout" in sidecar
                        else "a PRM or router has two, for no and yes"
                    )
                )
            return HFStepScorer(where.name, module, codec, stream, facts, how.lean, head.readout)
        return LikelihoodScorer(where.name, module, codec, stream, readout(likelihood), facts, how.lean)

    def bundled(self, role: Role, variant: str | None = None) -> str:
        """Directory of the bundled model for `role`."""
        if variant is not None:
            raise ModelLoadError(f"the hf backend has no bundled {role} in {variant!r}; precisions are set by dtype")
        return str(bundled_path(role.value))


def _eos_ids(module: Any) -> list[int]:
    ends = getattr(getattr(module, "generation_config", None), "eos_token_id", None)
    if ends is None:
        return []
    return list(ends) if isinstance(ends, list | tuple) else [int(ends)]


def _stream_format(sidecar: dict[str, Any]) -> StreamFormat:
    stream = sidecar.get("stream", {})
    thresholds = {float(rate): float(value) for rate, value in sidecar.get("thresholds", {}).items()}
    return StreamFormat(
        separator=stream.get("separator", StreamFormat().separator),
        annotated=bool(stream.get("annotated", False)),
        chat=bool(stream.get("chat", False)),
        thresholds=thresholds,
    )
