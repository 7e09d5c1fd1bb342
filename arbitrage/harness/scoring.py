"""Rewards and router scores of a finished run's steps, computed after it and outside of its clock.

A router or RSD never learns what the other version of a step was worth: it would cost the time that they save. Here a
PRM and a router read the stored texts, so that tables can show waste, and charts calibration, for every strategy.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from arbitrage.errors import ContextOverflowError, RunError
from arbitrage.harness.comparison import Comparison, load_comparison
from arbitrage.harness.request import safe_options, settled_options
from arbitrage.harness.rows import Row, StepScores
from arbitrage.harness.run_folder import PROBLEMS, open_scores, read_manifest, to_json
from arbitrage.interfaces import Models, StepScorer
from arbitrage.types import Author, Role, StepRecord


def score_run(
    path: str | os.PathLike[str],
    models: Models | None = None,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Comparison:
    """Score the steps of a run and store the scores beside it; rows that these models have scored stay as they are.

    Strategies whose draft writes whole steps are scored. Scores by other models are replaced when the new ones are
    complete; those of a scorer that is not asked this time stay. An interrupted scoring goes on where it stopped.

    Args:
        path: the run folder.
        models: whose `prm` and `router` read the steps; None loads those of the run, or the bundled ones if it was made
            with bundled models.
        progress: told after each row how many are done, and of how many.

    Returns:
        The run with its scores.

    Raises:
        RunError: the folder holds no run or lacks the problems' statements, or there is neither PRM nor router.
        ArbitrageError: a model cannot be loaded.
    """
    folder = Path(path)
    comparison = load_comparison(folder)
    if not comparison.problems:
        raise RunError(f"{folder} was written by an early version, without the problems' statements; run it again")
    scorers = _scorers(folder, models)
    rows = [row for result in comparison.values() if result.step_routing for row in result.rows if not row.failed]
    strange = {row.problem_id for row in rows} - comparison.problems.keys()
    if strange:
        raise RunError(f"{folder / PROBLEMS} lacks problem {min(strange)!r}; the folder is damaged")
    facts = {**(comparison.manifest.get("scored") or {}), **{role.value: _facts(one) for role, one in scorers.items()}}
    with open_scores(folder, facts) as store:
        done = store.keys()
        for count, row in enumerate(rows, start=1):
            if row.key not in done:
                statement = comparison.problems[row.problem_id].problem
                store.append(_scores(row, statement, scorers, comparison.scores.get(row.key)))
            if progress is not None:
                progress(count, len(rows))
    scored = load_comparison(folder)
    scored.save_report(folder)
    return scored


def can_score(folder: Path) -> bool:
    """Whether the run's own models include a PRM or a router that a folder alone can name."""
    asked = read_manifest(folder).get("request", {})
    options = asked.get("model_options", {})
    pair = [options.get(role) for role in ("draft", "target")]
    foreign = any(isinstance(spec, str) and not spec.startswith("bundled:") for spec in pair)
    named = any(options.get(role.value) for role in _SCORING)
    return isinstance(asked.get("backend"), str) and not asked.get("given_objects") and (named or not foreign)


_SCORING: tuple[Literal[Role.PRM, Role.ROUTER], ...] = (Role.PRM, Role.ROUTER)


def _facts(scorer: StepScorer) -> dict[str, Any]:
    """What a scorer says of itself, as a file can hold it."""
    facts: dict[str, Any] = json.loads(to_json(scorer.describe()))
    return facts


def _scorers(folder: Path, models: Models | None) -> dict[Role, StepScorer]:
    if models is None:
        models = _models_of(folder)
    found: dict[Role, StepScorer] = {role: models.scorer(role) for role in _SCORING if role in models.roles()}
    if not found:
        raise RunError(f"{folder}: there is neither a PRM nor a router to score with; name one with --prm or --router")
    return found


def _models_of(folder: Path) -> Models:
    from arbitrage.backends.loading import load_models

    if not can_score(folder):
        raise RunError(f"{folder}: the run names neither a PRM nor a router; name one with --prm or --router")
    asked = read_manifest(folder)["request"]
    return load_models(
        asked["backend"], roles=_SCORING, **settled_options(folder, safe_options(asked["model_options"]))
    )


def _scores(row: Row, statement: str, scorers: Mapping[Role, StepScorer], old: StepScores | None) -> StepScores:
    """The row's scores; those of a scorer that was not asked again stay."""
    count = range(len(row.steps))
    nothing = (None,) * len(row.steps)
    drafted, targeted, routed = (
        (old.draft_rewards, old.target_rewards, old.router_scores) if old else (nothing, nothing, nothing)
    )
    if Role.PRM in scorers:
        rewards = dict(_rewards(row.steps, statement, scorers[Role.PRM]))
        drafted = tuple(rewards.get((index, "draft")) for index in count)
        targeted = tuple(rewards.get((index, "target")) for index in count)
    if Role.ROUTER in scorers:
        told = dict(_router_scores(row.steps, statement, scorers[Role.ROUTER]))
        routed = tuple(told.get(index) for index in count)
    return StepScores(row.strategy, row.problem_id, row.repeat, drafted, targeted, routed)


@dataclass(frozen=True, slots=True)
class _Versions:
    """Both authors' versions of a step, as far as they were written."""

    draft: str | None
    target: str | None

    @classmethod
    def of(cls, step: StepRecord) -> _Versions:
        if step.author == "draft":
            return cls(step.text, step.unused_target_text)
        return cls(step.rejected_text, step.text)

    def by(self, author: Author) -> str | None:
        return self.draft if author == "draft" else self.target


def _rewards(
    steps: Sequence[StepRecord], statement: str, prm: StepScorer
) -> Iterator[tuple[tuple[int, Author], float]]:
    """The PRM's reward of every version; the committed one last, so that its pass is not repeated."""
    with prm.open(statement) as session:
        for index, step in enumerate(steps):
            other: Author = "target" if step.author == "draft" else "draft"
            for author in (other, step.author):
                version = _Versions.of(step).by(author)
                if version is not None:
                    try:
                        yield (index, author), session.score(version, author)
                    except ContextOverflowError:
                        return
            session.commit()


def _router_scores(steps: Sequence[StepRecord], statement: str, router: StepScorer) -> Iterator[tuple[int, float]]:
    """The router's score of every draft version."""
    with router.open(statement) as session:
        for index, step in enumerate(steps):
            draft = _Versions.of(step).draft
            try:
                if draft is not None:
                    yield index, session.score(draft, "draft")
                if step.author == "draft":
                    session.commit()
                else:
                    session.append(step.text, step.author)
            except ContextOverflowError:
                return
