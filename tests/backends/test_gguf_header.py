"""GGUF headers are checked in Python: a damaged or hostile file costs a message, never a crash or a gigabyte."""

from __future__ import annotations

import contextlib
import struct

import pytest

pytest.importorskip("gguf")
pytest.importorskip("llama_cpp")

from arbitrage.backends.bundled import bundled_gguf
from arbitrage.backends.gguf import (
    GGUFBackend,
    probe,
)
from arbitrage.backends.gguf.header import read_header
from arbitrage.errors import ModelLoadError


def text(value):
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(raw)) + raw


def header(values=b"", value_count=0, tensors=b"", tensor_count=0, version=3):
    return b"GGUF" + struct.pack("<IQQ", version, tensor_count, value_count) + values + tensors


def tensor(name, shape, kind=0, offset=0):
    return text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)


ARCHITECTURE = text("general.architecture") + struct.pack("<I", 8) + text("llama")
HUGE = 1 << 60

HOSTILE = {
    "empty": b"",
    "three bytes": b"GGU",
    "magic only": b"GGUF",
    "another format": b"PK\x03\x04" + bytes(64),
    "version 1": header(version=1),
    "big-endian": b"GGUF" + struct.pack(">IQQ", 3, 0, 0),
    "version 99": header(version=99),
    "more values than bytes": header(value_count=HUGE),
    "more tensors than bytes": header(tensor_count=HUGE),
    "endless key": header(struct.pack("<Q", HUGE) + b"x" * 64, 1),
    "endless string": header(text("k") + struct.pack("<IQ", 8, HUGE) + b"x" * 64, 1),
    "endless array of numbers": header(text("k") + struct.pack("<IIQ", 9, 4, HUGE) + bytes(64), 1),
    "endless array of strings": header(text("k") + struct.pack("<IIQ", 9, 8, HUGE) + bytes(64), 1),
    "arrays in arrays in arrays": header(
        text("k") + struct.pack("<I", 9) + struct.pack("<IQ", 9, 1) * 50 + bytes(64), 1
    ),
    "unknown value type": header(text("k") + struct.pack("<I", 77) + bytes(64), 1),
    "key that is not UTF-8": header(text(b"\xff\xfe") + struct.pack("<IB", 0, 1) + bytes(64), 1),
    "tensor beyond the end": header(ARCHITECTURE, 1, tensor("a", [1 << 40]), 1) + bytes(256),
    "offset beyond the end": header(ARCHITECTURE, 1, tensor("a", [4], offset=HUGE), 1) + bytes(256),
    "five dimensions": header(ARCHITECTURE, 1, tensor("a", [1] * 5), 1) + bytes(256),
    "unknown tensor type": header(ARCHITECTURE, 1, tensor("a", [4], kind=999), 1) + bytes(256),
    "row that is no whole block": header(ARCHITECTURE, 1, tensor("a", [33], kind=8), 1) + bytes(256),
    "one name twice": header(ARCHITECTURE, 1, tensor("a", [4]) * 2, 2) + bytes(256),
    "alignment of zero": header(text("general.alignment") + struct.pack("<II", 4, 0), 1, tensor("a", [4]), 1)
    + bytes(256),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused_with_a_reason(tmp_path, name):
    """Before llama.cpp sees them."""
    file = tmp_path / "x.gguf"
    file.write_bytes(HOSTILE[name])
    with pytest.raises(ModelLoadError, match=r"x\.gguf: "):
        GGUFBackend().language_model(str(file))


def test_a_real_file_cut_anywhere_is_refused(tmp_path):
    """Forty cuts through header, vocabulary and tensors."""
    whole = bundled_gguf("draft", "q8_0").read_bytes()
    file = tmp_path / "cut.gguf"
    for k in range(40):
        file.write_bytes(whole[: len(whole) * k // 40])
        with pytest.raises(ModelLoadError):
            read_header(file)
    file.write_bytes(whole)
    assert read_header(file).architecture == "llama"


def test_single_flipped_bytes_never_crash_the_reader(tmp_path):
    """Any byte of the header may lie; the answer is a header or a refusal."""
    whole = bytearray(bundled_gguf("draft", "q8_0").read_bytes())
    file = tmp_path / "flipped.gguf"
    for at in range(0, 3000, 7):
        changed = bytearray(whole)
        changed[at] ^= 0xFF
        file.write_bytes(changed)
        with contextlib.suppress(ModelLoadError):
            read_header(file)


def test_a_header_tells_what_it_is():
    """Architecture, chat template and the types of the weights."""
    found = read_header(bundled_gguf("target", "q3_k"))
    assert found.architecture == "llama"
    assert "<|assistant|>" in (found.chat_template or "")
    assert found.types[0] == "Q3_K"
    assert found.metadata["llama.block_count"] == 8


def test_parts_of_a_split_model_are_asked_for_by_name(tmp_path):
    """A missing part is named; giving a later part is explained."""
    split = text("split.count") + struct.pack("<IH", 2, 2)
    first = tmp_path / "m-00001-of-00002.gguf"
    first.write_bytes(header(ARCHITECTURE + split, 2) + bytes(64))
    with pytest.raises(ModelLoadError, match=r"m-00002-of-00002\.gguf"):
        read_header(first)
    second = tmp_path / "m-00002-of-00002.gguf"
    second.write_bytes(header(ARCHITECTURE + split, 2) + bytes(64))
    assert read_header(first).architecture == "llama"
    with pytest.raises(ModelLoadError, match="give the first"):
        read_header(second)


def test_what_llama_cpp_refuses_is_told_by_the_probe(tmp_path):
    """A sound file of an architecture that nobody knows."""
    file = tmp_path / "odd.gguf"
    odd = text("general.architecture") + struct.pack("<I", 8) + text("nobody-knows-me")
    file.write_bytes(header(odd, 1, tensor("a", [4]), 1) + bytes(256))
    with pytest.raises(ModelLoadError, match="cannot load it"):
        GGUFBackend().language_model(str(file))


@pytest.mark.parametrize(
    ("behaviour", "told"),
    [
        ("import os; os.kill(os.getpid(), 11)", "crashed while loading it .SIGSEGV"),
        ("while True: pass", "did not load"),
    ],
)
def test_a_loader_that_crashes_or_hangs_is_a_message(tmp_path, monkeypatch, behaviour, told):
    """The child dies; this process lives and says why. A file that failed is tried again the next time."""
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\nexec {probe.sys.executable} -c '{behaviour}'\n")
    python.chmod(0o755)
    file = tmp_path / "m.gguf"
    file.write_bytes(bundled_gguf("draft", "q8_0").read_bytes())
    with monkeypatch.context() as patch:
        patch.setattr(probe.sys, "executable", str(python))
        patch.setattr(probe, "_SECONDS", 1.0)
        with pytest.raises(ModelLoadError, match=told):
            GGUFBackend().language_model(str(file))
    assert GGUFBackend().language_model(str(file), threads=1).context_length == 1024
