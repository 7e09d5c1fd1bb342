"""Training routers: what they see, what they learn, and that what is saved is what was trained."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("pyarrow")
pytest.importorskip("accelerate")

import torch
from safetensors.torch import load_file
from transformers import AutoModelForTokenClassification

from arbitrage.backends.hf import HFBackend, HFCodec, StreamEncoder, StreamFormat
from arbitrage.backends.hf.readout import described
from arbitrage.backends.loading import load_models
from arbitrage.errors import ModelLoadError, RunError
from arbitrage.harness.router.examples import Shuffled, encode
from arbitrage.harness.router.fitting import with_adapters
from arbitrage.harness.router.held_out import RouterReport
from arbitrage.harness.router.initial import Initial
from arbitrage.harness.router.labels import Labelling, balanced, label_value
from arbitrage.harness.router.objective import losses
from arbitrage.harness.router.pairs import (
    HistoryStep,
    PairsError,
    StepPair,
    held_out,
    split,
    write_manifest,
    write_shard,
)
from arbitrage.harness.router.preparation import prepare
from arbitrage.harness.router.settings import TrainingError, TrainingSettings
from arbitrage.harness.router.train import RECORD, train_router
from arbitrage.types import Role
from tests.backends.checkpoints import make_tokenizer, put_on_hub, save_classifier, save_language_model
from tests.backends.prm_checkpoints import save_qwen_prm, save_skywork

QUICK = TrainingSettings(batch=32, micro_batch=16, epochs=4, lr=1e-2, held_out=0.2, device="cpu")


def make_pairs(problems: int, seed: int = 0) -> list[StepPair]:
    """Steps whose gain can be read off the draft: an 'x' in it is a mistake that the target does not make."""
    rng = np.random.default_rng(seed)
    pairs = []
    for number in range(problems):
        history: list[HistoryStep] = []
        for index in range(2):
            bad = rng.random() < 0.3
            middle = "".join(rng.choice(list("abcd"), rng.integers(2, 8)))
            draft = f"{middle}{'x' if bad else 'y'}"
            reward = float(rng.uniform(0.5, 0.7))
            gain = float(rng.uniform(0.1, 0.3)) if bad else -float(rng.uniform(0.0, 0.2))
            pairs.append(
                StepPair(
                    problem_id=f"problem {number}",
                    statement=f"{number} ?",
                    source="",
                    index=index,
                    history=tuple(history),
                    draft=draft,
                    targets=(f"{middle}y",),
                    draft_reward=reward,
                    target_rewards=(reward + gain,),
                    draft_ids=(),
                    draft_logprobs=(),
                    target_tokens=(3,),
                    prefix_ids=(),
                    committed="target" if bad else "draft",
                    roll_in="oracle",
                )
            )
            history.append(HistoryStep(f"{middle}y", "target" if bad else "draft"))
    return pairs


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """A folder of pairs that can be learnt from."""
    folder = tmp_path_factory.mktemp("pairs")
    models = {"draft": {"source": "some/draft"}, "target": {"source": "some/target", "dtype": "bfloat16"}}
    write_manifest(folder, {"identity": {"models": models, "roll_in": {"name": "oracle"}, "samples": 2}})
    write_shard(folder, make_pairs(150))
    return folder


@pytest.fixture(scope="module")
def init(tmp_path_factory):
    """A random language model with ordinary weights."""
    return str(save_language_model(tmp_path_factory.mktemp("init") / "base", scale=1.0))


@pytest.fixture(scope="module")
def trained(pairs, init, tmp_path_factory):
    """A router with the quick settings."""
    folder = tmp_path_factory.mktemp("trained") / "router"
    return train_router(pairs, init, folder, QUICK)


def session_scores(router, pairs) -> list[float]:
    """As a strategy would ask for them."""
    found = []
    for pair in pairs:
        with router.open(pair.statement) as session:
            for step in pair.history:
                session.append(step.text, step.author)
            found.append(session.score(pair.draft, "draft"))
    return found


# What is trained on.


@pytest.mark.parametrize(
    "stream", [StreamFormat(annotated=True), StreamFormat(chat=True), StreamFormat(separator="\n")]
)
def test_training_reads_the_very_ids_that_inference_reads(tmp_path, stream):
    """Ids of the example = ids in the session's cache at the same state, in every format."""
    told = {"separator": stream.separator, "annotated": stream.annotated, "chat": stream.chat}
    save_classifier(tmp_path / "prm", sidecar=json.dumps({"stream": told}))
    scorer = HFBackend().scorer(str(tmp_path / "prm"))
    encoder = StreamEncoder(HFCodec(make_tokenizer()), stream)
    for pair, ids in encode(make_pairs(4), encoder, 512):
        with scorer.open(pair.statement) as session:
            for step in pair.history:
                session.append(step.text, step.author)
            session.score(pair.draft, "draft")
            assert list(session._sequence.ids) == ids.tolist()


