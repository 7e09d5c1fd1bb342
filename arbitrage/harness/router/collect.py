"""Collecting step pairs: both models' next step at every prefix of many solutions, scored and stored.

What users call. One solution is `recording`, the folder is `store`.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any, final

from arbitrage.harness import environment
from arbitrage.harness.crew import MOST_AT_ONCE, Crew, crew_of
from arbitrage.harness.datasets import Dataset
from arbitrage.harness.plan import DatasetLike, merge_settings, model_facts, models_for, settings_facts
from arbitrage.harness.router.decontamination import WORDS
from arbitrage.harness.router.pair_statistics import PairStatistics
from arbitrage.harness.router.pairs import PairsError, StepPair, read_pairs, shards
from arbitrage.harness.router.problems import TrainingProblems, training_problems
from arbitrage.harness.router.recording import Recording, record
from arbitrage.harness.router.roll_in import RollIn, parse_roll_in
from arbitrage.harness.router.roll_outs import RollOuts, roll_out
from arbitrage.harness.router.store import Store, lasting, open_store, this_call
from arbitrage.interfaces import Models, Settings, Strategy
from arbitrage.seeding import problem_rng
from arbitrage.strategies.oracle import ArbitrageOracle
from arbitrage.strategies.writer import LanguageRole
from arbitrage.types import Author, Problem, Role, StepRecord


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a collection is."""

    problems: int
    """To be solved in all."""
    done: int
    """Of these, finished or failed."""
    failed: int
    steps: int
    """Decided since the call, those of unfinished problems included."""
    pairs: int
    """Stored since the call."""
    positive: int
    """Of these, pairs with Δ > 0."""


@dataclass(frozen=True, slots=True)
class Collection:
    """What a call of `collect_pairs` leaves behind."""

    folder: Path
    problems: int
    """Finished in the folder, with or without pairs."""
    failed: Mapping[str, str]
    """Reasons by problem; the next call tries them again."""
    statistics: PairStatistics
    """Of all pairs in the folder."""


