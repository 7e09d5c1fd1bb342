"""Planning: costs are found again, predictions follow them, and the break-even rate is where both sides are equal."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from arbitrage.errors import RunError
from arbitrage.harness import statistics
from arbitrage.harness.costs import Costs, ModelCost, Overhead, components, fit_costs, work
from arbitrage.harness.forecast import Setting, check, forecast, size_check
from arbitrage.harness.replay import break_even_rate, solutions
from arbitrage.harness.rows import Row, RowStatus
from arbitrage.harness.trace import Trace
from tests.harness.planned_runs import COSTS, NAMES, PROMPT, Step, recorded, solved, timed, trio

ROUTED = "arbitrage-router (τ=0.5)"
ROWS = [row for problem in range(20) for row in trio(problem)]


def saved(folder: Path, rows: Sequence[Row] = ROWS, **manifest: Any) -> Path:
    return recorded(folder, rows, **manifest)


def traced(tmp_path: Path, rows: Sequence[Row] = ROWS) -> Trace:
    return Trace.read([saved(tmp_path / "run", rows)])


times = st.floats(1e-5, 0.1)
costs = st.builds(
    lambda draft, target, router, around: Costs({"draft": draft, "target": target, "router": router}, around),
    *[st.builds(ModelCost, times, st.floats(0, 1e-5), st.floats(0, 0.01)) for _ in range(3)],
    st.builds(Overhead, st.floats(0, 0.01), st.floats(0, 0.01), st.floats(0, 1e-4)),
)
steps = st.lists(
    st.builds(
        lambda length, rejected: Step(length, "target", rejected) if rejected else Step(length),
        st.integers(1, 40),
        st.integers(0, 20),
    ),
    min_size=1,
    max_size=8,
)


# Costs.


def test_costs_that_made_the_seconds_are_found_again() -> None:
    """Every cost of the models and of what stands around them, to rounding."""
    found = fit_costs(ROWS)
    for name in ("draft", "target", "router"):
        expected = COSTS.models[name]
        assert found.models[name].pass_s == pytest.approx(expected.pass_s, rel=1e-6)
        assert found.models[name].further_s == pytest.approx(expected.further_s, rel=1e-6)
        assert found.models[name].turn_s == pytest.approx(expected.turn_s, rel=1e-6)
    assert found.overhead.row_s == pytest.approx(COSTS.overhead.row_s, rel=1e-6)
    assert found.overhead.step_s == pytest.approx(COSTS.overhead.step_s, rel=1e-6)
    assert found.overhead.pass_s == pytest.approx(COSTS.overhead.pass_s, rel=1e-6)


def test_costs_are_never_negative() -> None:
    """Also where rows with more work took less time."""
    odd = [replace(row, time_s={name: 1 / (1 + row.calls[name]) for name in row.calls}, latency_s=0.1) for row in ROWS]
    found = fit_costs(odd)
    told = [(one.pass_s, one.further_s, one.turn_s) for one in found.models.values()]
    assert min(min(each) for each in told) >= 0
    assert min(found.overhead.row_s, found.overhead.step_s, found.overhead.pass_s) >= 0


def test_failed_rows_teach_nothing() -> None:
    """What a crash took is not what a pass takes."""
    broken = replace(ROWS[0], status=RowStatus.ERROR, latency_s=1e6, time_s={"target": 1e6})
    assert fit_costs([*ROWS, broken]) == fit_costs(ROWS)


@settings(deadline=None)
@given(steps, costs, st.sampled_from(["draft", "target", "router"]), times)
def test_a_dearer_model_makes_no_row_faster(made: list[Step], known: Costs, name: str, more: float) -> None:
    """Monotone in every cost."""
    row = solved("s", "p", made, "router")
    for part in ("pass_s", "further_s", "turn_s"):
        old = known.models[name]
        dearer = replace(known, models={**known.models, name: replace(old, **{part: getattr(old, part) + more})})
        assert dearer.seconds(row) >= known.seconds(row)
    assert known.seconds(row, stretch=2.0) > known.seconds(row)


@settings(deadline=None)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=8), costs)
def test_stretched_work_is_that_of_longer_steps(lengths: list[int], known: Costs) -> None:
    """Target-only with every step three times as long, once recorded so and once stretched."""
    short, long = (solved("s", "p", [Step(k * one, "target") for one in lengths]) for k in (1, 3))
    assert work(short, "target", 3.0) == work(long, "target")
    assert known.seconds(short, stretch=3.0) == pytest.approx(known.seconds(long))


def test_stretching_leaves_prompts_and_decisions_as_they_are() -> None:
    """Twice as long steps are written by twice as many passes; the router decides as often, the prompt is read once."""
    row = solved(ROUTED, "p", [Step(10), Step(8, "target", 6), Step(4)], "router")
    draft, twice = work(row, "draft"), work(row, "draft", 2.0)
    assert twice.passes == 2 * draft.passes
    assert twice.tokens - (PROMPT - 1) == 2 * (draft.tokens - (PROMPT - 1))
    assert twice.turns == draft.turns
    assert work(row, "router", 2.0).passes == work(row, "router").passes == 3


def test_rounds_of_token_level_speculation_are_turns_of_both_models() -> None:
    """Draft and target take turns in every round; a model alone has one turn, however many steps it writes."""
    row = trio(0)[0]
    assert work(row, "target").turns == 1
    steps = tuple(replace(step, drafts=3, drafted=9) for step in row.steps)
    spoken = replace(row, steps=steps, calls={"draft": 30, "target": 15}, forwarded_tokens={"draft": 60, "target": 70})
    assert work(spoken, "target").turns == work(spoken, "draft").turns == 3 * len(steps)


# The check.


def test_a_run_whose_seconds_follow_the_model_is_predicted_exactly(tmp_path: Path) -> None:
    """Costs of one half of the problems predict the other half of every strategy, speed-ups too."""
    found = check(traced(tmp_path))
    assert [one.strategy for one in found] == ["target-only", "draft-only", ROUTED]
    for one in found:
        assert len(one.errors) == 2
        assert one.error == pytest.approx(0, abs=1e-6)
        assert one.predicted_s == pytest.approx(one.measured_s)
    assert found[0].speed_up_error is None
    assert found[1].speed_up_error == pytest.approx(0, abs=1e-6)


def test_a_row_is_not_predicted_from_itself(tmp_path: Path) -> None:
    """Where every second problem is twice as slow, each half is predicted by the other's costs: twice or half."""
    double = {name: ModelCost(2 * c.pass_s, 2 * c.further_s, 2 * c.turn_s) for name, c in COSTS.models.items()}
    around = COSTS.overhead
    slow = Costs(double, Overhead(2 * around.row_s, 2 * around.step_s, 2 * around.pass_s))
    rows = [timed(row, slow if int(row.problem_id[1:]) % 2 else COSTS) for row in ROWS]
    for one in check(traced(tmp_path, rows)):
        assert sorted(one.errors) == pytest.approx([-0.5, 1.0])
        assert one.error == pytest.approx(1.0)


