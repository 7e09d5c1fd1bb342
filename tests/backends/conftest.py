"""Checkpoints that several test files share, made once per test run."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from tests.backends.checkpoints import save_language_model


@pytest.fixture(scope="session", params=["llama", "qwen2", "mistral-sliding"])
def checkpoint(request, tmp_path_factory) -> Path:
    """A language model of each architecture."""
    return save_language_model(tmp_path_factory.mktemp(request.param), request.param)


@pytest.fixture(scope="session")
def pair(tmp_path_factory) -> tuple[Path, Path]:
    """Two different models with one tokenizer."""
    return (
        save_language_model(tmp_path_factory.mktemp("draft"), seed=1),
        save_language_model(tmp_path_factory.mktemp("target"), seed=2),
    )
