"""The `gptq` backend: 2- to 8-bit GPTQ checkpoints through gptqmodel, on CPU or CUDA.

auto-gptq, which wrote many of these checkpoints, is dead: its last release imports only with transformers up to 4.46
and cannot run on a CPU. gptqmodel is its maintained successor and reads what it wrote. Sessions, caches and scorers are
those of the `hf` backend; only the linear layers differ.
"""

from __future__ import annotations

import os

from arbitrage.errors import MissingExtraError

# On machines with few cores its default worker pool is too small for itself. Read on import.
os.environ.setdefault("GPTQMODEL_CPU_WORKERS", "2")

try:
    from logbar import LogBar

    LogBar.shared().setLevel("ERROR")  # no banner; which kernel it chose stands in the facts
    import gptqmodel
    import optimum  # noqa: F401
except ImportError as error:
    raise MissingExtraError.of("the gptq backend", "gptqmodel and optimum", "gptq") from error

import warnings
from collections import Counter
from typing import Any

from arbitrage.backends.bundled import bundled_path
from arbitrage.backends.gptq.checkpoint import as_hub_checkpoint
from arbitrage.backends.hf import HFBackend, HFLanguageModel
from arbitrage.backends.hf.loading import LoadOptions, Source, default_device
from arbitrage.errors import ModelLoadError
from arbitrage.interfaces import BackendFacts
from arbitrage.types import Role

__all__ = ["GPTQBackend"]

_BUNDLED_BITS = "gptq4"


class GPTQBackend(HFBackend):
    """Loads GPTQ checkpoints: directories or hub ids, written by gptqmodel, auto-gptq or optimum."""

    name = "gptq"
    facts = BackendFacts(
        reads="GPTQ directory or hub id (gptqmodel, auto-gptq, optimum)",
        devices="CPU, CUDA",
        capabilities=HFLanguageModel.capabilities,
        scorers=True,
        together=True,
        bundled=("gptq4", "gptq3"),
    )

    def language_model(self, source: str, device: str | None = None, **options: object) -> HFLanguageModel:
        """See `Backend.language_model`. Options as for `hf`; dtype is that of everything but the packed weights."""
        how = LoadOptions.of(options)
        where = device or default_device()
        with as_hub_checkpoint(Source(source)) as (readable, settings), warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # optimum uses what transformers will rename
            model = self._load(readable, where, how, {"device_map": where})
        kernels = _kernels(model.network.module)
        if not kernels:
            raise ModelLoadError(f"{source}: no layer of it is quantised; load it with the hf backend")
        given = Source(source)
        model.name = given.name
        model.add_facts(
            backend=self.name,
            source=given.name if given.local else given.text,
            bits=settings["bits"],
            group_size=settings["group_size"],
            act_order=settings["desc_act"],
            kernel="+".join(sorted(kernels)),
            parameters=_parameters(model.network.module),
            gptqmodel=gptqmodel.__version__,
        )
        return model

    def bundled(self, role: Role, variant: str | None = None) -> str:
        """Directory of the bundled draft or target (4 bits unless `variant` says otherwise); PRM and router as `hf`."""
        if role in (Role.PRM, Role.ROUTER):
            return str(bundled_path(role.value))
        return str(bundled_path(f"{role.value}-{variant or _BUNDLED_BITS}"))


def _kernels(module: Any) -> Counter[str]:
    """Names of the kernels that hold quantised weights."""
    return Counter(type(layer).__name__ for layer in module.modules() if hasattr(layer, "qweight"))


def _parameters(module: Any) -> int:
    """Weights of the model as if they were not packed."""
    packed = [layer for layer in module.modules() if hasattr(layer, "qweight")]
    weights = sum(one.in_features * one.out_features for one in packed) + sum(p.numel() for p in module.parameters())
    return int(weights)
