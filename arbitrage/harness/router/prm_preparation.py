"""From graded solutions to what the training of a process reward model sees and what it is measured on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from arbitrage.harness.router.examples import Example
from arbitrage.harness.router.graded import GradedSolution
from arbitrage.harness.router.labels import Labelling
from arbitrage.harness.router.pairs import PairsError, held_out
from arbitrage.harness.router.preparation import Counts, Prepared
from arbitrage.harness.router.sampling import text_key
from arbitrage.harness.router.settings import TrainingSettings
from arbitrage.harness.router.step_report import StepReport

if TYPE_CHECKING:
    from arbitrage.backends.hf import StreamEncoder


def prepare_prm(
    solutions: Iterable[GradedSolution], encoder: StreamEncoder, longest: int, settings: TrainingSettings
) -> Prepared:
    """Encode each solution once, with a label at every separator that has one, and split by problem.

    Raises:
        PairsError: nothing is left to train on, or only steps of one kind.
    """
    unlabelled = too_long = 0
    problems: set[str] = set()
    learnt: list[tuple[str, Example]] = []
    unseen: set[str] = set()
    kept_out = _HeldOut()
    for solution in solutions:
        problems.add(solution.problem_id)
        ids, places = encode_solution(solution, encoder, longest)
        labelled = [i for i, label in enumerate(solution.labels) if label is not None]
        unlabelled += 0 if labelled else 1
        fitting = [i for i in labelled if i < len(places)]
        too_long += len(labelled) - len(fitting)
        if not fitting:
            continue
        labels = np.array([solution.labels[i] for i in fitting], dtype=np.float32)
        example = Example(ids[: places[fitting[-1]] + 1], places[fitting], labels, solution.problem_id)
        if held_out(solution.problem_id, settings.held_out):
            kept_out.add(example, solution, fitting)
            unseen.add(text_key(solution.statement))
        else:
            learnt.append((text_key(solution.statement), example))
    training = [example for text, example in learnt if text not in unseen]
    repeated = sum(len(example.labels) for text, example in learnt if text in unseen)
    values = np.concatenate([np.zeros(0), *(one.labels for one in training)])
    good = int((values > 0.5).sum())
    if not 0 < good < len(values):
        raise PairsError(
            f"there are {good} good steps and {len(values) - good} bad ones to train on: there is nothing to tell "
            f"apart ({unlabelled} solutions have no verdict or roll-outs, {too_long} steps are too long, "
            f"{len(kept_out.labels)} are held out); take more problems, or harder or easier ones"
        )
    counts = Counts(
        pairs=len(values) + len(kept_out.labels) + too_long + repeated,
        problems=len(problems),
        unlabelled=unlabelled,
        too_long=too_long,
        repeated=repeated,
        training=len(values),
        gain=good,
        trained_on=len(values),
        held_out=len(kept_out.labels),
    )
    return Prepared(training, kept_out.examples, kept_out.report(), Labelling("binary"), counts)


def encode_solution(
    solution: GradedSolution, encoder: StreamEncoder, longest: int
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """The stream of the steps that fit into `longest` tokens, and the position of the separator behind each."""
    stream, places = list(encoder.problem(solution.statement)), []
    for step in solution.steps:
        ids = encoder.step(step.text, step.author)
        if len(stream) + len(ids) > longest:
            break
        stream += ids
        places.append(len(stream) - 1)
    return np.array(stream, dtype=np.int32), np.array(places, dtype=np.int32)


@dataclass(slots=True)
class _HeldOut:
    """Gathers held-out examples and what is known of each of their labels."""

    examples: list[Example] = field(default_factory=list)
    labels: list[float] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    drafts: list[bool] = field(default_factory=list)
    ends: list[bool] = field(default_factory=list)

    def add(self, example: Example, solution: GradedSolution, labelled: list[int]) -> None:
        self.examples.append(example)
        for i in labelled:
            self.labels.append(float(solution.labels[i] or 0))
            self.problems.append(solution.problem_id)
            self.positions.append(i)
            self.drafts.append(solution.steps[i].author == "draft")
            self.ends.append(i == len(solution.steps) - 1)

    def report(self) -> StepReport:
        return StepReport(
            np.array(self.labels, dtype=np.float64),
            np.asarray(np.unique(self.problems, return_inverse=True)[1], dtype=np.intp),
            np.array(self.positions, dtype=np.intp),
            np.array(self.drafts, dtype=bool),
            np.array(self.ends, dtype=bool),
        )
