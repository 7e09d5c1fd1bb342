"""The `hf` backend: `transformers` models in bf16 or fp32, on CPU or CUDA."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from arbitrage.backends.sidecar import SIDECAR, sidecar_facts, thresholds_of
from arbitrage.errors import MissingExtraError, ModelLoadError

try:
    import torch  # noqa: F401
    import transformers  # noqa: F401
except ImportError as error:
    raise MissingExtraError.of("the hf backend", "torch and transformers", "hf") from error

from arbitrage.backends.bundled import bundled_path
from arbitrage.backends.hf.codec import HFCodec
from arbitrage.backends.hf.families import FAMILIES, Family, choose
from arbitrage.backends.hf.likelihood import LikelihoodScorer
from arbitrage.backends.hf.likelihood import readout as likelihood_readout
from arbitrage.backends.hf.loading import LoadOptions, Source, default_device, load, load_tokenizer
from arbitrage.backends.hf.model import HFLanguageModel
from arbitrage.backends.hf.readout import described
from arbitrage.backends.hf.scorer import Encoder, HFScoreSession, HFStepScorer, StreamEncoder, StreamFormat
from arbitrage.interfaces import INSTRUCTION, Backend, BackendFacts
from arbitrage.types import SEPARATOR, Role

__all__ = [
    "FAMILIES",
    "Encoder",
    "Family",
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

        if how.family or how.separator:
            raise ModelLoadError(
                f"{where.text}: family and separator are for PRM and router, not for language models; from a run's "
                "options, write prm_family and prm_separator"
            )
        module, facts = load(AutoModelForCausalLM, where, device, how, **extra)
        codec = HFCodec(load_tokenizer(where, how), _eos_ids(module))
        told = where.sidecar()
        thresholds = thresholds_of(told)
        facts |= sidecar_facts(where.sidecar_file()) if thresholds else {}
        model = HFLanguageModel(where.name, module, codec, told.get("instruction", INSTRUCTION), facts, how.lean)
        model.thresholds = thresholds
        return model

    def scorer(self, source: str, device: str | None = None, **options: object) -> HFStepScorer:
        """See `Backend.scorer`. How the checkpoint reads is said by option, by its `arbitrage.json`, or by itself.

        Reads the process reward models of `families`, token classifiers whose sidecar has a `readout` entry (trained
        routers), and causal language models whose sidecar has a `likelihood` entry.

        Raises:
            ModelLoadError: it is of no known family, or cannot be loaded.
        """
        where, how = Source(source), LoadOptions.of(options)
        where.check()
        sidecar = where.sidecar()
        device = device or default_device()
        if "likelihood" in sidecar and how.family is None:
            return self._judge(where, device, how, sidecar)
        family, told_by = choose(where, sidecar, how)
        if family.separated and "readout" in sidecar:
            head = described(sidecar["readout"])
            family = replace(family, labels=head.outputs, readout=lambda codec: head.readout)
        stream = _stream_format(sidecar, how, family.separator)
        if how.separator is not None and not family.separated:
            raise ModelLoadError(f"{source}: steps of the family {family.name} end as they must; leave out separator")
        module, facts = load(family.module_class(), where, device, how, family.renamed, **family.overrides)
        labels = getattr(module.config, "num_labels", None)
        if family.labels not in (None, labels):
            wanted = "two, for no and yes" if family.labels == 2 else str(family.labels)
            raise ModelLoadError(f"{source} has {labels} labels; a PRM or router of {family.name} has {wanted}")
        facts |= {"family": family.name, "family_by": told_by, **_read_as(where, how)}
        codec = HFCodec(load_tokenizer(where, how), _eos_ids(module))
        encoder, readout = family.encoder(codec, stream), family.readout(codec)
        return HFStepScorer(where.name, module, codec, stream, facts, how.lean, readout, encoder)

    def _judge(self, where: Source, device: str, how: LoadOptions, sidecar: dict[str, Any]) -> LikelihoodScorer:
        """A language model whose sidecar says what is made of its surprise."""
        from transformers import AutoModelForCausalLM

        module, facts = load(AutoModelForCausalLM, where, device, how)
        facts |= _read_as(where, how)
        codec, stream = HFCodec(load_tokenizer(where, how), _eos_ids(module)), _stream_format(sidecar, how, SEPARATOR)
        judged = likelihood_readout(sidecar["likelihood"])
        return LikelihoodScorer(where.name, module, codec, stream, judged, facts, how.lean)

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


def _read_as(where: Source, how: LoadOptions) -> dict[str, str]:
    """What decides scores and rates besides weights and family, for the manifest."""
    return {**sidecar_facts(where.sidecar_file()), **({} if how.separator is None else {"separator": how.separator})}


def _length(told: object) -> int | None:
    if told is None or (isinstance(told, int) and told > 0):
        return told
    raise ModelLoadError(f"the max_length of {SIDECAR} must be a number of tokens, not {told!r}")


def _stream_format(sidecar: dict[str, Any], how: LoadOptions, separator: str) -> StreamFormat:
    stream = sidecar.get("stream", {})
    return StreamFormat(
        separator=how.separator or stream.get("separator", separator),
        annotated=bool(stream.get("annotated", False)),
        chat=bool(stream.get("chat", False)),
        max_length=_length(stream.get("max_length")),
        thresholds=thresholds_of(sidecar),
    )
