"""What may be loaded, what is refused, and what the manifest learns about it."""

from __future__ import annotations

import functools
import json

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from arbitrage.backends.hf import HFBackend, HFCodec  # noqa: E402
from arbitrage.errors import ModelLoadError  # noqa: E402
from tests.backends.checkpoints import (  # noqa: E402
    make_config,
    make_tokenizer,
    put_on_hub,
    save_classifier,
    save_language_model,
)


def load(path, **options):
    return HFBackend().language_model(str(path), "cpu", **options)


def test_a_directory_is_described_by_hash_size_dtype_and_device(pair):
    """The manifest's facts are those of the file; a small model defaults to fp32 on a CPU."""
    import hashlib

    facts = load(pair[0]).describe()
    weights = (pair[0] / "model.safetensors").read_bytes()
    assert facts["sha256"] == hashlib.sha256(weights).hexdigest()
    assert (facts["dtype"], facts["device"], facts["architecture"]) == ("float32", "cpu", "LlamaForCausalLM")
    assert facts["trust_remote_code"] is facts["allow_pickle"] is False
    assert load(pair[0], dtype="bfloat16").describe()["dtype"] == "bfloat16"


def test_what_stands_beside_the_weights_is_part_of_the_facts(tmp_path):
    """A recalibrated or otherwise read scorer says so; a language model only where its sidecar has a table."""

    def told(sidecar, load):
        (directory / "arbitrage.json").write_text(json.dumps(sidecar))
        return load().describe()

    directory = save_classifier(tmp_path / "classifier")
    scorer = functools.partial(HFBackend().scorer, str(directory), "cpu")
    assert "sidecar_sha256" not in scorer().describe()
    sidecars = [{"thresholds": {"0.3": 0.5}}, {"thresholds": {"0.3": 0.6}}, {"stream": {"annotated": True}}]
    found = [told(sidecar, scorer) for sidecar in sidecars]
    assert len({facts["sidecar_sha256"] for facts in found}) == 3
    assert len({facts["sha256"] for facts in found}) == 1
    assert scorer(separator="!").describe()["separator"] == "!"
    directory = save_language_model(tmp_path / "model")
    model = functools.partial(load, directory)
    assert "sidecar_sha256" not in told({"instruction": "go"}, model)
    judge = functools.partial(HFBackend().scorer, str(directory), "cpu")
    calibration = {"likelihood": {"offset": 3.0, "slope": 0.1}}
    assert told(calibration, judge) != told({**calibration, "thresholds": {"0.3": 0.5}}, judge)
    before = told({"thresholds": {"0.3": 0.5}}, model)
    assert before["sidecar_sha256"] != told({"thresholds": {"0.3": 0.6}}, model)["sidecar_sha256"]


TOLD = {
    "stream": {"separator": "\n\n", "annotated": True, "max_length": 60},
    "readout": {"kind": "binary"},
    "thresholds": {"0.3": 0.25, "0.5": 0.75},
    "dtype": "float32",
}


def scores_of(scorer):
    """Of two steps behind a third, by different authors; the second makes room for itself."""
    with scorer.open("What is it?") as session:
        session.append("one", "draft")
        return [session.score("two", "target"), session.score("two and all that is behind it", "draft")]


def test_a_scorer_on_the_hub_is_read_as_its_copy_here(tmp_path, hub):
    """Same separator, tags, length, readout, number format, thresholds and digest; without the file, as TRL's."""
    directory = save_classifier(tmp_path / "my-router", sidecar=json.dumps(TOLD))
    commit = put_on_hub(hub, directory, "me/my-router")
    here, there = (HFBackend().scorer(source, "cpu") for source in (str(directory), "me/my-router"))
    assert there.thresholds == here.thresholds == {0.3: 0.25, 0.5: 0.75}
    assert scores_of(there) == scores_of(here)
    different = {"source", "sha256", "revision"}
    facts = [{key: value for key, value in one.describe().items() if key not in different} for one in (here, there)]
    assert facts[0] == facts[1]
    assert there.describe()["sidecar_sha256"]
    assert there.describe()["revision"] == commit
    (directory / "arbitrage.json").unlink()
    put_on_hub(hub, directory, "me/other")
    other = HFBackend().scorer("me/other", "cpu")
    assert other.describe()["family"] == "trl"
    assert "sidecar_sha256" not in other.describe()
    assert HFBackend().scorer(f"me/my-router#{commit}", "cpu").thresholds == here.thresholds