def test_of_several_runs_each_is_predicted_by_the_others(tmp_path: Path) -> None:
    """A second run on a machine that meanwhile was 1.25 times as slow is off by exactly that."""
    later = [
        replace(row, latency_s=1.25 * row.latency_s, time_s={k: 1.25 * v for k, v in row.time_s.items()})
        for row in ROWS
    ]
    trace = Trace.read([saved(tmp_path / "one"), saved(tmp_path / "two", later)])
    for one in check(trace):
        assert one.rows == 40
        assert one.errors == pytest.approx((0.25, -0.2))


# The forecast.


def test_a_forecast_on_the_same_machine_is_the_measurement(tmp_path: Path) -> None:
    """Latency, time by component, speed-up and what three GPUs cost."""
    trace = traced(tmp_path)
    told, missing = forecast(trace, Setting(COSTS, {"draft": 1, "target": 2, "router": 0}, price=3.6))
    assert missing == {}
    by_label = {one.strategy: one for one in told}
    for label, one in by_label.items():
        measured = [row for row in ROWS if row.strategy == label]
        assert one.latency_s == pytest.approx(sum(row.latency_s for row in measured) / 20)
        assert one.time_s["target" if label == "target-only" else "draft"] > 0
        assert one.cost_per_1000 == pytest.approx(one.gpus * one.latency_s)  # 3.6 an hour is 1 for 1000 seconds
    assert [by_label[label].gpus for label in NAMES] == [2, 1, 3]
    routed = by_label[ROUTED]
    assert routed.speed_up is not None
    assert routed.speed_up.value == pytest.approx(by_label["target-only"].latency_s / routed.latency_s)
    assert by_label["draft-only"].escalation_rate is None
    assert routed.escalation_rate == pytest.approx(
        sum(row.escalated_steps for row in ROWS) / sum(len(row.steps) for row in ROWS if row.strategy == ROUTED)
    )


