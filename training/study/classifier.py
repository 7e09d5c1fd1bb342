"""The paper's router: a classifier on the text of problem, tagged history and drafted step, grown from the PRM's model.

All steps of a problem are read in one pass: the committed steps are a trunk, and a drafted step that was not committed
is a branch that sees the trunk before it and nothing of what came after.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_model, save_model
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from arbitrage.backends.hf import HFCodec, StreamEncoder, StreamFormat
from arbitrage.harness.router.labels import Kind, Labelling, balanced
from arbitrage.harness.router.pairs import StepPair
from training.family.writing import Pen

Floats = NDArray[np.float64]
_BATCH = 16


@dataclass(frozen=True, slots=True)
class Variant:
    """One way of training it."""

    annotated: bool = True
    """Whether each step is tagged with its author."""
    balanced: bool = True
    """Whether the majority of Δ > 0 or not is downsampled."""
    classes: int = 2
    """2: Δ > 0 or not. More: quantiles of Δ among what is learnt from, and the score is the expected class."""
    epochs: int = 3
    learning_rate: float = 5e-4


@dataclass(frozen=True, slots=True)
class Tree:
    """All pairs of one problem as one sequence."""

    ids: list[int]
    positions: list[int]
    sees: NDArray[np.bool_]
    """Who attends to whom, shape (tokens, tokens)."""
    reads: list[int]
    """Where each pair's drafted step ends."""


def tree(pairs: Sequence[StepPair], encoder: StreamEncoder) -> Tree:
    """Put consecutive pairs of one solution into one sequence; what lies before the first is trunk too."""
    ids = list(encoder.problem(pairs[0].statement))
    positions = list(range(len(ids)))
    trunk = list(range(len(ids)))
    sights = [trunk[: i + 1] for i in range(len(ids))]
    reads = []

    def add(step: list[int]) -> list[int]:
        here: list[int] = []
        for token in step:
            here.append(len(ids))
            ids.append(token)
            positions.append(len(trunk) + len(here) - 1)
            sights.append([*trunk, *here])
        return here

    for step in pairs[0].history:
        trunk += add(encoder.step(step.text, step.author))
    for pair in pairs:
        candidate = add(encoder.step(pair.draft, "draft"))
        reads.append(candidate[-1])
        trunk += candidate if pair.committed == "draft" else add(encoder.step(pair.targets[0], "target"))
    sees = np.zeros((len(ids), len(ids)), dtype=bool)
    for row, seen in enumerate(sights):
        sees[row, seen] = True
    return Tree(ids, positions, sees, reads)


def encoder_of(directory: Path, annotated: bool) -> StreamEncoder:
    """How the classifier reads: as its language model does, steps tagged or not."""
    return StreamEncoder(HFCodec(Pen(directory).tokenizer), StreamFormat(annotated=annotated, chat=True))


def forest(pairs: Sequence[StepPair], directory: Path, annotated: bool) -> list[Tree]:
    """One tree a problem, in the order of the pairs."""
    encoder = encoder_of(directory, annotated)
    return [tree(list(group), encoder) for _, group in groupby(pairs, key=lambda pair: pair.problem_id)]


class TextRouter:
    """The trained classifier."""

    def __init__(self, body: nn.Module, head: nn.Linear) -> None:
        self._body, self._head = body, head

    def save(self, file: Path) -> None:
        """All weights, as safetensors."""
        save_model(nn.ModuleDict({"body": self._body, "head": self._head}), str(file))

    @classmethod
    def load(cls, file: Path, directory: Path, classes: int) -> TextRouter:
        """Back from `save`; `directory` holds the language model that it grew from."""
        body = Pen(directory).model.model
        head = nn.Linear(body.config.hidden_size, classes)
        load_model(nn.ModuleDict({"body": body, "head": head}), str(file))
        return cls(body, head)

    @torch.inference_mode()
    def scores(self, trees: Sequence[Tree]) -> Floats:
        """Expected class over the highest class for each pair of each tree, in order."""
        self._body.eval()
        found: dict[int, Tensor] = {}
        for chosen in _batches(trees, None):
            logits, counts = _logits(self._body, self._head, [trees[i] for i in chosen])
            found.update(zip(chosen, logits.split(counts), strict=True))
        law = torch.cat([found[i] for i in range(len(trees))]).double().softmax(-1)
        top = law.shape[1] - 1
        scores: Floats = (law @ torch.arange(top + 1, dtype=torch.float64) / top).numpy()
        return scores


