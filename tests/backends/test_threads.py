"""CPU threads by measuring: what is chosen from given times, what is set, and what a run remembers of it."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from arbitrage.backends.loading import load_models
from arbitrage.backends.threads import candidates, choose_threads, fewest_of_fastest, measure
from arbitrage.cli.options import thread_count
from arbitrage.cpu import CpuThreads, available_cores, granted_cores
from arbitrage.errors import ModelLoadError
from arbitrage.interfaces import Models
from arbitrage.testing import ScriptedModel, ScriptedScorer
from arbitrage.types import Role


class Machine:
    """A clock that passes move on, by what they take on the threads that are in use."""

    def __init__(self) -> None:
        self.now = 0.0

    def clock(self) -> float:
        return self.now


class Threads(CpuThreads):
    def __init__(self, name: str = "torch") -> None:
        self.name, self.used = name, [0]

    def use(self, count: int) -> None:
        self.used.append(count)


def pace(machine: Machine, threads: Threads, seconds: Callable[[int, int], float]) -> Callable[[], None]:
    """A pass that takes `seconds` of the number of threads, and of how often it ran before."""
    runs = {"count": 0}

    def run() -> None:
        machine.now += seconds(threads.used[-1], runs["count"])
        runs["count"] += 1

    return run


@pytest.mark.parametrize(
    ("cores", "tried"),
    [(1, [1]), (2, [1, 2]), (3, [1, 2, 3]), (6, [1, 2, 4, 6]), (8, [1, 2, 4, 8]), (9, [1, 2, 4, 8, 9])],
)
def test_powers_of_two_and_all_cores_are_tried(cores: int, tried: list[int]) -> None:
    """Each number once, none above the cores."""
    assert candidates(cores) == tried


@pytest.mark.parametrize(
    ("seconds", "chosen"),
    [
        ({1: 1.0, 2: 0.6, 4: 0.5}, 4),
        ({1: 1.0, 2: 0.52, 4: 0.5}, 2),  # a tie, but for a twentieth
        ({1: 1.0, 2: 0.53, 4: 0.5}, 4),
        ({1: 1.0, 2: 1.0}, 1),
        ({1: 1.0, 2: 40.0}, 1),
        ({1: 1.0}, 1),
    ],
)
def test_the_fewest_of_the_fastest_are_taken(seconds: dict[int, float], chosen: int) -> None:
    """More threads have to be worth more than a twentieth."""
    assert fewest_of_fastest(seconds) == chosen


def test_times_are_means_summed_over_passes() -> None:
    """Each pass counts once, whatever it takes; the first pass on other threads is not timed."""
    machine, threads = Machine(), Threads()
    before: list[int] = []

    def first_is_slow(count: int, _: int) -> float:
        fresh = not before or before[-1] != count
        before.append(count)
        return 100.0 if fresh else 3.0 / count

    passes = [pace(machine, threads, first_is_slow), pace(machine, threads, lambda count, _: 1.0)]
    assert measure(threads, passes, [1, 2], machine.clock) == {1: 4.0, 2: 2.5}


def test_passes_that_are_slow_now_and_then_count_and_a_single_odd_one_does_not() -> None:
    """One pass in three ten times as slow, as on busy cores: the median would not show it, solutions would."""
    machine, threads = Machine(), Threads()

    def trap(count: int, run: int) -> float:
        return 0.1 if count == 1 else 0.05 * (10 if run % 6 == 3 else 1)

    seconds = measure(threads, [pace(machine, threads, trap)], [1, 2], machine.clock)
    assert seconds[1] == pytest.approx(0.1)
    assert fewest_of_fastest(seconds) == 1

    machine, threads = Machine(), Threads()
    hiccup = pace(machine, threads, lambda count, run: 1.0 if run == 43 else 0.01 / count)
    assert measure(threads, [hiccup], [1, 2], machine.clock) == pytest.approx({1: 0.01, 2: 0.005})


def test_measuring_ends_when_it_has_taken_long_but_not_before_each_was_tried_thrice() -> None:
    """Passes of seconds are timed three times on each number of threads, passes of no time often, but not forever."""
    for seconds, fewest, most in ((30.0, 3, 3), (0.0, 100, 1000)):
        machine, threads = Machine(), Threads()
        measure(threads, [pace(machine, threads, lambda *_, each=seconds: each)], [1, 2], machine.clock)
        for count in (1, 2):
            assert fewest <= threads.used.count(count) <= most


def test_models_that_share_their_threads_are_measured_together() -> None:
    """One choice for draft and router, one of its own for the target; where there is nothing to set nothing is run."""
    machine = Machine()
    torch, own = Threads(), Threads("target")

    class Slow(ScriptedModel):
        def __init__(self, threads: Threads, seconds: dict[int, float]) -> None:
            super().__init__(["x"])
            self.cpu_threads, self.seconds = threads, seconds

        def row(self, written):  # type: ignore[no-untyped-def]
            machine.now += self.seconds[self.cpu_threads.used[-1]]
            return super().row(written)

    class SlowScorer(ScriptedScorer):
        cpu_threads = torch

        def value(self, step, author):  # type: ignore[no-untyped-def]
            machine.now += {1: 1.0, 2: 30.0}[torch.used[-1]]
            return super().value(step, author)

    draft, target = Slow(torch, {0: 0.0, 1: 1.0, 2: 0.5}), Slow(own, {0: 0.0, 1: 1.0, 2: 0.5})
    still = ScriptedScorer({})
    models = choose_threads(Models(draft, target, still, SlowScorer({})), cores=2, clock=machine.clock)
    assert models.draft is draft
    first, second = models.threads
    assert (first.name, first.roles, first.threads) == ("torch", (Role.DRAFT, Role.ROUTER), 1)
    assert first.seconds == {1: 1.0 + 8.0 + 1.0, 2: 0.5 + 4.0 + 30.0}
    assert (second.name, second.roles, second.threads) == ("target", (Role.TARGET,), 2)
    assert (torch.used[-1], own.used[-1]) == (1, 2)
    assert not still.calls


def test_a_quota_of_time_bounds_the_cores(tmp_path: Path) -> None:
    """A container's share of cores, rounded up; without one, or where it cannot be read, all that there are."""
    quota, cores = tmp_path / "cpu.max", available_cores()
    for told, expected in (
        ("max 100000", cores),
        ("50000 100000", 1),
        (f"{cores * 300000} 100000", cores),
        ("100001 100000", min(2, cores)),
        ("nothing", cores),
        ("1 0", cores),
    ):
        quota.write_text(told + "\n")
        assert granted_cores(quota) == expected
    assert granted_cores(tmp_path / "absent") == cores


