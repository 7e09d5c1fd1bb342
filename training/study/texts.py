"""The paper's router in all its variants: trained once for each seed, scores kept on disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from arbitrage.backends.bundled import bundled_path
from arbitrage.harness.router.pairs import StepPair
from training.study.classifier import TextRouter, Variant, forest, train

Floats = NDArray[np.float64]

VARIANTS = {
    "text, tagged": Variant(),
    "text, untagged": Variant(annotated=False),
    "text, tagged, unbalanced": Variant(balanced=False),
    "text, tagged, 4 classes": Variant(classes=4),
    "text, tagged, 10 classes": Variant(classes=10),
}
HEADS_SHARE = 6
"""One in so many training problems is kept from the classifiers: heads that combine their scores learn from it."""


@dataclass(frozen=True, slots=True)
class TextScores:
    """Of one trained classifier."""

    spare: Floats
    """On the pairs of those training problems that it did not see."""
    held_out: Floats


def seen(problems: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which training pairs the classifiers learn from."""
    return problems % HEADS_SHARE != HEADS_SHARE - 1


def scores(
    work: Path,
    training: Sequence[StepPair],
    problems: NDArray[np.int64],
    held_out: Sequence[StepPair],
    seeds: Sequence[int],
) -> dict[str, list[TextScores]]:
    """Of every variant and seed."""
    found: dict[str, list[TextScores]] = {name: [] for name in VARIANTS}
    directory = bundled_path("prm")
    used = seen(problems)
    learnt = [pair for pair, use in zip(training, used, strict=True) if use]
    spare = [pair for pair, use in zip(training, used, strict=True) if not use]
    advantages = np.array([pair.advantage for pair in learnt])
    for seed in seeds:
        for name, variant in VARIANTS.items():
            file = work / f"{name.replace(', ', '-').replace(' ', '-')}-{seed}.npz"
            if not file.exists():
                file.parent.mkdir(parents=True, exist_ok=True)
                trees = forest(learnt, directory, variant.annotated)
                router = train(trees, advantages, directory, variant, seed)
                router.save(file.with_suffix(".safetensors"))
                rest, fresh = (forest(pairs, directory, variant.annotated) for pairs in (spare, held_out))
                np.savez(file.with_suffix(".part.npz"), spare=router.scores(rest), held_out=router.scores(fresh))
                file.with_suffix(".part.npz").rename(file)
            with np.load(file) as arrays:
                found[name].append(TextScores(arrays["spare"], arrays["held_out"]))
    return found


def load(work: Path, name: str, seed: int) -> TextRouter:
    """A two-class classifier trained by `scores`."""
    file = work / f"{name.replace(', ', '-').replace(' ', '-')}-{seed}.safetensors"
    return TextRouter.load(file, bundled_path("prm"), VARIANTS[name].classes)
