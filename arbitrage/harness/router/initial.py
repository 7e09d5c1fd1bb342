"""The model that a router's training begins with: a PRM, any language model, or a router that is trained on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from transformers import AutoConfig, AutoModelForTokenClassification

from arbitrage.backends.bundled import bundled_path
from arbitrage.backends.hf import HFCodec, StreamEncoder, StreamFormat
from arbitrage.backends.hf.families import FAMILIES
from arbitrage.backends.hf.families.detection import Evidence
from arbitrage.backends.hf.loading import LoadOptions, Source, load, load_tokenizer
from arbitrage.errors import ModelLoadError
from arbitrage.harness.router.labels import Labelling
from arbitrage.harness.router.settings import TrainingSettings

_PREFIXES = ("hf:", "gguf:", "bundled:")


@dataclass(frozen=True, slots=True)
class Initial:
    """Where a training begins, before any weights are read."""

    source: Source
    options: LoadOptions
    stream: StreamFormat
    """How the router reads: as asked for, else as the initial model does."""

    @classmethod
    def of(cls, init: str, settings: TrainingSettings) -> Initial:
        """Find the model.

        Args:
            init: a directory, a hub id, a .gguf file, or 'bundled:NAME' with the name of a bundled model.
            settings: what was asked for.

        Raises:
            ModelLoadError: there is nothing there.
        """
        prefix = next((one for one in _PREFIXES if init.startswith(one)), "")
        name = init.removeprefix(prefix)
        source = Source(str(bundled_path(name)) if prefix == "bundled:" else name)
        source.check()
        sidecar = source.sidecar()
        told, trained = sidecar.get("stream", {}), "readout" in sidecar
        stream = StreamFormat(
            separator=_first(settings.separator, told.get("separator"), StreamFormat().separator),
            annotated=settings.purpose == "router"
            and _first(settings.annotated, bool(told.get("annotated")) if trained else None, True),
            chat=_first(settings.chat, told.get("chat"), False),
        )
        options = LoadOptions(
            dtype=settings.dtype if settings.lora or settings.frozen else "float32",
            trust_remote_code=settings.trust_remote_code,
            allow_pickle=settings.allow_pickle,
            threads=settings.threads,
        )
        return cls(source, options, stream)

    @property
    def kept(self) -> float | None:
        """Share of the problems that its own training left out; None where it does not say."""
        kept = self.source.sidecar().get("training", {}).get("held_out")
        return float(kept) if isinstance(kept, int | float) else None

    def version(self) -> dict[str, Any]:
        """What tells this model from another one that has, or had, its name: weights, and how they are read.

        Of its sidecar only what a training goes by: a new calibration makes no other model of it.
        """
        read = {name: getattr(self.stream, name) for name in ("separator", "annotated", "chat")}
        return {"sha256": self.source.sha256(), "revision": self.source.commit(), "stream": read}

    def context_length(self) -> int:
        """Tokens that the model reads at most.

        Raises:
            ModelLoadError: its configuration cannot be read.
        """
        name, keywords = self.source.arguments()
        try:
            config = AutoConfig.from_pretrained(name, **keywords, trust_remote_code=self.options.trust_remote_code)
        except (OSError, ValueError, KeyError) as error:
            raise ModelLoadError(f"{self.source.text}: {str(error).splitlines()[0]}") from error
        return int(getattr(config.get_text_config(), "max_position_embeddings", 1 << 20))

    def encoder(self) -> StreamEncoder:
        """The encoder that inference will use."""
        return StreamEncoder(HFCodec(load_tokenizer(self.source, self.options)), self.stream)

    def module(self, labelling: Labelling) -> tuple[Any, dict[str, Any]]:
        """The model with a head for the labels, and its facts; on the CPU, GGUF weights dequantised.

        Raises:
            ModelLoadError: it cannot be loaded as a token classifier.
        """
        renamed = self._renamed()
        module, facts = load(
            AutoModelForTokenClassification,
            self.source,
            "cpu",
            replace(self.options, dtype=self.options.dtype or "float32"),
            renamed=renamed,
            new_head=True,
            num_labels=labelling.outputs,
        )
        if renamed:  # transformers would save checkpoints and router under the old names, and not find them again
            vars(module).pop("_weight_conversions", None)
        return module, facts

    def _renamed(self) -> dict[str, str]:
        """Tensor names of published PRMs that are not those of `transformers`."""
        signs = {} if self.source.gguf else Evidence.of(self.source).signs()
        return {theirs: ours for name in signs for theirs, ours in FAMILIES[name].renamed.items()}


def _first(*values: Any) -> Any:
    """The first that was given."""
    return next(value for value in values if value is not None)
