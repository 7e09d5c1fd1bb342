"""What a forward pass would cost on hardware that is not here: weights over bandwidth, arithmetic over its speed.

At batch size 1 a pass reads every weight once, whatever the number of its tokens, and each token costs two operations a
weight (Pope et al., arXiv:2211.05102, sec. 2). The two times are added, not overlapped; caches of keys and values are
left out: a few percent of the weights at some thousand tokens. Knows no rows and no run.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from arbitrage.errors import RunError
from arbitrage.harness.costs import ModelCost

BITS: Mapping[str, float] = {
    "fp32": 32, "bf16": 16, "fp16": 16, "fp8": 8, "int8": 8, "int4": 4,
}  # fmt: skip
"""Bits a weight by the name of its format."""

_PREFIXES = {"": 1.0, "K": 1e3, "M": 1e6, "G": 1e9, "B": 1e9, "T": 1e12}
_NUMBER = r"(\d+(?:\.\d*)?(?:[eE][+-]?\d+)?)"
_SIZE = re.compile(_NUMBER + r"\s*([KMBTkmbt]?)(?:@(\w+(?:\.\d+)?\w*))?")
_RATE = re.compile(_NUMBER + r"\s*([KMGT]?)(?:B/s)?", re.IGNORECASE)
_TIME = re.compile(_NUMBER + r"(?:\s*\+\s*" + _NUMBER + ")?")
_BITS = re.compile(r"(\d+(?:\.\d+)?)bit")


@dataclass(frozen=True, slots=True)
class ModelSize:
    """As much of a model as its speed depends on."""

    parameters: float
    """Weights that a pass reads; of a mixture of experts, the active ones."""
    bits: float = 16.0
    """Per weight, scales of quantised ones included."""

    @property
    def memory_bytes(self) -> float:
        """All weights."""
        return self.parameters * self.bits / 8

    @property
    def layers(self) -> float:
        """Layers of a usual model of this size: 32 at 8 and 80 at 70 billion parameters, a power law between."""
        return 32.0 * math.pow(self.parameters / 8e9, 0.42)

    @classmethod
    def parse(cls, text: str) -> ModelSize:
        """Read `70e9@bf16`, `8B@int4`, `1.5B` (bf16), `32B@4.5bit`.

        Raises:
            ValueError: it is no size.
        """
        match = _SIZE.fullmatch(text.strip())
        parameters = float(match[1]) * _PREFIXES[match[2].upper()] if match else 0.0
        bits = _bits(match[3]) if match else None
        if bits is None or not 1e3 <= parameters <= 1e15:
            raise ValueError(
                f"{text!r} is no model size; write parameters and a format: '70e9@bf16', '8B@int4', '1.5B', "
                f"'32B@4.5bit'. Formats: {', '.join(BITS)}"
            )
        return cls(parameters, bits)


def _bits(name: str | None) -> float | None:
    if name is None:
        return BITS["bf16"]
    told = _BITS.fullmatch(name)
    bits = float(told[1]) if told else BITS.get(name.lower(), 0.0)
    return bits if 0 < bits <= 64 else None


def parse_rate(text: str) -> float:
    """Bytes a second, from `3.35TB/s`, `900GB/s` or a plain number.

    Raises:
        ValueError: it is no positive rate.
    """
    match = _RATE.fullmatch(text.strip())
    rate = float(match[1]) * _PREFIXES[match[2].upper()] if match else 0.0
    if not 1e3 <= rate <= 1e18:
        raise ValueError(f"{text!r} is no bandwidth; write e.g. '3.35TB/s' or '900GB/s'")
    return rate


def parse_time(text: str) -> ModelCost:
    """Read milliseconds of a pass over one token, `12`, or also of each further token in it, `12+0.05`.

    Raises:
        ValueError: it is no time.
    """
    match = _TIME.fullmatch(text.strip())
    if match is None or not 0 < float(match[1]) < 1e9 or not float(match[2] or 0) < 1e9:
        raise ValueError(
            f"{text!r} is no time; write milliseconds of a pass over one token, '12', and if need be of each further "
            "token in it, '12+0.05'"
        )
    return ModelCost(float(match[1]) / 1e3, float(match[2] or 0) / 1e3)


@dataclass(frozen=True, slots=True)
class Gpu:
    """One accelerator by its data sheet."""

    bandwidth: float
    """Bytes a second from memory."""
    flops: float
    """Operations a second in bf16, dense."""
    memory_bytes: float | None = None
    """None when it was not said: then nothing checks that weights fit."""


GPUS: Mapping[str, Gpu] = {
    "a100": Gpu(2.039e12, 312e12, 80e9),
    "h100": Gpu(3.35e12, 989e12, 80e9),
    "h200": Gpu(4.8e12, 989e12, 141e9),
}
"""SXM versions, from NVIDIA's data sheets (the A100 with 80 GB); operations without sparsity."""


@dataclass(frozen=True, slots=True)
class Machine:
    """Accelerators of one kind, and what is assumed of them."""

    gpu: Gpu
    efficiency: float = 0.6
    """Share of the data sheet's bandwidth and operations that a pass reaches. An assumption: measure your own."""
    all_reduce_s: float = 10e-6
    """Of one all-reduce among the GPUs that share a model. An assumption; each layer needs two."""
    launch_s: float = 0.0
    """Of every pass beside memory and arithmetic: starting kernels. None with CUDA graphs."""

    def cost(self, size: ModelSize, gpus: int = 1) -> ModelCost:
        """Cost of a pass of a model that is split evenly over `gpus`.

        Raises:
            RunError: the weights do not fit.
        """
        memory = self.gpu.memory_bytes
        if memory is not None and size.memory_bytes > gpus * memory:
            raise RunError(
                f"{size.memory_bytes / 1e9:.0f} GB of weights do not fit on {gpus} × {memory / 1e9:.0f} GB; take more "
                "GPUs (--target-gpus, --draft-gpus, …) or a smaller format"
            )
        reading = size.memory_bytes / (self.gpu.bandwidth * self.efficiency * gpus)
        arithmetic = 2 * size.parameters / (self.gpu.flops * self.efficiency * gpus)
        waiting = 2 * size.layers * self.all_reduce_s if gpus > 1 else 0.0
        return ModelCost(reading + arithmetic + waiting + self.launch_s, arithmetic)

    def assumptions(self) -> list[str]:
        """What its costs rest on, for under a table."""
        return [
            f"assumed: a pass reaches {self.efficiency:.0%} of {self.gpu.bandwidth / 1e12:.3g} TB/s and "
            f"{self.gpu.flops / 1e12:.4g} TFLOP/s on each GPU; an all-reduce takes {self.all_reduce_s * 1e6:g} µs, two "
            f"a layer where GPUs share a model; {self.launch_s * 1e3:g} ms to start a pass; keys and values cost "
            "nothing. Better than any of it: a measured time (--target-ms, --draft-ms, …)"
        ]
