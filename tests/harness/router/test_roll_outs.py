"""Roll-outs: what the final answer comes to when either version of a step is committed."""

from __future__ import annotations

import re

import pytest

pytest.importorskip("pyarrow")

from arbitrage.harness.router.collect import collect_pairs
from arbitrage.harness.router.pairs import read_pairs
from arbitrage.harness.router.recording import record
from arbitrage.harness.router.roll_in import parse_roll_in
from arbitrage.harness.router.roll_outs import roll_out
from arbitrage.interfaces import Models, Settings
from arbitrage.sampling import Sampling
from arbitrage.seeding import problem_rng
from arbitrage.strategies import DraftOnly
from arbitrage.testing import CharacterCodec, ScriptedModel, ScriptedScorer
from arbitrage.types import EndReason, Problem, Role
from tests.table_model import TableModel

PROBLEM = Problem("p", "1 + 1 = ?", ("2",))


def sums(text):
    """A draft that starts wrong, and goes on right from a right step."""
    steps = text.split("\n\n") if text else []
    if not steps:
        return "so 3"
    if "\\boxed" in text:
        return ""
    return "\\boxed{2}" if "so 2" in steps else "\\boxed{3}"


def careful(text):
    """A target that starts right, and takes back what is wrong."""
    steps = text.split("\n\n") if text else []
    if not steps:
        return "so 2"
    return "" if "\\boxed" in text else "\\boxed{2}"


class ShiftedCodec(CharacterCodec):
    """Another tokenizer of the same text as far as anybody can tell."""

    def vocabulary(self):
        return {**super().vocabulary(), "a": 98, "b": 97}


def scripted(shared=True):
    prm = ScriptedScorer({"so 3": 0.4, "so 2": 0.5, "\\boxed{3}": 0.3, "\\boxed{2}": 0.9})
    target = ScriptedModel(careful, "t")
    if not shared:
        target.codec = ShiftedCodec()
    return Models(ScriptedModel(sums, "d"), target, prm)


def collected(tmp_path, **more):
    collect_pairs(tmp_path, more.pop("models", None) or scripted(), dataset=[PROBLEM], decontaminate=(), **more)
    return list(read_pairs(tmp_path))


@pytest.mark.parametrize("shared", [True, False])
def test_an_escalation_that_changes_the_answer_shows(tmp_path, shared):
    """By hand: from "so 3" the draft boxes 3, from "so 2" it boxes 2. Afterwards both write the same."""
    first, *others = collected(tmp_path, models=scripted(shared), outcomes=1)
    assert (first.draft_outcome, first.target_outcome) == (0.0, 1.0)
    assert others
    for pair in others:
        assert pair.draft == pair.targets[0]
        assert (pair.draft_outcome, pair.target_outcome) == (None, None)


@pytest.mark.parametrize("shared", [True, False])
def test_who_goes_on_is_an_option(tmp_path, shared):
    """The target takes the wrong step back, so there the escalation would not have been needed."""
    first, *_ = collected(tmp_path, models=scripted(shared), outcomes=1, outcome_policy="target")
    assert (first.draft_outcome, first.target_outcome) == (1.0, 1.0)


def test_the_last_step_is_graded_as_it_stands(tmp_path):
    """Where the solution ends with the step, nothing is added: 3 against 2."""
    draft, target = ScriptedModel(["so 3", "\\boxed{3}"]), ScriptedModel(["so 2", "\\boxed{2}"])
    models = Models(draft, target, ScriptedScorer({}))
    first, second = collected(tmp_path, models=models, outcomes=1, roll_in="draft")
    assert (first.draft_outcome, second.draft, second.targets) == (0.0, "\\boxed{3}", ("\\boxed{2}",))
    assert (second.draft_outcome, second.target_outcome) == (0.0, 1.0)


def test_without_an_answer_nobody_rolls_out(tmp_path):
    """The pairs are there, without outcomes."""
    models = scripted()
    collect_pairs(tmp_path, models, dataset=[Problem("p", "1 + 1 = ?", ("",))], decontaminate=(), outcomes=1)
    assert {(p.draft_outcome, p.target_outcome) for p in read_pairs(tmp_path)} == {(None, None)}