def test_threads_are_a_number_or_auto_or_one_for_each_role() -> None:
    """Anything else is refused before a model is loaded."""
    with pytest.raises(ModelLoadError, match="'auto', not 'many'"):
        load_models(threads="many")


def test_a_command_line_gives_a_number_or_auto() -> None:
    """As typed or from a file; what cannot be had is a mistake in the call."""
    assert [thread_count(told) for told in (None, "4", 4, "auto")] == [None, 4, 4, "auto"]
    for told in ("0", "513", "two", "", "1.5"):
        with pytest.raises(typer.BadParameter, match=r"within 1..512 nor 'auto'"):
            thread_count(told)


@pytest.mark.parametrize("backend", ["hf", "gguf"])
def test_what_was_chosen_is_what_models_run_on(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch is set for the process, llama.cpp for each model, in contexts that are open already and in later ones."""
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    wanted = {1: 2.0, 3: 1.0}

    def timed(threads, passes, counts, clock):  # type: ignore[no-untyped-def]
        for run in passes:
            run()
        return wanted

    monkeypatch.setattr("arbitrage.backends.threads.measure", timed)
    try:
        if backend == "gguf":
            llama_cpp = pytest.importorskip("llama_cpp")
            models = load_models("gguf", roles=[Role.DRAFT], threads="auto")
            draft = models.draft
            first, second = draft.open([1]), draft.open([1])  # type: ignore[union-attr]
            first.extend((), logits=1), second.extend((), logits=1)
            contexts = draft._pool._contexts  # type: ignore[union-attr]
            assert len(contexts) == 2
            assert {llama_cpp.llama_n_threads(one._pointer) for one in contexts} == {3}
            assert draft.describe()["threads"] == 3  # type: ignore[union-attr]
            first.close(), second.close()
        else:
            models = load_models("hf", roles=[Role.DRAFT, Role.ROUTER], threads="auto")
            assert torch.get_num_threads() == 3
        assert [one.threads for one in models.threads] == [3]
    finally:
        torch.set_num_threads(before)


def test_a_mapping_gives_each_role_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a stored choice does; a role that it does not name is left to its backend."""
    pytest.importorskip("llama_cpp")
    monkeypatch.setattr("arbitrage.backends.gguf.available_cores", lambda: 5)
    models = load_models("gguf", roles=[Role.DRAFT, Role.TARGET], threads={"draft": 3})
    assert models.draft is not None
    assert models.target is not None
    assert (models.draft.describe()["threads"], models.target.describe()["threads"]) == (3, 5)
    assert models.threads == ()


def test_a_resumed_run_takes_the_choice_it_began_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It stands in the manifest with its times, and nothing is measured twice: by the folder alone, or by the call."""
    pytest.importorskip("llama_cpp")
    from arbitrage.harness.progress import Lines
    from arbitrage.harness.runner import resume_run, run_comparison

    measured: list[str] = []

    def timed(threads, passes, counts, clock):  # type: ignore[no-untyped-def]
        measured.append(threads.name)
        return {1: 0.5, 2: 0.25} if len(measured) == 1 else {1: 0.1, 2: 0.2}

    monkeypatch.setattr("arbitrage.backends.threads.measure", timed)
    asked = {"limit": 1, "warmup": 0, "baseline": False, "progress": False, "threads": "auto", "max_tokens": 8}
    run_comparison("draft-only", "gguf", out=tmp_path, **asked)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    (choice,) = manifest["threads"]
    assert (choice["roles"], choice["threads"], choice["seconds"]) == (["draft"], 2, {"1": 0.5, "2": 0.25})
    assert manifest["identity"]["models"]["draft"]["threads"] == 2
    assert manifest["request"]["model_options"] == {"threads": "auto"}
    run_comparison("draft-only", "gguf", out=tmp_path, resume=True, **asked)
    told = io.StringIO()
    resume_run(tmp_path, progress=Lines(told))
    assert "draft-Q8_0 runs on 2 CPU thread(s), of 1, 2 measured" in told.getvalue()
    assert len(measured) == 1
    assert json.loads((tmp_path / "manifest.json").read_text())["threads"] == [choice]
    assert "threads: auto" in (tmp_path / "config.yaml").read_text()