def test_long_streams_lose_their_oldest_steps_as_in_inference():
    """The problem and the newest steps stay; what cannot fit at all is left out."""
    encoder = StreamEncoder(HFCodec(make_tokenizer()), StreamFormat())
    history = tuple(HistoryStep(text * 10, "draft") for text in "abc")
    pair = dataclasses.replace(make_pairs(1)[0], statement="p", history=history, draft="zz")
    whole = len(encoder.problem("p")) + 3 * 11 + 3

    def text(longest: int) -> str | None:
        ((_, ids),) = encode([pair], encoder, longest)
        return None if ids is None else encoder.codec.decode(ids.tolist())

    assert text(whole).count("a") == 10
    shorter = text(whole - 1)
    assert (shorter[0], shorter.count("a"), shorter.count("b"), shorter.count("c")) == ("p", 0, 10, 10)
    assert text(5).strip() == "p\nzz"
    assert text(4) is None


def test_only_the_training_split_is_balanced():
    """Both sides are equally many where it is trained, and as they were where it is measured."""
    many = make_pairs(400)
    training, kept_out = split(many, 0.2)
    encoder = StreamEncoder(HFCodec(make_tokenizer()), StreamFormat())
    found = prepare(iter(many), encoder, 512, TrainingSettings(held_out=0.2))
    gains = sum(pair.label for pair in training)
    assert sum(float(one.labels[0]) for one in found.training) == gains == len(found.training) / 2
    assert found.report.values == tuple(pair.advantage for pair in kept_out)
    plain = prepare(iter(many), encoder, 512, TrainingSettings(held_out=0.2, balanced=False))
    assert len(plain.training) == len(training)


def test_classes_are_equally_filled_after_balancing():
    """Edges are quantiles of what is trained on; those of all pairs would leave the rarer gains in few classes."""
    encoder = StreamEncoder(HFCodec(make_tokenizer()), StreamFormat())
    rng = np.random.default_rng(0)
    many = [
        dataclasses.replace(
            pair, draft_reward=0.5, target_rewards=(0.5 + float(rng.uniform(0, 0.5)) * (1 if i % 10 == 0 else -1),)
        )
        for i, pair in enumerate(make_pairs(600))
    ]
    told = TrainingSettings(held_out=0.2, labels="quantile", classes=4)
    counts = np.bincount([int(one.labels[0]) for one in prepare(iter(many), encoder, 512, told).training])
    assert len(counts) == 4
    assert np.ptp(counts) <= 1
    every = prepare(iter(many), encoder, 512, dataclasses.replace(told, balanced=False))
    assert (
        every.labelling.edges[0]
        < every.labelling.edges[1]
        < 0
        < prepare(iter(many), encoder, 512, told).labelling.edges[2]
    )


def test_texts_of_held_out_problems_are_not_learnt_from_under_other_ids():
    """The same statement, typeset another way, in another folder: what is held out decides."""
    encoder = StreamEncoder(HFCodec(make_tokenizer()), StreamFormat())
    many = make_pairs(60)
    again = [
        dataclasses.replace(pair, problem_id=f"again {pair.problem_id}", statement=f" ${pair.statement}$")
        for pair in many
    ]
    told = TrainingSettings(held_out=0.2)
    found = prepare(iter([*many, *again]), encoder, 512, told)
    unseen = {pair.statement for pair in many if held_out(pair.problem_id, 0.2)}
    unseen |= {pair.statement.strip(" $") for pair in again if held_out(pair.problem_id, 0.2)}
    doubled = [
        pair for pair in [*many, *again] if pair.statement.strip(" $") in unseen and not held_out(pair.problem_id, 0.2)
    ]
    assert doubled
    assert found.counts.repeated == len(doubled)
    assert not {one.problem_id for one in found.training} & {pair.problem_id for pair in doubled}
    assert found.counts.training + found.counts.held_out + found.counts.repeated == found.counts.pairs


