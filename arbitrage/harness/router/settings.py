"""How a router or PRM is trained; the defaults are the published ones (arXiv:2512.05033, section 5)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from arbitrage.errors import ArbitrageError
from arbitrage.harness.router.labels import KINDS, SOURCES, Kind, Source

Purpose = Literal["router", "prm"]
"""What comes out: a score of whether the target's step would be better, or of whether a step is good."""
PURPOSES: tuple[Purpose, ...] = get_args(Purpose)
DTYPES = ("float32", "bfloat16", "float16")
DEVICES = ("cpu", "cuda", "mps")


class TrainingError(ArbitrageError):
    """A router cannot be trained like this, or not there."""


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """Everything that can be chosen about a training."""

    purpose: Purpose = "router"
    """'router', from step pairs; or 'prm', from rolled-out pairs or from runs."""
    frozen: bool = False
    """Whether the backbone stays as it is: a linear head is fitted to its states, and lr, batch, epochs and warmup mean
    nothing."""
    layers: tuple[int, ...] = ()
    """Cut the backbone behind this layer; of several, which needs `frozen`, the one that does best on training problems
    left out. Empty: all layers."""
    labels: Kind = "binary"
    """What the head learns: 'binary', 'quantile', 'ordinal' or 'regression'."""
    classes: int = 4
    """Of quantile and ordinal labels; fewer only where there are not so many different advantages."""
    label: Source = "advantage"
    """What counts as gain: 'advantage' (mean over the target's samples), 'first-sample' or 'outcome' (of roll-outs)."""
    annotated: bool | None = None
    """Whether each step begins with its author's tag; None: yes, or as the router reads that is trained on. Never in
    PRMs."""
    balanced: bool = True
    """Whether the majority side (gain or no gain) is downsampled; in the training split only, and not for PRMs."""
    separator: str | None = None
    """Text whose last token ends each step; None: as the initial model reads, else a blank line."""
    chat: bool | None = None
    """Whether the problem is rendered by the chat template; None: as the initial model reads, else not."""
    lr: float | None = None
    """Peak learning rate of AdamW; None: 1e-5, or 1e-4 with LoRA."""
    batch: int = 1024
    """Pairs in an optimizer step, over all devices."""
    epochs: float = 3.0
    """Passes over the training pairs."""
    warmup: float = 0.05
    """Share of the optimizer steps in which the learning rate rises; it falls in the others, both linearly."""
    max_length: int | None = None
    """Tokens of a stream: the problem is kept and the oldest steps are dropped; None: the model's context."""
    lora: int = 0
    """Rank of low-rank adapters, merged into the weights at the end; 0 trains all weights."""
    held_out: float = 0.1
    """Share of the problems that is never trained on; measures and calibration come from it."""
    seed: int = 0
    """Of the order, the downsampling, dropout and new weights."""
    dtype: str | None = None
    """Format to compute and save in: 'float32', 'bfloat16' or 'float16'; None: bfloat16 on CUDA, else float32, and with
    `frozen` bfloat16 too where float32 takes 400 MB or more."""
    device: str | None = None
    """'cpu', 'cuda' or 'mps'; None: the first accelerator. Several GPUs: start by torchrun or accelerate launch."""
    micro_batch: int = 16
    """Pairs at once on one device; gradients are summed up to `batch`."""
    gradient_checkpointing: bool = False
    """Whether activations are computed twice to save memory."""
    threads: int | None = None
    """CPU threads of torch; None leaves them."""
    trust_remote_code: bool = False
    """Run Python code that comes with the initial model."""
    allow_pickle: bool = False
    """Read an initial model's .bin weights, which are pickles."""

    def __post_init__(self) -> None:
        """Refuse what cannot be.

        Raises:
            TrainingError: a value is out of its range.
        """
        _one_of("purpose", self.purpose, PURPOSES)
        _one_of("labels", self.labels, KINDS)
        _one_of("label", self.label, SOURCES)
        _one_of("dtype", self.dtype, (None, *DTYPES))
        _one_of("device", self.device, (None, *DEVICES))
        least = {"classes": 2, "batch": 1, "micro_batch": 1, "lora": 0, "seed": 0}
        for name, bound in least.items():
            if getattr(self, name) < bound:
                raise TrainingError(f"{name} must be at least {bound}, not {getattr(self, name)}")
        if self.purpose == "prm" and (self.labels != "binary" or self.annotated):
            raise TrainingError("a PRM reads steps without their authors and says good or bad: labels must be binary")
        if self.frozen and self.lora:
            raise TrainingError("lora trains the backbone, frozen leaves it as it is: choose one of them")
        if any(layer < 1 for layer in self.layers) or (len(self.layers) > 1 and not self.frozen):
            raise TrainingError("layers are counted from 1, and several can only be compared with frozen")
        if self.epochs <= 0 or (self.lr is not None and self.lr <= 0):
            raise TrainingError("epochs and lr must be above 0")
        if not (0 <= self.warmup <= 1 and 0 <= self.held_out < 1):
            raise TrainingError("warmup must be a share in [0, 1], held_out one in [0, 1)")

    @property
    def learning_rate(self) -> float:
        """The peak that was chosen, or its default."""
        return self.lr if self.lr is not None else 1e-4 if self.lora else 1e-5


NOT_IDENTITY = frozenset({"device", "micro_batch", "gradient_checkpointing", "threads"})
"""Settings that do not change what is trained, but for rounding: a training may go on with others."""


def _one_of(name: str, value: object, known: tuple[object, ...]) -> None:
    if value not in known:
        listed = ", ".join(str(one) for one in known if one is not None)
        raise TrainingError(f"{name} must be one of {listed}; not {value!r}")
