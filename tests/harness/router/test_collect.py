"""A collection on disk: the same pairs however often it is stopped and however many problems are solved at once."""

from __future__ import annotations

import dataclasses
import json
import threading

import pytest

pytest.importorskip("pyarrow")

from arbitrage.errors import RunError
from arbitrage.harness.router import store as store_module
from arbitrage.harness.router.collect import collect_pairs
from arbitrage.harness.router.pairs import PairsError, finished_problems, read_manifest, read_pairs, shards
from arbitrage.harness.router.recording import record
from arbitrage.harness.router.roll_in import parse_roll_in
from arbitrage.interfaces import Models, Settings
from arbitrage.sampling import Sampling
from arbitrage.seeding import problem_rng
from arbitrage.strategies import DraftOnly
from arbitrage.testing import ScriptedModel, ScriptedScorer
from arbitrage.types import Problem
from tests.table_model import TableModel

PROBLEMS = tuple(Problem(f"p{i}", f"What is {i} + 1?", (str(i + 1),)) for i in range(7))


def models(**settings):
    """Random but fixed models that sample: every pair hangs on its own seed."""
    prm = ScriptedScorer(lambda step, author: len(step) % 5 / 5)
    asked = Settings(**{"max_tokens": 80, "sampling": Sampling(0.9), **settings})
    return Models(TableModel(2), TableModel(22), prm, settings=asked)


def collect(folder, made=None, **more):
    return collect_pairs(folder, made or models(), dataset=PROBLEMS, decontaminate=(), **more)


def stored(folder):
    """Pairs in an order that does not depend on when their problems were finished."""
    return sorted(read_pairs(folder), key=lambda pair: (pair.problem_id, pair.index))


def lines(file):
    return [json.loads(line) for line in file.read_text().splitlines()]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """All pairs, made in one go."""
    folder = tmp_path_factory.mktemp("pairs") / "whole"
    assert collect(folder, samples=2).problems == 7
    return stored(folder)


def test_four_at_once_make_the_pairs_of_one_at_a_time(tmp_path, whole):
    """Sampled, so that a stream that hung on the order of problems would show."""
    collection = collect(tmp_path / "p", samples=2, concurrency=4)
    assert stored(tmp_path / "p") == whole
    assert collection.statistics.everything.steps == len(whole) > 20
    assert {line["id"] for line in lines(tmp_path / "p" / "finished.jsonl")} == {p.id for p in PROBLEMS}


def test_randomness_comes_from_the_seed_and_the_problem(tmp_path):
    """What is stored is what each problem's own stream gives, wherever it stands in the data set."""
    collect(tmp_path, samples=2, seed=3)
    alone = [record(problem, models(), problem_rng(3, problem.id), parse_roll_in("oracle"), 2) for problem in PROBLEMS]
    assert stored(tmp_path) == [fork.pair for recording in alone for fork in recording.forks]


@pytest.mark.parametrize("concurrency", [1, 3])
def test_an_interrupted_collection_loses_nothing_and_goes_on(tmp_path, whole, concurrency):
    """Ctrl-C after three problems: they are stored; the same call makes the others, and no problem twice."""
    folder, told = tmp_path / "p", []

    def stop(standing):
        told.append(standing)
        if standing.done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        collect(folder, samples=2, concurrency=concurrency, progress=stop)
    before = finished_problems(folder)
    assert len(before) >= 3
    solved = []
    made = models(on_step=lambda problem, step: solved.append(problem.id))
    collection = collect(folder, made, samples=2, concurrency=concurrency)
    assert set(solved) == {p.id for p in PROBLEMS} - before
    assert stored(folder) == whole
    assert (collection.problems, collection.failed) == (7, {})
    assert len(read_manifest(folder)["sessions"]) == 2


def test_a_killed_collection_loses_what_waits_and_nothing_else(tmp_path, whole, monkeypatch):
    """A process that dies stores nothing any more: neither the shard that waits, nor the line behind a shard."""
    monkeypatch.setattr(store_module, "MOST_PROBLEMS", 2)
    folder = tmp_path / "p"
    flushes = []
    flush, append = store_module.Store.flush, store_module.append_line

    def dying(self):
        flushes.append(1)
        if len(flushes) <= 2:
            flush(self)

    def append_once(file, line):
        if len(flushes) == 1:
            append(file, line)

    with monkeypatch.context() as death:
        death.setattr(store_module.Store, "flush", dying)
        death.setattr(store_module, "append_line", append_once)
        collect(folder, samples=2)
    assert len(shards(folder)) == 2
    assert len(lines(folder / "finished.jsonl")) == 2
    assert collect(folder, samples=2).problems == 7
    assert stored(folder) == whole


