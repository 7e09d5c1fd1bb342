"""The `gguf` backend: quantised (and other) GGUF models in llama.cpp, on CPU or GPU."""

from __future__ import annotations

from arbitrage.errors import MissingExtraError

try:
    import gguf  # noqa: F401
    import llama_cpp
except ImportError as error:
    raise MissingExtraError.of("the gguf backend", "llama-cpp-python and gguf", "gguf") from error

import hashlib
import re
from dataclasses import dataclass, fields
from pathlib import Path

from arbitrage.backends.bundled import bundled_gguf, bundled_path
from arbitrage.backends.gguf.codec import GGUFCodec
from arbitrage.backends.gguf.engine import EngineOptions, Weights, system_info
from arbitrage.backends.gguf.header import Header, read_header
from arbitrage.backends.gguf.model import GGUFLanguageModel
from arbitrage.backends.gguf.probe import check_loads
from arbitrage.backends.sidecar import found_sidecar, read_sidecar, sidecar_facts, thresholds_of
from arbitrage.cpu import available_cores
from arbitrage.errors import ModelLoadError
from arbitrage.interfaces import INSTRUCTION, Backend, BackendFacts, StepScorer
from arbitrage.types import Role

__all__ = ["GGUFBackend", "GGUFCodec", "GGUFLanguageModel", "LoadOptions"]

INSTRUCTION_KEY = "arbitrage.instruction"
"""Metadata of exported files: what the model wants to read after a statement."""
_MOST_CONTEXT = 8192
_MOST_THREADS = 8
_THREADS_OF_LLAMA_CPP = 512
"""More crash it."""
_HUB = re.compile(r"^(?P<repo>[\w.-]+/[\w.-]+)/(?P<file>[\w./-]+\.gguf)(?:#(?P<revision>.+))?$")


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """How to load a GGUF file."""

    context: int | None = None
    """Most tokens of a session. None: what the model was trained for, at most 8192 (memory grows with it)."""
    sessions: int = 1
    """Sequences in one context; those that are asked at the same time are decoded in one batch."""
    threads: int | None = None
    """CPU threads. None: the available cores, at most 8."""
    probe: bool = True
    """Try the file in a process of its own first; a file that crashes llama.cpp then costs a message."""

    @classmethod
    def of(cls, options: dict[str, object]) -> LoadOptions:
        """From keyword arguments.

        Raises:
            ModelLoadError: an unknown option, or a number below 1.
        """
        if unknown := options.keys() - GGUFBackend.options:
            raise ModelLoadError(
                f"the gguf backend does not know {sorted(unknown)}; it knows {sorted(GGUFBackend.options)}"
            )
        made = cls(**options)  # type: ignore[arg-type]
        for name in ("context", "sessions", "threads"):
            value = getattr(made, name)
            if value is not None and value < 1:
                raise ModelLoadError(f"{name} must be at least 1, not {value}")
        if made.threads is not None and made.threads > _THREADS_OF_LLAMA_CPP:
            raise ModelLoadError(f"llama.cpp runs at most {_THREADS_OF_LLAMA_CPP} threads, not {made.threads}")
        return made


