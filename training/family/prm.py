"""The process reward model: the reader's surprise, calibrated on real solutions of both models.

The steps are labelled right or wrong by the exact checker.

python -m training.family.prm --work work/family
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from arbitrage.backends.hf import HFCodec, StreamEncoder, StreamFormat
from arbitrage.backends.hf.likelihood import Calibration, StepReading
from arbitrage.harness.router.measures import auc
from arbitrage.harness.synthetic import Split, generate, right_steps
from arbitrage.types import Author, Problem
from training.family.writing import Pen

DRAFT_SOLUTIONS, TARGET_SOLUTIONS = 6000, 3000
HELD_OUT = 400
_BATCH_TOKENS = 4096

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


class Reader:
    """The language model inside PRM and router, reading many solutions at once."""

    def __init__(self, directory: Path) -> None:
        self._pen = Pen(directory)
        self._encoder = StreamEncoder(HFCodec(self._pen.tokenizer), StreamFormat(chat=True))
        self._ends = sorted({*self._encoder.separator, self._pen.end})

    @torch.inference_mode()
    def readings(self, solutions: Sequence[tuple[str, Sequence[str]]]) -> list[list[StepReading]]:
        """How it takes each step of each (statement, steps), exactly as a `LikelihoodSession` would."""
        heads = [self._encoder.problem(statement) for statement, _ in solutions]
        bodies = [[self._encoder.step(step, "draft") for step in steps] for _, steps in solutions]
        lengths = [len(head) + sum(map(len, body)) for head, body in zip(heads, bodies, strict=True)]
        order = sorted(range(len(solutions)), key=lengths.__getitem__)
        found: list[list[StepReading]] = [[] for _ in solutions]
        while order:
            size = max(1, _BATCH_TOKENS // lengths[order[min(_BATCH_TOKENS // 64, len(order) - 1)]])
            chosen, order = order[:size], order[size:]
            ids = torch.zeros((len(chosen), max(lengths[i] for i in chosen)), dtype=torch.long)
            for row, i in enumerate(chosen):
                ids[row, : lengths[i]] = torch.tensor([*heads[i], *(t for step in bodies[i] for t in step)])
            logits = self._pen.model(ids).logits.numpy()
            for row, i in enumerate(chosen):
                at = len(heads[i])
                for step in bodies[i]:
                    found[i].append(StepReading.of(logits[row, at - 1 : at - 1 + len(step)], step, self._ends))
                    at += len(step)
        return found


def so_far(readings: Sequence[StepReading]) -> list[float]:
    """The largest surprise up to and including each step."""
    return list(itertools.accumulate((one.surprise for one in readings), max))


def read_and_checked(parts: Sequence[Solution], reader: Reader) -> tuple[list[float], list[bool], list[Author]]:
    """Each step's largest surprise so far, whether the solution is right so far, and who wrote it."""
    readings = reader.readings([(problem.problem, [text for text, _ in steps]) for problem, steps in parts])
    surprises = [one for row in readings for one in so_far(row)]
    labels = [ok for problem, steps in parts for ok in right_steps(problem, [text for text, _ in steps])]
    return surprises, labels, [author for _, steps in parts for _, author in steps]


def fit(surprises: Sequence[float], labels: Sequence[bool]) -> Calibration:
    """Logistic regression of right steps on the surprise."""
    x, y = torch.tensor(surprises, dtype=torch.float64), torch.tensor(labels, dtype=torch.float64)
    parameters = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([parameters], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = binary_cross_entropy_with_logits(parameters[0] - parameters[1] * x, y)
        value.backward()
        return value

    optimizer.step(loss)
    return Calibration(round(parameters[0].item(), 4), round(parameters[1].item(), 4))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("work/family"))
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    work: Path = arguments.work
    training, held_out = solutions(work, Pen(work / "draft/model"), Pen(work / "target/model"))
    reader = Reader(work / "reader/model")
    surprises, right, _ = read_and_checked(training, reader)
    calibration = fit(surprises, right)
    unseen, labels, authors = read_and_checked(held_out, reader)
    rewards = [calibration.reward(one) for one in unseen]

    def auc_of(author: Author) -> float:
        own = [i for i, who in enumerate(authors) if who == author]
        return round(auc([rewards[i] for i in own], [labels[i] for i in own]), 4)

    report = {
        "auc": round(auc(rewards, labels), 4),
        "auc_draft_steps": auc_of("draft"),
        "auc_target_steps": auc_of("target"),
        "accuracy_right": round(sum(s > 0.5 for s, y in zip(rewards, labels, strict=True) if y) / sum(labels), 4),
        "accuracy_wrong": round(
            sum(s <= 0.5 for s, y in zip(rewards, labels, strict=True) if not y) / (len(labels) - sum(labels)), 4
        ),
        "held_out_steps": len(labels),
        "held_out_right": round(sum(labels) / len(labels), 4),
        "calibration_solutions": len(training),
        "calibration_steps": len(surprises),
        "offset": calibration.offset,
        "slope": calibration.slope,
    }
    (work / "prm/report.json").write_text(json.dumps({"held_out": report}, indent=1))
    print(json.dumps(report), flush=True)


if __name__ == "__main__":
    main()
