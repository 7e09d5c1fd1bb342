"""Every backend passes the same suite."""

from __future__ import annotations

import pytest

from arbitrage.backends.bundled import bundled_path
from arbitrage.testing.backend_conformance import BackendConformance


class TestHF(BackendConformance):
    """transformers, in fp32."""

    @pytest.fixture(scope="class", params=["bundled", "llama", "qwen2", "mistral-sliding"])
    @classmethod
    def model(cls, request, tmp_path_factory):
        pytest.importorskip("torch")
        from arbitrage.backends.hf import HFBackend
        from tests.backends.checkpoints import save_language_model

        path = bundled_path("draft")
        if request.param != "bundled":
            path = save_language_model(tmp_path_factory.mktemp("model"), request.param)
        return HFBackend().language_model(str(path), "cpu", dtype="float32", threads=1)


class TestGGUF(BackendConformance):
    """llama.cpp: full precision, a quantised file, and several sequences in one context."""

    @pytest.fixture(scope="class", params=["f32", "q8_0", "q8_0 with 3 sessions"])
    @classmethod
    def model(cls, request, tmp_path_factory):
        pytest.importorskip("llama_cpp")
        from arbitrage.backends.gguf import GGUFBackend

        backend = GGUFBackend()
        if request.param == "f32":
            pytest.importorskip("torch")
            from arbitrage.backends.gguf.export import export_gguf

            path = tmp_path_factory.mktemp("gguf") / "draft-F32.gguf"
            export_gguf(bundled_path("draft"), path, "F32")
            return backend.language_model(str(path), "cpu", threads=1)
        sessions = 3 if "sessions" in request.param else 1
        return backend.language_model(bundled_draft(), "cpu", threads=1, sessions=sessions)


def bundled_draft():
    """The bundled draft as GGUF."""
    from arbitrage.backends.bundled import bundled_gguf

    return str(bundled_gguf("draft", "q8_0"))


class TestGPTQ(BackendConformance):
    """gptqmodel's CPU kernel: its 4-bit products round otherwise for one row than for many."""

    tolerance = 5e-2

    @pytest.fixture(scope="class")
    @classmethod
    def model(cls):
        pytest.importorskip("gptqmodel")
        from arbitrage.backends.gptq import GPTQBackend

        return GPTQBackend().language_model(str(bundled_path("draft-gptq4")), "cpu", dtype="float32", threads=1)


class TestSpeculation(BackendConformance):
    """A draft and a target from two runtimes, speculating, are one more model."""

    @pytest.fixture(scope="class")
    @classmethod
    def model(cls):
        pytest.importorskip("torch")
        pytest.importorskip("llama_cpp")
        from arbitrage.backends.loading import load_models
        from arbitrage.strategies import speculate
        from arbitrage.types import Role

        pair = load_models(roles=[Role.DRAFT, Role.TARGET], draft="bundled:draft@q8_0", threads=1)
        return speculate(pair.target, pair.draft)