def test_a_line_that_could_not_be_written_costs_no_pair_its_uniqueness(tmp_path, whole, monkeypatch):
    """The disk is full behind the shard: what waits is stored when the store closes, pairs once, lines whole."""
    monkeypatch.setattr(store_module, "MOST_PROBLEMS", 2)
    append, calls = store_module.append_line, []

    def full_once(file, line):
        calls.append(file)
        if len(calls) == 1:
            append(file, line[:-20])
            raise RunError("No space left on device")
        append(file, line)

    monkeypatch.setattr(store_module, "append_line", full_once)
    with pytest.raises(RunError, match="No space"):
        collect(tmp_path, samples=2)
    assert len(shards(tmp_path)) == 1
    assert {line["id"] for line in lines(tmp_path / "finished.jsonl")} == finished_problems(tmp_path)
    collect(tmp_path, samples=2)
    assert stored(tmp_path) == whole


def test_a_torn_last_line_is_cut_before_another_is_written(tmp_path, whole):
    """The end of a killed process; its problem has its pairs, so only its line is lost, and no later one."""
    collect(tmp_path, limit=3, samples=2)
    file = tmp_path / "finished.jsonl"
    file.write_bytes(file.read_bytes()[:-20])
    collect(tmp_path, samples=2)
    assert [line["id"] for line in lines(file)] == ["p0", "p1", "p3", "p4", "p5", "p6"]
    assert collect(tmp_path, samples=2).problems == 7
    assert stored(tmp_path) == whole


def test_a_failed_problem_is_noted_and_tried_again(tmp_path, whole):
    """The others are stored; its reason is in the folder until it succeeds."""
    folder = tmp_path / "p"

    def break_at(problem, step):
        if problem.id == "p4":
            raise RuntimeError("out of memory")

    collection = collect(folder, models(on_step=break_at), samples=2, concurrency=2)
    assert collection.failed == {"p4": "RuntimeError: out of memory"}
    assert lines(folder / "failed.jsonl") == [{"id": "p4", "reason": "RuntimeError: out of memory"}]
    assert finished_problems(folder) == {p.id for p in PROBLEMS} - {"p4"}
    assert collect(folder, samples=2).failed == {}
    assert lines(folder / "failed.jsonl") == []
    assert stored(folder) == whole


@pytest.mark.parametrize("reward", [float("nan"), float("inf"), -0.25, 1.25])
def test_a_reward_that_is_none_fails_its_problem(tmp_path, reward):
    """Nothing of it is stored, and the others are."""
    made = models()
    prm = ScriptedScorer(lambda step, author: reward if prm.problem == PROBLEMS[2].problem else 0.5)
    opened = prm.open

    def watched(statement):
        prm.problem = statement
        return opened(statement)

    prm.open = watched
    collection = collect(tmp_path, dataclasses.replace(made, prm=prm))
    assert list(collection.failed) == ["p2"]
    assert "[0, 1]" in collection.failed["p2"]
    assert finished_problems(tmp_path) == {p.id for p in PROBLEMS} - {"p2"}


def test_a_solution_without_pairs_is_finished_too(tmp_path):
    """Nothing is solved again, and reading says that there are no pairs."""
    empty = Models(ScriptedModel(["a"]), ScriptedModel(["b"]), ScriptedScorer({}))
    folder = tmp_path / "p"
    problem = Problem("p", "1?", ("1",))
    with store_module.open_store(folder, {"identity": {}, "sessions": []}) as store:
        store.add(problem, [], generation_of(empty, problem))
    with store_module.open_store(folder, {"identity": {}, "sessions": []}) as store:
        assert store.finished == {"p"}
    assert (lines(folder / "finished.jsonl")[0]["pairs"], shards(folder)) == (0, [])


def generation_of(made, problem):
    return DraftOnly().solve(problem, made, problem_rng(0, problem.id))


def test_more_problems_may_be_asked_for_later(tmp_path, whole):
    """The number of problems is no part of how a pair is made."""
    collect(tmp_path, limit=2, samples=2)
    assert collect(tmp_path, samples=2).problems == 7
    assert stored(tmp_path) == whole


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"samples": 3}, "samples is 1 in the folder and 3 now"),
        ({"seed": 1}, "seed is 0"),
        ({"roll_in": "draft"}, "roll_in.name is 'oracle'"),
        ({"max_tokens": 41}, "settings.max_tokens is 80"),
        ({"outcomes": 1}, "outcomes"),
    ],
)
def test_pairs_of_two_kinds_do_not_go_into_one_folder(tmp_path, change, named):
    """The message says what differs; nothing is changed."""
    collect(tmp_path, limit=1)
    before = stored(tmp_path)
    with pytest.raises(PairsError, match=named):
        collect(tmp_path, **change)
    assert stored(tmp_path) == before


