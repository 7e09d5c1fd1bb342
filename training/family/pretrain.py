"""Pretrain one language model of the family on fresh problems. Resumes where it was stopped.

python -m training.family.pretrain target --work work/family
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from arbitrage.harness.synthetic import Split, generate
from training.family.batches import IGNORED, encode, pad, stream
from training.family.optimizer import Optimizer
from training.family.shapes import SHAPES, Shape
from training.family.tokenizer import load_or_train

BATCH_TOKENS = 8192
MICRO_TOKENS = 4096
EVALUATE_EVERY_S = 180.0


def loss_of(model: LlamaForCausalLM, ids: Tensor, labels: Tensor) -> Tensor:
    """Summed cross-entropy of the solution tokens, in bf16 autocast."""
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(ids[:, :-1]).logits
    return cross_entropy(logits.float().flatten(0, 1), labels[:, 1:].flatten(), ignore_index=IGNORED, reduction="sum")


@torch.inference_mode()
def teacher_forced(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, count: int = 300) -> dict[str, float]:
    """Loss, and the share of held-out problems whose reference is the model's own greedy output, by kind and level."""
    model.eval()
    problems = list(itertools.islice(generate(Split.HELD_OUT, 0), count))
    solved: dict[str, list[float]] = {}
    loss, tokens = 0.0, 0
    for start in range(0, count, 60):
        part = problems[start : start + 60]
        ids, labels = pad([encode(tokenizer, p) for p in part], tokenizer.pad_token_id)
        logits = model(ids[:, :-1]).logits
        wanted = labels[:, 1:]
        loss += cross_entropy(logits.flatten(0, 1), wanted.flatten(), ignore_index=IGNORED, reduction="sum").item()
        tokens += int((wanted != IGNORED).sum())
        right = ((logits.argmax(-1) == wanted) | (wanted == IGNORED)).all(1)
        for problem, ok in zip(part, right.tolist(), strict=True):
            for key in ("solved", f"kind {problem.subject}", f"level {problem.level}"):
                solved.setdefault(key, []).append(float(ok))
    model.train()
    return {"loss": loss / tokens, **{key: sum(v) / len(v) for key, v in sorted(solved.items(), reverse=True)}}


def pretrain(name: str, shape: Shape, work: Path) -> None:
    """Train until the budget is used; a checkpoint and a line of the learning curve every few minutes."""
    torch.manual_seed(shape.seed)
    tokenizer = load_or_train(work / "tokenizer")
    ids = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    model = LlamaForCausalLM(shape.config(**ids, pad_token_id=tokenizer.pad_token_id))
    if shape.start:
        below = LlamaForCausalLM.from_pretrained(work / shape.start / "model", dtype=torch.float32)
        missing, _ = model.load_state_dict(below.state_dict(), strict=False)
        assert not missing, missing
    model.set_attn_implementation("eager")  # on a CPU, for sequences this short, 2.5 x the speed of SDPA's backward
    optimizer = Optimizer(model, shape.learning_rate)
    out = work / name
    out.mkdir(parents=True, exist_ok=True)
    used, problems, seconds = 0, 0, 0.0
    if (out / "state.pt").exists():
        state = torch.load(out / "state.pt", weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        used, problems, seconds = state["used"], state["problems"], state["seconds"]
    print(f"{name}: {sum(p.numel() for p in model.parameters()):,} parameters, {used:,}/{shape.tokens:,} tokens done")

    def save() -> None:
        parts = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
        torch.save({**parts, "used": used, "problems": problems, "seconds": seconds}, out / "state.tmp")
        (out / "state.tmp").replace(out / "state.pt")
        scores = teacher_forced(model, tokenizer)
        line = {"tokens": used, "seconds": round(seconds), **{k: round(v, 4) for k, v in scores.items()}}
        with (out / "curve.jsonl").open("a") as curve:
            curve.write(json.dumps(line) + "\n")
        print(json.dumps(line), flush=True)

    model.train()
    last = started = time.monotonic()
    pending = 0
    for batch_ids, labels, count in stream(tokenizer, shape.seed, MICRO_TOKENS, skip=problems):
        loss = loss_of(model, batch_ids, labels) / (BATCH_TOKENS * 0.7)
        loss.backward()
        used, problems, pending = used + count, problems + len(batch_ids), pending + count
        if pending >= BATCH_TOKENS * 0.9:
            optimizer.step(used / shape.tokens)
            pending = 0
            if time.monotonic() - last > EVALUATE_EVERY_S:
                seconds, started = seconds + time.monotonic() - started, time.monotonic()
                save()
                last = time.monotonic()
            if used >= shape.tokens:
                break
    seconds += time.monotonic() - started
    save()
    model.to(torch.bfloat16).save_pretrained(out / "model")
    tokenizer.save_pretrained(out / "model")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=SHAPES)
    parser.add_argument("--work", type=Path, default=Path("work/family"))
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    pretrain(arguments.name, SHAPES[arguments.name], arguments.work)


if __name__ == "__main__":
    main()
