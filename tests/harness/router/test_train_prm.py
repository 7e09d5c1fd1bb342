"""Process reward models from runs and rolled-out pairs, and heads on frozen backbones."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("pyarrow")
pytest.importorskip("accelerate")

import torch
from safetensors.torch import load_file
from scipy.optimize import minimize
from transformers import AutoModelForTokenClassification

from arbitrage.backends.bundled import bundled_path
from arbitrage.backends.hf import HFBackend, HFCodec, StreamEncoder, StreamFormat
from arbitrage.backends.loading import load_models
from arbitrage.errors import ModelLoadError, RunError
from arbitrage.harness.router import hidden_states
from arbitrage.harness.router.examples import Example
from arbitrage.harness.router.graded import GradedSolution, of_pairs, of_row, read_graded, source_digest
from arbitrage.harness.router.hidden_states import merged, stored_states
from arbitrage.harness.router.layers import keep_layers
from arbitrage.harness.router.linear_head import Task, fit_head
from arbitrage.harness.router.objective import losses
from arbitrage.harness.router.pairs import HistoryStep, PairsError, held_out, write_shard
from arbitrage.harness.router.prm_preparation import encode_solution, prepare_prm
from arbitrage.harness.router.settings import TrainingError, TrainingSettings
from arbitrage.harness.router.step_report import calibration_error
from arbitrage.harness.router.train import RECORD, STATES, train_router
from arbitrage.harness.rows import Row, RowStatus, problem_to_json
from arbitrage.harness.run_folder import RunFolder
from arbitrage.types import Problem, Role, StepRecord
from tests.backends.checkpoints import make_tokenizer, save_language_model
from tests.harness.router.made_pairs import walk
from tests.harness.router.test_train import make_pairs, session_scores

HEAD = TrainingSettings(purpose="prm", frozen=True, held_out=0.3, micro_batch=4, device="cpu")
WHOLE = TrainingSettings(purpose="prm", batch=16, micro_batch=8, epochs=6, lr=1e-2, held_out=0.3, device="cpu")


def make_row(number: int, status: RowStatus, texts: list[str]) -> Row:
    """One graded solution; its steps are by turns of the draft and of the target."""
    steps = tuple(StepRecord(i, text, ("draft", "target")[i % 2], len(text)) for i, text in enumerate(texts))
    return Row("made", f"problem {number}", 0, status, "1", "2026-01-01T00:00:00+00:00", 1.0, steps=steps)


def make_rows(count: int, seed: int = 0) -> list[Row]:
    """Solutions that are wrong where there is an 'x' in each step."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        bad = bool(rng.random() < 0.4)
        middles = ["".join(rng.choice(list("abcd"), rng.integers(2, 8))) for _ in range(rng.integers(1, 4))]
        status = RowStatus.INCORRECT if bad else RowStatus.CORRECT
        rows.append(make_row(number, status, [f"{middle}{'x' if bad else 'y'}" for middle in middles]))
    return rows


