"""The training itself: `transformers.Trainer` over examples, with held-out measures on the way."""

from __future__ import annotations

import importlib.util
import math
import signal
import threading
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from arbitrage.errors import MissingExtraError
from arbitrage.harness.router.examples import IGNORED, Example, Shuffled, collate
from arbitrage.harness.router.labels import Kind
from arbitrage.harness.router.objective import losses
from arbitrage.harness.router.settings import TrainingError, TrainingSettings

EVALUATIONS = 10
"""How often a training is measured and its state is stored, about."""

Measure = Callable[[NDArray[np.float32]], Mapping[str, float]]
"""From the head's outputs at the held-out labels, shape (labels, outputs), to measures by name."""
Say = Callable[[str], None]
"""Takes a line for the person who waits."""


class Examples(Dataset[Example]):
    """A list of examples."""

    def __init__(self, examples: Sequence[Example]) -> None:
        self._examples = examples

    def __len__(self) -> int:
        return len(self._examples)

    def __getitem__(self, index: int) -> Example:
        return self._examples[index]


class RouterTrainer(Trainer):
    """A trainer that reads the head at the separators with a label."""

    def __init__(
        self,
        module: Any,
        training: Sequence[Example],
        held_out: Sequence[Example],
        kind: Kind,
        arguments: TrainingArguments,
        measure: Measure,
        say: Say,
    ) -> None:
        self._order = Shuffled(
            [len(one.ids) for one in training],
            arguments.train_batch_size * arguments.gradient_accumulation_steps * arguments.world_size,
            arguments.seed,
        )
        self._kind: Kind = kind
        counts = np.array([len(one.places) for one in held_out])
        super().__init__(
            model=module,
            args=arguments,
            data_collator=collate,
            train_dataset=Examples(training),
            eval_dataset=Examples(held_out) if held_out else None,
            compute_loss_func=self._loss,
            compute_metrics=lambda found: dict(measure(_flat(np.asarray(found.predictions), counts))),
            preprocess_logits_for_metrics=_padded,
        )
        self.remove_callback(PrinterCallback)
        self.add_callback(_Tell(say))

    def _get_train_sampler(self, train_dataset: Any = None) -> Shuffled:
        """See `Trainer`."""
        return self._order

    def _loss(self, outputs: Any, labels: Tensor, num_items_in_batch: Tensor | int | None = None) -> Tensor:
        """Sum over the labels by the number of labels in the whole optimizer step."""
        found = losses(self._kind, _at_labels(outputs.logits, labels).float(), labels[labels != IGNORED])
        return found.sum() / (len(found) if num_items_in_batch is None else num_items_in_batch)

    def outputs(self, examples: Sequence[Example]) -> NDArray[np.float32]:
        """What the head says at each labelled place, one example after the other, shape (labels, outputs)."""
        found = np.asarray(self.predict(Examples(examples)).predictions)
        return _flat(found, np.array([len(one.places) for one in examples]))


def _at_labels(outputs: Tensor, labels: Tensor) -> Tensor:
    """Outputs at the labelled positions, one example after the other, shape (labels, outputs)."""
    return outputs[labels != IGNORED]


def _padded(outputs: Tensor | tuple[Tensor, ...], labels: Tensor) -> Tensor:
    """Outputs at the labelled positions, shape (examples, most labels of one, outputs).

    A line for each example, because the trainer cuts and joins lines as if they were examples.
    """
    rows = outputs[0] if isinstance(outputs, tuple) else outputs
    counts = (labels != IGNORED).sum(1)
    padded = rows.new_zeros((len(rows), int(counts.max()), rows.shape[-1]))
    padded[torch.arange(padded.shape[1], device=rows.device) < counts[:, None]] = _at_labels(rows, labels)
    return padded


def _flat(padded: NDArray[np.float32], counts: NDArray[np.intp]) -> NDArray[np.float32]:
    """The first so many outputs of each example, shape (labels, outputs)."""
    return np.asarray(padded[np.arange(padded.shape[1]) < counts[:, None]])