def test_a_strategy_whose_judge_has_no_cost_is_left_out_by_name(tmp_path: Path) -> None:
    """No number is made up for it; without the target's there is nothing to compare with."""
    trace = traced(tmp_path)
    known = Costs({name: COSTS.models[name] for name in ("draft", "target")})
    told, missing = forecast(trace, Setting(known))
    assert [one.strategy for one in told] == ["target-only", "draft-only"]
    assert missing == {ROUTED: ["router"]}
    with pytest.raises(RunError, match="--target"):
        forecast(trace, Setting(Costs({"draft": COSTS.models["draft"]})))


def test_sizes_alone_are_checked_on_the_recorded_machine(tmp_path: Path) -> None:
    """The target is 10 times as large and 12.5 times as slow as the draft, so sizes are 20 % too low."""
    models = {
        "draft": {"backend": "hf", "parameters": 10, "dtype": "float32"},
        "target": {"backend": "gguf", "parameters": 1000, "dtype": "Q4", "bytes": 400},
    }
    found = size_check(Trace.read([saved(tmp_path, models=models)]), COSTS)
    assert found is not None
    assert found.error == pytest.approx(-0.2)
    assert size_check(traced(tmp_path / "untold"), COSTS) is None


# Break-even.


@settings(deadline=None)
@given(steps, costs)
def test_at_the_ends_of_the_rate_the_replay_is_what_the_loop_does(made: list[Step], known: Costs) -> None:
    """Rate 0 is the draft and the judge; rate 1 is that and all of target-only. Counts as the loop makes them."""
    never = solved("s", "p", [Step(step.length) for step in made], "router")
    always = solved("s", "p", [Step(step.length, "target", step.length) for step in made], "router")
    alone = solved("target-only", "p", [Step(step.length, "target") for step in made])
    for row, rate in ((never, 0.0), (always, 1.0)):
        (solution,) = solutions([row])
        done = solution.routed(rate)
        for name in components(row):
            assert done[name].passes == pytest.approx(work(row, name).passes)
            assert done[name].further == pytest.approx(work(row, name).further)
        assert solution.seconds(done, known) == pytest.approx(known.seconds(row))
    (solution,) = solutions([never])
    assert solution.seconds(solution.by_target(), known) == pytest.approx(known.seconds(alone))
    assert done["target"].passes == work(alone, "target").passes
    assert solution.routed(0.0)["target"].tokens == 0


@pytest.mark.parametrize("lengths", [[4], [3, 7], [5, 1, 9, 2]], ids=str)
def test_the_work_at_a_rate_is_the_mean_over_all_ways_to_escalate(lengths: list[int]) -> None:
    """Every pattern of escalations as a row of its own, weighted by its chance: passes, tokens, turns, seconds."""
    known = Costs(
        {"draft": ModelCost(0.01, 0.001, 0.002), "target": ModelCost(0.05, 0.003, 0.004), "router": ModelCost(0.01)}
    )
    (solution,) = solutions([solved(ROUTED, "p", [Step(length) for length in lengths], "router")])
    patterns = list(itertools.product([False, True], repeat=len(lengths)))

    def expected(rate: float) -> tuple[dict[str, NDArray[np.float64]], float]:
        done, seconds = {name: np.zeros(3) for name in ("draft", "target", "router")}, 0.0
        for pattern in patterns:
            chance = math.prod(rate if escalated else 1 - rate for escalated in pattern)
            made = [
                Step(length, "target", length) if escalated else Step(length)
                for length, escalated in zip(lengths, pattern, strict=True)
            ]
            row = solved(ROUTED, "p", made, "router")
            seconds += chance * known.seconds(row)
            for name in components(row):
                one = work(row, name)
                done[name] += chance * np.array([one.passes, one.further, one.turns])
        return done, seconds

    for rate in (0.0, 0.1, 0.5, 0.8, 1.0):
        done, seconds = expected(rate)
        routed = solution.routed(rate)
        for name, one in routed.items():
            assert (one.passes, one.further, one.turns) == pytest.approx(tuple(done[name]))
        assert solution.seconds(routed, known) == pytest.approx(seconds)
    found = break_even_rate([solution], known)
    assert found is not None
    assert 0 < found < 1
    alone = known.seconds(solved("target-only", "p", [Step(length, "target") for length in lengths]))
    assert expected(found)[1] == pytest.approx(alone, rel=1e-4)


