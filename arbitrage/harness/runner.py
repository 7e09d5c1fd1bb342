"""Running benchmarks: every strategy on every problem, interleaved, each row stored the moment it is done.

What users call. How a run is resolved is `arbitrage.harness.plan`, how it is measured `arbitrage.harness.sitting`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from arbitrage.errors import RunError
from arbitrage.harness import environment
from arbitrage.harness.comparison import Comparison, load_comparison
from arbitrage.harness.plan import DatasetLike, Strategies, make_manifest, make_plan
from arbitrage.harness.progress import Progress, choose_progress
from arbitrage.harness.request import settled_options, stored_request
from arbitrage.harness.results import BenchmarkResult
from arbitrage.harness.run_folder import check_folder, open_run
from arbitrage.harness.sitting import BenchmarkInterrupted, Instruments, Sitting
from arbitrage.interfaces import Models, Settings, Strategy

__all__ = [
    "BenchmarkInterrupted",
    "BenchmarkResult",
    "Comparison",
    "Instruments",
    "load_comparison",
    "resume_run",
    "run_benchmark",
    "run_comparison",
]


def run_benchmark(
    strategy: str | Strategy,
    backend: str | Models = "hf",
    *,
    dataset: DatasetLike = "bundled",
    dataset_path: str | os.PathLike[str] | None = None,
    limit: int | None = None,
    seed: int = 0,
    repeats: int = 1,
    warmup: int = 2,
    concurrency: int = 1,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    baseline: bool = True,
    settings: Settings | None = None,
    max_tokens: int | None = None,
    max_steps: int | None = None,
    temperature: float | None = None,
    top_k: int | None = None,
    top_p: float | None = None,
    answer_stop: bool | None = None,
    progress: bool | Progress | None = None,
    instruments: Instruments | None = None,
    **model_options: object,
) -> BenchmarkResult:
    """Run one strategy, with target-only beside it as `result.baseline`. Arguments and errors as `run_comparison`."""
    comparison = run_comparison(
        strategy,
        backend,
        dataset=dataset,
        dataset_path=dataset_path,
        limit=limit,
        seed=seed,
        repeats=repeats,
        warmup=warmup,
        concurrency=concurrency,
        out=out,
        resume=resume,
        baseline=baseline,
        settings=settings,
        max_tokens=max_tokens,
        max_steps=max_steps,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        answer_stop=answer_stop,
        progress=progress,
        instruments=instruments,
        **model_options,
    )
    return list(comparison.values())[-1]  # the baseline, when there is another one, comes first


def run_comparison(
    strategies: Strategies,
    backend: str | Models = "hf",
    *,
    dataset: DatasetLike = "bundled",
    dataset_path: str | os.PathLike[str] | None = None,
    limit: int | None = None,
    seed: int = 0,
    repeats: int = 1,
    warmup: int = 2,
    concurrency: int = 1,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    baseline: bool = True,
    settings: Settings | None = None,
    max_tokens: int | None = None,
    max_steps: int | None = None,
    temperature: float | None = None,
    top_k: int | None = None,
    top_p: float | None = None,
    answer_stop: bool | None = None,
    progress: bool | Progress | None = None,
    instruments: Instruments | None = None,
    **model_options: object,
) -> Comparison:
    """Run several strategies on the same problems, interleaved problem by problem (or in blocks of them, at once).

    Args:
        strategies: names or objects; a mapping gives them labels of your own.
        backend: name of a backend (its bundled models, unless `model_options` name others), or loaded models.
        dataset: name, JSONL file, or problems.
        dataset_path: file of a data set given by name.
        limit: only the first problems.
        seed: with problem id, step and role it fixes every random number of a row.
        repeats: how often each problem is solved; at least 3 for latencies worth quoting.
        warmup: problems that every strategy solves before measuring; reported, never averaged in.
        concurrency: problems that are solved at once, by one strategy at a time; backends that can decode them in one
            batch. The rows are those of 1, up to rounding; latencies are under load, and `result.throughput` says how
            much was done a second. At least as many problems come before measuring, unless `warmup` is 0.
        out: folder for manifest, rows, summary, table and chart; None keeps everything in memory.
        resume: continue the run in `out`; only rows that are missing are made.
        baseline: add target-only when it is not among the strategies and a target is loaded.
        settings: budgets, sampling and instruction; None takes those of the models. The next six override its fields.
        max_tokens: token budget of a solution.
        max_steps: step budget of a solution.
        temperature: 0 is greedy.
        top_k: 0 keeps all tokens.
        top_p: 1 keeps all tokens.
        answer_stop: end a solution with the step that completes a boxed answer.
        progress: False for silence, None for a bar or lines as the terminal allows, or an object of your own.
        instruments: clock, grader and observers.
        model_options: passed to `load_models`: `draft`, `target`, `prm`, `router`, `threads` (or "auto"), `dtype`, ….

    Returns:
        Results by label, the baseline first. A strategy that raises on a problem gives an error row, not an error.

    Raises:
        CapabilityError: a strategy needs what the models cannot do; nothing has been run.
        RunError: `out` holds a run already, or with `resume` another one.
        BenchmarkInterrupted: Ctrl-C; every finished row is kept.
        ArbitrageError: a name, data set or model cannot be found or loaded.
    """
    if resume and out is None:
        raise RunError("resume needs the folder of the run; pass out=FOLDER")
    if out is not None:
        check_folder(Path(out), resume=resume)
    load = environment.load_average()  # before our own work counts in
    tools = instruments or Instruments()
    overrides = {
        "max_tokens": max_tokens,
        "max_steps": max_steps,
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "answer_stop": answer_stop,
    }
    plan = make_plan(
        strategies,
        backend,
        dataset=dataset,
        dataset_path=dataset_path,
        limit=limit,
        seed=seed,
        repeats=repeats,
        warm_up=warmup,
        concurrency=concurrency,
        baseline=baseline,
        settings=settings,
        overrides=overrides,
        model_options=settled_options(Path(out), model_options) if out is not None else model_options,
    )
    manifest = make_manifest(
        plan,
        backend=backend if isinstance(backend, str) else None,
        dataset=dataset,
        model_options=model_options,
        load=load,
        now=tools.now(),
    )
    shown = choose_progress(progress)
    if out is None:
        return Sitting(plan, manifest, tools, shown, None).execute()
    from arbitrage.harness.config import save_config

    with open_run(out, manifest, plan.keys(), plan.dataset.problems, resume=resume) as folder:
        save_config(folder.path, folder.manifest)
        return Sitting(plan, folder.manifest, tools, shown, folder).execute()


def resume_run(
    path: str | os.PathLike[str],
    backend: str | Models | None = None,
    *,
    progress: bool | Progress | None = None,
    **model_options: object,
) -> Comparison:
    """Continue a stopped run from its folder alone.

    Args:
        path: the run folder.
        backend: only for runs that were given loaded models: give them again.
        progress: as `run_comparison`.
        model_options: only options that the manifest does not hold, such as keys of a server.

    Raises:
        RunError: the folder does not say how the run was started (strategies or models were objects of your own):
            make the original call again with `resume=True`; or it was started with an option that lets checkpoints run
            code, which has to be given again.
        ArbitrageError: as `run_comparison`.
    """
    request = stored_request(Path(path))
    chosen = backend if backend is not None else request.backend
    if chosen is None or (request.given_objects and not isinstance(chosen, Models)):
        raise RunError(f"{path}: the run was given loaded models; make the original call again with resume=True")
    missing = [name for name in request.runs_foreign_code if name not in model_options]
    if missing and not isinstance(chosen, Models):
        raise RunError(
            f"{path}: the run was made with {', '.join(missing)}, which lets checkpoints run code; a folder cannot ask "
            f"for that. If you trust them, resume from Python: resume_run({str(path)!r}, {missing[0]}=True)"
        )
    options: dict[str, Any] = {} if isinstance(chosen, Models) else {**request.model_options, **model_options}
    return run_comparison(
        request.strategies,
        chosen,
        dataset=request.dataset,
        dataset_path=request.dataset_path,
        limit=request.limit,
        seed=request.seed,
        repeats=request.repeats,
        warmup=request.warmup,
        concurrency=request.concurrency,
        out=path,
        resume=True,
        baseline=False,
        settings=request.settings,
        progress=progress,
        **options,
    )
