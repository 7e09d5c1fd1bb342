"""From step pairs or graded solutions to what a training sees and what it is measured on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from arbitrage.harness.router.examples import Example, encode
from arbitrage.harness.router.held_out import RouterReport
from arbitrage.harness.router.labels import Labelling, balanced, label_value
from arbitrage.harness.router.pairs import PairsError, StepPair, held_out
from arbitrage.harness.router.sampling import text_key
from arbitrage.harness.router.settings import TrainingSettings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from arbitrage.backends.hf import StreamEncoder


@dataclass(frozen=True, slots=True)
class Counts:
    """How many pairs went where; of a PRM, how many steps."""

    pairs: int
    """In all folders."""
    problems: int
    """They come from."""
    unlabelled: int
    """Left out: without roll-outs where these are the label, or without a verdict."""
    too_long: int
    """Left out: problem and step alone exceed the context; of a PRM, all that comes before it counts too."""
    repeated: int
    """Left out of training: a held-out problem has the same text under another id."""
    training: int
    """In the training split."""
    gain: int
    """Of those, pairs whose target step is better; of a PRM, good steps."""
    trained_on: int
    """Of the training split after balancing."""
    held_out: int
    """In the held-out split, which is never balanced."""


class Report(Protocol):
    """Knows how the held-out labels came about; `outputs` has shape (labels, outputs of the head)."""

    def measure(self, outputs: NDArray[np.float32]) -> dict[str, float]:
        """What is told while the training goes on."""

    def report(self, outputs: NDArray[np.float32]) -> tuple[dict[str, Any], dict[str, float]]:
        """All measures, and the calibration table (escalation rate to threshold)."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """Examples of both splits."""

    training: list[Example]
    held_out: list[Example]
    report: Report
    """Of the held-out examples' labels, in their order."""
    labelling: Labelling
    counts: Counts


def prepare(pairs: Iterable[StepPair], encoder: StreamEncoder, longest: int, settings: TrainingSettings) -> Prepared:
    """Split by problem, leave out what cannot be used, balance the training split, and choose the labels' classes.

    Raises:
        PairsError: nothing is left to train on, or only pairs of one kind.
    """
    total = unlabelled = too_long = 0
    rolled_out = False
    problems: set[str] = set()
    parts: tuple[list[tuple[NDArray[np.int32], float, StepPair]], ...] = ([], [])
    for pair, ids in encode(pairs, encoder, longest):
        total += 1
        problems.add(pair.problem_id)
        rolled_out |= pair.outcome_advantage is not None
        value = label_value(pair, settings.label)
        if value is None:
            unlabelled += 1
        elif ids is None:
            too_long += 1
        else:
            parts[held_out(pair.problem_id, settings.held_out)].append((ids, value, pair))
    if settings.label == "outcome" and not rolled_out:
        raise PairsError(f"none of {total} pairs says how solutions end; collect them with --outcomes 1 or more")
    kept_out = parts[1]
    unseen = {text_key(pair.statement) for _, _, pair in kept_out}
    training = [one for one in parts[0] if text_key(one[2].statement) not in unseen]
    if not training:
        raise PairsError(
            f"none of {total} pairs can be trained on ({unlabelled} have no label, {too_long} are too long, "
            f"{len(kept_out)} are held out); collect more problems"
        )
    values = [value for _, value, _ in training]
    chosen = balanced(values, settings.seed) if settings.balanced else list(range(len(values)))
    labelling = Labelling.fitted(settings.labels, settings.classes, [values[i] for i in chosen])
    counts = Counts(
        pairs=total,
        problems=len(problems),
        unlabelled=unlabelled,
        too_long=too_long,
        repeated=len(parts[0]) - len(training),
        training=len(training),
        gain=sum(value > 0 for value in values),
        trained_on=len(chosen),
        held_out=len(kept_out),
    )
    return Prepared(
        [Example.at_end(ids, labelling.label(v), pair.problem_id) for ids, v, pair in (training[i] for i in chosen)],
        [Example.at_end(ids, labelling.label(v), pair.problem_id) for ids, v, pair in kept_out],
        RouterReport(labelling, tuple(value for _, value, _ in kept_out)),
        labelling,
        counts,
    )
