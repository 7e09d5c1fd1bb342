"""Many solutions written at once by one model, step by step or whole, greedily.

Used to make training data; timing never goes through here.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from arbitrage.types import SEPARATOR, Problem

_BATCH = 256
_MOST_TOKENS_IN_A_STEP = 64
_MOST_TOKENS = 256


class Pen:
    """A language model that continues many texts at once."""

    def __init__(self, directory: Path) -> None:
        self.tokenizer = PreTrainedTokenizerFast.from_pretrained(directory)
        self.model = LlamaForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()
        self.separator: int = self.tokenizer.convert_tokens_to_ids(SEPARATOR)
        self.end: int = self.tokenizer.eos_token_id

    def prompt(self, problem: Problem) -> list[int]:
        """Ids of the rendered prompt."""
        messages = [{"role": "user", "content": problem.problem}]
        ids: list[int] = self.tokenizer.apply_chat_template(messages, add_generation_prompt=True)["input_ids"]
        return ids

    def steps(self, prefixes: Sequence[Sequence[int]]) -> list[list[int]]:
        """The next step after each prefix, its separator or end token included."""
        return self._continue(prefixes, [self.separator, self.end], _MOST_TOKENS_IN_A_STEP)

    def solutions(self, problems: Sequence[Problem]) -> list[list[str]]:
        """The whole greedy solution of each problem, as steps."""
        written = self._continue([self.prompt(p) for p in problems], [self.end], _MOST_TOKENS)
        return [self.text(ids).split(SEPARATOR) for ids in written]

    def text(self, ids: Sequence[int]) -> str:
        """Text without special tokens."""
        decoded: str = self.tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return decoded

    @torch.inference_mode()
    def _continue(self, prefixes: Sequence[Sequence[int]], stops: list[int], limit: int) -> list[list[int]]:
        order = sorted(range(len(prefixes)), key=lambda i: len(prefixes[i]))
        out: list[list[int]] = [[] for _ in prefixes]
        for start in range(0, len(order), _BATCH):
            chosen = order[start : start + _BATCH]
            longest = max(len(prefixes[i]) for i in chosen)
            ids = torch.full((len(chosen), longest), self.end)
            mask = torch.zeros((len(chosen), longest), dtype=torch.long)
            for row, i in enumerate(chosen):
                ids[row, longest - len(prefixes[i]) :] = torch.tensor(prefixes[i])
                mask[row, longest - len(prefixes[i]) :] = 1
            grown = self.model.generate(
                ids,
                attention_mask=mask,
                max_new_tokens=limit,
                do_sample=False,
                eos_token_id=stops,
                pad_token_id=self.end,
            )
            for row, i in enumerate(chosen):
                new = grown[row, longest:].tolist()
                ends = [k for k, token in enumerate(new) if token in stops]
                out[i] = new[: ends[0] + 1] if ends else new
        return out
