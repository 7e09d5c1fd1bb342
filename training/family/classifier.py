"""What PRM and router training share: streams with labels at separators, a classifier, its training and its scores."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy
from transformers import (
    AutoModelForTokenClassification,
    LlamaForCausalLM,
    LlamaForTokenClassification,
    PreTrainedTokenizerFast,
)

from arbitrage.backends.hf import HFCodec, StreamEncoder, StreamFormat
from arbitrage.types import Author
from training.family.batches import IGNORED
from training.family.optimizer import Optimizer

_BATCH_TOKENS = 4096


@dataclass(frozen=True, slots=True)
class Stream:
    """One step stream and the labels that stand at some of its separators."""

    ids: tuple[int, ...]
    labels: tuple[int, ...]
    """As long as `ids`; IGNORED where nothing is asked."""


def encode(
    encoder: StreamEncoder, statement: str, steps: Sequence[tuple[str, Author]], labels: Sequence[int | None]
) -> Stream:
    """A stream with a label (or None) for each step."""
    ids = list(encoder.problem(statement))
    marks = [IGNORED] * len(ids)
    for (text, author), label in zip(steps, labels, strict=True):
        step = encoder.step(text, author)
        ids += step
        marks += [IGNORED] * (len(step) - 1) + [IGNORED if label is None else label]
    return Stream(tuple(ids), tuple(marks))


def encode_checked(
    encoder: StreamEncoder, statement: str, steps: Sequence[tuple[str, Author]], reference: Sequence[str]
) -> Stream:
    """A stream with a label at every token of every step: 1 up to the first deviation from the reference, then 0.

    The last label of a step is the step's own: the scorer is read there only, but learns from all of them where a
    solution goes wrong.
    """
    ids = list(encoder.problem(statement))
    marks = [IGNORED] * len(ids)
    right = 1
    for i, (text, author) in enumerate(steps):
        step = encoder.step(text, author)
        wanted = encoder.step(reference[i], author) if i < len(reference) else []
        for k, token in enumerate(step):
            right &= k < len(wanted) and wanted[k] == token
            marks.append(int(right))
        ids += step
    return Stream(tuple(ids), tuple(marks))


def encoder_for(tokenizer: PreTrainedTokenizerFast, annotated: bool) -> StreamEncoder:
    """The encoder that inference uses."""
    return StreamEncoder(HFCodec(tokenizer), StreamFormat(annotated=annotated))


def from_language_model(directory: Path, layers: int) -> LlamaForTokenClassification:
    """A classifier whose body is the lower `layers` layers of a language model, and whose head is new."""
    body = LlamaForCausalLM.from_pretrained(directory, dtype=torch.float32)
    config = body.config
    config.num_hidden_layers, config.num_labels = layers, 2
    config.id2label, config.label2id = {0: "no", 1: "yes"}, {"no": 0, "yes": 1}
    config.tie_word_embeddings = False
    model = LlamaForTokenClassification(config)
    missing, _ = model.model.load_state_dict(body.model.state_dict(), strict=False)
    assert not missing
    return model


def load(directory: Path) -> LlamaForTokenClassification:
    """A trained classifier, to be trained on."""
    model: LlamaForTokenClassification = AutoModelForTokenClassification.from_pretrained(directory, dtype=torch.float32)
    return model


def _batches(streams: Sequence[Stream], shuffle: random.Random | None) -> list[list[Stream]]:
    ordered = sorted(streams, key=lambda s: len(s.ids))
    batches: list[list[Stream]] = [[]]
    for stream in ordered:
        if (len(batches[-1]) + 1) * len(stream.ids) > _BATCH_TOKENS:
            batches.append([])
        batches[-1].append(stream)
    if shuffle is not None:
        shuffle.shuffle(batches)
    return batches


def _padded(batch: Sequence[Stream]) -> tuple[torch.Tensor, torch.Tensor]:
    longest = max(len(s.ids) for s in batch)
    ids = torch.zeros((len(batch), longest), dtype=torch.long)
    labels = torch.full((len(batch), longest), IGNORED)
    for row, stream in enumerate(batch):
        ids[row, : len(stream.ids)] = torch.tensor(stream.ids)
        labels[row, : len(stream.ids)] = torch.tensor(stream.labels)
    return ids, labels


def train(
    model: LlamaForTokenClassification,
    streams: Sequence[Stream],
    epochs: int,
    learning_rate: float,
    seed: int,
    name: str,
) -> list[dict[str, float]]:
    """Cross-entropy at the labelled positions; Muon and AdamW, linear decay. Returns the learning curve."""
    torch.manual_seed(seed)
    shuffle = random.Random(seed)
    model.set_attn_implementation("eager")
    model.train()
    optimizer = Optimizer(model, learning_rate, warmup=0.05, decay=0.95)
    total = epochs * len(_batches(streams, None))
    curve: list[dict[str, float]] = []
    step, running, seen = 0, 0.0, 0
    for epoch in range(epochs):
        for batch in _batches(streams, shuffle):
            ids, labels = _padded(batch)
            with torch.autocast("cpu", torch.bfloat16):
                logits = model(ids).logits
            loss = cross_entropy(logits.float().flatten(0, 1), labels.flatten(), ignore_index=IGNORED)
            loss.backward()
            optimizer.step(step / total)
            step, running, seen = step + 1, running + loss.item(), seen + 1
            if step % 50 == 0 or step == total:
                curve.append({"epoch": epoch, "step": step, "of": total, "loss": round(running / seen, 4)})
                print(name, curve[-1], flush=True)
                running, seen = 0.0, 0
    model.eval()
    return curve


@torch.inference_mode()
def scores(model: LlamaForTokenClassification, streams: Sequence[Stream]) -> list[list[float]]:
    """Probability of label 1 at each labelled separator of each stream, in order."""
    model.eval()
    by_id: dict[int, list[float]] = {}
    for batch in _batches(streams, None):
        if not batch:
            continue
        ids, labels = _padded(batch)
        yes = model(ids).logits.float().softmax(-1)[..., 1]
        for row, stream in enumerate(batch):
            by_id[id(stream)] = yes[row][labels[row] != IGNORED].tolist()
    return [by_id[id(stream)] for stream in streams]