class GGUFBackend(Backend):
    """Loads GGUF files: a path, `owner/name/file.gguf#revision` on the hub, or a bundled model."""

    name = "gguf"
    facts = BackendFacts(
        reads=".gguf file or owner/name/file.gguf on the hub",
        devices="CPU; GPU where llama-cpp-python was built for it",
        capabilities=GGUFLanguageModel.capabilities,
        scorers=False,
        together=True,
        bundled=("q8_0", "q4_0", "q3_k", "q2_k"),
    )
    options = frozenset(field.name for field in fields(LoadOptions))

    def language_model(self, source: str, device: str | None = None, **options: object) -> GGUFLanguageModel:
        """See `Backend.language_model`. Options: see `LoadOptions`."""
        how = LoadOptions.of(options)
        path, revision = _locate(source)
        header = read_header(path)
        gpu_layers, main_gpu = _placement(device)
        if how.probe:
            check_loads(path)
        weights = Weights(path, gpu_layers, main_gpu)
        codec = GGUFCodec(weights, header.chat_template, path.name)
        context = how.context or min(weights.trained_context, _MOST_CONTEXT)
        threads = how.threads or min(available_cores(), _MOST_THREADS)
        # Full-precision weights promise full-precision results.
        cache_f32 = header.types[:1] == ("F32",)
        engine = EngineOptions(context, how.sessions, threads, cache_f32, gpu_layers, main_gpu)
        instruction = str(header.metadata.get(INSTRUCTION_KEY, INSTRUCTION))
        thresholds = thresholds_of(read_sidecar(path))
        facts = _facts(path, revision, header, weights, engine)
        facts |= sidecar_facts(found_sidecar(path)) if thresholds else {}
        model = GGUFLanguageModel(path.stem, weights, codec, engine, instruction, facts)
        model.thresholds = thresholds
        return model

    def scorer(self, source: str, device: str | None = None, **options: object) -> StepScorer:
        """llama.cpp has no token classifiers: PRM and router run on `transformers`, beside the GGUF models."""
        from arbitrage.backends.hf import HFBackend

        kept = {key: value for key, value in options.items() if key in HFBackend.options}
        return HFBackend().scorer(source, device, **kept)

    def bundled(self, role: Role, variant: str | None = None) -> str:
        """File of the bundled draft or target (Q8_0 unless `variant` says otherwise); PRM and router as for `hf`."""
        if role in (Role.PRM, Role.ROUTER):
            return str(bundled_path(role.value))
        return str(bundled_gguf(role.value, variant or "q8_0"))


def _locate(source: str) -> tuple[Path, str | None]:
    """The file, fetched from the hub if need be, and the hub's commit."""
    path = Path(source).expanduser()
    match = _HUB.match(source)
    if path.exists() or match is None:
        return path, None
    try:
        from huggingface_hub import hf_hub_download
    except ImportError:
        raise MissingExtraError.of("fetching GGUF files from the hub", "huggingface_hub", "hf") from None
    try:
        fetched = Path(hf_hub_download(match["repo"], match["file"], revision=match["revision"]))
    except (OSError, ValueError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelLoadError(f"{source}: there is no such file, and the hub did not give it: {first}") from error
    parts = fetched.parts
    return fetched, parts[parts.index("snapshots") + 1] if "snapshots" in parts else match["revision"]


def _placement(device: str | None) -> tuple[int, int]:
    """Layers on the GPU and which GPU."""
    can = bool(llama_cpp.llama_supports_gpu_offload())
    if device is None:
        return (-1 if can else 0), 0
    if device == "cpu":
        return 0, 0
    if not can:
        raise ModelLoadError(
            f"this llama-cpp-python was built without GPU support, so {device!r} cannot be used; build it with "
            "CMAKE_ARGS=-DGGML_CUDA=on, or say @cpu"
        )
    _, _, number = device.partition(":")
    return -1, int(number or 0)


def _facts(
    path: Path, revision: str | None, header: Header, weights: Weights, engine: EngineOptions
) -> dict[str, object]:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return {
        "backend": "gguf",
        "source": path.name,
        "revision": revision,
        "sha256": digest.hexdigest(),
        "architecture": header.architecture,
        "parameters": weights.parameters,
        "dtype": "+".join(header.types),
        "bytes": weights.bytes,
        "device": "cpu" if engine.gpu_layers == 0 else f"gpu:{engine.main_gpu}",
        "context": engine.context,
        "cache_dtype": "F32" if engine.cache_f32 else "F16",
        "sessions": engine.sessions,
        "threads": engine.threads,
        "llama_cpp": llama_cpp.__version__,
        "cpu_features": system_info().strip(),
    }