def save_run(folder: Path, rows: list[Row]) -> Path:
    """A run of these rows."""
    folder.mkdir(parents=True)
    run = RunFolder(folder, {})
    for row in rows:
        run.append(row)
    problems = [Problem(name, f"{name} ?", ("1",)) for name in dict.fromkeys(row.problem_id for row in rows)]
    (folder / "problems.jsonl").write_bytes(b"".join(map(problem_to_json, problems)))
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run that can be learnt from."""
    return save_run(tmp_path_factory.mktemp("runs") / "run", make_rows(120))


@pytest.fixture(scope="module")
def init(tmp_path_factory):
    """A random language model with ordinary weights."""
    return str(save_language_model(tmp_path_factory.mktemp("init") / "base", scale=1.0))


@pytest.fixture(scope="module")
def head_only(run, init, tmp_path_factory):
    """A PRM of which only the head was trained."""
    return train_router(run, init, tmp_path_factory.mktemp("head") / "prm", HEAD)


def encoder() -> StreamEncoder:
    """As a PRM reads."""
    return StreamEncoder(HFCodec(make_tokenizer()), StreamFormat())


def step_scores(prm, row: Row) -> list[float]:
    """As a strategy would ask for them: every step behind those before it."""
    found = []
    with prm.open(f"{row.problem_id} ?") as session:
        for step in row.steps:
            found.append(session.score(step.text, step.author))
            session.commit()
    return found


def held_out_rows(share: float) -> list[Row]:
    """Of `make_rows(120)`."""
    return [row for row in make_rows(120) if held_out(row.problem_id, share)]


# What is learnt from.


@pytest.mark.parametrize(
    ("status", "label"),
    [
        (RowStatus.CORRECT, 1.0),
        (RowStatus.INCORRECT, 0.0),
        (RowStatus.UNPARSED, 0.0),
        (RowStatus.TIMEOUT, None),
        (RowStatus.UNSCORED, None),
    ],
)
def test_every_step_of_a_solution_has_its_verdict(status, label):
    """Right is 1; wrong, and cut before an answer, 0; where nobody knows there is no label."""
    solution = of_row(make_row(3, status, ["a", "b", "c"]), "three ?")
    assert solution.labels == (label,) * 3
    assert solution.steps == (HistoryStep("a", "draft"), HistoryStep("b", "target"), HistoryStep("c", "draft"))
    assert (solution.problem_id, solution.statement) == ("problem 3", "three ?")


def test_both_versions_of_a_step_have_their_own_roll_outs():
    """A pair's draft and target step are examples behind the same history, which has no labels here."""
    pairs = walk("p", [(0.5, 0.9), (0.4, 0.2)], [(0.25, 1.0), None])
    found = list(of_pairs(pairs))
    assert [one.labels for one in found] == [(0.25,), (1.0,), (None, None), (None, None)]
    assert [one.steps[-1].text for one in found] == ["p draft 0", "p target 0", "p draft 1", "p target 1"]
    assert found[2].steps[:1] == (HistoryStep("p target 0", "target"),)


def test_one_stream_holds_a_solution_as_sessions_read_it(head_only):
    """Its ids are what a session encodes, and each place is where a session reads the score of that step."""
    solution = of_row(make_rows(1)[0], "p ?")
    ids, places = encode_solution(solution, encoder(), 512)
    with HFBackend().scorer(str(head_only.path)).open("p ?") as session:
        for step, place in zip(solution.steps, places, strict=True):
            session.score(step.text, step.author)
            session.commit()
            assert list(session._sequence.ids) == ids[: place + 1].tolist()
    assert encode_solution(solution, encoder(), int(places[-1]))[1].tolist() == places[:-1].tolist()


def test_labels_stand_at_their_separators_and_held_out_problems_are_never_trained_on():
    """Splits are by problem; steps without a label are read but not learnt; soft labels stay as they are."""
    steps = (HistoryStep("ab", "draft"), HistoryStep("cd", "target"))
    solutions = [GradedSolution(f"{k}", f"{k} ?", steps, (None, (0.25, 0.75)[k % 2])) for k in range(60)]
    solutions.append(GradedSolution("none", "?", steps, (None, None)))
    found = prepare_prm(solutions, encoder(), 512, TrainingSettings(purpose="prm", held_out=0.3))
    apart = {one.problem_id for one in found.training}, {one.problem_id for one in found.held_out}
    assert apart[1] == {f"{k}" for k in range(60) if held_out(f"{k}", 0.3)}
    assert apart[0] == {f"{k}" for k in range(60)} - apart[1]
    for one in found.training:
        assert one.places.tolist() == [len(one.ids) - 1]
        assert one.labels.tolist() == [(0.25, 0.75)[int(one.problem_id) % 2]]
    counts = found.counts
    assert (counts.pairs, counts.unlabelled, counts.training, counts.held_out) == (60, 1, len(apart[0]), len(apart[1]))
    with pytest.raises(PairsError, match="nothing to tell apart"):
        prepare_prm(solutions[1::2], encoder(), 512, TrainingSettings(purpose="prm"))


