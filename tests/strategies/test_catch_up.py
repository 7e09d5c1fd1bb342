"""The target that reads accepted steps in the background: less left to read when it is asked, the same solutions."""

from __future__ import annotations

import threading

import pytest

from arbitrage.backends.loading import load_models
from arbitrage.harness.datasets import load_dataset
from arbitrage.interfaces import Models, Settings
from arbitrage.seeding import problem_rng
from arbitrage.strategies import RSD, ArbitrageOracle, ArbitrageRouter, RandomRoute, speculate
from arbitrage.testing import ScriptedModel, ScriptedScorer
from arbitrage.types import Problem
from tests.table_model import TableModel

PROBLEM = Problem("p1", "What is 1+1?", ("2",))
DRAFT = ["one", "two wrong", "three", "\\boxed{9}"]
TARGET = ["ONE", "TWO", "THREE", "\\boxed{2}"]


class Model(ScriptedModel):
    """Its sessions can be watched and made to fail while they read ahead of time."""

    def __init__(self, steps, while_reading=lambda session: None):
        super().__init__(steps)
        self.while_reading = while_reading
        self.closed = False

    def open(self, prompt):
        session = super().open(prompt)
        read, close = session.catch_up, session.close

        def catch_up():
            self.while_reading(session)
            read()

        def close_it():
            self.closed = True
            close()

        session.catch_up, session.close = catch_up, close_it
        return session


def solve(strategy, draft, target, scores=None, default=0.1):
    scorer = ScriptedScorer(scores or {}, default=default)
    bundle = Models(draft, target, scorer, scorer, Settings())
    return strategy.solve(PROBLEM, bundle, problem_rng(0, PROBLEM.id))


@pytest.mark.parametrize("pipeline", [False, True])
@pytest.mark.parametrize("inside", [False, True], ids=["plain", "speculative"])
def test_only_the_escalated_step_is_left_to_read(pipeline, inside):
    """Prompt and accepted steps are a pass each, in their order; nothing follows the last step."""
    target = Model(TARGET)
    asked = speculate(target, ScriptedModel(["?"]), gamma=2) if inside else target
    strategy = ArbitrageRouter(reuse=False, pipeline=pipeline, catch_up=True)
    generation = solve(strategy, ScriptedModel(DRAFT), asked, {"three": 0.9})
    assert generation.text == "one\n\ntwo wrong\n\nTHREE\n\n\\boxed{9}"
    read = [text for _, text in target.calls]
    assert PROBLEM.problem in read[0]
    assert read[1:3] == ["one\n\n", "two wrong\n\n"]
    assert all(text.strip() in ("", *"THREE") or inside for text in read[3:])
    assert not any("boxed" in text for text in read[1:])


def test_the_target_reads_while_the_draft_writes():
    """The draft's second step waits for the target to have read the first one."""
    read = threading.Event()

    class Waiting(ScriptedModel):
        def next_token(self, written):
            assert "one\n\n" not in written or read.wait(10)
            return super().next_token(written)

    def watch(session):
        if session.model.codec.decode(session.ids).endswith("one\n\n"):
            read.set()

    generation = solve(ArbitrageRouter(catch_up=True), Waiting(["one", "two"]), Model(TARGET, watch))
    assert generation.text == "one\n\ntwo"


@pytest.mark.parametrize("pipeline", [False, True])
@pytest.mark.parametrize(
    "make",
    [
        lambda **more: RSD(threshold=0.5, **more),
        lambda **more: ArbitrageRouter(threshold=0.5, **more),
        lambda **more: ArbitrageOracle(**more),
        lambda **more: RandomRoute(rate=0.5, **more),
    ],
)
def test_a_session_is_touched_by_one_thread_at_a_time(make, pipeline):
    """Nobody appends, writes, rewinds or closes while the background reads."""

    class Guarded(TableModel):
        def open(self, prompt):
            session, turn = super().open(prompt), threading.Lock()

            def guarded(call):
                def alone(*args, **kwargs):
                    if not turn.acquire(blocking=False):
                        overlaps.append(call.__name__)
                        return call(*args, **kwargs)
                    try:
                        return call(*args, **kwargs)
                    finally:
                        turn.release()

                return alone

            def slowly(read=session.catch_up):
                pause.wait(0.002)
                read()

            session.catch_up = guarded(slowly)
            for name in ("extend", "rewind", "close"):
                setattr(session, name, guarded(getattr(session, name)))
            return session

    overlaps: list[str] = []
    pause = threading.Event()
    steps = 0
    for seed in range(6):
        target = Guarded(seed)
        scorer = ScriptedScorer(lambda step, author: len(step) % 7 / 6)
        bundle = Models(TableModel(seed + 1000), target, scorer, scorer, Settings(max_tokens=90, max_steps=12))
        generation = make(pipeline=pipeline, catch_up=True).solve(PROBLEM, bundle, problem_rng(seed, PROBLEM.id))
        steps += len(generation.steps)
    assert steps > 6  # several in at least one of them
    assert not overlaps