def arguments_for(settings: TrainingSettings, count: int, measured: bool, folder: Path) -> TrainingArguments:
    """What the trainer is told.

    Args:
        settings: what was asked for.
        count: training examples.
        measured: whether there are held-out examples.
        folder: for checkpoints.

    Raises:
        TrainingError: the batch cannot be divided among the devices, or a device is absent.
    """
    dtype = precision(settings)
    try:
        arguments = TrainingArguments(
            output_dir=str(folder),
            num_train_epochs=settings.epochs,
            learning_rate=settings.learning_rate,
            lr_scheduler_type="linear",
            bf16=dtype == "bfloat16",
            fp16=dtype == "float16",
            seed=settings.seed,
            data_seed=settings.seed,
            use_cpu=settings.device == "cpu",
            logging_strategy="steps",
            save_strategy="steps",
            eval_strategy="steps" if measured else "no",
            save_total_limit=2,
            dataloader_pin_memory=torch.cuda.is_available() and settings.device != "cpu",
            disable_tqdm=True,
            remove_unused_columns=False,
            label_names=["labels"],
            ddp_find_unused_parameters=False,
            report_to="none",
            log_level="error",
        )
    except (ValueError, ImportError) as error:
        raise TrainingError(f"{str(error).splitlines()[0]}; see --device and --dtype") from error
    if arguments.world_size == 1:
        arguments._n_gpu = min(arguments.n_gpu, 1)  # several GPUs are for several processes
    share, left = divmod(settings.batch, arguments.world_size)
    if left:
        raise TrainingError(f"a batch of {settings.batch} cannot be divided among {arguments.world_size} processes")
    micro = next(size for size in range(min(settings.micro_batch, share), 0, -1) if share % size == 0)
    arguments.per_device_train_batch_size, arguments.per_device_eval_batch_size = micro, 2 * micro
    arguments.gradient_accumulation_steps = share // micro
    steps = math.ceil(settings.epochs * math.ceil(count / settings.batch))
    arguments.warmup_steps = round(settings.warmup * steps)
    every = max(1, math.ceil(steps / EVALUATIONS))
    arguments.eval_steps = arguments.save_steps = every
    arguments.logging_steps = max(1, steps // 50)
    return arguments


def precision(settings: TrainingSettings) -> str:
    """Number format of the computation."""
    if settings.dtype is not None:
        return settings.dtype
    return "bfloat16" if torch.cuda.is_available() and settings.device in (None, "cuda") else "float32"


def check_installed(settings: TrainingSettings) -> None:
    """Look for what is needed hours later only; a frozen backbone needs none of it.

    Raises:
        MissingExtraError: it is not installed.
        TrainingError: the device that was asked for is not there.
    """
    kind = (settings.device or "cpu").partition(":")[0]
    absent = {"cuda": not torch.cuda.is_available(), "mps": not torch.backends.mps.is_available()}
    if absent.get(kind):
        raise TrainingError(f"--device {settings.device}: torch sees no such device on this machine")
    if settings.frozen:
        return
    needed = {
        "accelerate": "training",
        "matplotlib": "the learning curve",
        **({"peft": "LoRA"} if settings.lora else {}),
    }
    for package, what in needed.items():
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError.of(what, package, "router")


def recompute_activations(module: Any) -> None:
    """Have the backward pass compute activations again instead of keeping them."""
    newer = getattr(module, "activation_checkpointing_enable", None)  # transformers gives up the other name
    (newer or module.gradient_checkpointing_enable)()
    module.enable_input_require_grads()  # frozen embeddings would cut the adapters off


def with_adapters(module: Any, rank: int) -> Any:
    """Low-rank adapters on every linear layer of the backbone; the head is trained whole."""
    from peft import LoraConfig, get_peft_model

    head = "score" if hasattr(module, "score") else "classifier"
    linear = {
        name.rpartition(".")[2]
        for name, part in module.named_modules()
        if isinstance(part, torch.nn.Linear) and name != head
    }
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=sorted(linear), modules_to_save=[head])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers by names that it is giving up
        adapted = get_peft_model(module, config)
    for weights in adapted.parameters():
        if weights.requires_grad:  # peft sees to its adapters only: a head in 16 bits would lose small updates
            weights.data = weights.data.float()
    return adapted


def last_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that was written to its end; the trainer's state is written last."""
    found = [one for one in folder.glob("checkpoint-*") if (one / "trainer_state.json").is_file()]
    return max(found, key=lambda one: int(one.name.rpartition("-")[2]), default=None)


def fit(trainer: RouterTrainer, checkpoint: Path | None) -> None:
    """Train to the end, from `checkpoint` if there is one.

    Raises:
        KeyboardInterrupt: Ctrl-C; the state after the current optimizer step is stored. A second one stops at once.
    """
    stop = _StopAfterStep()
    trainer.add_callback(stop)
    with stop:
        trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    if stop.asked and trainer.state.global_step < trainer.state.max_steps:
        raise KeyboardInterrupt


class _StopAfterStep(TrainerCallback):
    """Turns the first Ctrl-C into a checkpoint and an orderly end."""

    def __init__(self) -> None:
        self.asked = False
        self._before: Any = None

    def __enter__(self) -> None:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._ask)

    def __exit__(self, *error: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True

    def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        if self.asked:
            control.should_save = control.should_training_stop = True


class _Tell(TrainerCallback):
    """One line for each measurement: where the training is, and how long it will still take."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._loss = math.nan
        self._begun, self._first = time.monotonic(), 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        self._begun, self._first = time.monotonic(), state.global_step

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **more: Any) -> None:
        told = logs or {}
        self._loss = told.get("loss", self._loss)
        measured = {key.removeprefix("eval_"): value for key, value in told.items() if key in _TOLD}
        if not state.is_world_process_zero or (not measured and args.eval_strategy != "no") or "train_loss" in told:
            return
        done = state.global_step - self._first
        left = (time.monotonic() - self._begun) / max(1, done) * (state.max_steps - state.global_step)
        shown = "  ".join(f"{key.replace('_', ' ')} {value:.3f}" for key, value in measured.items())
        self._say(
            f"step {state.global_step}/{state.max_steps}  loss {self._loss:.4f}"
            + (f"  held out: {shown}" if shown else "")
            + f"  {left / 60:.0f} min left"
        )


_TOLD = ("eval_loss", "eval_spearman", "eval_auc")
