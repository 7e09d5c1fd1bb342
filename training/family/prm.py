"""The process reward model: real solutions of both models, every step labelled by the exact checker.

python -m training.family.prm --work work/family
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
from collections.abc import Sequence
from pathlib import Path

import torch

from arbitrage.harness.synthetic import Split, generate, right_steps
from arbitrage.types import Author, Problem
from training.family.classifier import Stream, encode, encoder_for, from_language_model, scores, train
from training.family.measures import auc
from training.family.rolling import Choice, Walk, roll
from training.family.writing import Pen

PROBLEMS = 3000
HELD_OUT = 400
LAYERS = 4
"""The PRM starts from the lower half of the target, which knows the arithmetic it has to judge."""
EPOCHS = 3
LEARNING_RATE = 6e-4
SEED = 21

Solution = tuple[Problem, list[tuple[str, Author]]]


def write_solutions(draft: Pen, target: Pen, problems: Sequence[Problem], mixed: bool) -> list[Solution]:
    """Each model's own solutions, and solutions in which a coin chose each step's author."""
    solutions: list[Solution] = []
    pens: tuple[tuple[Pen, Author], ...] = ((draft, "draft"), (target, "target"))
    for pen, author in pens:
        for problem, steps in zip(problems, pen.solutions(problems), strict=True):
            solutions.append((problem, [(step, author) for step in steps]))
        print(f"prm: {len(problems)} solutions by the {author}", flush=True)
    if mixed:
        coin = random.Random(SEED)
        walks: dict[str, Walk] = {}

        def toss(current: Sequence[Walk], drafts: Sequence[str], targets: Sequence[str]) -> list[Choice]:
            walks.update({w.problem.id: w for w in current})
            return [(coin.choice(("draft", "target")), None, None) for _ in current]

        roll(problems, draft, target, toss, "prm, mixed")
        solutions += [(w.problem, w.steps) for w in walks.values()]
    return solutions


def labelled(solutions: Sequence[Solution], pen: Pen) -> list[Stream]:
    """One stream a solution, a label at every step."""
    encoder = encoder_for(pen.tokenizer, annotated=False)
    streams = []
    for problem, steps in solutions:
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
    problems = list(itertools.islice(generate(Split.PRM, 0), PROBLEMS + HELD_OUT))
    training = labelled(write_solutions(draft, target, problems[:PROBLEMS], mixed=True), draft)
    held_out = labelled(write_solutions(draft, target, problems[PROBLEMS:], mixed=True), draft)
    model = from_language_model(work / "target/model", LAYERS)
    curve = train(model, training, EPOCHS, LEARNING_RATE, SEED, "prm")
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
        "training_steps": sum(mark >= 0 for s in training for mark in s.labels),
    }
    out = work / "prm"
    model.to(torch.bfloat16).save_pretrained(out / "model")
    draft.tokenizer.save_pretrained(out / "model")
    (out / "report.json").write_text(json.dumps({"held_out": report, "curve": curve}, indent=1))
    print(json.dumps(report), flush=True)


if __name__ == "__main__":
    main()
