"""How good routers are on steps that they never saw, beside what can be had without a router."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from arbitrage.errors import ModelLoadError
from arbitrage.harness.router.calibrate import Judge, RatePoint, load_scorer, rate_points, unmet
from arbitrage.harness.router.judging import ORACLE, Score, Verdict, judge
from arbitrage.harness.router.outcomes import Outcomes, compare_outcomes, outcome_advantages
from arbitrage.harness.router.pairs import PairsError, StepPair
from arbitrage.harness.router.scoring import score_pairs
from arbitrage.harness.router.selection import select
from arbitrage.harness.router.sidecar import told_by
from arbitrage.harness.statistics import Floats
from arbitrage.interfaces import StepScorer

REWARD = "−s_d (RSD)"
CONFIDENCE = "draft's doubt"
RANDOM = "random"


@dataclass(frozen=True, slots=True)
class Histogram:
    """A score's distribution by label."""

    edges: tuple[float, ...]
    """Of the bins, one more than there are bins."""
    not_better: tuple[int, ...]
    """Steps with Δ ≤ 0 in each bin."""
    better: tuple[int, ...]
    """Steps with Δ > 0 in each bin."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Routers, baselines and bounds on the same held-out steps."""

    facts: Mapping[str, Any]
    """Where the pairs come from; see `Selection.facts`."""
    better: float
    """Share of steps in which the target's version is better."""
    ties: float
    """Share of steps with Δ = 0."""
    unscored: int
    """Steps that were left out because they are too long for a scorer."""
    verdicts: tuple[Verdict, ...]
    """Routers first, in the order in which they were named."""
    thresholds: Mapping[str, tuple[RatePoint, ...]]
    """Calibration table of each router on these steps."""
    histograms: Mapping[str, Histogram]
    """Of each router's scores."""
    outcomes: Outcomes | None
    """Against the outcomes of roll-outs, where the pairs have them."""
    warnings: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Everything, for evaluation.json."""
        return asdict(self)


def evaluate_router(
    scorers: str | StepScorer | Sequence[str | StepScorer],
    pairs: Path | str,
    *,
    judge_as: Judge = "router",
    held_out: float | None = None,
    everything: bool = False,
    backend: str = "hf",
    concurrency: int = 1,
    progress: Callable[[int, int], None] | None = None,
    **options: object,
) -> Evaluation:
    """Measure routers on the held-out steps of a folder of pairs, baselines beside them.

    Args:
        scorers: one or several, specs or objects.
        pairs: folder of step pairs.
        judge_as: `prm` for process reward models in the routers' place, whose low scores escalate.
        held_out, everything: see `select`.
        backend: loads the scorers whose specs name none.
        concurrency: how many solutions are scored at once.
        progress: told how many steps are scored, and of how many, over all scorers.
        options: passed on to `load_models`, e.g. `dtype`.

    Raises:
        ModelLoadError: a scorer cannot be loaded, or two have one name.
        PairsError: there are no such pairs, or the target is better in all of them or in none.
    """
    named = _named([scorers] if isinstance(scorers, str | StepScorer) else scorers)
    sidecars = {name: told_by(one, backend) for name, one in named.items() if isinstance(one, str)}
    selection = select(Path(pairs), sidecars, held_out, everything)
    chosen, advantages = selection.pairs, selection.advantages
    _check_labels(advantages, selection.facts["problems"])
    given: dict[str, Floats] = {}
    for number, (name, one) in enumerate(named.items()):
        scorer = load_scorer(one, backend, concurrency, **options) if isinstance(one, str) else one
        given[name] = score_pairs(
            scorer, chosen, concurrency=concurrency, progress=_counted(progress, number, len(named))
        )
    usable = np.isfinite(np.column_stack(list(given.values()))).all(axis=1)
    kept = [chosen[index] for index in np.flatnonzero(usable)]
    advantages, (_, groups) = advantages[usable], np.unique(selection.groups[usable], return_inverse=True)
    _check_labels(advantages, len(set(groups)))
    sign = 1.0 if judge_as == "router" else -1.0
    scores = [
        *(
            Score(name, judge_as, sign * values[usable], _is_probability(sidecars.get(name, {})))
            for name, values in given.items()
        ),
        *_known(kept),
        Score(RANDOM, "bound", np.zeros(len(kept))),
        Score(ORACLE, "bound", advantages),
    ]
    verdicts = tuple(judge(scores, advantages, groups))
    points = {name: rate_points(values[usable], groups, judge_as) for name, values in given.items()}
    return Evaluation(
        facts={**selection.facts, "steps": len(kept), "problems": len(set(groups))},
        better=float((advantages > 0).mean()),
        ties=float((advantages == 0).mean()),
        unscored=int((~usable).sum()),
        verdicts=verdicts,
        thresholds=points,
        histograms={name: _histogram(values[usable], advantages > 0) for name, values in given.items()},
        outcomes=compare_outcomes(outcome_advantages(kept), advantages, groups, scores),
        warnings=(
            *selection.warnings,
            *(message for verdict in verdicts for message in _doubts(verdict)),
            *(f"{name}: {message}" for name, table in points.items() for message in unmet(table)),
        ),
    )


def _is_probability(sidecar: Mapping[str, Any]) -> bool:
    """Whether a router's score is Pr(Δ > 0): not an expected class, a mean of answers, or an advantage."""
    return bool(sidecar.get("readout", {}).get("kind", "binary") == "binary")


