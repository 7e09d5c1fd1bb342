"""From a path, hub id or GGUF file to a `transformers` model, safely.

Remote code is off and only safetensors (or GGUF) is read unless asked for; what was asked for is recorded.
"""

from __future__ import annotations

import hashlib
import logging
import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from arbitrage.backends.sidecar import SIDECAR, found_sidecar, read_object
from arbitrage.errors import ModelLoadError

# Where torchao is installed (the gptq extra brings it), transformers imports it, and it complains of GPU parts on CPUs.
for _name in ("torchao", "torch.utils._pytree"):
    logging.getLogger(_name).setLevel(logging.ERROR)
# What it reports of absent and misshapen tensors, `load` says in one error; tensors that are too many are meant to be.
logging.getLogger("transformers.modeling_utils").addFilter(lambda record: "LOAD REPORT" not in record.getMessage())

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
SMALL_BYTES = 400_000_000
"""Local weights of fewer bytes are computed in float32 on a CPU."""
_GGUF_MAGIC = b"GGUF"
_HEADS = ("score.", "classifier.")
"""What names of a token classifier's own weights begin with."""
_PICKLES = "pytorch_model*.bin"


@dataclass(frozen=True, slots=True)
class Source:
    """Where a model comes from."""

    text: str
    """As the user gave it: a directory, a .gguf file, or hub id with an optional '#revision'."""

    @property
    def path(self) -> Path:
        """As a path on this machine."""
        return Path(self.text).expanduser()

    @property
    def local(self) -> bool:
        """Whether it is on this machine."""
        return self.path.exists()

    @property
    def gguf(self) -> bool:
        """Whether it is a GGUF file."""
        return self.text.lower().endswith(".gguf")

    @property
    def name(self) -> str:
        """Short name for tables."""
        return self.path.stem if self.gguf else self.text.split("#")[0].rstrip("/").rsplit("/", 1)[-1]

    def check(self) -> None:
        """Refuse what cannot be a model before anything heavy is loaded.

        Raises:
            ModelLoadError: absent, or not a model directory or GGUF file.
        """
        if self.gguf:
            if not self.path.is_file():
                raise ModelLoadError(f"{self.text}: there is no such GGUF file")
            with self.path.open("rb") as file:
                if file.read(4) != _GGUF_MAGIC:
                    raise ModelLoadError(f"{self.text}: this is not a GGUF file (its first bytes are not 'GGUF')")
        elif self.local:
            if not (self.path / "config.json").is_file():
                raise ModelLoadError(f"{self.text}: no config.json in it; give a model directory or a .gguf file")
        elif self.text.startswith((".", "/", "~")) or self.text.count("/") != 1:
            raise ModelLoadError(f"{self.text}: there is no such directory, and this is not a hub id (owner/name)")

    def arguments(self) -> tuple[str, dict[str, Any]]:
        """First argument and source-related keywords of `from_pretrained`."""
        if self.gguf:
            return str(self.path.parent), {"gguf_file": self.path.name}
        if self.local:
            return str(self.path), {}
        name, _, revision = self.text.partition("#")
        return name, {"revision": revision} if revision else {}

    def sidecar_file(self) -> Path | None:
        """`arbitrage.json` of the checkpoint, fetched from the hub if need be; None where there is none.

        Without a connection it is what the cache holds: a model that is there was fetched together with it.

        Raises:
            ModelLoadError: the hub does not know the checkpoint.
        """
        if self.local or self.gguf:
            return found_sidecar(self.path)
        return self.file(SIDECAR, _raise_exceptions_for_connection_errors=False)

    def sidecar(self) -> dict[str, Any]:
        """What stands in it; empty where there is none.

        Raises:
            ModelLoadError: it is not JSON, or not an object; or as `file`.
        """
        file = self.sidecar_file()
        return {} if file is None else read_object(file)

    def file(self, name: str, **how: bool) -> Path | None:
        """A file of the checkpoint, fetched from the hub if need be; None where it has no such file.

        Args:
            name: of the file.
            how: further arguments of transformers' `cached_file`.

        Raises:
            ModelLoadError: the hub cannot be reached, or does not know the checkpoint.
        """
        if self.local:
            found = self.path / name
            return found if found.is_file() else None
        from transformers.utils.hub import cached_file

        repository, keywords = self.arguments()
        try:
            fetched = cached_file(repository, name, _raise_exceptions_for_missing_entries=False, **keywords, **how)
        except (OSError, ValueError) as error:
            raise ModelLoadError(f"{self.text}: {_first_line(error)}") from error
        return None if fetched is None else Path(fetched)

    def weights(self) -> list[Path]:
        """Weight files on this machine, in order of their names: pickles where there is nothing better."""
        if self.gguf:
            return [self.path]
        return sorted(self.path.glob("*.safetensors")) or sorted(self.path.glob(_PICKLES))

    def refuse_pickles(self) -> None:
        """Refuse a checkpoint on this machine whose weights are pickles.

        Raises:
            ModelLoadError: they are.
        """
        found = [] if self.gguf else [file.name for file in self.weights() if file.suffix == ".bin"]
        if found:
            raise ModelLoadError(
                f"{self.text}: its weights are pickles ({', '.join(found[:3])}), which can run code while they are "
                "read; convert them to safetensors, or pass allow_pickle=True if you trust where they come from"
            )

    def commit(self) -> str | None:
        """What the revision of a hub id stands for now; None for what is on this machine.

        Raises:
            ModelLoadError: as `file`.
        """
        config = None if self.local or self.gguf else self.file("config.json")
        return None if config is None else config.parent.name  # the cache has a folder for each commit

    def sha256(self) -> str | None:
        """Hash over the weight files; None for hub ids (the commit pins those)."""
        if not self.local:
            return None
        digest = hashlib.sha256()
        for file in self.weights():
            with file.open("rb") as stream:
                while block := stream.read(1 << 20):
                    digest.update(block)
        return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """How to load; everything that lowers safety is off and is recorded when on."""

    dtype: str | None = None
    """'float32', 'bfloat16' or 'float16'. None: as `arbitrage.json` says, else bfloat16, but float32 for local weights
    under 400 MB on a CPU, where it is as fast and the result does not depend on how tokens are chunked."""
    trust_remote_code: bool = False
    """Run Python code that comes with the checkpoint."""
    allow_pickle: bool = False
    """Read .bin checkpoints, which are pickles."""
    threads: int | None = None
    """CPU threads of torch, for the whole process; None leaves them."""
    lean: bool = True
    """Use our own forward pass where it is the same function as the module's; False always runs `transformers`'."""
    family: str | None = None
    """Of a PRM or router: how it reads and is read, a name of `families.FAMILIES`. None: as `arbitrage.json` or the
    checkpoint says."""
    separator: str | None = None
    """Of a PRM or router: the text whose last token ends each step, in families that leave the choice. None: as
    `arbitrage.json` says, else a blank line."""

    @classmethod
    def of(cls, options: dict[str, object]) -> LoadOptions:
        """From keyword arguments.

        Raises:
            ModelLoadError: an unknown option or dtype.
        """
        known = {field.name for field in fields(cls)}
        if unknown := options.keys() - known:
            raise ModelLoadError(f"the hf backend does not know {sorted(unknown)}; it knows {sorted(known)}")
        made = cls(**options)  # type: ignore[arg-type]
        if made.dtype is not None and made.dtype not in _DTYPES:
            raise ModelLoadError(f"dtype must be one of {', '.join(_DTYPES)}, not {made.dtype!r}")
        return made