def collect_pairs(
    out: str | os.PathLike[str],
    backend: str | Models = "hf",
    *,
    dataset: DatasetLike = "bundled-train",
    dataset_path: str | os.PathLike[str] | None = None,
    limit: int | None = None,
    sample: int | None = None,
    decontaminate: Sequence[str] | None = None,
    words: int = WORDS,
    roll_in: str | Strategy = "oracle",
    samples: int = 1,
    outcomes: int = 0,
    outcome_policy: Author = "draft",
    seed: int = 0,
    concurrency: int = 1,
    settings: Settings | None = None,
    max_tokens: int | None = None,
    max_steps: int | None = None,
    temperature: float | None = None,
    top_k: int | None = None,
    top_p: float | None = None,
    answer_stop: bool | None = None,
    progress: Callable[[Standing], None] | None = None,
    note: Callable[[str], None] | None = None,
    **model_options: object,
) -> Collection:
    """Collect step pairs into a folder; a call with the same arguments goes on where an earlier one stopped.

    Args:
        out: the folder.
        backend: name of a backend (its bundled models, unless `model_options` name others), or loaded models.
        dataset: name, JSONL file, or problems.
        dataset_path: file of a data set given by name.
        limit: only the first problems that are left. A later call may ask for more.
        sample: how many problems to sample, stratified by source; None takes all, and 30 000 of NuminaMath.
        decontaminate: names or files of evaluation sets whose problems are left out; None takes those of the usual ones
            that can be found.
        words: how many words in a row a problem may not share with one of these; 0 looks for the same text only.
        roll_in: who decides how solutions go on: `oracle`, `draft`, `target`, or a step strategy, as a name with
            parameters or an object.
        samples: target steps at each prefix; more than one only when sampling.
        outcomes: roll-outs to the end from each side of every pair whose texts differ, graded; 0 for none. Greedy ones
            are all the same, so there it is 1 at most.
        outcome_policy: who goes on in roll-outs, `draft` or `target`.
        seed: with problem id, step and role it fixes every random number.
        concurrency: problems that are solved at once.
        settings: budgets, sampling and instruction; None takes those of the models. The next six override its fields.
        max_tokens: token budget of a solution.
        max_steps: step budget of a solution.
        temperature: 0 is greedy.
        top_k: 0 keeps all tokens.
        top_p: 1 keeps all tokens.
        answer_stop: end a solution with the step that completes a boxed answer.
        progress: told after each step and each problem how far the collection is.
        note: told what a person should know about the problems.
        model_options: passed to `load_models`: `draft`, `target`, `prm`, `router`, `threads`, `dtype`, ….

    Raises:
        PairsError: an argument makes no sense, or the folder holds pairs that were made in another way.
        KeyboardInterrupt: Ctrl-C; every finished problem is stored.
        ArbitrageError: a name, data set or model cannot be found or loaded.
    """
    if not 1 <= concurrency <= MOST_AT_ONCE:
        raise ValueError(f"concurrency must be within 1..{MOST_AT_ONCE}, not {concurrency}")
    if samples < 1 or outcomes < 0 or seed < 0:
        raise ValueError(f"need samples >= 1, outcomes >= 0 and seed >= 0, not {samples}, {outcomes} and {seed}")
    chosen = parse_roll_in(roll_in)
    data = training_problems(dataset, dataset_path, limit=limit, sample=sample, against=decontaminate, words=words)
    if note is not None:
        for told in data.notes:
            note(told)
    models = models_for(backend, [ArbitrageOracle(), chosen.strategy], model_options, concurrency)
    overrides = {
        "max_tokens": max_tokens,
        "max_steps": max_steps,
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "answer_stop": answer_stop,
    }
    models = models.with_settings(merge_settings(settings or models.settings, overrides))
    chosen.check(models)
    if models.settings.sampling.greedy and max(samples, outcomes) > 1:
        raise PairsError(
            f"greedy models write the same text {max(samples, outcomes)} times; set a temperature above 0, or leave "
            "samples and outcomes at 1"
        )
    decider = chosen.strategy
    if isinstance(decider, ArbitrageOracle) and decider.samples not in (1, samples):
        raise PairsError(
            f"the roll-in draws {decider.samples} target steps and {samples} are recorded, by which it decides; leave "
            f"samples out of the roll-in and ask for {decider.samples} to be recorded (--samples {decider.samples})"
        )
    job = _Job(models, chosen, samples, outcomes, Role.DRAFT if outcome_policy == "draft" else Role.TARGET, seed)
    folder = Path(out)
    with open_store(folder, _manifest(job, data)) as store:
        store.removed(data.removed_lines())
        _Collecting(job, data.dataset, store, progress).run(concurrency)
        finished, failed = len(store.finished), dict(store.failed)
    stored = read_pairs(folder) if shards(folder) else ()
    return Collection(folder, finished, failed, PairStatistics.of(stored))


@dataclass(frozen=True, slots=True)
class _Job:
    """What is done with each problem."""

    models: Models
    roll_in: RollIn
    samples: int
    outcomes: int
    outcome_role: LanguageRole
    seed: int


@dataclass(frozen=True, slots=True)
class _Work:
    """A solved problem."""

    recording: Recording
    roll_outs: Sequence[RollOuts | None]
    """One a fork, or none at all."""

    def pairs(self, problem: Problem) -> list[StepPair]:
        """What is stored; roll-outs are graded here."""
        pairs = [fork.pair for fork in self.recording.forks]
        if not self.roll_outs:
            return pairs
        right = functools.cache(lambda text: _right(text, problem))
        return [
            pair
            if ends is None
            else replace(pair, draft_outcome=_share(ends.draft, right), target_outcome=_share(ends.target, right))
            for pair, ends in zip(pairs, self.roll_outs, strict=True)
        ]


