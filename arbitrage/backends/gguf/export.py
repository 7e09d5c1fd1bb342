"""Writes a Llama checkpoint in the format of the hub as a GGUF file, with the `gguf` package's own writer.

Meant for the bundled family and models like it: `LlamaForCausalLM` with a byte-level BPE tokenizer. For every other
architecture llama.cpp's convert_hf_to_gguf.py is the tool.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray

from arbitrage.backends.gguf import INSTRUCTION_KEY
from arbitrage.errors import MissingExtraError, ModelLoadError

try:
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file
    from transformers import AutoConfig, AutoTokenizer, LlamaConfig, PreTrainedTokenizerFast
except ImportError as error:
    raise MissingExtraError.of("exporting to GGUF", "torch and transformers", "hf") from error

from arbitrage.backends.hf.loading import Source

_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_CUTS = {_WORDS + r"\p{N}" + _REST: "qwen2", _WORDS + r"\p{N}{1,3}" + _REST: "llama-bpe"}
"""Regular expressions that cut text before merging, and llama.cpp's names for them."""
FILE_TYPES = {"F32": gguf.LlamaFileType.ALL_F32, "F16": gguf.LlamaFileType.MOSTLY_F16}


def export_gguf(directory: Path, out: Path, precision: str = "F16") -> None:
    """Convert the checkpoint in `directory` to the file `out`.

    Matrices are stored in `precision`, norms always in F32. Same weights in F32 give the same logits as `transformers`
    to a relative 1e-5; F16 rounds weights that bf16 holds exactly only where they leave F16's range.

    Args:
        directory: config.json, safetensors and tokenizer of a `LlamaForCausalLM`.
        out: file to write; it appears only when it is whole.
        precision: 'F32' or 'F16'; other types come from `quantize`.

    Raises:
        ModelLoadError: not such a checkpoint, or an unknown precision.
    """
    if precision not in FILE_TYPES:
        raise ModelLoadError(f"a checkpoint can be exported to {' or '.join(FILE_TYPES)}, not {precision!r}")
    source = Source(str(directory))
    source.check()
    try:
        config = AutoConfig.from_pretrained(directory)
        tokenizer = AutoTokenizer.from_pretrained(directory)
    except (OSError, ValueError, KeyError) as error:
        raise ModelLoadError(f"{directory}: {str(error).splitlines()[0]}") from error
    if config.architectures != ["LlamaForCausalLM"] or not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise ModelLoadError(
            f"{directory}: only LlamaForCausalLM with a fast tokenizer is exported here, this is "
            f"{config.architectures}; use llama.cpp's convert_hf_to_gguf.py"
        )
    partial = out.with_name(out.name + ".partial")
    writer = gguf.GGUFWriter(partial, "llama")
    _write_config(writer, config, directory.resolve().name, precision)
    _write_tokenizer(writer, tokenizer, config.vocab_size, directory)
    instruction = source.sidecar().get("instruction")
    if instruction is not None:
        # add_string would leave an empty one out, and empty says: nothing is to be added.
        writer.add_key_value(INSTRUCTION_KEY, instruction, gguf.GGUFValueType.STRING)
    _write_tensors(writer, config, source, precision)
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    except BaseException:  # a full disk, Ctrl-C: nothing half-written stays
        partial.unlink(missing_ok=True)
        raise
    finally:
        writer.close()
    partial.replace(out)


def _write_config(writer: gguf.GGUFWriter, config: LlamaConfig, name: str, precision: str) -> None:
    head_width = config.head_dim or config.hidden_size // config.num_attention_heads
    rope: dict[str, Any] = dict(config.rope_parameters or {})
    if rope.get("rope_type", "default") != "default":
        raise ModelLoadError(f"{name}: RoPE scaling {rope['rope_type']!r} is not exported here")
    writer.add_name(name)
    writer.add_file_type(FILE_TYPES[precision])
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads or config.num_attention_heads)
    writer.add_key_length(head_width)
    writer.add_value_length(head_width)
    writer.add_rope_dimension_count(head_width)
    writer.add_rope_freq_base(float(rope.get("rope_theta", 10_000.0)))
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)


