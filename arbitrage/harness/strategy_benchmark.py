"""The object behind the pytest fixture `strategy_benchmark`: a comparison whose first strategy pytest-benchmark times.

Each round of `benchmark.pedantic` is one problem. The other strategies solve the same problem before or after it,
outside its clock, so that drift hits all alike.
"""

from __future__ import annotations

import gc
import itertools
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from arbitrage.harness import environment
from arbitrage.harness.comparison import BASELINE, Comparison
from arbitrage.harness.plan import DatasetLike, Job, Plan, make_manifest, make_plan, resolve_strategies
from arbitrage.harness.progress import choose_progress
from arbitrage.harness.report import NONE
from arbitrage.harness.results import BenchmarkResult
from arbitrage.harness.sitting import Instruments, Sitting
from arbitrage.harness.statistics import Estimate
from arbitrage.harness.timing import Elapsed, settled_heap, synchronise_devices
from arbitrage.interfaces import Models, Strategy
from arbitrage.types import Generation, Role

_SETTINGS = ("max_tokens", "max_steps", "temperature", "top_k", "top_p", "answer_stop")
_LIMIT = 10
"""Problems where a test does not say how many."""


class StrategyBenchmark:
    """Measures strategies inside a test; usable once per test, as pytest-benchmark's own fixture."""

    _loaded: tuple[object, Models] | None = None
    """The models of the latest test: tests on the same ones need not load them again."""

    def __init__(
        self, benchmark: Any, strategy: str | Strategy | None, backend: str, options: Mapping[str, Any]
    ) -> None:
        """Made by the fixture.

        Args:
            benchmark: pytest-benchmark's fixture.
            strategy: the marker's strategy for this case; None when the test names it.
            backend: the marker's backend for this case.
            options: the marker's other arguments.
        """
        self._benchmark = benchmark
        self._strategy, self._backend, self._options = strategy, backend, options
        self._comparison: Comparison | None = None
        self._timed = ""

    def __call__(
        self, strategy: str | Strategy | None = None, backend: str | Models | None = None, **options: Any
    ) -> BenchmarkResult:
        """Measure one strategy, with target-only beside it as `result.baseline`.

        Args:
            strategy: name, `name:parameter=value`, or object; None takes the marker's.
            backend: name of a backend, or loaded models; None takes the marker's.
            options: `limit` (10 problems), `dataset`, `dataset_path`, `seed`, `repeats`, `warmup`, `max_tokens`,
                `temperature` and the others of `run_comparison`, and the models and options of `load_models`.

        Raises:
            TypeError: neither the call nor a marker names a strategy.
        """
        chosen = strategy if strategy is not None else self._strategy
        if chosen is None:
            raise TypeError(
                "name a strategy: strategy_benchmark('token-sd'), or mark the test with "
                "@pytest.mark.strategy_benchmark(strategies=['token-sd', ...])"
            )
        comparison = self.compare([chosen], backend, **options)
        return next(one for label, one in comparison.items() if label == self._timed)

    def compare(
        self, strategies: Sequence[str | Strategy], backend: str | Models | None = None, **options: Any
    ) -> Comparison:
        """Measure several strategies in turn on each problem; pytest-benchmark's row is the first one's.

        Args:
            strategies: at least one; target-only is added when a target is loaded.
            backend: as for a call.
            options: as for a call.
        """
        chosen = resolve_strategies(strategies)
        plan, manifest = self._plan(chosen, backend, {**self._options, **options})
        self._timed = next(iter(chosen))
        sitting = Sitting(plan, manifest, Instruments(), choose_progress(False), None)
        self._benchmark.group = (
            self._benchmark.group or f"{plan.dataset.name}, {manifest['request']['backend'] or 'models'}"
        )
        with settled_heap():
            sitting.warm_up()
            self._measure(sitting, plan)
        self._comparison = sitting.comparison()
        self._benchmark.extra_info.update(_figures(self._comparison, self._timed))
        return self._comparison

    def summary(self) -> Iterator[dict[str, str]]:
        """The line of the terminal summary; none when nothing was measured."""
        if self._comparison is None:
            return
        result, versus = self._comparison[self._timed], self._comparison.versus(self._timed)
        latency = result.latency.mean_s
        yield {
            "strategy": result.strategy,
            "accuracy %": _shown(result.accuracy_interval, 100, ".1f"),
            "speed-up": NONE if versus is None else _shown(versus.speed_up, 1, ".2f"),
            "mean s": NONE if latency is None else f"{latency:.3g}",
            "tokens": str(sum(row.tokens for row in result.rows)),
            "acceptance": NONE if result.acceptance_rate is None else f"{result.acceptance_rate:.0%}",
            "by target": NONE if result.target_share is None else f"{result.target_share:.0%}",
        }

    def _plan(
        self, strategies: Mapping[str, Strategy], backend: str | Models | None, options: dict[str, Any]
    ) -> tuple[Plan, dict[str, Any]]:
        backend = backend if backend is not None else self._backend
        dataset: DatasetLike = options.pop("dataset", "bundled")
        path, limit = options.pop("dataset_path", None), options.pop("limit", _LIMIT)
        overrides = {name: options.pop(name, None) for name in _SETTINGS}
        fixed = {name: options.pop(name, default) for name, default in (("seed", 0), ("repeats", 1), ("warmup", 1))}
        settings, baseline = options.pop("settings", None), options.pop("baseline", True)
        models = backend if isinstance(backend, Models) else self._models(backend, strategies, baseline, options)
        load = environment.load_average()
        plan = make_plan(
            strategies,
            models,
            dataset=dataset,
            dataset_path=path,
            limit=limit,
            seed=fixed["seed"],
            repeats=fixed["repeats"],
            warm_up=fixed["warmup"],
            concurrency=1,
            baseline=baseline,
            settings=settings,
            overrides=overrides,
            model_options={},
        )
        name = backend if isinstance(backend, str) else None
        now = datetime.now(UTC)
        return plan, make_manifest(plan, backend=name, dataset=dataset, model_options=options, load=load, now=now)

    def _models(
        self, backend: str, strategies: Mapping[str, Strategy], baseline: bool, options: Mapping[str, Any]
    ) -> Models:
        from arbitrage.backends.loading import load_models

        roles = {need for strategy in strategies.values() for need in strategy.requires if isinstance(need, Role)}
        if baseline:
            roles.add(Role.TARGET)
        key = (backend, sorted(roles), sorted(options.items(), key=lambda item: item[0]))
        if StrategyBenchmark._loaded is None or StrategyBenchmark._loaded[0] != key:
            StrategyBenchmark._loaded = None  # give the memory back before more is taken
            StrategyBenchmark._loaded = (key, load_models(backend, roles=roles, **options))
        return StrategyBenchmark._loaded[1]

    def _measure(self, sitting: Sitting, plan: Plan) -> None:
        turns = [list(jobs) for _, jobs in itertools.groupby(plan.jobs(), key=lambda job: (job.repeat, job.problem.id))]
        waiting = iter(turns)
        after: list[Job] = []
        begun: list[datetime] = []
        outcomes: list[Generation | Exception] = []

        def setup() -> tuple[tuple[Job], dict[str, object]]:
            jobs = next(waiting)
            place = next(i for i, job in enumerate(jobs) if job.label == self._timed)
            for job in jobs[:place]:
                sitting.make(job)
            after[:] = jobs[place + 1 :]
            begun[:] = [datetime.now(UTC)]
            gc.collect()
            gc.disable()
            synchronise_devices()
            return (jobs[place],), {}

        def timed(job: Job) -> None:
            outcomes[:] = [sitting.attempt(job)]
            synchronise_devices()

        def teardown(job: Job) -> None:
            gc.enable()
            sitting.keep(job, outcomes[0], begun[0], Elapsed(self._benchmark.stats.stats.data[-1]))
            for other in after:
                sitting.make(other)

        enabled = gc.isenabled()
        try:
            if self._benchmark.disabled:  # --benchmark-disable: everything is solved, by our own clock
                for job in itertools.chain.from_iterable(turns):
                    sitting.make(job)
                self._benchmark.pedantic(_nothing)
            else:
                self._benchmark.pedantic(timed, setup=setup, teardown=teardown, rounds=len(turns))
        finally:
            if enabled:
                gc.enable()


