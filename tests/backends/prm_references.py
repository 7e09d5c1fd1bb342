"""Scores of whole solutions, written from the description of each family: one forward pass of plain transformers.

Nothing of the package is used here; weights are read file by file, tokens by the checkpoint's own tokenizer.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file

SYSTEM = r"Please reason step by step, and put your final answer within \boxed{}."


def tensors(directory: Path) -> dict[str, torch.Tensor]:
    """All weights."""
    found = {}
    for file in sorted(directory.iterdir()):
        if file.suffix == ".safetensors":
            found |= load_file(file)
        elif file.suffix == ".bin":
            found |= torch.load(file, weights_only=True)
    return found


@cache
def _tokenizer(directory: Path):
    return transformers.AutoTokenizer.from_pretrained(directory)


@cache
def _body(directory: Path):
    """The layers without a head, and all weights."""
    states = tensors(directory)
    config = transformers.AutoConfig.from_pretrained(directory, trust_remote_code=False)
    body = transformers.AutoModel.from_config(config).eval()
    body.load_state_dict(
        {k.rpartition("model.")[2]: v for k, v in states.items() if "model." in k and "lm_head" not in k}
    )
    return body, states


def _final_states(directory: Path, ids: list[int]):
    """Last hidden states, and all weights."""
    body, states = _body(directory)
    with torch.inference_mode():
        return body(input_ids=torch.tensor([ids])).last_hidden_state[0], states


def skywork(directory: Path, problem: str, steps: list[str], separator: str = "\n\n") -> float:
    """Value at the last separator, sigmoid."""
    tokenizer = _tokenizer(directory)
    ids = tokenizer.encode((tokenizer.bos_token or "") + problem + "\n")
    for step in steps:
        ids += [*(tokenizer.encode(step) if step else []), tokenizer.encode(separator)[-1]]
    hidden, states = _final_states(directory, ids)
    value = hidden[-1] @ states["v_head.summary.weight"][0] + states["v_head.summary.bias"][0]
    return float(value.sigmoid())


def qwen_prm(directory: Path, problem: str, steps: list[str]) -> float:
    """The whole conversation, closing tokens included; softmax at the last `<extra_0>`, label 1."""
    tokenizer = _tokenizer(directory)
    told = [
        {"role": "system", "content": SYSTEM},
        {"role": "user", "content": problem},
        {"role": "assistant", "content": "<extra_0>".join(steps) + "<extra_0>"},
    ]
    text = tokenizer.apply_chat_template(told, tokenize=False, add_generation_prompt=False)
    ids = tokenizer.encode(text)
    tag = tokenizer.encode("<extra_0>")
    assert len(tag) == 1
    hidden, states = _final_states(directory, ids)
    at = hidden[max(i for i, token in enumerate(ids) if token == tag[0])]
    inner = (states["score.0.weight"] @ at + states["score.0.bias"]).relu()
    return float((states["score.2.weight"] @ inner + states["score.2.bias"]).softmax(-1)[1])


def math_shepherd(directory: Path, problem: str, steps: list[str]) -> float:
    """One text; softmax over the two signs at the last tag."""
    tokenizer = _tokenizer(directory)
    ids = tokenizer.encode(f"{problem} " + "\n".join(f"{step} ки" for step in steps))
    plus, minus = tokenizer.encode("+ -")[1:]
    tag = tokenizer.encode("ки")[-1]
    hidden, states = _final_states(directory, ids)
    at = hidden[max(i for i, token in enumerate(ids) if token == tag)]
    return float((states["lm_head.weight"][[plus, minus]] @ at).softmax(-1)[0])


def rlhflow(directory: Path, problem: str, steps: list[str]) -> float:
    """The whole conversation with the newest step answered; the third position from its end predicts the answer."""
    tokenizer = _tokenizer(directory)
    told = []
    for number, step in enumerate(steps):
        told.append({"role": "user", "content": f"{problem} {step}" if number == 0 else step})
        told.append({"role": "assistant", "content": "+"})
    ids = tokenizer.encode(tokenizer.apply_chat_template(told, tokenize=False), add_special_tokens=False)
    plus, minus = tokenizer.encode("+")[-1], tokenizer.encode("-")[-1]
    assert ids[-2] == plus
    hidden, states = _final_states(directory, ids)
    return float((states["lm_head.weight"][[plus, minus]] @ hidden[-3]).softmax(-1)[0])


def token_classification(directory: Path, problem: str, steps: list[str], separator: str = "\n\n") -> float:
    """Softmax at the last separator, label 1."""
    tokenizer = _tokenizer(directory)
    ids = tokenizer.encode(problem + "\n")
    for step in steps:
        ids += [*tokenizer.encode(step), tokenizer.encode(separator)[-1]]
    hidden, states = _final_states(directory, ids)
    return float((states["score.weight"] @ hidden[-1] + states["score.bias"]).softmax(-1)[1])


def trl(directory: Path, problem: str, steps: list[str], separator: str = "\n") -> float:
    """As TRL's trainer puts a row together: BOS, prompt, each completion with the separator."""
    tokenizer = _tokenizer(directory)
    ids = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    ids += tokenizer(problem, add_special_tokens=False)["input_ids"]
    for step in steps:
        ids += tokenizer(step, add_special_tokens=False)["input_ids"] + tokenizer.encode(
            separator, add_special_tokens=False
        )
    hidden, states = _final_states(directory, ids)
    return float((states["score.weight"] @ hidden[-1] + states["score.bias"]).softmax(-1)[1])


REFERENCES = {
    "skywork": skywork,
    "qwen-prm": qwen_prm,
    "math-shepherd": math_shepherd,
    "rlhflow": rlhflow,
    "trl": trl,
    "token-classification": token_classification,
}
"""By family."""
