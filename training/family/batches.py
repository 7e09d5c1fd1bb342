"""Fresh problems turned into padded batches of about equal cost."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from arbitrage.harness.synthetic import Split, generate
from arbitrage.types import Problem

IGNORED = -100
_POOL = 4096


def encode(tokenizer: PreTrainedTokenizerFast, problem: Problem) -> tuple[list[int], int]:
    """Token ids of the rendered prompt plus the reference solution plus end, and the prompt's length."""
    messages = [{"role": "user", "content": problem.problem}]
    prompt: list[int] = tokenizer.apply_chat_template(messages, add_generation_prompt=True)["input_ids"]
    solution: list[int] = tokenizer(problem.solution, add_special_tokens=False)["input_ids"]
    return [*prompt, *solution, tokenizer.eos_token_id], len(prompt)


def pad(rows: list[tuple[list[int], int]], pad_id: int) -> tuple[Tensor, Tensor]:
    """Right-pad to (batch, longest): ids, and labels that ignore prompt and padding."""
    longest = max(len(ids) for ids, _ in rows)
    ids = torch.full((len(rows), longest), pad_id)
    labels = torch.full((len(rows), longest), IGNORED)
    for i, (row, prompt) in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row)
        labels[i, prompt : len(row)] = torch.tensor(row[prompt:])
    return ids, labels


def stream(
    tokenizer: PreTrainedTokenizerFast, seed: int, batch_tokens: int, skip: int = 0
) -> Iterator[tuple[Tensor, Tensor, int]]:
    """Endless (ids, labels, tokens) batches of similar lengths.

    Args:
        seed: which fresh problems.
        batch_tokens: tokens in a batch, padding included (about).
        skip: problems that an earlier part of the same training has used.
    """
    problems = itertools.islice(generate(Split.TRAIN, seed, repeats=True), skip, None)
    shuffle = random.Random(f"{seed}:{skip}")
    while True:
        pool = sorted((encode(tokenizer, p) for p in itertools.islice(problems, _POOL)), key=lambda row: len(row[0]))
        batches, start = [], 0
        while start < len(pool):
            size = max(1, batch_tokens // len(pool[min(start + batch_tokens // 128, len(pool) - 1)][0]))
            batches.append(pool[start : start + size])
            start += size
        shuffle.shuffle(batches)
        for rows in batches:
            ids, labels = pad(rows, tokenizer.pad_token_id)
            yield ids, labels, sum(len(row) for row, _ in rows)
