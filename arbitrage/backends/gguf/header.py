"""Reads and checks the header of a GGUF file in Python, before any C code sees the file.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Every count and size is checked against the length of
the file before anything is read or allocated, so a damaged or hostile file costs a message and nothing else.
"""

from __future__ import annotations

import math
import mmap
import re
import struct
from dataclasses import dataclass
from pathlib import Path

from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

from arbitrage.errors import ModelLoadError

_VERSIONS = (2, 3)
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_MOST_DIMENSIONS = 4
_MOST_NESTING = 4
_ALIGNMENT = "general.alignment"
_SPLIT = re.compile(r"^(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf$")

Scalar = bool | int | float | str


@dataclass(frozen=True, slots=True)
class Header:
    """What a GGUF file says of itself."""

    version: int
    metadata: dict[str, Scalar]
    """Single values; arrays (vocabularies) are checked and left where they are."""
    tensors: int
    types: tuple[str, ...]
    """Names of the tensor types, most bytes first."""

    @property
    def architecture(self) -> str:
        """E.g. 'llama' or 'qwen2'."""
        return str(self.metadata.get("general.architecture", ""))

    @property
    def chat_template(self) -> str | None:
        """The Jinja source of the chat template."""
        found = self.metadata.get("tokenizer.chat_template")
        return found if isinstance(found, str) else None


def read_header(path: Path) -> Header:
    """Check `path`, and all further parts when it is the first of a split model.

    Raises:
        ModelLoadError: not a GGUF file, or its counts and sizes contradict its length.
    """
    if not path.is_file():
        raise ModelLoadError(f"{path}: there is no such GGUF file")
    header = _read(path)
    parts = header.metadata.get("split.count", 0)
    name = _SPLIT.match(path.name)
    if isinstance(parts, int) and parts > 1:
        if name is None or int(name["number"]) != 1 or int(name["count"]) != parts:
            raise ModelLoadError(
                f"{path}: it is one of {parts} parts; give the first, named like model-00001-of-{parts:05d}.gguf"
            )
        for number in range(2, parts + 1):
            part = path.with_name(f"{name['stem']}-{number:05d}-of-{parts:05d}.gguf")
            if not part.is_file():
                raise ModelLoadError(f"{path}: part {number} of {parts} is missing: {part.name}")
            _read(part)
    return header


def _read(path: Path) -> Header:
    size = path.stat().st_size
    with path.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise ModelLoadError(f"{path}: this is not a GGUF file (its first bytes are not 'GGUF')")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            try:
                return _Reader(data, size).header()
            except (_DamagedError, UnicodeDecodeError) as error:
                raise ModelLoadError(f"{path}: damaged GGUF file: {error}; download or convert it again") from None


class _DamagedError(Exception):
    """The file contradicts itself."""


class _Reader:
    def __init__(self, data: mmap.mmap, size: int) -> None:
        self._data, self._size, self._at = data, size, 4

    def header(self) -> Header:
        version = int(self._scalar("I"))
        if version not in _VERSIONS:
            hint = " (it may be big-endian)" if version & 0xFFFF == 0 else ""
            raise _DamagedError(f"version {version}{hint}; versions {_VERSIONS[0]} and {_VERSIONS[-1]} can be read")
        tensors, values = int(self._scalar("Q")), int(self._scalar("Q"))
        # A value takes at least 13 bytes (key length, type, one byte), a tensor at least 32.
        self._fits(values * 13 + tensors * 32, f"{values} values and {tensors} tensors")
        metadata: dict[str, Scalar] = {}
        for _ in range(values):
            key = self._string()
            value = self._value(int(self._scalar("I")))
            if value is not None:
                metadata[key] = value
        return Header(version, metadata, tensors, self._tensors(tensors, metadata))

    def _tensors(self, count: int, metadata: dict[str, Scalar]) -> tuple[str, ...]:
        extents: list[tuple[str, int, int]] = []
        names: set[str] = set()
        by_type: dict[str, int] = {}
        for _ in range(count):
            name = self._string()
            if name in names:
                raise _DamagedError(f"two tensors are named {name!r}")
            names.add(name)
            dimensions = int(self._scalar("I"))
            if dimensions > _MOST_DIMENSIONS:
                raise _DamagedError(f"tensor {name!r} has {dimensions} dimensions")
            shape = [int(self._scalar("Q")) for _ in range(dimensions)]
            kind, offset = int(self._scalar("I")), int(self._scalar("Q"))
            try:
                block, block_bytes = GGML_QUANT_SIZES[GGMLQuantizationType(kind)]
            except (ValueError, KeyError):
                raise _DamagedError(f"tensor {name!r} has the unknown type {kind}") from None
            if shape and shape[0] % block:
                raise _DamagedError(f"rows of tensor {name!r} are not a multiple of {block}")
            length = math.prod(shape) // block * block_bytes
            extents.append((name, offset, length))
            by_type[GGMLQuantizationType(kind).name] = by_type.get(GGMLQuantizationType(kind).name, 0) + length
        alignment = metadata.get(_ALIGNMENT, 32)
        if not isinstance(alignment, int) or alignment < 1 or alignment > 1 << 20:
            raise _DamagedError(f"alignment {alignment!r}")
        start = -(-self._at // alignment) * alignment
        for name, offset, length in extents:
            if start + offset + length > self._size:
                raise _DamagedError(
                    f"tensor {name!r} ends at byte {start + offset + length:,}, the file at {self._size:,} "
                    "(an interrupted download?)"
                )
        return tuple(sorted(by_type, key=by_type.__getitem__, reverse=True))

    def _value(self, kind: int, nesting: int = 0) -> Scalar | None:
        if kind in _SCALARS:
            return self._scalar(_SCALARS[kind])
        if kind == _STRING:
            return self._string()
        if kind != _ARRAY or nesting == _MOST_NESTING:
            raise _DamagedError(f"a value of the unknown type {kind}")
        element, count = int(self._scalar("I")), int(self._scalar("Q"))
        if element in _SCALARS:
            self._skip(count * struct.calcsize(_SCALARS[element]), f"an array of {count}")
        else:
            self._fits(count * 8, f"an array of {count}")
            for _ in range(count):
                if element == _STRING:
                    self._skip(int(self._scalar("Q")), "a string")
                else:
                    self._value(element, nesting + 1)
        return None

    def _scalar(self, code: str) -> Scalar:
        form = "<" + code
        start = self._at
        self._skip(struct.calcsize(form), "a number")
        value: Scalar = struct.unpack_from(form, self._data, start)[0]
        return value

    def _string(self) -> str:
        length = int(self._scalar("Q"))
        start = self._at
        self._skip(length, f"a string of {length} bytes")
        return self._data[start : start + length].decode("utf-8")

    def _skip(self, count: int, what: str) -> None:
        self._fits(count, what)
        self._at += count

    def _fits(self, count: int, what: str) -> None:
        if count > self._size - self._at:
            raise _DamagedError(f"{what} at byte {self._at:,} would end beyond the file's {self._size:,} bytes")
