"""Rows and what they amount to: every number has one definition, and a row survives its trip to disk."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbitrage.errors import RunError
from arbitrage.harness.comparison import Comparison, Versus, load_comparison
from arbitrage.harness.report import markdown_table
from arbitrage.harness.results import BenchmarkResult, LatencySummary
from arbitrage.harness.rows import Row, RowStatus, checked, row_from_json, row_to_json, step_from_json, steps_to_json
from arbitrage.types import EndReason, StepRecord


def row(problem: str = "p", latency_s: float = 1.0, correct: bool = True, **fields: object) -> Row:
    status = RowStatus.CORRECT if correct else RowStatus.INCORRECT
    given_fields: dict[str, object] = {"strategy": "s", "repeat": 0, "status": status, "reference": "1"}
    given_fields |= {"started_at": "2026-01-01T00:00:00+00:00", "end_reason": EndReason.EOS} | fields
    return Row(problem_id=problem, latency_s=latency_s, **given_fields)  # type: ignore[arg-type]


def draft(tokens: int = 10, **fields: object) -> StepRecord:
    return StepRecord(0, "d", "draft", tokens, draft_tokens=tokens, **fields)  # type: ignore[arg-type]


def escalated(tokens: int = 10, draft_reward: float | None = None, target_reward: float | None = None) -> StepRecord:
    return StepRecord(
        0,
        "t",
        "target",
        tokens,
        draft_tokens=5,
        target_tokens=tokens,
        rejected_text="d",
        draft_reward=draft_reward,
        target_reward=target_reward,
    )


def result(*rows: Row) -> BenchmarkResult:
    return BenchmarkResult("s", rows, {"name": "s"})


step_records = st.builds(
    StepRecord,
    index=st.integers(0, 100),
    text=st.text(),
    author=st.sampled_from(["draft", "target"]),
    tokens=st.integers(0, 4096),
    score=st.none() | st.floats(allow_nan=False),
    draft_logprob=st.none() | st.floats(allow_nan=False),
    rejected_text=st.none() | st.text(),
)


@given(
    st.builds(
        Row,
        strategy=st.text(),
        problem_id=st.text(),
        repeat=st.integers(0, 9),
        status=st.sampled_from(RowStatus),
        reference=st.text(),
        started_at=st.text(),
        latency_s=st.floats(0, 1e6),
        text=st.text(),
        token_ids=st.lists(st.integers(0, 200_000)).map(tuple),
        steps=st.lists(step_records, max_size=3).map(tuple),
        end_reason=st.none() | st.sampled_from(EndReason),
        time_s=st.dictionaries(st.sampled_from(["draft", "target"]), st.floats(0, 1e6)),
        level=st.none() | st.integers(1, 5),
        error=st.none() | st.text(),
    )
)
def test_a_row_comes_back_from_disk_as_it_was(stored: Row) -> None:
    """Whatever the texts and numbers, infinities included, a row is one line and reading it gives the same row."""
    line, trace = row_to_json(stored), steps_to_json(stored).splitlines()
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    steps = [step_from_json(one, "steps.jsonl:1") for one in trace]
    assert {one.key for one in steps} <= {stored.key}
    assert row_from_json(line, "rows.jsonl:1").whole([one.record for one in steps]) == stored
    assert json.loads(line)["correct"] == stored.correct
    assert json.loads(line)["tokens"] == stored.tokens


@pytest.mark.parametrize(
    ("line", "what"),
    [
        (b"{", "Invalid JSON"),
        (b"[]", "object"),
        (b'{"strategy":"s"}', "problem_id"),
        (row_to_json(row()).replace(b'"correct"', b'"perfect"', 1), "status"),
        (row_to_json(row()).replace(b'"latency_s":1.0', b'"latency_s":"fast"'), "latency_s"),
    ],
)
def test_what_is_not_a_row_is_refused_with_its_place(line: bytes, what: str) -> None:
    """A line that is not a row is an error that names file, line and field; nothing of it is believed."""
    with pytest.raises(RunError, match=f"rows.jsonl:7: .*{what}"):
        row_from_json(line, "rows.jsonl:7")


def test_a_careless_strategy_gives_a_storable_row_or_a_clear_error() -> None:
    """Numpy numbers and half surrogate pairs are made storable; a wrong type is named."""
    step = StepRecord(0, "a\ud800", "draft", np.int64(3), draft_reward=np.float32(0.5))  # type: ignore[arg-type]
    clean = checked(row(token_ids=(np.int64(4),), steps=(step,), text="\udc00"))
    assert clean.token_ids == (4,)
    assert type(clean.token_ids[0]) is int
    assert clean.steps[0].text == "a?"
    assert type(clean.steps[0].tokens) is int
    assert row_from_json(row_to_json(clean), "x").whole(clean.steps) == clean
    with pytest.raises(TypeError, match=r"malformed: .*steps\.0\.tokens"):
        checked(row(steps=(StepRecord(0, "a", "draft", "many"),)))  # type: ignore[arg-type]


def test_rows_are_frozen_and_keyed_by_strategy_problem_and_repeat() -> None:
    """Nobody edits a result; two rows are about the same thing when strategy, problem and repeat agree."""
    one = row("a", repeat=2)
    assert one.key == ("s", "a", 2)
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.latency_s = 0.0  # type: ignore[misc]


def test_accuracy_is_a_mean_over_problems_and_counts_every_status() -> None:
    """Repeats of one problem weigh as one problem; unparsed, timeout, unscored and error are not solved."""
    rows = [row("a"), row("a", repeat=1), row("a", repeat=2), row("b", correct=False)]
    assert result(*rows).accuracy == 0.5
    others = [row(status.value, status=status) for status in RowStatus]
    assert result(*others).accuracy == pytest.approx(1 / 6)
    assert result().accuracy is None
    interval = result(*rows).accuracy_interval
    assert interval is not None
    assert interval.low is not None
    assert interval.low < 0.1


def test_latency_summary_leaves_failures_out() -> None:
    """Mean, median, p90 and tokens per second are of solved rows; an error row has no latency that counts."""
    rows = [row(str(k), float(k), token_ids=(1, 2)) for k in range(1, 12)]
    summary = LatencySummary.of([*rows, row("e", 1000.0, status=RowStatus.ERROR)])
    assert summary == LatencySummary(6.0, 6.0, 10.0, 22 / 66)
    assert LatencySummary.of([row(status=RowStatus.ERROR)]) == LatencySummary(None, None, None, None)


def test_step_routing_numbers_follow_their_definitions() -> None:
    """Acceptance, escalation and shares by steps and by tokens, on a solution small enough to count by hand."""
    found = result(row(steps=(draft(30), draft(10), escalated(20), StepRecord(3, "forced", "target", 40))))
    assert found.acceptance_rate == 2 / 4
    assert found.token_acceptance_rate == 40 / 100
    assert found.escalation_rate == 1 / 4
    assert found.target_share == 2 / 4
    assert found.target_token_share == 60 / 100
    assert found.tokens_per_step == 25
    assert found.mean_acceptance_length is None


def test_token_level_numbers_follow_their_definitions() -> None:
    """Acceptance is accepted over drafted tokens; 5 rounds of 4 with 15 accepted have length 1 + 15 / 5 = 4."""
    step = StepRecord(0, "t", "target", 20, target_tokens=20, drafted=20, drafted_accepted=15, drafts=5)
    found = result(row(steps=(step,)))
    assert found.acceptance_rate == found.token_acceptance_rate == 15 / 20
    assert found.mean_acceptance_length == 4.0
    assert found.escalation_rate is None


def test_waste_counts_escalations_that_gained_nothing() -> None:
    """Waste is over escalated steps with both rewards; a tie is waste, an unknown reward says nothing."""
    steps = (escalated(1, 0.5, 0.5), escalated(1, 0.5, 0.4), escalated(1, 0.5, 0.6), escalated(1, 0.5), draft())
    assert result(row(steps=steps)).wasted_share == 2 / 3
    assert result(row(steps=(escalated(),))).wasted_share is None


def test_escalations_that_are_proven_to_have_changed_nothing_need_no_reward() -> None:
    """Confirmed over escalated steps; the table shows them as a bound until rewards are known."""
    same = dataclasses.replace(escalated(), confirmed=True)
    found = result(row(steps=(same, escalated(), escalated(), escalated(), draft(confirmed=True))))
    assert found.confirmed_share == found.summary()["confirmed_share"] == 1 / 4
    assert found.wasted_share is None
    assert "≥25%" in markdown_table(Comparison.of(found))
    assert result(row(steps=(draft(),))).confirmed_share is None
    known = dataclasses.replace(same, draft_reward=0.5, target_reward=0.5)
    assert "| 100% |" in markdown_table(Comparison.of(result(row(steps=(known,)))))


def test_steps_written_before_a_field_existed_are_read() -> None:
    """A line without `confirmed` is a step that nobody proved anything about; the field survives the way to disk."""
    line = steps_to_json(row(steps=(dataclasses.replace(escalated(), confirmed=True),)))
    assert step_from_json(line, "here").record.confirmed
    older = {name: value for name, value in json.loads(line).items() if name != "confirmed"}
    assert not step_from_json(json.dumps(older).encode(), "here").record.confirmed


def test_time_shares_and_overhead_add_up_to_one() -> None:
    """Every second of latency is a component's or overhead."""
    found = result(row("a", 2.0, time_s={"target": 1.0, "draft": 0.25}), row("b", 2.0, time_s={"target": 1.0}))
    assert found.time_shares == {"draft": 0.0625, "target": 0.5}
    assert list(found.time_shares) == ["draft", "target"]
    assert found.overhead_share == pytest.approx(1 - 0.5625)