def _named(scorers: Sequence[str | StepScorer]) -> dict[str, str | StepScorer]:
    named = {one.rstrip("/") if isinstance(one, str) else one.name: one for one in scorers}
    if len(named) < len(scorers) or not named:
        raise ModelLoadError("name at least one router, and each of them once")
    return named


def _check_labels(advantages: Floats, problems: int) -> None:
    better = int((advantages > 0).sum())
    if better in (0, len(advantages)):
        which = "none" if better == 0 else "all"
        raise PairsError(
            f"the target's version is better in {which} of the {len(advantages)} held-out steps of {problems} "
            "problems, so there is nothing to tell apart; collect more, or take a larger share (--held-out, --all)"
        )


def _counted(
    progress: Callable[[int, int], None] | None, number: int, scorers: int
) -> Callable[[int, int], None] | None:
    """Progress of one of several scorers as progress of them all."""
    return None if progress is None else lambda done, total: progress(number * total + done, scorers * total)


def _known(pairs: Sequence[StepPair]) -> list[Score]:
    """What can be told of a step without a router: the PRM's reward, and how sure the draft was."""
    known = [Score(REWARD, "baseline", np.array([-pair.draft_reward for pair in pairs]))]
    if all(pair.draft_logprobs for pair in pairs):
        known.append(Score(CONFIDENCE, "baseline", np.array([-pair.draft_logprob for pair in pairs])))
    return known


def _histogram(scores: Floats, better: Any, bins: int = 20) -> Histogram:
    low, high = min(0.0, float(scores.min())), max(1.0, float(scores.max()))
    edges = np.linspace(low, high, bins + 1)
    parts = [np.histogram(scores[which], edges)[0].tolist() for which in (~better, better)]
    return Histogram(tuple(edges.tolist()), tuple(parts[0]), tuple(parts[1]))


def _doubts(verdict: Verdict) -> Sequence[str]:
    """What looks like a scorer that is read the wrong way round."""
    area = verdict.measures["auc"]
    if verdict.kind not in ("router", "prm") or area.high is None or area.high >= 0.5:
        return []
    other = "a PRM? Then say --as prm" if verdict.kind == "router" else "a router? Then leave --as prm out"
    return [f"{verdict.name} ranks steps worse than chance (AUC {area.shown('.3f')}); is it {other}"]