def test_a_probability_as_label_pulls_towards_itself():
    """The loss is least where the softmax is the label, and for 0 and 1 it is the cross-entropy."""
    odds = torch.linspace(-3, 3, 601)
    outputs = torch.stack([torch.zeros(601), odds], 1)
    found = losses("binary", outputs, torch.full((601,), 0.25))
    assert torch.sigmoid(odds[found.argmin()]) == pytest.approx(0.25, abs=0.01)
    hard = torch.nn.functional.cross_entropy(outputs, torch.ones(601, dtype=torch.long), reduction="none")
    torch.testing.assert_close(losses("binary", outputs, torch.ones(601)), hard)


def test_a_run_that_changed_is_another_source(tmp_path):
    """Also when only a step differs; and a run must have its problems."""
    folders = [save_run(tmp_path / f"{k}", make_rows(2, seed=k)) for k in range(2)]
    assert source_digest(folders[0]) != source_digest(folders[1])
    assert source_digest(folders[0]) == source_digest(save_run(tmp_path / "again", make_rows(2)))
    (folders[0] / "problems.jsonl").unlink()
    with pytest.raises(RunError, match="lacks problem"):
        list(read_graded(folders[0]))


# Hidden states.


def test_streams_that_begin_another_are_read_with_it():
    """Every label's row is a place behind the very same tokens, and nothing is read twice."""
    rng = np.random.default_rng(0)
    examples = []
    for _ in range(200):
        ids = rng.integers(0, 3, rng.integers(1, 7)).astype(np.int32) * 300  # several bytes
        places = np.unique(rng.integers(0, len(ids), 2)).astype(np.int32)
        examples.append(Example(ids, places, np.zeros(len(places), dtype=np.float32), "p"))
    streams, rows = merged(examples)
    prefixes = [one.ids[: place + 1].tolist() for one in streams for place in one.places]
    assert [prefixes[row] for row in rows] == [one.ids[: p + 1].tolist() for one in examples for p in one.places]
    texts = [one.ids.tolist() for one in streams]
    assert all(a is b or a != b[: len(a)] for a in texts for b in texts)


def test_states_are_what_the_cut_model_hands_to_its_head(init, tmp_path):
    """Final norm included, at each depth, whatever stands beside the stream in its batch."""
    codec = encoder().codec
    examples = [Example.at_end(np.array(codec.encode(text), dtype=np.int32), 0.0, "p") for text in ("abc", "b" * 40)]
    streams, rows = merged(examples)
    whole = AutoModelForTokenClassification.from_pretrained(init, num_labels=2).eval()
    layers = [1, 2, 3]
    states = stored_states(whole, streams, layers, tmp_path / "states", 2, lambda done, total: None)
    for index, layer in enumerate(layers):
        cut = AutoModelForTokenClassification.from_pretrained(init, num_labels=2).eval()
        keep_layers(cut, layer)
        read: list[torch.Tensor] = []
        cut.score.register_forward_pre_hook(lambda module, inputs, kept=read: kept.append(inputs[0]))
        for one, state in zip(examples, states.layer(index)[rows], strict=True):
            with torch.inference_mode():
                cut(input_ids=torch.tensor([one.ids.tolist()]))
            torch.testing.assert_close(torch.from_numpy(state), read.pop()[0, -1], atol=1e-5, rtol=1e-4)


