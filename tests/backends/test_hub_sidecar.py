"""A model on the hub is read as the same files in a directory are: by its `arbitrage.json`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import huggingface_hub.constants

from arbitrage.backends.hf import HFBackend
from arbitrage.backends.hf.loading import Source
from arbitrage.harness.router.sidecar import told_by
from tests.backends.checkpoints import save_classifier

COMMIT = "0123456789abcdef0123456789abcdef01234567"
SIDECAR = {
    "stream": {"separator": "\n\n", "annotated": True, "chat": False},
    "readout": {"kind": "binary"},
    "thresholds": {"0.3": 0.6},
    "training": {"held_out": 0.2, "pairs": "digest"},
}


def publish(folder: Path, cache: Path, name: str) -> None:
    """As if it had been fetched from the hub."""
    place = cache / f"models--me--{name}"
    shutil.copytree(folder, place / "snapshots" / COMMIT)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text(COMMIT)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the hub, without a connection."""
    cache = tmp_path / "cache"
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)
    return cache


def test_a_router_on_the_hub_reads_as_its_sidecar_says(tmp_path: Path, hub: Path) -> None:
    """Same scores, thresholds and stream as from the directory; what it was trained on is known."""
    folder = tmp_path / "here" / "my-router"
    save_classifier(folder)
    (folder / "arbitrage.json").write_text(json.dumps(SIDECAR))
    publish(folder, hub, "my-router")
    backend = HFBackend()
    there, here = (backend.scorer(source, "cpu", dtype="float32") for source in ("me/my-router", str(folder)))
    scores = []
    for scorer in (there, here):
        with scorer.open("What is 1 + 1?") as session:
            scores.append(session.score("It is 2.", "draft"))
    assert scores[0] == scores[1]
    assert there.thresholds == here.thresholds == {0.3: 0.6}
    facts = [scorer.describe() for scorer in (there, here)]
    for name in ("family", "family_by", "sidecar_sha256"):
        assert facts[0][name] == facts[1][name]
    assert told_by("hf:me/my-router") == told_by(str(folder)) == SIDECAR


def test_a_model_on_the_hub_needs_no_sidecar(tmp_path: Path, hub: Path) -> None:
    """One that is in the cache without it is loaded without a connection; a directory has its own."""
    folder = tmp_path / "here" / "plain"
    save_classifier(folder)
    publish(folder, hub, "plain")
    assert Source("me/plain").sidecar() == Source(str(folder)).sidecar() == {}
    assert told_by("another:me/plain") == {}
