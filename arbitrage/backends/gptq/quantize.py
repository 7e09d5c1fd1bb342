"""Makes GPTQ checkpoints with gptqmodel, calibrated on worked solutions of any data set."""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from gptqmodel import GPTQModel, QuantizeConfig
from transformers import AutoTokenizer, set_seed

from arbitrage.backends.hf.loading import Source
from arbitrage.backends.sidecar import SIDECAR
from arbitrage.errors import ModelLoadError
from arbitrage.interfaces import INSTRUCTION
from arbitrage.types import Problem

BITS = (2, 3, 4, 8)
GROUP_SIZES = (32, 64, 128)


def quantize(
    directory: Path,
    out: Path,
    problems: Sequence[Problem],
    bits: int = 4,
    group_size: int = 128,
    act_order: bool = False,
    seed: int = 0,
) -> None:
    """Quantise the checkpoint in `directory`.

    Args:
        directory: config.json, safetensors and tokenizer of a causal language model.
        out: directory to write; must not exist.
        problems: calibrated on these, each as prompt and reference solution; 128 and more are usual.
        bits: 2, 3, 4 or 8.
        group_size: 32, 64 or 128 weights share a scale; must divide hidden and intermediate size.
        act_order: quantise the columns in order of their activations (`desc_act`): better, slower on some kernels.
        seed: of everything random; the same call gives the same weights.

    Raises:
        ModelLoadError: not such a checkpoint, or settings that do not fit it.
    """
    source = Source(str(directory))
    source.check()
    if bits not in BITS or group_size not in GROUP_SIZES:
        raise ModelLoadError(
            f"bits must be one of {BITS} and group_size one of {GROUP_SIZES}, not {bits}, {group_size}"
        )
    if not problems:
        raise ModelLoadError("GPTQ needs problems to calibrate on")
    if out.exists():
        raise ModelLoadError(f"{out}: it exists already; name a new directory")
    config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    for name in ("hidden_size", "intermediate_size"):
        if config.get(name, 0) % group_size:
            raise ModelLoadError(f"{directory}: {name} {config[name]} is not a multiple of group_size {group_size}")
    set_seed(seed)
    partial = out.with_name(out.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    settings = QuantizeConfig(bits=bits, group_size=group_size, desc_act=act_order)
    texts, weights, made = _texts(source, problems), directory.resolve(), partial.resolve()
    made.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as elsewhere, contextlib.chdir(elsewhere):  # it drops logs where it stands
        model = GPTQModel.load(str(weights), settings, device="cuda" if torch.cuda.is_available() else "cpu")
        model.quantize(texts, batch_size=1)
        model.save(str(made))
    _tidy(partial)
    if (directory / SIDECAR).is_file():
        shutil.copy(directory / SIDECAR, partial / SIDECAR)
    partial.replace(out)


def _texts(source: Source, problems: Sequence[Problem]) -> list[dict[str, Any]]:
    """Each problem as the model reads and writes it."""
    tokenizer: Any = AutoTokenizer.from_pretrained(source.path)
    instruction = source.sidecar().get("instruction", INSTRUCTION)
    texts = []
    for problem in problems:
        asked = f"{problem.problem}\n{instruction}" if instruction else problem.problem
        ids = tokenizer(asked + "\n", add_special_tokens=False)["input_ids"]
        if tokenizer.chat_template:
            ids = tokenizer.apply_chat_template([{"role": "user", "content": asked}], add_generation_prompt=True)[
                "input_ids"
            ]
        ids = [*ids, *tokenizer(problem.solution or "", add_special_tokens=False)["input_ids"]]
        texts.append({"input_ids": torch.tensor([ids]), "attention_mask": torch.ones((1, len(ids)), dtype=torch.long)})
    return texts


def _tidy(directory: Path) -> None:
    """Leave out what only says how and where the quantiser ran: paths, timings."""
    (directory / "quant_log.csv").unlink(missing_ok=True)
    for name, key in (("config.json", "quantization_config"), ("quantize_config.json", None)):
        file = directory / name
        content = json.loads(file.read_text(encoding="utf-8"))
        settings = content[key] if key else content
        meta = settings.get("meta", {})
        settings["meta"] = {k: meta[k] for k in ("quantizer", "damp_percent", "true_sequential") if k in meta}
        file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