def test_states_that_are_stored_are_not_computed_again(init, tmp_path, monkeypatch):
    """A stop costs the part in work; the rest is read from the folder and is the same."""
    monkeypatch.setattr(hidden_states, "PART", 2)
    codec = encoder().codec
    texts = ["abc", "bcd", "cde", "def", "efg"]
    streams, _ = merged([Example.at_end(np.array(codec.encode(t), dtype=np.int32), 0.0, t) for t in texts])
    module = AutoModelForTokenClassification.from_pretrained(init, num_labels=2).eval()
    passes: list[int] = []
    module.base_model.register_forward_pre_hook(lambda *inputs: passes.append(1))

    def stop(done: int, total: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stored_states(module, streams, [2], tmp_path / "states", 1, stop)
    assert len(passes) == 4
    states = stored_states(module, streams, [2], tmp_path / "states", 1, lambda done, total: None)
    assert len(passes) == 5
    fresh = stored_states(module, streams, [2], tmp_path / "fresh", 1, lambda done, total: None)
    np.testing.assert_array_equal(states.layer(0), fresh.layer(0))


# The head.


def test_the_weight_decay_is_the_one_that_carries_over_to_other_problems():
    """Many noise columns and few problems: hardly any decay fits noise; a clear signal wants little."""
    rng = np.random.default_rng(0)
    noise = torch.from_numpy(rng.normal(size=(80, 60)).astype(np.float32))
    labels = torch.from_numpy((rng.random(80) < 0.5).astype(np.float32))
    folds = np.repeat(np.arange(4), 20)
    task = Task(noise, labels, folds, "binary", 2)
    strict = fit_head(task)
    assert strict.decay >= 1.0
    assert 0.6 < strict.loss < 0.8
    assert fit_head(task, (1e-4,)).loss > 2 * strict.loss
    signal = torch.cat([noise[:, :2] * 0.1, 5 * labels[:, None] - 100], 1)
    clear = fit_head(Task(signal, labels, folds, "binary", 2))
    assert clear.decay < strict.decay
    odds = signal @ clear.weight.T + clear.bias
    assert torch.equal(odds[:, 1] > odds[:, 0], labels > 0.5)


def test_a_frozen_training_is_a_regression_on_the_backbones_states(head_only, init):
    """The same scores as a head that scipy fits to states computed by other means; the backbone is untouched."""
    rows = make_rows(120)
    model = AutoModelForTokenClassification.from_pretrained(init, num_labels=2).eval()
    states, labels = [], []
    for row in rows:
        if held_out(row.problem_id, 0.3):
            continue
        ids, places = encode_solution(of_row(row, f"{row.problem_id} ?"), encoder(), 512)
        with torch.inference_mode():
            read = model.base_model(torch.tensor([ids.tolist()])).last_hidden_state[0, places.tolist()]
        states += read.double().tolist()
        labels += [float(row.correct)] * len(places)
    x, y = np.array(states), np.array(labels)
    mean, scale = x.mean(0), x.std(0)
    scaled = (x - mean) / scale
    decay = json.loads((head_only.path / RECORD).read_text())["layers"]["3"]["decay"]

    def loss(w: np.ndarray) -> float:  # two opposite rows of weights are half as long as their difference squared
        odds = scaled @ w[:-1] + w[-1]
        return float(np.mean(np.logaddexp(0, odds) - y * odds) + decay / 4 * w[:-1] @ w[:-1])

    def slope(w: np.ndarray) -> np.ndarray:
        gap = 1 / (1 + np.exp(-(scaled @ w[:-1] + w[-1]))) - y
        return np.append(scaled.T @ gap / len(y) + decay / 2 * w[:-1], gap.mean())

    best = minimize(loss, np.zeros(x.shape[1] + 1), jac=slope, method="BFGS", options={"gtol": 1e-8}).x
    prm = HFBackend().scorer(str(head_only.path))
    row = held_out_rows(0.3)[0]
    ids, places = encode_solution(of_row(row, f"{row.problem_id} ?"), encoder(), 512)
    with torch.inference_mode():
        read = model.base_model(torch.tensor([ids.tolist()])).last_hidden_state[0, places.tolist()].double().numpy()
    wanted = 1 / (1 + np.exp(-((read - mean) / scale @ best[:-1] + best[-1])))
    assert step_scores(prm, row) == pytest.approx(wanted.tolist(), abs=2e-3)
    before, after = load_file(Path(init) / "model.safetensors"), load_file(head_only.path / "model.safetensors")
    for name in after.keys() - {"score.weight", "score.bias"}:
        torch.testing.assert_close(after[name], before[name], rtol=0, atol=0)


@pytest.mark.parametrize(
    "settings", [WHOLE, dataclasses.replace(WHOLE, layers=(1,)), HEAD], ids=["whole", "cut", "head"]
)
def test_a_prm_is_loaded_as_any_other_and_scores_as_measured(settings, run, init, tmp_path):
    """It tells good steps of unseen problems from bad ones; its table and its measures are those of sessions."""
    done = train_router(run, init, tmp_path / "prm", settings)
    prm = load_models(roles=[Role.PRM], prm=f"hf:{done.path}").prm
    scored = [
        (score, step.author, row.correct)
        for row in held_out_rows(0.3)
        for score, step in zip(step_scores(prm, row), row.steps, strict=True)
    ]
    of_drafts = [score for score, author, _ in scored if author == "draft"]
    for rate, threshold in prm.thresholds.items():
        assert threshold == pytest.approx(float(np.quantile(of_drafts, rate)), abs=1e-5)
    scores, labels = np.array([one[0] for one in scored]), np.array([float(one[2]) for one in scored])
    assert done.measures["brier"] == pytest.approx(float(np.mean((scores - labels) ** 2)), abs=1e-4)
    assert done.measures["auc"] > 0.9
    assert done.measures["auc_low"] <= done.measures["auc"] <= done.measures["auc_high"]
    assert set(done.measures["auc_at_position"]) == {"0", "1", "2"}
    assert done.counts.held_out == len(scored)
    assert not (done.path / STATES).exists()
    card = (done.path / "README.md").read_text()
    assert "rsd:rate=0.3 --prm hf:PATH" in card
    assert f"| auc | {done.measures['auc']} |" in card


def test_a_calibration_error_is_how_far_scores_are_from_what_came():
    """0 for scores that are the shares, and the distance where all promise too much."""
    labels = np.repeat([0.0, 1.0], [60, 40])
    assert calibration_error(np.full(100, 0.4), labels) == pytest.approx(0.0)
    assert calibration_error(np.full(100, 0.9), labels) == pytest.approx(0.5)


def test_the_layer_is_chosen_on_training_problems_and_the_rest_is_cut_off(run, init, tmp_path):
    """Of several the one with the least loss there; what is saved has no more layers, and scores as measured."""
    told: list[str] = []
    settings = dataclasses.replace(HEAD, layers=(1, 2, 3))
    done = train_router(run, init, tmp_path / "prm", settings, told.append)
    record = json.loads((done.path / RECORD).read_text())
    best = min(record["layers"], key=lambda layer: record["layers"][layer]["loss"])
    assert record["layer"] == int(best)
    assert record["layers"][best]["auc"] == done.measures["auc"]
    assert len([line for line in told if line.startswith("layer ")]) == 3
    one = train_router(run, init, tmp_path / "one", dataclasses.replace(HEAD, layers=(1,)))
    prm = HFBackend().scorer(str(one.path))
    assert prm.network.layers == 1
    assert prm.network.lean is not None
    scores = [score for row in held_out_rows(0.3) for score in step_scores(prm, row)]
    labels = [float(row.correct) for row in held_out_rows(0.3) for _ in row.steps]
    assert one.measures["brier"] == pytest.approx(float(np.mean((np.array(scores) - labels) ** 2)), abs=1e-4)


def test_a_router_may_have_a_frozen_backbone_too(init, tmp_path):
    """On step pairs, with any kind of label; its scores are those of sessions."""
    pairs = make_pairs(120)
    write_shard(tmp_path / "pairs", pairs[:120])
    write_shard(tmp_path / "more", pairs[120:])
    settings = TrainingSettings(frozen=True, held_out=0.3, labels="ordinal", device="cpu")
    done = train_router([tmp_path / "pairs", tmp_path / "more"], init, tmp_path / "router", settings)
    router = HFBackend().scorer(str(done.path))
    kept_out = [pair for pair in pairs if held_out(pair.problem_id, 0.3)]
    scores = session_scores(router, kept_out)
    assert router.thresholds[0.5] == pytest.approx(float(np.median(scores)), abs=1e-4)
    assert done.measures["auc"] > 0.8


def test_a_frozen_head_is_loaded_in_the_format_that_its_states_had(init, tmp_path):
    """By size alone, what was measured in bfloat16 would run in float32, and its table would be another model's."""
    pairs = make_pairs(60)
    write_shard(tmp_path / "pairs", pairs)
    settings = TrainingSettings(frozen=True, held_out=0.3, device="cpu", dtype="bfloat16")
    done = train_router(tmp_path / "pairs", init, tmp_path / "router", settings)
    router = HFBackend().scorer(str(done.path), "cpu")
    assert router.describe()["dtype"] == "bfloat16"
    scores = session_scores(router, [pair for pair in pairs if held_out(pair.problem_id, 0.3)])
    assert router.thresholds[0.5] == pytest.approx(float(np.median(scores)), abs=2e-2)
    assert HFBackend().scorer(str(done.path), "cpu", dtype="float32").describe()["dtype"] == "float32"
    sidecar = json.loads((done.path / "arbitrage.json").read_text())
    (done.path / "arbitrage.json").write_text(json.dumps({**sidecar, "dtype": "int3"}))
    with pytest.raises(ModelLoadError, match="int3"):
        HFBackend().scorer(str(done.path), "cpu")


def test_pairs_with_roll_outs_make_a_prm(init, tmp_path):
    """Soft labels of both versions; pairs without roll-outs are left out and counted."""
    pairs = [
        dataclasses.replace(pair, draft_outcome=0.25 if "x" in pair.draft else 0.75, target_outcome=0.75)
        for pair in make_pairs(60)
    ]
    write_shard(tmp_path / "pairs", [*pairs, *walk("bare", [(0.5, 0.6)])])
    done = train_router(tmp_path / "pairs", init, tmp_path / "prm", HEAD)
    assert (done.counts.pairs, done.counts.unlabelled) == (240, 2)
    assert done.measures["auc_draft"] > 0.8
    assert done.measures["calibration_error"] < 0.15


def test_a_gguf_file_is_dequantised_and_saved_as_safetensors(tmp_path):
    """Weights, tokens and scores are those of the checkpoint that the file was made of.

    Steps end in a newline: transformers leaves out tokens that a file adds to its merges, here the blank line.
    """
    pytest.importorskip("gguf")
    from arbitrage.backends.gguf.export import export_gguf

    export_gguf(bundled_path("draft"), tmp_path / "draft.gguf", "F32")
    run = save_run(tmp_path / "run", make_rows(30))
    settings = dataclasses.replace(HEAD, layers=(2,), separator="\n")
    done = train_router(run, f"gguf:{tmp_path / 'draft.gguf'}", tmp_path / "prm", settings)
    plain = train_router(run, "bundled:draft", tmp_path / "plain", settings)
    one, other = (load_file(where.path / "model.safetensors") for where in (done, plain))
    assert one.keys() == other.keys()
    for name in one:
        torch.testing.assert_close(one[name].float(), other[name].float(), atol=1e-3, rtol=1e-3)
    row = make_rows(1)[0]
    scores = [step_scores(HFBackend().scorer(str(where.path)), row) for where in (done, plain)]
    assert scores[0] == pytest.approx(scores[1], abs=1e-3)


def test_what_cannot_be_trained_so_says_why(run, init, tmp_path):
    """Contradicting settings, a layer that is not there, a run where pairs are needed."""
    for words, message in (
        ({"purpose": "prm", "labels": "regression"}, "must be binary"),
        ({"purpose": "prm", "annotated": True}, "without their authors"),
        ({"frozen": True, "lora": 4}, "choose one"),
        ({"layers": (1, 2)}, "compared with frozen"),
        ({"purpose": "judge"}, "router, prm"),
    ):
        with pytest.raises(TrainingError, match=message):
            TrainingSettings(**words)
    with pytest.raises(TrainingError, match="from 1 to 3"):
        train_router(run, init, tmp_path / "deep", dataclasses.replace(HEAD, layers=(4,)))
    with pytest.raises(PairsError, match="no step pairs"):
        train_router(run, init, tmp_path / "router", TrainingSettings(device="cpu"))