def test_measures_of_probabilities_are_left_out_where_scores_are_none():
    """An expected class has no calibration error; a router that never escalates has no waste."""
    values, outputs = (0.3, -0.2, 0.1, 0.0), np.array([[0.0, 1], [3, 0], [0, 2], [1, 0]], dtype=np.float32)
    assert "calibration_error" in RouterReport(Labelling("binary"), values).report(outputs)[0]
    classes = Labelling.fitted("quantile", 2, values)
    told = RouterReport(classes, values).report(outputs)[0]
    assert set(told) == {"spearman", "auc", "captured_advantage"}
    timid = outputs - np.array([0, 9], dtype=np.float32)
    assert RouterReport(Labelling("binary"), values).report(timid)[0]["waste_at_0.5"] is None


def test_balancing_needs_both_sides():
    """One kind of step cannot be told apart from nothing."""
    with pytest.raises(PairsError, match="nothing to tell apart"):
        balanced([0.5, 0.2], 0)
    assert balanced([0.5, 0.0, -1.0], 0) in ([0, 1], [0, 2])


def test_the_label_comes_from_where_it_is_asked_for():
    """Mean over samples, first sample, or roll-outs; pairs without roll-outs have no such label."""
    pair = dataclasses.replace(make_pairs(1)[0], targets=("other",) * 2, draft_reward=0.5, target_rewards=(0.25, 0.95))
    assert label_value(pair, "advantage") == pytest.approx(0.1)
    assert label_value(pair, "first-sample") == -0.25
    assert label_value(pair, "outcome") is None
    assert label_value(dataclasses.replace(pair, draft_outcome=0.25, target_outcome=1.0), "outcome") == 0.75
    assert label_value(dataclasses.replace(pair, targets=(pair.draft,)), "outcome") == 0


def test_classes_are_equally_filled_and_equal_values_are_one_class():
    """Quantiles of the training values; what lies above many equal ones is spread over the classes that are left."""
    values = np.random.default_rng(0).uniform(-1, 1, 1000).tolist()
    for classes in (4, 10):
        labelling = Labelling.fitted("quantile", classes, values)
        counts = np.bincount([int(labelling.label(v)) for v in values])
        assert labelling.outputs == classes == len(counts)
        assert np.ptp(counts) <= 2
    values = [-0.5] * 6 + [0.0] * 75 + [0.01 * k for k in range(1, 31)]
    for classes in (4, 10):
        tied = Labelling.fitted("ordinal", classes, values)
        counts = np.bincount([int(tied.label(v)) for v in values])
        assert tied.outputs == classes - 1 == len(counts) - 1
        assert counts[0] == 81
        assert np.ptp(counts[1:]) <= 1
    few = Labelling.fitted("quantile", 4, [0.0, 0.0, 0.0, 0.5, 1.0, 1.0])
    assert [few.label(value) for value in (-1.0, 0.0, 0.01, 0.5, 0.7, 1.0)] == [0, 0, 1, 1, 2, 2]
    top = Labelling.fitted("quantile", 2, [0.2] + [1.0] * 9)
    assert (top.label(0.2), top.label(1.0)) == (0, 1)
    with pytest.raises(PairsError, match="same advantage"):
        Labelling.fitted("quantile", 4, [0.0] * 10)


def test_batches_are_random_sets_ordered_by_length_inside():
    """Each optimizer step holds what an unordered shuffle would; another epoch has other steps."""
    lengths = [int(n) for n in np.random.default_rng(1).integers(5, 50, 100)]
    order = Shuffled(lengths, 32, seed=3)
    first = list(order)
    assert sorted(first) == list(range(100))
    plain = np.random.default_rng([3, 0]).permutation(100)
    for start in range(0, 100, 32):
        step = first[start : start + 32]
        assert set(step) == set(plain[start : start + 32].tolist())
        assert [lengths[i] for i in step] == sorted(lengths[i] for i in step)
    order.set_epoch(1)
    assert list(order) != first


def test_every_epoch_has_its_own_order(pairs, init, tmp_path, monkeypatch):
    """The trainer tells the sampler which epoch it is."""
    told: list[int] = []
    real = Shuffled.set_epoch
    monkeypatch.setattr(Shuffled, "set_epoch", lambda self, epoch: (told.append(epoch), real(self, epoch))[1])
    train_router(pairs, init, tmp_path / "r", dataclasses.replace(QUICK, epochs=2, held_out=0.0))
    assert sorted(set(told)) == [0, 1]
    assert json.loads((tmp_path / "r" / "arbitrage.json").read_text())["thresholds"] == {}