@settings(deadline=None)
@given(
    st.lists(st.lists(st.integers(1, 40), min_size=1, max_size=8), min_size=1, max_size=5),
    st.floats(0.001, 0.02),
    st.floats(0.021, 0.1),
    st.floats(0, 0.2),
)
def test_the_break_even_rate_is_the_formulas_where_reading_is_free(
    lengths: list[list[int]], d: float, t: float, r: float
) -> None:
    """Without further tokens, turns and overhead the root of the replay is 1 - d/t - r/(L t)."""
    rows = [solved("s", f"p{k}", [Step(one) for one in each], "router") for k, each in enumerate(lengths)]
    known = Costs({"draft": ModelCost(d), "target": ModelCost(t), "router": ModelCost(r)})
    mean = sum(map(sum, lengths)) / sum(map(len, lengths))
    expected = statistics.break_even_escalation(d, t, r, mean)
    found = break_even_rate(solutions(rows), known)
    if expected > 1e-9:
        assert found == pytest.approx(expected, abs=1e-5)
    elif expected < -1e-9:
        assert found is None


@settings(deadline=None)
@given(steps, costs)
def test_at_the_break_even_rate_both_take_the_same_time(made: list[Step], known: Costs) -> None:
    """Below it routing is faster, above it slower."""
    told = solutions([solved("s", "p", made, "router")])
    alone = sum(one.seconds(one.by_target(), known) for one in told)

    def routed(rate: float) -> float:
        return sum(one.seconds(one.routed(rate), known) for one in told)

    found = break_even_rate(told, known)
    if found is None:
        assert routed(0.0) >= alone
    elif found == 1.0:
        assert routed(1.0) <= alone * (1 + 1e-9)
    else:
        assert routed(found) == pytest.approx(alone, rel=1e-4)
        assert routed(max(0.0, found - 0.01)) < routed(min(1.0, found + 0.01))


def test_a_target_that_checks_several_tokens_in_a_pass_moves_the_break_even_rate_up() -> None:
    """Half as many passes for the same text: escalations cost less, target-only as much as before."""
    row = solved(ROUTED, "p", [Step(10), Step(8, "target", 8), Step(4)], "router")
    checking = replace(row, calls={**row.calls, "target": 4})
    plain, faster = (break_even_rate(solutions([one]), COSTS) for one in (row, checking))
    assert plain is not None
    assert faster is not None
    assert faster > plain + 0.1


def test_the_forecast_tells_both_break_even_rates(tmp_path: Path) -> None:
    """The formula leaves out what the replay counts, so it is kinder; target-only and draft-only have none."""
    told, _ = forecast(traced(tmp_path), Setting(COSTS))
    assert [one.break_even is None for one in told] == [True, True, False]
    routed = told[2]
    assert routed.break_even is not None
    assert routed.break_even_formula is not None
    assert 0 < routed.break_even < routed.break_even_formula < 1


def test_longer_steps_dilute_decisions(tmp_path: Path) -> None:
    """The formula with d, t, r and L of the setting: 1 - d/t - r/(L t), t and L each from their own rows' tokens."""
    rows = []
    for problem in range(6):
        rows.append(solved("target-only", f"p{problem}", [Step(30, "target")] * 3))
        rows.append(solved(ROUTED, f"p{problem}", [Step(10), Step(10, "target", 10)], "router"))
    known = Costs({"draft": ModelCost(0.01), "target": ModelCost(0.05), "router": ModelCost(0.1)})
    trace = traced(tmp_path, rows)
    for stretch in (1.0, 3.0):
        told, _ = forecast(trace, Setting(known, stretch=stretch))
        expected = 1 - 0.01 / 0.05 - 0.1 / (10 * stretch * 0.05)
        assert told[1].break_even_formula == pytest.approx(expected)
        assert told[1].break_even == pytest.approx(expected, abs=1e-5)


