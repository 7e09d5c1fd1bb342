"""The `hf` backend: `transformers` models in bf16 or fp32, on CPU or CUDA."""

from __future__ import annotations

from typing import Any

from arbitrage.errors import MissingExtraError

try:
    import torch  # noqa: F401
    import transformers  # noqa: F401
except ImportError as error:
    raise MissingExtraError.of("the hf backend", "torch and transformers", "hf") from error

from arbitrage.backends.bundled import bundled_path
from arbitrage.backends.hf.codec import HFCodec
from arbitrage.backends.hf.loading import LoadOptions, Source, default_device, load, load_tokenizer
from arbitrage.backends.hf.scorer import HFScoreSession, HFStepScorer, StreamEncoder, StreamFormat
from arbitrage.backends.hf.session import HFLanguageModel, HFSession
from arbitrage.interfaces import INSTRUCTION, Backend
from arbitrage.types import Role

__all__ = [
    "HFBackend",
    "HFCodec",
    "HFLanguageModel",
    "HFScoreSession",
    "HFSession",
    "HFStepScorer",
    "StreamEncoder",
    "StreamFormat",
]


class HFBackend(Backend):
    """Loads bundled models, local directories, hub ids (`owner/name#revision`) and GGUF files (dequantised)."""

    name = "hf"

    def language_model(self, source: str, device: str | None = None, **options: object) -> HFLanguageModel:
        """See `Backend.language_model`. Options: dtype, trust_remote_code, allow_pickle (see `LoadOptions`)."""
        from transformers import AutoModelForCausalLM

        where, how = Source(source), LoadOptions.of(options)
        module, facts = load(AutoModelForCausalLM, where, device or default_device(), how)
        codec = HFCodec(load_tokenizer(where, how), _eos_ids(module))
        instruction = where.sidecar().get("instruction", INSTRUCTION)
        return HFLanguageModel(where.name, module, codec, instruction, facts)

    def scorer(self, source: str, device: str | None = None, **options: object) -> HFStepScorer:
        """See `Backend.scorer`. Reads two-label token classifiers whose `arbitrage.json` names the stream format."""
        from transformers import AutoModelForTokenClassification

        where, how = Source(source), LoadOptions.of(options)
        module, facts = load(AutoModelForTokenClassification, where, device or default_device(), how)
        codec = HFCodec(load_tokenizer(where, how))
        return HFStepScorer(where.name, module, codec, _stream_format(where.sidecar()), facts)

    def bundled(self, role: Role) -> str:
        """Directory of the bundled model for `role`."""
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
        thresholds=thresholds,
    )
