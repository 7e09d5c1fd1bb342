"""Small random checkpoints in the formats of the hub."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import torch
import transformers

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<|user|>{{ m['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def make_tokenizer(chat_template=CHAT_TEMPLATE, add_bos=False):
    """A byte-level tokenizer that needs no training."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({c: i for i, c in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(
        [AddedToken(t, special=True) for t in ("<|begin|>", "<|end|>", "<|user|>", "<|assistant|>")]
    )
    tokenizer.add_tokens([AddedToken("\n\n", special=False, normalized=False)])
    if add_bos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<|begin|> $A", special_tokens=[("<|begin|>", tokenizer.token_to_id("<|begin|>"))]
        )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<|begin|>", eos_token="<|end|>", chat_template=chat_template
    )


SIZES = {
    "vocab_size": 261,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
}


def make_config(architecture: str, **more):
    """A small configuration of one architecture, special tokens as in `make_tokenizer`."""
    ends = {"bos_token_id": 256, "eos_token_id": 257, "pad_token_id": 257}
    sizes = {**SIZES, **ends, **more}
    return {
        "llama": lambda: transformers.LlamaConfig(**sizes),
        "qwen2": lambda: transformers.Qwen2Config(**sizes),
        "mistral-sliding": lambda: transformers.MistralConfig(**{**sizes, "sliding_window": 16}),
    }[architecture]()


def save_language_model(
    directory: Path, architecture: str = "llama", seed: int = 0, scale: float = 3.0, **more
) -> Path:
    """A random causal language model as the hub would hold it; the usual scale makes confident, varied logits."""
    torch.manual_seed(seed)
    model = transformers.AutoModelForCausalLM.from_config(make_config(architecture))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(scale)
    model.save_pretrained(directory, **more)
    make_tokenizer().save_pretrained(directory)
    return directory


def save_classifier(directory: Path, seed: int = 0, sidecar: str | None = None) -> Path:
    """A random two-label token classifier."""
    torch.manual_seed(seed)
    config = make_config("llama", num_labels=2)
    model = transformers.AutoModelForTokenClassification.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3.0)
    model.save_pretrained(directory)
    make_tokenizer().save_pretrained(directory)
    if sidecar is not None:
        (directory / "arbitrage.json").write_text(sidecar, encoding="utf-8")
    return directory


def put_on_hub(cache: Path, directory: Path, name: str) -> str:
    """A checkpoint as `huggingface_hub` keeps it in this cache after a download, under its hub id; the commit."""
    commit = hashlib.sha1(b"".join(file.read_bytes() for file in sorted(directory.iterdir()))).hexdigest()
    repository = cache / f"models--{name.replace('/', '--')}"
    shutil.copytree(directory, repository / "snapshots" / commit)
    (repository / "refs").mkdir(exist_ok=True)
    (repository / "refs" / "main").write_text(commit)
    return commit