def test_tokens_that_were_written_ahead_in_vain_move_no_break_even_rate(tmp_path: Path) -> None:
    """They are work of the draft, and no longer steps: d stays its seconds for each token that it wrote."""
    base = solved("target-only", "p", [Step(10, "target")] * 4)
    routed = solved(ROUTED, "p", [Step(10), Step(8, "target", 8), Step(10)], "router")
    steps = [replace(step, ahead_tokens=5 * step.escalated) for step in routed.steps]
    more = {"calls": routed.calls, "forwarded_tokens": routed.forwarded_tokens}
    counted = {name: {**told, "draft": told["draft"] + 5} for name, told in more.items()}
    ahead = replace(routed, steps=tuple(steps), **counted)  # type: ignore[arg-type]
    known = Costs({"draft": ModelCost(0.01), "target": ModelCost(0.05), "router": ModelCost(0.1)})
    plain, pipelined = (
        forecast(traced(tmp_path / name, [base, row]), Setting(known))[0][1]
        for name, row in (("plain", routed), ("ahead", ahead))
    )
    assert pipelined.break_even == plain.break_even
    assert pipelined.break_even_formula == pytest.approx(plain.break_even_formula)


# Runs that cannot be planned from.


def test_a_run_without_target_only_says_what_to_record(tmp_path: Path) -> None:
    """Nothing to compare with."""
    rows = [row for row in ROWS if row.strategy == "draft-only"]
    run = saved(tmp_path / "run", rows, names={"draft-only": {"name": "draft-only"}})
    with pytest.raises(RunError, match="no solved rows of target-only"):
        Trace.read([run])


def test_a_run_of_several_problems_at_once_is_not_planned_from(tmp_path: Path) -> None:
    """Its seconds hold what each problem waited for the others."""
    run = saved(tmp_path / "run", ROWS)
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["identity"]["concurrency"] = 4
    (run / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(RunError, match="4 problems at once"):
        Trace.read([run])


def test_rows_without_counts_are_not_taken_for_free_ones(tmp_path: Path) -> None:
    """A plugin's strategy need not tell passes; a row of no work would be solved in no time."""
    untold = [replace(row, calls={}, forwarded_tokens={}, time_s={}) for row in ROWS]
    with pytest.raises(RunError, match="counts of forward passes"):
        Trace.read([saved(tmp_path / "run", untold)])
    mixed = [row if row.strategy == "target-only" else bare for row, bare in zip(ROWS, untold, strict=True)]
    assert list(Trace.read([saved(tmp_path / "mixed", mixed)]).strategies) == ["target-only"]


def test_one_problem_is_too_few(tmp_path: Path) -> None:
    """There is no other half."""
    with pytest.raises(RunError, match="too few problems"):
        check(traced(tmp_path, ROWS[:3]))


@pytest.mark.parametrize(
    ("manifest", "what"), [({"cpu": "b"}, "machines"), ({"models": {"draft": {"a": 1}}}, "models")]
)
def test_runs_that_differ_are_not_mixed(tmp_path: Path, manifest: dict[str, object], what: str) -> None:
    """Costs belong to models and machine."""
    with pytest.raises(RunError, match=f"different {what}"):
        Trace.read([saved(tmp_path / "one"), saved(tmp_path / "two", **manifest)])


def test_bounds_and_failures_are_left_out(tmp_path: Path) -> None:
    """The oracle does the work of several and has no latency of its own; a crash has none at all."""
    oracle = [replace(row, strategy="arbitrage-oracle") for row in ROWS if row.strategy == ROUTED]
    failed = replace(ROWS[0], repeat=1, status=RowStatus.ERROR, steps=())
    names = {**NAMES, "arbitrage-oracle": {"name": "arbitrage-oracle"}}
    trace = Trace.read([saved(tmp_path / "run", [*ROWS, *oracle, failed], names=names)])
    assert list(trace.strategies) == list(NAMES)
    assert len(trace.rows) == len(ROWS)


@pytest.mark.parametrize("count", [-1, 10**400])
def test_counts_that_cannot_be_true_are_left_out(tmp_path: Path, count: int) -> None:
    """A folder from somebody else: the row goes, the plan stays."""
    odd = [replace(ROWS[0], calls={"target": count}), replace(ROWS[1], prompt_tokens=count), *ROWS[2:]]
    assert len(traced(tmp_path, odd).rows) == len(ROWS) - 2
