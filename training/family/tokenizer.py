"""The bundled family's tokenizer: byte-level BPE of 512 entries, digits one by one, a blank line one token."""

from __future__ import annotations

import itertools
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from arbitrage.harness.synthetic import Split, generate
from arbitrage.types import SEPARATOR

VOCABULARY = 512
BEGIN, END, USER, ASSISTANT = "<|begin|>", "<|end|>", "<|user|>", "<|assistant|>"
# The split of the qwen2 tokenizers: it is known to llama.cpp by name, and digits stand alone.
PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'user' %}{{ '<|user|>' + message['content'] }}"
    "{% elif message['role'] == 'assistant' %}{{ '<|assistant|>' + message['content'] + eos_token }}"
    "{% else %}{{ raise_exception('only user and assistant messages are known to this model') }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def train(problems: int = 20_000, seed: int = 0) -> PreTrainedTokenizerFast:
    """Train on fresh problems, their solutions, and the author tags that the router reads."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(  # type: ignore[assignment]
        [
            pre_tokenizers.Split(Regex(PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()  # type: ignore[assignment]
    special = [AddedToken(t, special=True, normalized=False) for t in (BEGIN, END, USER, ASSISTANT)]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - 1,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    corpus = itertools.islice(generate(Split.TRAIN, seed), problems)
    texts = (
        "\n".join([p.problem, *(f"Model {i % 2}: {s}" for i, s in enumerate((p.solution or "").split(SEPARATOR)))])
        for p in corpus
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_tokens([AddedToken(SEPARATOR, special=False, normalized=False)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BEGIN,
        eos_token=END,
        pad_token=END,
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
        model_max_length=1024,
    )


def load_or_train(directory: Path) -> PreTrainedTokenizerFast:
    """The tokenizer kept in `directory`; trained and saved there the first time."""
    if not (directory / "tokenizer.json").exists():
        train().save_pretrained(directory)
    return PreTrainedTokenizerFast.from_pretrained(directory)