def default_device() -> str:
    """The first accelerator, or the CPU."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def load(
    auto_class: Any,
    source: Source,
    device: str,
    options: LoadOptions,
    renamed: Mapping[str, str] | None = None,
    new_head: bool = False,
    **extra: Any,
) -> tuple[Any, dict[str, Any]]:
    """Load a model and the facts for the manifest.

    Args:
        auto_class: a transformers auto class, or any class with `from_pretrained`.
        source: where the weights are.
        device: where they go.
        options: how to load them.
        renamed: beginnings of tensor names in the checkpoint, and what the module calls them.
        new_head: whether the head of a classifier may be absent or of another size, to be trained from random weights;
            the facts say whether it was (`new_head`).
        extra: passed on to `from_pretrained`.

    Raises:
        ModelLoadError: anything that keeps the model from loading, in one message.
    """
    from transformers import GgufConfig
    from transformers.utils import logging

    source.check()
    if not options.allow_pickle:
        source.refuse_pickles()
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    name, keywords = source.arguments()
    # One bar for each model would drown the run's own.
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    if source.gguf:
        extra["quantization_config"] = GgufConfig(dequantize=True)
    else:
        extra["use_safetensors"] = None if options.allow_pickle else True
        if renamed:
            extra["key_mapping"] = {"^" + re.escape(theirs): ours for theirs, ours in renamed.items()}
    verbosity = logging.get_verbosity()
    if new_head:
        logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # it warns of what was asked for
    dtype = _dtype(source, device, options)
    try:
        module, found = auto_class.from_pretrained(
            name,
            **keywords,
            **extra,
            dtype=dtype,
            trust_remote_code=options.trust_remote_code,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # said below, by name
        )
    except (
        OSError,
        ValueError,
        KeyError,
        RuntimeError,
        ImportError,
        SafetensorError,
        pickle.UnpicklingError,
    ) as error:
        if source.gguf and "reshape" in str(error):
            raise ModelLoadError(f"{source.text}: the file is cut or damaged ({_first_line(error)})") from error
        raise ModelLoadError(f"{source.text}: {_first_line(error)}") from error
    finally:
        logging.set_verbosity(verbosity)
    lacking = {*found["missing_keys"], *(key for key, *_ in found["mismatched_keys"])}
    fresh = {key for key in lacking if new_head and key.startswith(_HEADS)}
    if missing := sorted(set(found["missing_keys"]) - fresh):  # transformers would fill them with random numbers
        named = [_in_checkpoint(name, renamed or {}) for name in missing[:3]]
        raise ModelLoadError(
            f"{source.text} is not a {type(module).__name__}: its weights lack {', '.join(named)}"
            f"{' and more' if len(missing) > 3 else ''}"
        )
    if misshapen := sorted(one for one in found["mismatched_keys"] if one[0] not in fresh):
        name, theirs, ours = misshapen[0]
        raise ModelLoadError(
            f"{source.text} does not fit its config.json: {_in_checkpoint(name, renamed or {})} has the shape "
            f"{tuple(theirs)}, not {tuple(ours)}{f'; {len(misshapen) - 1} more do not fit' if misshapen[1:] else ''}"
        )
    parameters = sum(p.numel() for p in module.parameters())
    try:
        module = module.to(device).eval()
    except (AssertionError, RuntimeError) as error:  # torch raises both when a device is absent or full
        raise ModelLoadError(f"{source.text}: cannot be put on {device}: {_first_line(error)}") from error
    facts: dict[str, Any] = {
        "backend": "hf",
        "source": source.text if not source.local else source.name,
        "revision": source.commit(),
        "sha256": source.sha256(),
        "architecture": type(module).__name__,
        "parameters": parameters,
        "dtype": str(module.dtype).removeprefix("torch."),
        "device": str(module.device),
        "trust_remote_code": options.trust_remote_code,
        "allow_pickle": options.allow_pickle,
    }
    if new_head:
        facts["new_head"] = any(key.endswith(".weight") for key in fresh)
    return module, facts


def _in_checkpoint(name: str, renamed: Mapping[str, str]) -> str:
    """What a checkpoint would call the module's tensor `name`."""
    for theirs, ours in renamed.items():
        if ours and name.startswith(ours):
            return theirs + name.removeprefix(ours)
    return name