def test_a_draft_on_the_hub_brings_its_table(tmp_path, hub):
    """The table is read, and is part of the facts."""
    directory = save_language_model(tmp_path / "draft")
    (directory / "arbitrage.json").write_text(json.dumps({"thresholds": {"0.3": 0.5}, "instruction": "go"}))
    put_on_hub(hub, directory, "me/draft")
    there, here = load("me/draft"), load(directory)
    assert there.thresholds == here.thresholds == {0.3: 0.5}
    assert there.describe()["sidecar_sha256"] == here.describe()["sidecar_sha256"]


def test_what_is_not_on_the_hub_is_an_error_and_no_empty_sidecar(hub):
    """An unknown repository, as without the file: said before anything is loaded."""
    for read in (HFBackend().scorer, HFBackend().language_model):
        with pytest.raises(ModelLoadError, match=r"me/nothing: .*(cannot be reached|couldn't connect)"):
            read("me/nothing", "cpu")


def test_pickled_weights_are_refused_unless_asked_for(tmp_path):
    """A .bin checkpoint needs allow_pickle=True, and that is recorded."""
    save_language_model(tmp_path)
    state = transformers.AutoModelForCausalLM.from_pretrained(tmp_path).state_dict()
    (tmp_path / "model.safetensors").unlink()
    torch.save(state, tmp_path / "pytorch_model.bin")
    with pytest.raises(ModelLoadError, match="safetensors"):
        load(tmp_path)
    assert load(tmp_path, allow_pickle=True).describe()["allow_pickle"] is True


def test_sharded_checkpoints_load(tmp_path):
    """Several safetensors files with an index give the same model."""
    save_language_model(tmp_path, max_shard_size="20KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    assert load(tmp_path).describe()["parameters"] > 0


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("no/such/directory", "no such directory"),
        ("./nowhere", "no such directory"),
        ("missing.gguf", "no such GGUF file"),
    ],
)
def test_absent_models_say_what_is_wrong(source, message):
    """A path that does not exist is told apart from a hub id."""
    with pytest.raises(ModelLoadError, match=message):
        load(source)


def test_damaged_and_foreign_files_are_refused_before_loading(tmp_path):
    """A text file called .gguf, an empty directory and a truncated checkpoint each get one clear line."""
    fake = tmp_path / "fake.gguf"
    fake.write_text("hello")
    with pytest.raises(ModelLoadError, match="not a GGUF file"):
        load(fake)
    with pytest.raises(ModelLoadError, match=r"config\.json"):
        load(tmp_path)
    broken = save_language_model(tmp_path / "broken")
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(ModelLoadError, match="broken"):
        load(broken)


def test_unknown_options_and_dtypes_are_errors(pair):
    """The message lists what is known."""
    with pytest.raises(ModelLoadError, match="trust_remote_code"):
        load(pair[0], colour="red")
    with pytest.raises(ModelLoadError, match="bfloat16"):
        load(pair[0], dtype="int3")


def test_recurrent_models_are_refused_because_they_cannot_be_rolled_back(tmp_path):
    """A Mamba checkpoint is a clear error at load time, not wrong logits later."""
    config = transformers.MambaConfig(vocab_size=261, hidden_size=16, num_hidden_layers=2, state_size=4)
    transformers.MambaForCausalLM(config).save_pretrained(tmp_path)
    make_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(ModelLoadError, match="rolled back"):
        load(tmp_path)


