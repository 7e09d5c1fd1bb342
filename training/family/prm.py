"""The process reward model: real solutions of both models, labelled right or wrong by the exact checker.

python -m training.family.prm --work work/family
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Sequence
from pathlib import Path

import torch

from arbitrage.harness.synthetic import Split, generate, right_steps
from arbitrage.types import SEPARATOR, Author, Problem
from training.family.classifier import Stream, encode, encode_checked, encoder_for, from_language_model, scores, train
from training.family.measures import auc
from training.family.writing import Pen

DRAFT_SOLUTIONS, TARGET_SOLUTIONS = 6000, 3000
HELD_OUT = 400
LAYERS = 5
"""The PRM starts from the lower layers of the target, which knows the arithmetic it has to judge."""
EPOCHS = 4
LEARNING_RATE = 3e-3
SEED = 21

Solution = tuple[Problem, list[tuple[str, Author]]]


def write_solutions(pen: Pen, author: Author, problems: Sequence[Problem]) -> list[Solution]:
    """One model's own greedy solutions."""
    written = pen.solutions(problems)
    print(f"prm: {len(problems)} solutions by the {author}", flush=True)
    return [(p, [(step, author) for step in steps]) for p, steps in zip(problems, written, strict=True)]


def solutions(work: Path, draft: Pen, target: Pen) -> tuple[list[Solution], list[Solution]]:
    """Training and held-out solutions of both models; kept in solutions.json."""
    file = work / "prm/solutions.json"
    problems = list(itertools.islice(generate(Split.PRM, 0), DRAFT_SOLUTIONS + HELD_OUT))
    if not file.exists():
        parts = [
            write_solutions(draft, "draft", problems),
            write_solutions(target, "target", problems[DRAFT_SOLUTIONS - TARGET_SOLUTIONS :]),
        ]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps([(p.id, steps) for part in parts for p, steps in part]))
    by_id = {p.id: p for p in problems}
    kept_out = {p.id for p in problems[DRAFT_SOLUTIONS:]}
    training: list[Solution] = []
    held_out: list[Solution] = []
    for name, steps in json.loads(file.read_text()):
        (held_out if name in kept_out else training).append((by_id[name], [(text, author) for text, author in steps]))
    return training, held_out


def checked(parts: Sequence[Solution], pen: Pen) -> list[Stream]:
    """Streams to learn from: a label at every token."""
    encoder = encoder_for(pen.tokenizer, annotated=False)
    return [encode_checked(encoder, p.problem, steps, (p.solution or "").split(SEPARATOR)) for p, steps in parts]


def labelled(parts: Sequence[Solution], pen: Pen) -> list[Stream]:
    """Streams to be judged by: a label at every step."""
    encoder = encoder_for(pen.tokenizer, annotated=False)
    streams = []
    for problem, steps in parts:
        labels = [int(ok) for ok in right_steps(problem, [text for text, _ in steps])]
        streams.append(encode(encoder, problem.problem, steps, labels))
    return streams


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("work/family"))
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    work: Path = arguments.work
    draft, target = Pen(work / "draft/model"), Pen(work / "target/model")
    training, to_judge = solutions(work, draft, target)
    held_out = labelled(to_judge, draft)
    model = from_language_model(work / "target/model", LAYERS)
    curve = train(model, checked(training, draft), EPOCHS, LEARNING_RATE, SEED, "prm")
    given = [score for row in scores(model, held_out) for score in row]
    labels = [mark == 1 for stream in held_out for mark in stream.labels if mark >= 0]
    report = {
        "auc": round(auc(given, labels), 4),
        "accuracy_right": round(sum(s > 0.5 for s, y in zip(given, labels, strict=True) if y) / sum(labels), 4),
        "accuracy_wrong": round(
            sum(s <= 0.5 for s, y in zip(given, labels, strict=True) if not y) / (len(labels) - sum(labels)), 4
        ),
        "held_out_steps": len(labels),
        "held_out_right": round(sum(labels) / len(labels), 4),
        "training_solutions": len(training),
        "training_steps": sum(len(steps) for _, steps in training),
    }
    out = work / "prm"
    model.to(torch.bfloat16).save_pretrained(out / "model")
    draft.tokenizer.save_pretrained(out / "model")
    (out / "report.json").write_text(json.dumps({"held_out": report, "curve": curve}, indent=1))
    print(json.dumps(report), flush=True)


if __name__ == "__main__":
    main()