def test_a_reference_that_cannot_be_used_gives_no_outcomes(tmp_path):
    """Nobody knows who was right; a wrong answer would be a claim."""
    problem = Problem("p", "1 + 1 = ?", ("1" * 100_000,))
    collect_pairs(tmp_path, scripted(), dataset=[problem], decontaminate=(), outcomes=1)
    assert {(p.draft_outcome, p.target_outcome) for p in read_pairs(tmp_path)} == {(None, None)}


def test_shares_count_right_roll_outs(tmp_path):
    """Sampled ends differ; the share is over all of them, and the same on every call."""

    class Coin(ScriptedModel):
        """Boxes 2 or 3 with equal chances behind any step."""

        def row(self, written):
            row = super().row(written)
            if written.endswith("\\boxed{"):
                row[ord("2")] = row[ord("3")] = 9.0
            return row

    def made():
        models = scripted()
        return Models(Coin(sums), models.target, models.prm, settings=Settings(sampling=Sampling(1.0)))

    first = collected(tmp_path / "a", models=made(), outcomes=40)[0]
    # By chance alone outside of these bounds: 40 coins twice, below 1e-5 each.
    assert 0.1 < first.draft_outcome < 0.9
    assert 0.1 < first.target_outcome < 0.9
    assert first.draft_outcome * 40 == pytest.approx(round(first.draft_outcome * 40))
    assert collected(tmp_path / "b", models=made(), outcomes=40, concurrency=2)[0] == first


class WideCodec(CharacterCodec):
    """Four letters x are one token."""

    def encode(self, text):
        return [126 if part == "xxxx" else ord(part) for part in re.findall("xxxx|.", text, re.DOTALL)]

    def decode(self, ids):
        return super().decode([char for i in ids for char in ([ord("x")] * 4 if i == 126 else [i])])

    def vocabulary(self):
        return {**{text: i for text, i in super().vocabulary().items() if i != 126}, "xxxx": 126}


@pytest.mark.parametrize("max_tokens", [24, 30, 36])
def test_roll_outs_keep_the_budget_where_tokenizers_differ(max_tokens):
    """The target goes on behind its own step: the very solution that it writes alone, though the draft counts less."""
    draft = ScriptedModel(["a", "b", "c", "d", "e", "f"])
    draft.codec = WideCodec()
    target = ScriptedModel(["x" * 12, "y" * 12, "z", "w", "v", "u"], "t")
    budget = Settings(instruction="", max_tokens=max_tokens)
    models = Models(draft, target, ScriptedScorer({}), settings=budget)
    rng = problem_rng(0, PROBLEM.id)
    recording = record(PROBLEM, models, rng, parse_roll_in("target"))
    solution = "\n\n".join(step.text for step in recording.generation.steps)
    ends = [one for one in roll_out(PROBLEM, recording.forks, models, rng, Role.TARGET, 1) if one is not None]
    assert len(ends) > 1
    assert {end.target[0] for end in ends} == {solution}


@pytest.mark.parametrize(
    ("draft", "budget", "reason"),
    [
        (TableModel(2), Settings(max_tokens=29), EndReason.MAX_TOKENS),
        (TableModel(2), Settings(max_steps=6), EndReason.MAX_STEPS),
        (ScriptedModel(["so 3", "\\boxed{3}", "or not"]), Settings(answer_stop=True), EndReason.ANSWER),
        (ScriptedModel(["so 3", "\\boxed{3}", "or not"]), Settings(), EndReason.EOS),
        (ScriptedModel(["so 3", " ", " ", " ", "more"]), Settings(), EndReason.STALLED),
    ],
)
def test_roll_outs_end_where_solutions_end(draft, budget, reason):
    """Greedy and behind the draft's own steps a roll-out is the draft's solution, budgets included."""
    models = Models(draft, TableModel(8), ScriptedScorer({}), settings=budget)
    rng = problem_rng(0, PROBLEM.id)
    forks = record(PROBLEM, models, rng, parse_roll_in("draft")).forks
    solution = DraftOnly().solve(PROBLEM, models, rng)
    assert solution.end_reason is reason
    ends = [one for one in roll_out(PROBLEM, forks, models, rng, Role.DRAFT, 1) if one is not None]
    assert len(ends) > 1
    for end in ends:
        assert end.draft == ("\n\n".join(step.text for step in solution.steps),)