def test_remote_code_is_never_run_unasked(tmp_path):
    """A checkpoint that names its own code is refused, and the code is not imported."""
    import json

    save_language_model(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config |= {"auto_map": {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"}, "model_type": "evil"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(ModelLoadError):
        load(tmp_path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("template", [True, False])
@pytest.mark.parametrize("add_bos", [True, False])
def test_bos_stands_at_most_once(template, add_bos):
    """Template and tokenizer may each add it; together they add one."""
    tokenizer = make_tokenizer(add_bos=add_bos, **({} if template else {"chat_template": None}))
    ids = HFCodec(tokenizer).render([{"role": "user", "content": "hello"}])
    assert ids.count(256) == int(template or add_bos)
    assert ids[0] == 256 or not (template or add_bos)


def test_text_of_a_step_cannot_smuggle_in_special_tokens():
    """Special tokens inside a step are encoded as characters; the separator stays one token."""
    codec = HFCodec(make_tokenizer())
    ids = codec.encode("a<|end|>b\n\n")
    assert not codec.eos_ids & set(ids)
    assert codec.decode(ids) == "a<|end|>b\n\n"
    assert len(codec.encode("\n\n")) == 1


def test_turn_ends_of_chat_models_end_a_sequence():
    """Ids from the generation config and well-known turn ends count besides the tokenizer's own."""
    tokenizer = make_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_end|>"]})
    codec = HFCodec(tokenizer, [7])
    assert codec.eos_ids == {257, 7, tokenizer.convert_tokens_to_ids("<|im_end|>")}


def test_sliding_window_layers_count_as_attention():
    """They roll back exactly because the whole sequence is kept and masked."""
    from arbitrage.backends.hf.cache import attention_layers

    assert attention_layers(make_config("mistral-sliding"), "x") == 3


def test_two_models_loaded_apart_share_a_vocabulary(pair):
    """Equal tokenizers from different directories pass the check; a different one is named token by token."""
    from arbitrage.errors import VocabularyMismatchError
    from arbitrage.requirements import check_vocabularies

    draft, target = map(load, pair)
    check_vocabularies(draft, target)
    tokenizer = make_tokenizer()
    tokenizer.add_tokens(["extra"])
    draft.codec = HFCodec(tokenizer)
    with pytest.raises(VocabularyMismatchError, match="extra"):
        check_vocabularies(draft, target)


def test_a_model_without_its_head_is_refused_and_not_filled_with_random_numbers(tmp_path):
    """A language model given as PRM has no classification head: what a random one says would look like a score."""
    save_language_model(tmp_path)
    with pytest.raises(ModelLoadError, match=r"not a LlamaForTokenClassification: its weights lack score"):
        HFBackend().scorer(str(tmp_path), "cpu", family="token-classification")


def test_a_classifier_of_three_labels_is_no_reward_model(tmp_path):
    """The score is read at label 1 of two."""
    config = make_config("llama", num_labels=3)
    transformers.LlamaForTokenClassification(config).save_pretrained(tmp_path)
    make_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(ModelLoadError, match="3 labels; a PRM or router of trl has two"):
        HFBackend().scorer(str(tmp_path), "cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.parametrize("device", ["cuda", "cuda:9", "mps"])
def test_a_device_that_is_not_there_is_an_error_of_this_package(pair, device):
    """Torch raises assertions and runtime errors; the message names model and device."""
    with pytest.raises(ModelLoadError, match=f"cannot be put on {device}"):
        HFBackend().language_model(str(pair[0]), device)


@pytest.mark.parametrize(("text", "message"), [("{nope", "is not JSON"), ("[1]", "must hold a JSON object")])
def test_a_damaged_sidecar_is_named(tmp_path, text, message):
    """What a person edited by hand is answered with the file's name."""
    save_language_model(tmp_path)
    (tmp_path / "arbitrage.json").write_text(text)
    with pytest.raises(ModelLoadError, match=rf"arbitrage\.json {message}"):
        load(tmp_path)
