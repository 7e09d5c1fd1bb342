"""Collecting step pairs: both models' next step at every prefix of many solutions, scored and stored.

What users call. One solution is `recording`, the folder is `store`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, final

from arbitrage.harness import environment
from arbitrage.harness.crew import MOST_AT_ONCE, Crew, crew_of
from arbitrage.harness.datasets import Dataset
from arbitrage.harness.plan import DatasetLike, merge_settings, model_facts, models_for, resolve_dataset, settings_facts
from arbitrage.harness.router.pair_statistics import PairStatistics
from arbitrage.harness.router.pairs import PairsError, StepPair, read_pairs, shards
from arbitrage.harness.router.recording import Recording, record
from arbitrage.harness.router.roll_in import RollIn, parse_roll_in
from arbitrage.harness.router.store import Store, open_store
from arbitrage.interfaces import Models, Settings, Strategy
from arbitrage.seeding import problem_rng
from arbitrage.strategies.oracle import ArbitrageOracle
from arbitrage.types import Problem, StepRecord


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a collection is."""

    problems: int
    """To be solved in all."""
    done: int
    """Of these, finished or failed."""
    failed: int
    pairs: int
    """Made since the call."""
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
    roll_in: str | Strategy = "oracle",
    samples: int = 1,
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
    **model_options: object,
) -> Collection:
    """Collect step pairs into a folder; a call with the same arguments goes on where an earlier one stopped.

    Args:
        out: the folder.
        backend: name of a backend (its bundled models, unless `model_options` name others), or loaded models.
        dataset: name, JSONL file, or problems.
        dataset_path: file of a data set given by name.
        limit: only the first problems. A later call may ask for more.
        roll_in: who decides how solutions go on: `oracle`, `draft`, `target`, or a step strategy, as a name with
            parameters or an object.
        samples: target steps at each prefix; more than one only when sampling.
        seed: with problem id, step and role it fixes every random number.
        concurrency: problems that are solved at once.
        settings: budgets, sampling and instruction; None takes those of the models. The next six override its fields.
        max_tokens: token budget of a solution.
        max_steps: step budget of a solution.
        temperature: 0 is greedy.
        top_k: 0 keeps all tokens.
        top_p: 1 keeps all tokens.
        answer_stop: end a solution with the step that completes a boxed answer.
        progress: told after each problem how far the collection is.
        model_options: passed to `load_models`: `draft`, `target`, `prm`, `router`, `threads`, `dtype`, ….

    Raises:
        PairsError: an argument makes no sense, or the folder holds pairs that were made in another way.
        KeyboardInterrupt: Ctrl-C; every finished problem is stored.
        ArbitrageError: a name, data set or model cannot be found or loaded.
    """
    if not 1 <= concurrency <= MOST_AT_ONCE:
        raise ValueError(f"concurrency must be within 1..{MOST_AT_ONCE}, not {concurrency}")
    if samples < 1 or seed < 0:
        raise ValueError(f"need samples >= 1 and seed >= 0, not {samples} and {seed}")
    chosen = parse_roll_in(roll_in)
    data = resolve_dataset(dataset, dataset_path, limit)
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
    if samples > 1 and models.settings.sampling.greedy:
        raise PairsError(
            f"a greedy target writes the same step {samples} times; set a temperature above 0 or leave samples at 1"
        )
    job = _Job(models, chosen, samples, seed)
    folder = Path(out)
    with open_store(folder, _manifest(job, data)) as store:
        _Collecting(job, data, store, progress).run(concurrency)
        finished, failed = len(store.finished), dict(store.failed)
    stored = read_pairs(folder) if shards(folder) else ()
    return Collection(folder, finished, failed, PairStatistics.of(stored))


@dataclass(frozen=True, slots=True)
class _Job:
    """What is done with each problem."""

    models: Models
    roll_in: RollIn
    samples: int
    seed: int


@dataclass(frozen=True, slots=True)
class _Work:
    """A problem with its pairs."""

    problem: Problem
    recording: Recording

    def pairs(self) -> list[StepPair]:
        """What is stored."""
        return [fork.pair for fork in self.recording.forks]


@final
class _Collecting:
    """Solves what is missing in a store; all that touches the store is done by one thread."""

    def __init__(self, job: _Job, data: Dataset, store: Store, progress: Callable[[Standing], None] | None) -> None:
        for problem in data:
            store.check(problem)
        self._job, self._store, self._progress = job, store, progress
        self._missing = [problem for problem in data if problem.id not in store.finished]
        self._standing = Standing(len(data), len(data) - len(self._missing), 0, 0, 0)

    def run(self, concurrency: int) -> None:
        """Solve all that is missing, `concurrency` problems at once."""
        self._tell(self._standing)
        crew = crew_of(concurrency)
        job = replace(self._job, models=_watched(self._job.models, crew))

        def work(problem: Problem) -> None:
            try:
                done: _Work | Exception = solve(problem, job)
            except Exception as error:  # one problem's failure is a line, not the end of the collection
                done = error
            crew.post(lambda: self._keep(problem, done))

        with crew:
            crew.run(self._missing, work)

    def _keep(self, problem: Problem, done: _Work | Exception) -> None:
        now = self._standing
        if isinstance(done, Exception):
            self._store.fail(problem, done)
            self._tell(replace(now, done=now.done + 1, failed=now.failed + 1))
            return
        pairs = done.pairs()
        self._store.add(problem, pairs, done.recording.generation)
        positive = now.positive + sum(pair.label for pair in pairs)
        self._tell(replace(now, done=now.done + 1, pairs=now.pairs + len(pairs), positive=positive))

    def _tell(self, standing: Standing) -> None:
        self._standing = standing
        if self._progress is not None:
            self._progress(standing)


def solve(problem: Problem, job: _Job) -> _Work:
    """One problem's solution and pairs."""
    rng = problem_rng(job.seed, problem.id)
    return _Work(problem, record(problem, job.models, rng, job.roll_in, job.samples))


def _watched(models: Models, crew: Crew) -> Models:
    """The models, with every step asking whether the solution is still wanted."""
    own = models.settings.on_step

    def on_step(problem: Problem, step: StepRecord) -> None:
        crew.check()
        if own is not None:
            own(problem, step)

    return models.with_settings(replace(models.settings, on_step=on_step))


def _manifest(job: _Job, data: Dataset) -> dict[str, Any]:
    """How the pairs are made. `identity` is all that changes what a pair says, but for the number of problems."""
    now = datetime.now(UTC).isoformat()
    return {
        "created": now,
        "identity": {
            "models": model_facts(job.models),
            "settings": settings_facts(job.models.settings),
            "roll_in": {"name": job.roll_in.label(job.models), "strategy": job.roll_in.strategy.describe()},
            "samples": job.samples,
            "seed": job.seed,
            "dataset": {"name": data.name, "file_sha256": data.file_sha256},
            "versions": environment.package_versions(),
        },
        "sessions": [
            {
                "started": now,
                "arguments": environment.redacted_arguments(sys.argv),
                "machine": environment.describe_machine(),
                "commit": environment.commit(),
                "dataset": {"source": data.source, "sha256": data.sha256, "problems": len(data)},
            }
        ],
    }
