"""What every test shares: one thread per process, set before anybody imports torch or numpy."""

from __future__ import annotations

import os
import signal

import pytest

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS"):
    os.environ[variable] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("MPLBACKEND", "agg")

try:
    import torch
except ImportError:  # everything but the hf backend works without torch
    pass
else:
    torch.set_num_threads(1)

# A shell that starts the tests in the background has them ignore Ctrl-C, which some tests send for real.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty cache of the hub; `put_on_hub` fills it, and everything else cannot be reached."""
    constants = pytest.importorskip("huggingface_hub").constants
    cache = tmp_path / "hub-cache"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    return cache