def test_losses_are_those_of_the_books():
    """By hand: cross-entropy, one question for each edge, squared error."""
    outputs = torch.tensor([[1.0, -1.0, 0.5], [0.2, 0.1, 2.0]])
    binary = losses("quantile", outputs, torch.tensor([2.0, 0.0]))
    logs = outputs.log_softmax(1)
    torch.testing.assert_close(binary, torch.stack([-logs[0, 2], -logs[1, 0]]))
    ordinal = losses("ordinal", outputs, torch.tensor([1.0, 3.0]))
    above = torch.tensor([[1.0, -1.0, -1.0], [1.0, 1.0, 1.0]])
    torch.testing.assert_close(ordinal, -torch.nn.functional.logsigmoid(outputs * above).sum(1))
    torch.testing.assert_close(
        losses("regression", outputs[:, :1], torch.tensor([0.5, 0.2])), torch.tensor([0.25, 0.0])
    )


@pytest.mark.parametrize("kind", ["binary", "quantile", "ordinal", "regression"])
def test_scores_rise_from_0_to_1_with_what_the_head_says(kind):
    """A head that is sure of the lowest or the highest class says 0 or 1, one that knows nothing the middle."""
    labelling = Labelling.fitted(kind, 4, [k / 100 for k in range(-100, 101)])
    readout = described(labelling.readout())
    assert readout.outputs == labelling.outputs
    ends = {"binary": ([60, -60], [-60, 60]), "quantile": ([60, 0, 0, 0], [0, 0, 0, 60]), "regression": ([-3], [3])}
    low, high = ends.get(kind, ([-60] * labelling.outputs, [60] * labelling.outputs))
    rows = [low, [0.0] * labelling.outputs, high]
    scores = [readout.readout.score(np.array(row, dtype=np.float32)) for row in rows]
    assert scores == pytest.approx([0.0, 0.5, 1.0], abs=1e-9)


# What comes out.


def test_training_lowers_the_loss_and_ranks_unseen_steps(trained):
    """A rule that can be seen in the draft's text is learnt from tens of optimizer steps."""
    curve = json.loads((trained.path / RECORD).read_text())["curve"]
    assert curve["training"][-1]["loss"] < 0.7 * curve["training"][0]["loss"]
    assert curve["held_out"][-1]["loss"] < curve["held_out"][0]["loss"]
    assert trained.measures["auc"] > 0.9
    assert trained.measures["spearman"] > 0.4


def test_a_trained_router_is_loaded_as_any_other_and_scores_as_measured(trained, pairs):
    """The calibration table is the quantiles of the scores that a session gives."""
    models = load_models(roles=[Role.ROUTER], router=f"hf:{trained.path}")
    _, kept_out = split(make_pairs(150), 0.2)
    scores = session_scores(models.router, kept_out)
    for rate, threshold in models.router.thresholds.items():
        assert threshold == pytest.approx(float(np.quantile(scores, 1 - rate)), abs=1e-5)
    assert models.router.describe()["forward"] == "lean, packed"


def test_the_folder_says_what_it_is(trained):
    """Card, curve, sidecar; no checkpoints and no pickles are left behind."""
    names = {file.name for file in trained.path.iterdir()}
    assert {"README.md", "curves.png", "arbitrage.json", "training.json", "model.safetensors"} <= names
    assert not names & {"checkpoints", "training_args.bin", "optimizer.pt"}
    card = (trained.path / "README.md").read_text()
    for told in (
        "| some/draft |",
        "| some/target, dtype bfloat16 |",
        "| oracle |",
        "with a new head",
        f"| auc | {trained.measures['auc']} |",
        "Licence",
    ):
        assert told in card
    assert f"{trained.counts.trained_on} steps, {trained.steps} optimizer steps" in card
    assert (trained.path / "curves.png").read_bytes().startswith(b"\x89PNG")
    sidecar = json.loads((trained.path / "arbitrage.json").read_text())
    assert sidecar["stream"] == {"separator": "\n\n", "annotated": True, "chat": False}
    assert sidecar["readout"] == {"kind": "binary"}