def load_tokenizer(source: Source, options: LoadOptions) -> Any:
    """The tokenizer that belongs to `source`.

    Raises:
        ModelLoadError: there is none, or it is damaged.
    """
    from transformers import AutoTokenizer

    name, keywords = source.arguments()
    try:
        return AutoTokenizer.from_pretrained(name, **keywords, trust_remote_code=options.trust_remote_code)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise ModelLoadError(f"{source.text}: its tokenizer cannot be loaded: {_first_line(error)}") from error


def _dtype(source: Source, device: str, options: LoadOptions) -> torch.dtype:
    """As asked for, as `arbitrage.json` says that the model was measured, or by size."""
    name = options.dtype or source.sidecar().get("dtype")
    if name is not None:
        if str(name) not in _DTYPES:
            raise ModelLoadError(f"{source.text}: dtype {name!r} in its arbitrage.json is none of {', '.join(_DTYPES)}")
        return _DTYPES[str(name)]
    small = source.local and sum(file.stat().st_size for file in source.weights()) < SMALL_BYTES
    return torch.float32 if device == "cpu" and small else torch.bfloat16


def _first_line(error: BaseException) -> str:
    """The beginning of a message; of one that ends in a list, the list too."""
    lines = str(error).strip().split("\n")
    return (" ".join(" ".join(lines).split()) if lines[0].endswith(":") else lines[0])[:300]