def train(trees: Sequence[Tree], advantages: Floats, directory: Path, variant: Variant, seed: int) -> TextRouter:
    """Cross-entropy at the end of each drafted step; AdamW, linear warm-up (a tenth) and decay, bf16 autocast."""
    weights = np.ones(len(advantages))
    if variant.balanced:
        weights[:] = 0
        weights[balanced(advantages, seed)] = 1
    kind: Kind = "binary" if variant.classes == 2 else "quantile"
    labelling = Labelling.fitted(kind, variant.classes, advantages[weights > 0])
    labels = np.array([labelling.label(advantage) for advantage in advantages], dtype=np.int64)
    starts = np.cumsum([0, *(len(t.reads) for t in trees)])
    shuffle = random.Random(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        body = Pen(directory).model.model.train()
        head = nn.Linear(body.config.hidden_size, labelling.outputs)
    parameters = [*body.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(parameters, variant.learning_rate, weight_decay=0.01)
    total = variant.epochs * -(-len(trees) // _BATCH)
    ramp = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / (0.1 * total), max(0.0, (total - step) / (0.9 * total)))
    )
    for epoch in range(variant.epochs):
        losses = []
        for chosen in _batches(trees, shuffle):
            at = np.concatenate([np.arange(starts[i], starts[i + 1]) for i in chosen])
            weight = torch.tensor(weights[at], dtype=torch.float32)
            if not weight.sum():
                continue
            logits, _ = _logits(body, head, [trees[i] for i in chosen])
            each = cross_entropy(logits.float(), torch.tensor(labels[at]), reduction="none")
            loss = (each * weight).sum() / weight.sum()
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            ramp.step()
            losses.append(loss.item())
        print(f"{variant}, seed {seed}: epoch {epoch + 1}, loss {np.mean(losses):.3f}", flush=True)
    return TextRouter(body, head)


def _batches(trees: Sequence[Tree], shuffle: random.Random | None) -> Iterator[list[int]]:
    """Trees of similar lengths together; the batches in random order when training."""
    jitter = [0.0] * len(trees) if shuffle is None else [shuffle.uniform(0, 20) for _ in trees]
    order = sorted(range(len(trees)), key=lambda i: len(trees[i].ids) + jitter[i])
    parts = [order[i : i + _BATCH] for i in range(0, len(order), _BATCH)]
    if shuffle is not None:
        shuffle.shuffle(parts)
    yield from parts


def _logits(body: nn.Module, head: nn.Linear, trees: Sequence[Tree]) -> tuple[Tensor, list[int]]:
    """Rows of all read-outs of a batch, and how many each tree has."""
    longest = max(len(t.ids) for t in trees)
    ids, positions = (torch.zeros((len(trees), longest), dtype=torch.long) for _ in range(2))
    sees = torch.eye(longest, dtype=torch.bool).repeat(len(trees), 1, 1)
    for row, one in enumerate(trees):
        n = len(one.ids)
        ids[row, :n], positions[row, :n] = torch.tensor(one.ids), torch.tensor(one.positions)
        sees[row, :n, :n] = torch.from_numpy(one.sees)
    hidden_from = torch.zeros(sees.shape).masked_fill(~sees, torch.finfo(torch.float32).min)[:, None]
    with torch.autocast("cpu", torch.bfloat16):
        states = body(ids, attention_mask=hidden_from, position_ids=positions, use_cache=False).last_hidden_state
    owners = torch.tensor([row for row, one in enumerate(trees) for _ in one.reads])
    reads = torch.tensor([at for one in trees for at in one.reads])
    return head(states[owners, reads].float()), [len(one.reads) for one in trees]