def test_a_failure_ahead_of_time_counts_only_where_the_target_is_asked():
    """Nobody would have known of it: the solution stands, and an escalation reads again, and fails if it must."""
    fails = {"ahead": True, "later": False}

    def fail(session):
        if fails["ahead"]:
            raise RuntimeError("the target failed ahead of time")

    class Failing(Model):
        def row(self, written):
            if fails["later"]:
                raise RuntimeError("the target failed")
            return super().row(written)

    def target():
        return Failing(TARGET, fail)

    strategy = ArbitrageRouter(catch_up=True)
    assert solve(strategy, ScriptedModel(DRAFT), target()).text == "\n\n".join(DRAFT)
    escalating = {"three": 0.9}
    healed = solve(strategy, ScriptedModel(DRAFT), target(), escalating)
    assert healed.text == solve(ArbitrageRouter(), ScriptedModel(DRAFT), ScriptedModel(TARGET), escalating).text
    fails["later"] = True
    assert solve(strategy, ScriptedModel(DRAFT), target()).text == "\n\n".join(DRAFT)
    with pytest.raises(RuntimeError, match=r"^the target failed$"):
        solve(strategy, ScriptedModel(DRAFT), target(), escalating)


def test_after_a_failure_nothing_more_is_read_ahead_of_time():
    """What failed once is not tried again with every step."""
    tries = []

    def fail(session):
        tries.append(session)
        raise RuntimeError("out of memory")

    solve(ArbitrageRouter(catch_up=True), ScriptedModel(DRAFT), Model(TARGET, fail))
    assert len(tries) == 1


def test_a_failing_judge_leaves_no_thread_and_no_closed_session_at_work():
    """The session is closed when the pass that runs is done, and the thread ends with it."""
    judged = threading.Event()
    closed_while_reading = []

    def read(session):
        assert judged.wait(10)
        closed_while_reading.append(target.closed)

    def broken(step, author):
        judged.set()
        raise RuntimeError("the judge failed")

    target = Model(TARGET, read)
    before = threading.active_count()
    bundle = Models(ScriptedModel(DRAFT), target, router=ScriptedScorer(broken))
    with pytest.raises(RuntimeError, match="the judge failed"):
        ArbitrageRouter(catch_up=True, pipeline=True).solve(PROBLEM, bundle, problem_rng(0, PROBLEM.id))
    assert closed_while_reading == [False]
    assert target.closed
    assert threading.active_count() == before


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["hf", "gguf"])
def test_what_the_bundled_target_reads_is_counted_once(backend):
    """Every committed token once and none twice; the seconds of the steps are those of the solution."""
    pytest.importorskip("torch" if backend == "hf" else "llama_cpp")
    models = load_models(backend, threads=1, settings=Settings(max_tokens=96))
    problem = load_dataset("bundled")[0]

    def solution(**switches):
        return RandomRoute(rate=0.3, **switches).solve(problem, models, problem_rng(0, problem.id))

    plain, ahead = solution(reuse=False), solution(reuse=False, catch_up=True)
    assert ahead.token_ids == plain.token_ids
    assert ahead.repeated_tokens["target"] == 0
    kept = ahead.forwarded_tokens["target"] - ahead.dropped_tokens["target"]
    assert 0 <= kept <= ahead.prompt_tokens + ahead.tokens
    assert kept >= plain.forwarded_tokens["target"] - plain.dropped_tokens["target"]
    spent = sum(step.time_s.get("target", 0.0) for step in ahead.steps)
    assert spent == pytest.approx(ahead.time_s["target"])