def test_truncation_is_about_limits_only() -> None:
    """Token and step limits cut a solution; stalling does not, and errors have no solution."""
    reasons = [EndReason.MAX_TOKENS, EndReason.MAX_STEPS, EndReason.STALLED, EndReason.EOS]
    rows = [row(reason.value, end_reason=reason) for reason in reasons]
    assert result(*rows, row("e", status=RowStatus.ERROR, end_reason=None)).truncated_share == 0.5


def test_the_summary_is_json_and_complete_for_empty_and_full_results() -> None:
    """A result without rows, with failures only, and an ordinary one all have a summary without NaN."""
    for found in (result(), result(row(status=RowStatus.ERROR)), result(row(level=3, subject="x", steps=(draft(),)))):
        text = json.dumps(found.summary(), allow_nan=False)
        assert json.loads(text)["rows"] == len(found.rows)
    assert found.summary()["accuracy_by_level"] == {"3": {"accuracy": 1.0, "rows": 1}}


def test_comparisons_pair_by_problem_and_repeat() -> None:
    """Only rows with a partner count; pairs with a failure count for accuracy and not for latency."""
    base = [row("a", 4.0, token_ids=(1,)), row("b", 4.0, token_ids=(2,)), row("c", 4.0, status=RowStatus.ERROR)]
    ours = [row("a", 2.0, token_ids=(1,)), row("b", 2.0, False, token_ids=(3,)), row("c", 1.0), row("z", 9.0)]
    versus = Versus.of(ours, base)
    assert versus is not None
    assert versus.problems == 3
    assert versus.accuracy_difference.value == 0
    assert versus.speed_up is not None
    assert (versus.speed_up.value, versus.speed_up.low) == (2.0, None)  # two problems are too few for an interval
    assert versus.identical_share == 0.5
    assert Versus.of(ours, []) is None