@pytest.mark.parametrize(("kind", "outputs"), [("quantile", 4), ("ordinal", 3), ("regression", 1)])
def test_every_kind_of_label_ranks_and_loads(kind, outputs, pairs, init, tmp_path):
    """Trained, saved, loaded with its readout, and better than chance; scores in [0, 1]."""
    done = train_router(pairs, init, tmp_path / "r", dataclasses.replace(QUICK, labels=kind))
    assert done.measures["auc"] > 0.8
    router = HFBackend().scorer(str(done.path))
    assert router.network.module.config.num_labels == outputs
    assert router.network.lean is not None
    _, kept_out = split(make_pairs(150), 0.2)
    scores = session_scores(router, kept_out)
    assert all(0 <= score <= 1 for score in scores)
    assert router.thresholds[0.5] == pytest.approx(float(np.median(scores)), abs=1e-5)


def test_adapters_are_merged_into_plain_weights(pairs, init, tmp_path):
    """LoRA: what is saved is an ordinary checkpoint that says what the adapted model said."""
    done = train_router(pairs, init, tmp_path / "r", dataclasses.replace(QUICK, lora=4, lr=2e-2))
    assert "adapter_config.json" not in {file.name for file in done.path.iterdir()}
    assert done.measures["auc"] > 0.8
    _, kept_out = split(make_pairs(150), 0.2)
    scores = session_scores(HFBackend().scorer(str(done.path)), kept_out)
    table = json.loads((done.path / "arbitrage.json").read_text())["thresholds"]  # measured before they were merged
    assert table["0.3"] == pytest.approx(float(np.quantile(scores, 0.7)), abs=1e-4)


def test_adapters_train_little(init):
    """Only the adapters and the head."""
    module = with_adapters(AutoModelForTokenClassification.from_pretrained(init, num_labels=2), 2)
    names = [name for name, weight in module.named_parameters() if weight.requires_grad]
    assert names
    assert all("lora_" in name or "score" in name for name in names)


def test_a_stopped_training_ends_as_an_uninterrupted_one(trained, pairs, init, tmp_path):
    """Ctrl-C in the middle, the same call again: the same weights."""
    told: list[str] = []

    def stop(line: str) -> None:
        told.append(line)
        if line.startswith("step ") and sum(one.startswith("step ") for one in told) == 3:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train_router(pairs, init, tmp_path / "r", QUICK, stop)
    assert not (tmp_path / "r" / "model.safetensors").exists()
    told.clear()
    done = train_router(pairs, init, tmp_path / "r", QUICK, told.append)
    steps = [line.split()[1] for line in told if line.startswith("step ")]
    assert any(line.startswith("goes on after checkpoint") for line in told)
    assert (steps[0], steps[-1]) == ("8/16", "16/16")
    one, other = (AutoModelForTokenClassification.from_pretrained(where.path).state_dict() for where in (trained, done))
    for name, weight in one.items():
        torch.testing.assert_close(weight, other[name], atol=1e-6, rtol=0)
    assert done.measures == trained.measures
    assert train_router(pairs, init, tmp_path / "r", QUICK) == done  # nothing is trained twice


def test_a_router_can_be_trained_on(trained, pairs, tmp_path):
    """DAgger rounds: its head and its way of reading are kept, so it begins where it ended."""
    few = dataclasses.replace(QUICK, epochs=0.5, lr=1e-6, annotated=None)
    done = train_router(pairs, str(trained.path), tmp_path / "r", few)
    assert done.measures["auc"] == pytest.approx(trained.measures["auc"], abs=0.02)
    assert "its head kept" in (done.path / "README.md").read_text()


@pytest.mark.parametrize(("save", "more"), [(save_skywork, {"prefix": "pretrained_model."}), (save_qwen_prm, {})])
def test_published_prms_can_be_begun_with(save, more, pairs, tmp_path):
    """Their backbones are taken over, under their own tensor names; their heads are of another shape."""
    source = save(tmp_path / "prm", **more)
    done = train_router(pairs, str(source), tmp_path / "r", dataclasses.replace(QUICK, epochs=0.25, lr=1e-9))
    before = {
        key.removeprefix("pretrained_model."): one for key, one in load_file(source / "model.safetensors").items()
    }
    after = load_file(done.path / "model.safetensors")
    torch.testing.assert_close(after["model.embed_tokens.weight"], before["model.embed_tokens.weight"].float())
    assert "with a new head" in (done.path / "README.md").read_text()
    scores = session_scores(HFBackend().scorer(str(done.path)), make_pairs(2))
    assert all(0 <= score <= 1 for score in scores)


# What cannot be.


