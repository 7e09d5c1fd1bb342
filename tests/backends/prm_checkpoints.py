"""Small random process reward models in the formats of the hub: architectures, tensor names, tokenizers and files."""

from __future__ import annotations

import json
from pathlib import Path

import torch
import transformers
from safetensors.torch import save_file
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from tests.backends.checkpoints import SIZES

TEXT = [
    "Janet's ducks lay 16 eggs per day. She eats three for breakfast every morning.\n\nStep 1: 16 - 3 = 13 eggs left.",
    "What is \\frac{1}{2} + \\frac{1}{3}? The answer is \\boxed{\\frac{5}{6}}, so x = 5/6.\n\nAdd: 3/6 + 2/6 = 5/6.\n",
    "Please reason step by step, and put your final answer within \\boxed{}. user assistant system ки + - ки",
    "so\n\nthen\n\nthus\n\n" * 9,  # the blank line is one token
] * 3
_QWEN_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_LLAMA3_WORDS = _QWEN_WORDS.replace(r"|\p{N}|", r"|\p{N}{1,3}|")
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LLAMA3 = (
    "{{ bos_token }}<|start_header_id|>system<|end_header_id|>\n\nCutting Knowledge Date: December 2023\n\n<|eot_id|>"
    "{% for m in messages %}<|start_header_id|>{{ m['role'] }}<|end_header_id|>\n\n{{ m['content'] | trim }}<|eot_id|>"
    "{% endfor %}{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)


def byte_level_tokenizer(words: str, specials: list[str], **settings):
    """A byte-level BPE tokenizer with merges, as Qwen2.5 and Llama 3 have it."""
    tokenizer = Tokenizer(models.BPE())
    splits = [pre_tokenizers.Split(Regex(words), "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(splits)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(TEXT, trainer)
    tokenizer.add_special_tokens([AddedToken(one, special=True) for one in specials])
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **settings)


def qwen_tokenizer(bos: str | None = None):
    """As the Qwen2.5 family has it; `<extra_0>` is among the added tokens."""
    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<extra_0>"]
    return byte_level_tokenizer(
        _QWEN_WORDS, specials, eos_token="<|im_end|>", bos_token=bos, chat_template=CHATML, additional_special_tokens=[]
    )


def llama3_tokenizer():
    """As Llama 3.1 Instruct has it: BOS by the template and by the tokenizer."""
    specials = ["<|begin_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>"]
    tokenizer = byte_level_tokenizer(
        _LLAMA3_WORDS, specials, bos_token="<|begin_of_text|>", eos_token="<|eot_id|>", chat_template=LLAMA3
    )
    begin = tokenizer.convert_tokens_to_ids("<|begin_of_text|>")
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<|begin_of_text|> $A", special_tokens=[("<|begin_of_text|>", begin)]
    )
    return tokenizer


def mistral_tokenizer():
    """As Mistral 7B has it: pieces of SentencePiece, a space before everything, BOS, bytes for what is not known."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    trainer = trainers.BpeTrainer(
        vocab_size=500,
        special_tokens=["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))],
        show_progress=False,
    )
    pieces = (
        word for text in TEXT for line in text.split("\n") for word in (" " + line).replace(" ", "\n▁").split("\n")
    )
    tokenizer.train_from_iterator((piece for piece in pieces if piece), trainer)
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


def _states(model_class, config_class, tokenizer, seed: int, **more):
    """Random weights with varied outputs, and the configuration they are for."""
    torch.manual_seed(seed)
    config = config_class(**{**SIZES, "vocab_size": len(tokenizer), **more})
    model = model_class(config)
    states = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    return config, {name: 3 * tensor if tensor.ndim == 2 else tensor for name, tensor in states.items()}


def _write(directory: Path, config, states, tokenizer, told: dict[str, object], files: str) -> Path:
    """Write everything as `files`: one safetensors file, several with an index, or the same as pickles."""
    directory.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(directory)
    (directory / "config.json").write_text(json.dumps({**json.loads(config.to_json_string()), **told}))
    pickled, sharded = files.startswith("bin"), files.endswith("sharded")
    stem, ending = ("pytorch_model", "bin") if pickled else ("model", "safetensors")
    names = sorted(states)
    parts = [names[: len(names) // 2], names[len(names) // 2 :]] if sharded else [names]
    where = {}
    for number, part in enumerate(parts, 1):
        name = f"{stem}-{number:05}-of-{len(parts):05}.{ending}" if sharded else f"{stem}.{ending}"
        tensors = {key: states[key].contiguous() for key in part}
        if pickled:
            torch.save(tensors, directory / name)
        else:
            save_file(tensors, directory / name, metadata={"format": "pt"})
        where |= dict.fromkeys(part, name)
    if sharded:
        index = {"metadata": {"total_size": 1}, "weight_map": where}
        (directory / f"{stem}.{ending}.index.json").write_text(json.dumps(index))
    return directory


def save_skywork(directory: Path, files: str = "safetensors", seed: int = 0, prefix: str = "", bos="<|endoftext|>"):
    """Qwen2 with language model head and value head; the architecture is one that nobody but its authors has."""
    tokenizer = qwen_tokenizer(bos)
    config, states = _states(transformers.Qwen2ForCausalLM, transformers.Qwen2Config, tokenizer, seed)
    states = {prefix + name: tensor for name, tensor in states.items()}
    states["v_head.summary.weight"] = torch.randn(1, config.hidden_size) / 6
    states["v_head.summary.bias"] = torch.randn(1) / 6
    return _write(directory, config, states, tokenizer, {"architectures": ["Qwen2ForPrmModel"]}, files)


REMOTE_CODE = "import pathlib\npathlib.Path(__file__).with_name('ran').touch()\nraise RuntimeError('remote code')\n"


def save_qwen_prm(directory: Path, files: str = "safetensors", seed: int = 0):
    """Qwen2 with a head of two layers; the configuration names remote code, which leaves a trace when it is run."""
    tokenizer = qwen_tokenizer()
    config, states = _states(transformers.Qwen2ForCausalLM, transformers.Qwen2Config, tokenizer, seed)
    width = config.hidden_size
    states |= {"score.0.weight": torch.randn(width, width) / 6, "score.0.bias": torch.randn(width) / 6}
    states |= {"score.2.weight": torch.randn(2, width) / 6, "score.2.bias": torch.randn(2) / 6}
    told = {
        "architectures": ["Qwen2ForProcessRewardModel"],
        "auto_map": {
            "AutoConfig": "configuration_qwen2_rm.Qwen2RMConfig",
            "AutoModel": "modeling_qwen2_rm.Qwen2ForProcessRewardModel",
        },
    }
    _write(directory, config, states, tokenizer, told, files)
    for module in ("configuration_qwen2_rm", "modeling_qwen2_rm"):
        (directory / f"{module}.py").write_text(REMOTE_CODE)
    return directory


def save_shepherd(directory: Path, files: str = "bin-sharded", seed: int = 0, window: int | None = None):
    """A Mistral language model; nothing but its name tells."""
    tokenizer = mistral_tokenizer()
    config, states = _states(
        transformers.MistralForCausalLM, transformers.MistralConfig, tokenizer, seed, sliding_window=window
    )
    return _write(directory, config, states, tokenizer, {"architectures": ["MistralForCausalLM"]}, files)


def save_rlhflow(directory: Path, files: str = "safetensors-sharded", seed: int = 0):
    """A Llama language model with the chat template of Llama 3.1."""
    tokenizer = llama3_tokenizer()
    config, states = _states(transformers.LlamaForCausalLM, transformers.LlamaConfig, tokenizer, seed)
    return _write(directory, config, states, tokenizer, {"architectures": ["LlamaForCausalLM"]}, files)


def save_ours(directory: Path, files: str = "safetensors", seed: int = 0):
    """A Qwen2 token classifier with two labels, as `arbitrage router train --as prm` leaves it."""
    save_trl(directory, files, seed, bos=None)
    (directory / "arbitrage.json").write_text('{"stream": {"separator": "\\n\\n"}}')
    return directory


def save_trl(directory: Path, files: str = "safetensors", seed: int = 0, bos: str | None = "<|endoftext|>"):
    """A Qwen2 token classifier with two labels."""
    tokenizer = qwen_tokenizer(bos)
    config, states = _states(
        transformers.Qwen2ForTokenClassification, transformers.Qwen2Config, tokenizer, seed, num_labels=2
    )
    return _write(directory, config, states, tokenizer, {"architectures": ["Qwen2ForTokenClassification"]}, files)


SAVE = {
    "skywork": save_skywork,
    "qwen-prm": save_qwen_prm,
    "math-shepherd": save_shepherd,
    "rlhflow": save_rlhflow,
    "trl": save_trl,
    "token-classification": save_ours,
}
"""By family."""
NAMES = {
    "skywork": "Skywork-o1-Open-PRM-Qwen-2.5-1.5B",
    "qwen-prm": "Qwen2.5-Math-PRM-7B",
    "math-shepherd": "math-shepherd-mistral-7b-prm",
    "rlhflow": "Llama3.1-8B-PRM-Deepseek-Data",
    "trl": "Qwen2.5-Math-1.5B-PRM800K",
    "token-classification": "my-classifier",
}
"""What the checkpoints are called on the hub."""
