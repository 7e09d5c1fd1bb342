"""From escalation rates to thresholds: the table that `rate=` reads (algorithms: calibration of routers)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from arbitrage.backends.sidecar import read_sidecar
from arbitrage.errors import ModelLoadError
from arbitrage.harness.router.judging import RESAMPLES, direction_doubts, ranking_area
from arbitrage.harness.router.measures import CURVE
from arbitrage.harness.router.pairs import PairsError
from arbitrage.harness.router.scoring import score_pairs
from arbitrage.harness.router.selection import Selection, select
from arbitrage.harness.router.sidecar import (
    copy_directory,
    place_of,
    update_sidecar,
    writable_place,
)
from arbitrage.harness.run_folder import to_json
from arbitrage.harness.statistics import Estimate, Floats, bootstrap_each
from arbitrage.interfaces import StepScorer
from arbitrage.strategies.confidence import confidence

TOLERANCE = 0.01
"""How far the realised rate may be from the wanted one until it counts as out of reach; one step always may."""
Judge = Literal["router", "prm"]
"""Whether a score above the threshold escalates (router), or one below it (PRM, the draft's own confidence)."""
Calibrated = Literal["router", "prm", "draft"]
"""What a table is for."""


@dataclass(frozen=True, slots=True)
class RatePoint:
    """One line of a calibration table."""

    rate: float
    """Wanted share of escalated steps."""
    threshold: float
    realised: Estimate
    """Share of the held-out steps beyond the threshold, with its interval over problems."""
    met: bool
    """Whether that is the wanted rate; steps with equal scores can only be escalated together."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """A scorer's table and what it was made from."""

    scorer: str
    judge: Calibrated
    selection: Selection
    points: tuple[RatePoint, ...]
    doubts: tuple[str, ...] = ()
    """What speaks for a scorer that is read the wrong way round."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a user of the table should know."""
        return (*self.selection.warnings, *self.doubts, *unmet(self.points))

    def entries(self) -> dict[str, object]:
        """What the sidecar is told."""
        return {
            "thresholds": {str(point.rate): point.threshold for point in self.points},
            "calibration": {
                "judge": self.judge,
                **self.selection.facts,
                "date": datetime.now(UTC).isoformat(timespec="seconds"),
                "realised": {str(point.rate): asdict(point.realised) for point in self.points},
            },
        }


def calibrate_router(
    scorer: StepScorer | str,
    pairs: Path | str,
    *,
    judge_as: Judge = "router",
    out: Path | str | None = None,
    held_out: float | None = None,
    everything: bool = False,
    backend: str = "hf",
    concurrency: int = 1,
    progress: Callable[[int, int], None] | None = None,
    **options: object,
) -> Calibration:
    """Make a scorer's table of thresholds and store it beside the weights, when it is named by a spec.

    Args:
        scorer: spec or object; nothing is stored for an object.
        pairs: folder of step pairs.
        judge_as: `prm` for a process reward model, whose low scores escalate.
        out: store the table in a copy of the scorer's directory.
        held_out, everything: see `select`.
        backend: loads the scorer when the spec names none.
        concurrency: how many solutions are scored at once.
        progress: told how many pairs are scored, and of how many.
        options: passed on to `load_models`, e.g. `dtype`.

    Raises:
        ModelLoadError: it cannot be loaded, or there is no place to store the table.
        PairsError: there are no pairs to calibrate on.
    """
    told, place, source = {}, None, None
    if isinstance(scorer, str):
        source = place_of(scorer, backend)
        place = writable_place(scorer, backend, None if out is None else Path(out))
        told = read_sidecar(source)
        scorer = load_scorer(scorer, backend, concurrency, judge_as, **options)
    selection = select(Path(pairs), {scorer.name: told}, held_out, everything)
    scores = score_pairs(scorer, selection.pairs, concurrency=concurrency, progress=progress)
    scored = np.isfinite(scores)
    if not scored.any():
        raise ModelLoadError(f"{scorer.name} could score none of {len(scores)} steps: all are too long for it")
    points = rate_points(scores[scored], selection.groups[scored], judge_as)
    _, groups = np.unique(selection.groups[scored], return_inverse=True)
    urgency = scores[scored] if judge_as == "router" else -scores[scored]
    auc = ranking_area(urgency, selection.advantages[scored], groups)
    doubts = direction_doubts(scorer.name, judge_as, auc)
    calibration = Calibration(scorer.name, judge_as, selection, points, doubts)
    if place is not None and source is not None:
        _store(calibration, source, place)
    return calibration


def calibrate_draft(
    draft: str, pairs: Path | str, *, out: Path | str | None = None, held_out: float | None = None, backend: str = "hf"
) -> Calibration:
    """Make the table that `draft-confidence:rate=…` reads and store it beside the draft's weights. No model is run.

    Args:
        draft: spec of the draft that wrote the pairs: a directory, or a GGUF file.
        pairs: folder of step pairs.
        out: store the table in a copy of the draft's directory.
        held_out: take only this share of the problems; None takes all, because nothing is trained here.
        backend: used when the spec names none.

    Raises:
        ModelLoadError: there is no place to store the table.
        PairsError: there are no pairs to calibrate on, or they hold no log-probabilities.
    """
    source = place_of(draft, backend)
    place = writable_place(draft, backend, None if out is None else Path(out))
    selection = select(Path(pairs), {}, held_out, everything=held_out is None)
    if not all(pair.draft_logprobs for pair in selection.pairs):
        raise PairsError(f"{pairs} holds steps without the draft's log-probabilities, so its confidence is unknown")
    scores = np.array([confidence(pair.draft_logprobs) for pair in selection.pairs])
    calibration = Calibration(draft, "draft", selection, rate_points(scores, selection.groups, "prm"))
    if source is not None:
        _store(calibration, source, place)
    return calibration


def _store(calibration: Calibration, source: Path, place: Path) -> None:
    """Write the table, unless this very one is there: a run that was begun with it would not go on with a new date."""
    if place != source:
        copy_directory(source, place)
    entries, stored = calibration.entries(), read_sidecar(place)
    if _undated(entries) != _undated({name: stored.get(name) for name in entries}):
        update_sidecar(place, entries)


def _undated(entries: Mapping[str, object]) -> object:
    """As a file holds it, without the date of the calibration."""
    plain = json.loads(to_json(entries))
    return {**plain, "calibration": {**(plain["calibration"] or {}), "date": None}}


def load_scorer(
    spec: str, backend: str, concurrency: int = 1, judge_as: Judge = "router", **options: object
) -> StepScorer:
    """The router or PRM of this spec; `prm_family` and `prm_separator` among the options are for a PRM.

    Raises:
        ModelLoadError: it cannot be loaded.
    """
    from arbitrage.backends.loading import load_models
    from arbitrage.types import Role

    sessions = concurrency if concurrency > 1 else None
    role: Literal[Role.PRM, Role.ROUTER] = Role.PRM if judge_as == "prm" else Role.ROUTER
    loaded = load_models(backend, roles=[role], sessions=sessions, **{role.value: spec}, **options)  # type: ignore[arg-type]
    return loaded.scorer(role)


def rate_points(
    scores: ArrayLike, groups: ArrayLike, judge: Judge = "router", rates: Sequence[float] = CURVE
) -> tuple[RatePoint, ...]:
    """Threshold and realised share for each rate.

    Args:
        scores: of held-out steps, shape (steps,).
        groups: index of the step's problem, shape (steps,).
        judge: which side escalates.
        rates: wanted shares.
    """
    score, group = np.asarray(scores, dtype=np.float64), np.asarray(groups, dtype=np.intp)
    problems = np.unique(group, return_inverse=True)[1]
    found = [threshold_at(score, rate, judge) for rate in rates]
    beyond = np.stack([escalated(score, threshold, judge) for threshold in found], axis=1)  # (steps, rates)
    sums = np.zeros((int(problems.max()) + 1, len(rates) + 1))
    np.add.at(sums, problems, np.column_stack([beyond, np.ones(len(score))]))

    def shares(counts: NDArray[np.int32]) -> Floats:
        totals = counts @ sums
        return np.asarray(totals[:, :-1] / totals[:, -1:])

    estimates = bootstrap_each(shares, len(sums), resamples=RESAMPLES)
    near = max(TOLERANCE, 1 / len(score))
    return tuple(
        RatePoint(rate, threshold, realised, abs(realised.value - rate) <= near)
        for rate, threshold, realised in zip(rates, found, estimates, strict=True)
    )


def threshold_at(scores: Floats, rate: float, judge: Judge = "router") -> float:
    """The quantile of the scores beyond which the share `rate` lies.

    Where it falls on a score that many steps have, they are escalated together or not at all, whichever is nearer.
    """
    above = judge == "router"
    quantile = float(np.quantile(scores, 1 - rate if above else rate))
    others = scores[scores < quantile] if above else scores[scores > quantile]
    if len(others) == 0:
        beside = np.nextafter(quantile, -np.inf if above else np.inf)
    else:
        beside = (quantile + (others.max() if above else others.min())) / 2
    gaps = [abs(escalated(scores, one, judge).mean() - rate) for one in (quantile, beside)]
    one_step = 1 / len(scores)
    return quantile if gaps[0] <= gaps[1] + one_step else float(beside)


def threshold_table(scores: ArrayLike, judge: Judge = "router", rates: Sequence[float] = CURVE) -> dict[str, float]:
    """Escalation rate to threshold, as the sidecar holds it."""
    array = np.asarray(scores, dtype=np.float64)
    return {str(rate): threshold_at(array, rate, judge) for rate in rates}


def escalated(scores: Floats, threshold: float, judge: Judge = "router") -> NDArray[np.bool_]:
    """Which steps a strategy would escalate at this threshold."""
    return scores > threshold if judge == "router" else scores < threshold


def unmet(points: Sequence[RatePoint]) -> list[str]:
    """What to say of rates that cannot be had."""
    missed = [point for point in points if not point.met]
    if not missed:
        return []
    listed = ", ".join(f"{point.rate:g} → {point.realised.value:.3g}" for point in missed)
    return [f"many steps have the same score, so these rates cannot be met (wanted → realised): {listed}"]