def test_a_folder_in_use_is_left_alone(trained, pairs, init, tmp_path):
    """Another training's, and somebody else's."""
    with pytest.raises(RunError, match=r"lr is 0\.01 in the folder and 0\.5 now"):
        train_router(pairs, init, trained.path, dataclasses.replace(QUICK, lr=0.5))
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(TrainingError, match="something else"):
        train_router(pairs, init, tmp_path, QUICK)
    assert [file.name for file in tmp_path.iterdir()] == ["letter.txt"]


@pytest.mark.parametrize("frozen", [False, True])
def test_other_weights_of_the_same_name_are_another_training(frozen, pairs, tmp_path):
    """Stopped or finished: nothing is mixed with what the former weights gave; put back, it goes on and ends."""
    settings = dataclasses.replace(QUICK, frozen=frozen, epochs=1)
    base = tmp_path / "base"
    save_language_model(base, scale=1.0)
    former = (base / "model.safetensors").read_bytes()

    def stop(line: str) -> None:
        if line.startswith(("step ", "states of ")):
            raise KeyboardInterrupt

    def refused() -> None:
        save_language_model(base, seed=1, scale=1.0)
        with pytest.raises(RunError, match="base has changed since this training began with it: sha256 is '"):
            train_router(pairs, str(base), tmp_path / "r", settings)
        (base / "model.safetensors").write_bytes(former)

    with pytest.raises(KeyboardInterrupt):
        train_router(pairs, str(base), tmp_path / "r", settings, stop)
    refused()
    done = train_router(pairs, str(base), tmp_path / "r", settings)
    refused()
    again = train_router(pairs, str(base), tmp_path / "r", settings)
    assert (again.steps, again.seconds) == (done.steps, done.seconds)


def test_how_the_initial_model_reads_is_part_of_the_training_and_its_table_is_not(pairs, tmp_path):
    """Another separator is another training, told by its value; a new calibration is none."""
    prm, sidecar = save_classifier(tmp_path / "prm"), {"stream": {"separator": "\n"}}
    (prm / "arbitrage.json").write_text(json.dumps(sidecar))
    settings = dataclasses.replace(QUICK, epochs=1)
    done = train_router(pairs, str(prm), tmp_path / "r", settings)
    (prm / "arbitrage.json").write_text(json.dumps({**sidecar, "thresholds": {"0.3": 0.5}}))
    assert train_router(pairs, str(prm), tmp_path / "r", settings).seconds == done.seconds
    (prm / "arbitrage.json").write_text(json.dumps({"stream": {"separator": "!"}}))
    with pytest.raises(RunError, match=r"stream\.separator is .* in the folder and '!' now"):
        train_router(pairs, str(prm), tmp_path / "r", settings)


def test_a_hub_id_is_told_apart_by_its_commit(tmp_path, hub):
    """No weights are hashed, and it reads as its sidecar says."""
    directory = save_classifier(tmp_path / "prm", sidecar=json.dumps({"stream": {"separator": "!"}}))
    first = put_on_hub(hub, directory, "me/prm")
    told = Initial.of("me/prm", QUICK).version()
    assert told == {
        "sha256": None,
        "revision": first,
        "stream": {"separator": "!", "annotated": True, "chat": False},
    }
    save_classifier(directory, seed=1)
    second = put_on_hub(hub, directory, "me/prm")
    assert first != second
    assert Initial.of("me/prm", QUICK).version() == {**told, "revision": second}


def test_a_folder_of_before_does_not_say_its_weights(trained, pairs, init, tmp_path):
    """It is not guessed that they are the same."""
    shutil.copytree(trained.path, tmp_path / "old")
    record = json.loads((tmp_path / "old" / RECORD).read_text())
    del record["identity"]["init_version"]
    (tmp_path / "old" / RECORD).write_text(json.dumps(record))
    with pytest.raises(RunError, match="does not say which weights"):
        train_router(pairs, init, tmp_path / "old", QUICK)