def _nothing() -> None:
    """For a fixture that is not to measure, and complains when it is not used."""


def _figures(comparison: Comparison, label: str) -> dict[str, object]:
    """What travels in pytest-benchmark's JSON."""
    result, versus = comparison[label], comparison.versus(label)
    return {
        "strategy": dict(result.description),
        "dataset": dict(result.dataset),
        "problems": len(result.rows),
        "accuracy": _ends(result.accuracy_interval),
        "speed_up_over_target_only": None if versus is None or label == BASELINE else _ends(versus.speed_up),
        "tokens": sum(row.tokens for row in result.rows),
        "tokens_per_s": result.latency.tokens_per_s,
        "acceptance": result.acceptance_rate,
        "target_share": result.target_share,
        "statuses": {str(status): count for status, count in result.statuses.items()},
    }


def _ends(estimate: Estimate | None) -> list[float | None] | None:
    return None if estimate is None else [estimate.value, estimate.low, estimate.high]


def _shown(estimate: Estimate | None, scale: float, form: str) -> str:
    if estimate is None:
        return NONE
    text = f"{scale * estimate.value:{form}}"
    if estimate.low is None or estimate.high is None:
        return text
    return f"{text} [{scale * estimate.low:{form}}, {scale * estimate.high:{form}}]"