def _write_tokenizer(writer: gguf.GGUFWriter, tokenizer: PreTrainedTokenizerFast, size: int, directory: Path) -> None:
    model = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    if model["type"] != "BPE":
        raise ModelLoadError(f"{directory}: its tokenizer is {model['type']}, only byte-level BPE is exported here")
    merges = [m if isinstance(m, str) else " ".join(m) for m in model["merges"]]
    if not merges:
        raise ModelLoadError(f"{directory}: its tokenizer has no merges; llama.cpp refuses such vocabularies")
    by_id = {i: text for text, i in tokenizer.get_vocab().items()}
    added = tokenizer.added_tokens_decoder
    tokens: list[str] = []
    kinds: list[int] = []
    for i in range(size):
        if i not in by_id:
            tokens.append(f"[PAD{i}]")
            kinds.append(gguf.TokenType.UNUSED)
        else:
            tokens.append(by_id[i])
            special = added[i].special if i in added else None
            kinds.append(
                {None: gguf.TokenType.NORMAL, True: gguf.TokenType.CONTROL, False: gguf.TokenType.USER_DEFINED}[special]
            )
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(_pre_tokenizer(tokenizer, directory))
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges(merges)
    for add, token in (
        (writer.add_bos_token_id, tokenizer.bos_token_id),
        (writer.add_eos_token_id, tokenizer.eos_token_id),
        (writer.add_pad_token_id, tokenizer.pad_token_id),
    ):
        if token is not None:
            add(token)
    bos = tokenizer.bos_token_id
    writer.add_add_bos_token(bos is not None and tokenizer("")["input_ids"][:1] == [bos])
    if tokenizer.chat_template:
        writer.add_chat_template(tokenizer.chat_template)


def _pre_tokenizer(tokenizer: PreTrainedTokenizerFast, directory: Path) -> str:
    """Name under which llama.cpp knows how this tokenizer cuts text before merging."""
    parts = json.loads(tokenizer.backend_tokenizer.to_str())["pre_tokenizer"]
    steps = parts.get("pretokenizers", [parts])
    kinds = [step["type"] for step in steps]
    if kinds == ["Split", "ByteLevel"]:
        pattern = steps[0]["pattern"].get("Regex")
        if pattern in _CUTS:
            return _CUTS[pattern]
    if kinds == ["Digits", "ByteLevel"] and steps[0]["individual_digits"]:
        return "smollm"
    if kinds == ["ByteLevel"] and steps[0].get("use_regex", True):
        return "gpt-2"
    raise ModelLoadError(f"{directory}: llama.cpp's name for the pre-tokenizer {kinds} is not known here")


def _write_tensors(writer: gguf.GGUFWriter, config: LlamaConfig, source: Source, precision: str) -> None:
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    for file in source.weights():
        try:
            tensors = load_file(file)
        except SafetensorError as error:
            raise ModelLoadError(f"{file}: the file is cut or damaged ({error})") from error
        for name, tensor in tensors.items():
            mapped = names.get_name(name, try_suffixes=(".weight", ".bias"))
            if mapped is None:
                raise ModelLoadError(f"{source.text}: llama.cpp has no place for the tensor {name!r}")
            values: NDArray[Any] = tensor.to(torch.float32).numpy()
            if name.endswith("q_proj.weight"):
                values = _interleave(values, config.num_attention_heads)
            elif name.endswith("k_proj.weight"):
                values = _interleave(values, config.num_key_value_heads or config.num_attention_heads)
            if precision == "F16" and values.ndim > 1:
                values = values.astype(np.float16)
            writer.add_tensor(mapped, values)


def _interleave(rows: NDArray[Any], heads: int) -> NDArray[Any]:
    """RoPE pairs neighbouring rows in GGUF files, and the two halves of a head in `transformers`."""
    count, width = rows.shape
    return np.ascontiguousarray(rows.reshape(heads, 2, count // heads // 2, width).swapaxes(1, 2).reshape(count, width))