def test_what_cannot_be_trained_on_says_so(init, pairs, tmp_path):
    """No pairs, no label, no model, no such choice."""
    with pytest.raises(PairsError, match="router collect"):
        train_router(tmp_path / "none", init, tmp_path / "r", QUICK)
    with pytest.raises(PairsError, match="says how solutions end"):
        train_router(pairs, init, tmp_path / "r2", dataclasses.replace(QUICK, label="outcome"))
    with pytest.raises(ModelLoadError, match="no such directory"):
        train_router(pairs, str(tmp_path / "nobody"), tmp_path / "r3", QUICK)
    few = dataclasses.replace(QUICK, epochs=0.5)
    assert train_router(pairs, init, tmp_path / "r2", few).steps == 2  # a training that never began is in nobody's way
    with pytest.raises(ModelLoadError, match="no such GGUF file"):
        train_router(pairs, "x.gguf", tmp_path / "r4", QUICK)
    with pytest.raises(TrainingError, match="labels must be one of binary"):
        TrainingSettings(labels="ternary")
    with pytest.raises(TrainingError, match="held_out"):
        TrainingSettings(held_out=1.0)


@pytest.mark.parametrize(
    ("readout", "message"),
    [
        ({"kind": "classes", "classes": 4}, "has 2 labels; .* has 4"),
        ({"kind": "ordinal", "classes": 1}, "two or more"),
        ({"kind": "vibes"}, "known: binary"),
    ],
)
def test_a_readout_that_does_not_fit_is_refused(tmp_path, readout, message):
    """Wrong numbers from a right model are worse than none."""
    save_classifier(tmp_path / "prm", sidecar=json.dumps({"readout": readout}))
    with pytest.raises(ModelLoadError, match=message):
        HFBackend().scorer(str(tmp_path / "prm"))


@pytest.mark.parametrize("frozen", [False, True])
def test_a_device_that_is_not_there_is_refused_before_any_work(frozen, tmp_path):
    """It was trained on the CPU without a word."""
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(TrainingError, match="no such device"):
        train_router(tmp_path, "bundled:draft", tmp_path / "out", TrainingSettings(device="cuda", frozen=frozen))


def test_what_is_trained_beside_frozen_half_precision_weights_is_single(tmp_path):
    """The head stayed in the format of the frozen weights, and lost a third of its updates to rounding."""
    pytest.importorskip("peft")
    import torch
    from transformers import AutoModelForTokenClassification

    from arbitrage.backends.bundled import bundled_path
    from arbitrage.harness.router.fitting import with_adapters

    module = AutoModelForTokenClassification.from_pretrained(bundled_path("draft"), num_labels=2, dtype=torch.bfloat16)
    adapted = with_adapters(module, 4)
    trained = {name: weights.dtype for name, weights in adapted.named_parameters() if weights.requires_grad}
    assert any("score" in name for name in trained)
    assert set(trained.values()) == {torch.float32}
    frozen = {weights.dtype for weights in adapted.parameters() if not weights.requires_grad}
    assert frozen == {torch.bfloat16}


def test_a_router_reads_no_longer_streams_than_it_was_trained_on(tmp_path):
    """The bound of the training holds in sessions too: the oldest steps go, and the score is that of what stays."""
    told = {"separator": "\n\n", "annotated": True, "chat": False}
    save_classifier(tmp_path / "free", sidecar=json.dumps({"stream": told}))
    save_classifier(tmp_path / "bound", sidecar=json.dumps({"stream": {**told, "max_length": 40}}))
    free, bound = (HFBackend().scorer(str(tmp_path / name)) for name in ("free", "bound"))
    steps = ["a" * 12, "b" * 12, "c" * 12]
    with free.open("1 ?") as session:
        session.append(steps[2], "draft")
        short = session.score("d", "draft")
    scores = []
    for scorer in (bound, free):
        with scorer.open("1 ?") as session:
            for step in steps:
                session.append(step, "draft")
            scores.append(session.score("d", "draft"))
    assert scores[0] != pytest.approx(scores[1], abs=1e-7)
    assert scores[0] == pytest.approx(short, abs=1e-6)


def test_a_router_that_is_trained_on_with_more_held_out_is_warned_about(pairs, trained, tmp_path):
    """Problems that it learnt the first time would be among those that it is measured on; and the bound is stored."""
    said: list[str] = []
    again = dataclasses.replace(QUICK, held_out=0.3, epochs=1, max_length=60)
    made = train_router(pairs, str(trained.path), tmp_path / "again", again, say=said.append)
    assert any("warning" in line and "--held-out 0.2" in line for line in said)
    assert json.loads((made.path / "arbitrage.json").read_text())["stream"]["max_length"] == 60
    said.clear()
    train_router(pairs, str(trained.path), tmp_path / "same", dataclasses.replace(again, held_out=0.2), say=said.append)
    assert not any("warning" in line for line in said)