@final
class _Collecting:
    """Solves what is missing in a store; all that touches the store is done by one thread."""

    def __init__(self, job: _Job, data: Dataset, store: Store, progress: Callable[[Standing], None] | None) -> None:
        for problem in data:
            store.check(problem)
        self._job, self._store, self._progress = job, store, progress
        self._missing = [problem for problem in data if problem.id not in store.finished]
        self._standing = Standing(len(data), len(data) - len(self._missing), 0, 0, 0, 0)

    def run(self, concurrency: int) -> None:
        """Solve all that is missing, `concurrency` problems at once."""
        self._tell(self._standing)
        crew = crew_of(concurrency)
        job = replace(self._job, models=_watched(self._job.models, crew, self._count_step))

        def work(problem: Problem) -> None:
            try:
                done: _Work | Exception = _solve(problem, job, crew)
            except Exception as error:  # one problem's failure is a line, not the end of the collection
                done = error
            crew.post(lambda: self._keep(problem, done))

        with crew:
            crew.run(self._missing, work)

    def _count_step(self) -> None:
        self._tell(replace(self._standing, steps=self._standing.steps + 1))

    def _keep(self, problem: Problem, done: _Work | Exception) -> None:
        now = self._standing
        if isinstance(done, Exception):
            self._store.fail(problem, done)
            self._tell(replace(now, done=now.done + 1, failed=now.failed + 1))
            return
        pairs = done.pairs(problem)
        self._store.add(problem, pairs, done.recording.generation)
        positive = now.positive + sum(pair.label for pair in pairs)
        self._tell(replace(now, done=now.done + 1, pairs=now.pairs + len(pairs), positive=positive))

    def _tell(self, standing: Standing) -> None:
        self._standing = standing
        if self._progress is not None:
            self._progress(standing)


def _solve(problem: Problem, job: _Job, crew: Crew) -> _Work:
    """One problem's solution, pairs and roll-outs."""
    rng = problem_rng(job.seed, problem.id)
    recording = record(problem, job.models, rng, job.roll_in, job.samples)
    if not job.outcomes or not problem.answer:
        return _Work(recording, ())
    ends = roll_out(problem, recording.forks, job.models, rng, job.outcome_role, job.outcomes, crew.check)
    return _Work(recording, ends)


def _right(text: str, problem: Problem) -> bool | None:
    """Whether a solution is right; None where the reference cannot be used."""
    from arbitrage.harness.grading import Status, grade

    verdict = grade(text, problem)
    return None if verdict.status is Status.UNSCORED else verdict.correct


def _share(texts: Sequence[str], right: Callable[[str], bool | None]) -> float | None:
    verdicts = [verdict for verdict in map(right, texts) if verdict is not None]
    return fmean(verdicts) if verdicts else None


def _watched(models: Models, crew: Crew, count: Callable[[], None]) -> Models:
    """The models, with every step being counted and asking whether the solution is still wanted."""
    own = models.settings.on_step

    def on_step(problem: Problem, step: StepRecord) -> None:
        crew.check()
        crew.post(count)
        if own is not None:
            own(problem, step)

    return models.with_settings(replace(models.settings, on_step=on_step))


def _manifest(job: _Job, data: TrainingProblems) -> dict[str, Any]:
    """How the pairs are made. `identity` is all that changes what a pair says, but for the number of problems."""
    call = this_call()
    return {
        "created": call["started"],
        "identity": {
            "models": {role: lasting(told) for role, told in model_facts(job.models).items()},
            "settings": settings_facts(job.models.settings),
            "roll_in": {"name": job.roll_in.label(job.models), "strategy": job.roll_in.strategy.describe()},
            "samples": job.samples,
            "seed": job.seed,
            "outcomes": {"count": job.outcomes, "policy": job.outcome_role.value} if job.outcomes else None,
            "dataset": data.facts,
            "versions": environment.package_versions(),
        },
        "sessions": [
            {
                **call,
                "models": model_facts(job.models),
                "dataset": {
                    "source": data.dataset.source,
                    "sha256": data.dataset.sha256,
                    "problems": len(data.dataset),
                    "removed": len(data.removed),
                },
            }
        ],
    }
