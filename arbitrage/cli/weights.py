"""Whether the files of a bundled model are whole. Reads headers and sizes, not the weights."""

from __future__ import annotations

import json
import struct
from pathlib import Path

_MAGIC = b"GGUF"


class DamagedError(Exception):
    """A file is absent, cut, or not what its name says."""


def check_model(path: Path) -> None:
    """Check a GGUF file, or a checkpoint directory with its configuration, tokenizer and weights.

    Raises:
        DamagedError: it cannot be used.
    """
    if not path.is_dir():
        _gguf(path)
        return
    for name in ("config.json", "tokenizer.json"):
        _json(path / name)
    for file in path.glob("*.json"):
        _json(file)
    weights = sorted(path.glob("*.safetensors"))
    if not weights:
        raise DamagedError(f"{path}: no weights in it")
    for file in weights:
        _safetensors(file)


def _json(file: Path) -> None:
    try:
        json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise DamagedError(f"{file}: {error}") from error


def _safetensors(file: Path) -> None:
    """Format: eight bytes with the header's length, the header in JSON, the tensors one after the other."""
    try:
        size = file.stat().st_size
        with file.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            if length > size:
                raise DamagedError(f"{file}: its header is cut")
            header = json.loads(stream.read(length))
        ends = [tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__"]
    except (OSError, ValueError, TypeError, LookupError, AttributeError, struct.error) as error:
        raise DamagedError(f"{file}: its header cannot be read ({type(error).__name__}: {error})") from error
    expected = 8 + length + max(ends, default=0)
    if size != expected:
        raise DamagedError(f"{file}: it has {size} bytes, its header describes {expected}")


def _gguf(file: Path) -> None:
    from arbitrage.errors import MissingExtraError, ModelLoadError

    try:
        with file.open("rb") as stream:
            magic = stream.read(len(_MAGIC))
        if magic != _MAGIC:
            raise DamagedError(f"{file}: this is not a GGUF file")
        from arbitrage.backends.gguf.header import read_header

        read_header(file)
    except MissingExtraError:
        return
    except (OSError, ModelLoadError) as error:
        raise DamagedError(f"{file}: {error}") from error