def comparison(*rows: Row, **names: str) -> Comparison:
    strategies = {label: {"name": name} for label, name in names.items()}
    identity = {"strategies": strategies, "seed": 0, "repeats": 1}
    manifest = {"schema": 1, "identity": identity, "rows": len(rows), "sessions": [], "dataset": {"name": "d"}}
    return Comparison.from_rows(manifest, rows)


def test_the_baseline_comes_first_and_stands_beside_every_result() -> None:
    """Whatever the order given, target-only is the first result and the `baseline` of the others."""
    found = comparison(row(strategy="mine"), row(strategy="base"), mine="rsd", base="target-only")
    assert list(found) == ["base", "mine"]
    assert found.baseline is found["base"]
    assert found["mine"].baseline is found["base"]
    assert found["base"].baseline is None


def test_break_even_uses_measured_times() -> None:
    """d, t, r and L come from the rows: 1 - d/t - r/(L t) with d = 0.1, t = 0.5, r = 1, L = 10."""
    steps = (draft(10), draft(10))
    ours = row(strategy="mine", steps=steps, time_s={"draft": 2.0, "router": 2.0}, latency_s=4.0)
    base = row(strategy="base", token_ids=tuple(range(20)), time_s={"target": 10.0}, latency_s=10.0)
    found = comparison(ours, base, mine="rsd", base="target-only")
    assert found.break_even("mine") == pytest.approx(1 - 0.1 / 0.5 - 1 / (10 * 0.5))
    assert found.break_even("base") is None
    # As many tokens again that were written ahead in vain: each took as long, so twice the seconds are the same d.
    vain = dataclasses.replace(ours, steps=tuple(dataclasses.replace(step, ahead_tokens=10) for step in steps))
    ahead = dataclasses.replace(vain, time_s={"draft": 4.0, "router": 2.0})
    assert comparison(ahead, base, mine="rsd", base="target-only").break_even("mine") == found.break_even("mine")


def test_results_are_saved_and_read_back(tmp_path: Path) -> None:
    """Saving one result keeps its baseline with it; saving again adds nothing; another run is not overwritten."""
    whole = comparison(row(strategy="a"), row(strategy="b"), row(strategy="t"), a="rsd", b="x", t="target-only")
    folder = whole["a"].save(tmp_path / "run")
    first = (folder / "rows.jsonl").read_bytes()
    loaded = load_comparison(folder)
    assert list(loaded) == ["t", "a"]
    assert loaded.complete
    assert loaded["a"].rows == whole["a"].rows
    assert loaded["a"].baseline is not None
    whole["a"].save(folder)
    assert (folder / "rows.jsonl").read_bytes() == first
    with pytest.raises(RunError, match=r"another run: strategies\.b"):
        whole["b"].save(folder)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("manifest.json", b"{", "cannot be read"),
        ("manifest.json", b"[1]", "not a manifest"),
        ("manifest.json", b'{"schema": 99, "identity": {}}', "schema 99"),
        ("manifest.json", b'{"schema": 1, "identity": {}}', "lists no strategies"),
        ("rows.jsonl", b'{"nonsense": 1}\n', "rows.jsonl:1"),
    ],
)
def test_damaged_folders_are_refused(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    """A folder from elsewhere is input: whatever is wrong with it is a RunError that says what."""
    comparison(row(strategy="a"), a="rsd").save(tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(RunError, match=message):
        load_comparison(tmp_path)


def test_a_folder_without_a_run_says_so(tmp_path: Path) -> None:
    """An empty folder holds no run."""
    with pytest.raises(RunError, match="holds no run"):
        load_comparison(tmp_path)