def test_a_file_that_was_changed_does_not_go_on_with_the_folder(tmp_path):
    """Also where the problems that are stored are still in it."""
    file = tmp_path / "train.jsonl"
    file.write_text('{"id": "a", "problem": "1 + 1?", "answer": "2"}\n')
    collect_pairs(tmp_path / "pairs", models(), dataset=file, decontaminate=())
    file.write_text(file.read_text() + '{"id": "b", "problem": "1 + 2?", "answer": "3"}\n')
    with pytest.raises(PairsError, match=r"dataset\.file_sha256"):
        collect_pairs(tmp_path / "pairs", models(), dataset=file, decontaminate=())


def test_a_router_that_was_calibrated_anew_does_not_go_on_with_the_folder(tmp_path):
    """Its thresholds decided the prefixes of the pairs that are there."""
    pytest.importorskip("torch")
    from arbitrage.backends.hf import HFBackend
    from tests.backends.checkpoints import save_classifier

    directory = save_classifier(tmp_path / "router")

    def routed(threshold):
        (directory / "arbitrage.json").write_text(json.dumps({"thresholds": {"0.3": threshold}}))
        return dataclasses.replace(models(), router=HFBackend().scorer(str(directory), "cpu"))

    folder = tmp_path / "pairs"
    collect(folder, routed(0.5), limit=1, roll_in="arbitrage-router:rate=0.3")
    assert collect(folder, routed(0.5), limit=2, roll_in="arbitrage-router:rate=0.3").problems == 2
    with pytest.raises(PairsError, match=r"models\.router\.sidecar_sha256"):
        collect(folder, routed(0.6), roll_in="arbitrage-router:rate=0.3")


def test_another_problem_under_a_finished_id_is_noticed(tmp_path):
    """Two data sets of one name: statements are compared, not ids."""
    collect(tmp_path, limit=2)
    with pytest.raises(PairsError, match="another problem with id 'p1'"):
        collect_pairs(tmp_path, models(), dataset=[PROBLEMS[0], Problem("p1", "What is 5?", ("5",))], decontaminate=())


def test_bad_requests_are_refused_before_anything_is_written(tmp_path):
    """Greedy samples, folders with other things in them, numbers out of range."""
    greedy = models(sampling=Sampling())
    for wrong in ({"samples": 2}, {"outcomes": 2}):
        with pytest.raises(PairsError, match="greedy models write the same text 2 times"):
            collect(tmp_path / "a", greedy, **wrong)
    with pytest.raises(PairsError, match="draws 4 target steps and 2 are recorded"):
        collect(tmp_path / "a", samples=2, roll_in="arbitrage-oracle:samples=4")
    for wrong in ({"concurrency": 0}, {"samples": 0}, {"outcomes": -1}, {"seed": -1}, {"words": -1}):
        with pytest.raises(ValueError, match=r"must|need"):
            collect(tmp_path / "a", **wrong)
    assert not (tmp_path / "a").exists()
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(PairsError, match=r"notes\.txt but no manifest"):
        collect(tmp_path)


def test_two_processes_do_not_write_to_one_folder(tmp_path):
    """The second one is told so."""
    with store_module.open_store(tmp_path, {"identity": {}, "sessions": []}):  # noqa: SIM117
        with pytest.raises(RunError, match="another process is writing"):
            collect(tmp_path)


def test_shards_hold_many_problems_and_wait_no_longer_than_they_may(tmp_path, monkeypatch):
    """By number of problems, or by the clock; whole problems always."""
    monkeypatch.setattr(store_module, "MOST_PROBLEMS", 3)
    collect(tmp_path / "many")
    assert len(shards(tmp_path / "many")) == 3
    times = iter(range(0, 10_000, 50))
    with store_module.open_store(
        tmp_path / "late", {"identity": {}, "sessions": []}, clock=lambda: float(next(times))
    ) as store:
        monkeypatch.setattr(store_module, "LONGEST_WAIT_S", 100.0)
        pair = stored(tmp_path / "many")[0]
        generation = generation_of(models(), PROBLEMS[0])
        store.add(PROBLEMS[0], [pair], generation)
        assert shards(tmp_path / "late") == []
        store.add(PROBLEMS[1], [pair], generation)
        assert len(shards(tmp_path / "late")) == 1


def test_progress_counts_problems_steps_pairs_and_labels(tmp_path):
    """From nothing to everything, told by the thread that called; steps before the first problem is finished."""
    told = []
    collect(tmp_path, concurrency=3, progress=lambda s: told.append((s, threading.current_thread())))
    assert {thread for _, thread in told} == {threading.main_thread()}
    standings = [standing for standing, _ in told]
    assert sorted({s.done for s in standings}) == list(range(8))
    assert sum(s.done == 0 for s in standings) > 1
    pairs = stored(tmp_path)
    assert [s.steps for s in standings] == sorted(s.steps for s in standings)
    assert standings[-1].steps == len(pairs)  # greedy and short: no step was forced, and all were stored
    assert standings[-1].pairs == len(pairs)
    assert standings[-1].positive == sum(pair.label for pair in pairs)
