"""Every family of process reward models: the incremental score is that of its published format, read at once."""

from __future__ import annotations

import json
import re
import types
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
from tokenizers import Tokenizer  # noqa: E402
from tokenizers.models import WordLevel  # noqa: E402

from arbitrage.backends.hf import FAMILIES, HFBackend, HFCodec, StreamFormat  # noqa: E402
from arbitrage.backends.hf.families.qwen import QwenEncoder  # noqa: E402
from arbitrage.backends.loading import load_models  # noqa: E402
from arbitrage.errors import ContextOverflowError, ModelLoadError  # noqa: E402
from arbitrage.registry import Registry  # noqa: E402
from arbitrage.types import Role  # noqa: E402
from tests.backends.checkpoints import make_tokenizer, save_language_model  # noqa: E402
from tests.backends.prm_checkpoints import NAMES, SAVE, save_qwen_prm, save_shepherd, save_skywork  # noqa: E402
from tests.backends.prm_references import REFERENCES, skywork  # noqa: E402

PROBLEM = "Janet's ducks lay 16 eggs per day. She eats 3. How many are left? What is \\frac{1}{2}?"
STEPS = [
    "Step 1: 16 - 3 = 13 eggs are left.",
    "12 + 1 = 13, so x = 13.",
    "\\boxed{13}",
    "We add:\n3/6 + 2/6 = 5/6.",
    "The answer is (5).",
    "- minus + plus ки",
]


@pytest.fixture(scope="module", params=list(SAVE))
def family(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def checkpoint(family, tmp_path_factory):
    """A checkpoint as the hub has it, under its name there."""
    return SAVE[family](tmp_path_factory.mktemp("hub") / NAMES[family])


def load(directory, **options):
    """By the public way."""
    options = {"allow_pickle": True, "dtype": "float32", **options}
    prm = load_models("hf", roles=[Role.PRM], prm=f"hf:{directory}@cpu", **options).prm
    assert prm is not None
    return prm


@pytest.fixture(scope="module", params=[True, False], ids=["lean", "transformers"])
def scorer(request, checkpoint):
    return load(checkpoint, lean=request.param)


def test_the_families_of_the_tests_are_all_there_are():
    """A family without a reference would go unchecked."""
    assert set(FAMILIES) == set(SAVE) == set(REFERENCES)


def test_scores_equal_the_published_format_after_any_history(scorer, family, checkpoint):
    """Random histories of score, commit, discard and append agree with one pass over all ids, to 1e-5."""
    rng = np.random.default_rng(1)
    checked = 0
    for _ in range(6):
        committed: list[str] = []
        with scorer.open(PROBLEM) as session:
            for _ in range(int(rng.integers(2, 7))):
                step = STEPS[int(rng.integers(len(STEPS)))]
                wanted = REFERENCES[family](checkpoint, PROBLEM, [*committed, step])
                assert session.score(step, "draft") == pytest.approx(wanted, abs=1e-5)
                checked += 1
                action = int(rng.integers(4))
                if action == 0:
                    session.discard()
                elif action == 1:
                    other = STEPS[int(rng.integers(len(STEPS)))]
                    session.append(other, "target")
                    committed.append(other)
                else:
                    session.commit()
                    committed.append(step)
    assert checked > 15


def test_scores_differ_between_steps_and_problems(scorer):
    """A readout that looks at a constant would pass no other test by luck."""
    with scorer.open(PROBLEM) as session:
        scores = {round(session.score(step, "draft"), 6) for step in STEPS}
    with scorer.open("Another problem.") as session:
        scores.add(round(session.score(STEPS[0], "draft"), 6))
    assert len(scores) == len(STEPS) + 1


def test_a_step_costs_its_own_tokens(scorer):
    """Long after the beginning a step runs only what is new, discarded versions included."""
    with scorer.open(PROBLEM) as session:
        for step in STEPS:
            session.score(step, "draft")
            session.commit()
        before = session.usage.tokens
        session.score("short", "draft")
        session.score("other", "target")
        own = sum(len(scorer.encoder.step(step, "draft")) for step in ("short", "other"))
        assert session.usage.tokens - before <= own < 40
        assert session.usage.repeated == 0


def test_what_does_not_fit_is_dropped_from_the_oldest_step_on(scorer, family, checkpoint):
    """Beyond the context the score is that of the problem and the newest steps, told from the first of them on."""
    steps = [f"{STEPS[i % 6]} And again, number {i}: {STEPS[(i + 1) % 6]}" for i in range(18)]
    with scorer.open(PROBLEM) as session:
        for step in steps[:-1]:
            session.append(step, "draft")
        score = session.score(steps[-1], "draft")
        kept = len(session._steps)
        assert 1 <= kept < len(steps) - 1
        assert len(session._sequence.ids) <= scorer.network.context_length
        wanted = REFERENCES[family](checkpoint, PROBLEM, steps[-1 - kept :])
        assert score == pytest.approx(wanted, abs=1e-5)
        session.commit()
        again = session.score("The end.", "draft")
        kept = len(session._steps)
        assert again == pytest.approx(REFERENCES[family](checkpoint, PROBLEM, [*steps[-kept:], "The end."]), abs=1e-5)
        alone = "q" * (scorer.network.context_length - len(session._head) - 20)
        assert session.score(alone, "draft") == pytest.approx(
            REFERENCES[family](checkpoint, PROBLEM, [alone]), abs=1e-5
        )
        assert not session._steps
        with pytest.raises(ContextOverflowError, match="context"):
            session.score("x" * 600, "draft")


def test_the_family_is_found_and_the_manifest_says_how(scorer, family):
    """By tensors or architecture; plain language models only by their name, which the manifest calls by that."""
    facts = scorer.describe()
    assert facts["family"] == family
    by = {"skywork": "v_head.summary.weight", "qwen-prm": "score.0.weight", "token-classification": "architecture"}
    by["trl"] = "without a stream"
    assert by.get(family, "its name") in facts["family_by"]
    assert facts["trust_remote_code"] is False


def test_our_own_forward_pass_is_used_where_the_architecture_allows(checkpoint):
    """Heads of one layer, of two, and vocabularies."""
    assert load(checkpoint).describe()["forward"].startswith("lean")


def test_option_and_sidecar_choose_the_family_and_the_option_wins(family, tmp_path):
    """Under a name that says nothing every family can be told, and a wrong one is an error or says so in the facts."""
    directory = SAVE[family](tmp_path / "x")
    told = load(directory, prm_family=family)
    assert (told.describe()["family"], told.describe()["family_by"]) == (family, "the option family")
    (directory / "arbitrage.json").write_text(json.dumps({"family": family, "thresholds": {"0.5": 0.25}}))
    told = load(directory)
    assert (told.describe()["family"], told.describe()["family_by"]) == (family, "arbitrage.json")
    assert told.thresholds == {0.5: 0.25}
    (directory / "arbitrage.json").write_text(json.dumps({"family": "nobody"}))
    with pytest.raises(ModelLoadError, match="no family of PRMs named 'nobody'; there are: skywork, qwen-prm"):
        load(directory)
    assert load(directory, prm_family=family).describe()["family"] == family


@pytest.mark.parametrize("files", ["safetensors", "safetensors-sharded", "bin", "bin-sharded"])
def test_every_layout_of_files_gives_the_same_scores(family, files, tmp_path):
    """One file or several with an index, tensors or pickles."""
    directory = SAVE[family](tmp_path / NAMES[family], files)
    with load(directory).open(PROBLEM) as session:
        score = session.score(STEPS[0], "draft")
    assert score == pytest.approx(REFERENCES[family](directory, PROBLEM, STEPS[:1]), abs=1e-5)
    if files.startswith("bin"):
        with pytest.raises(ModelLoadError, match=r"pickles \(pytorch_model.*allow_pickle=True"):
            load(directory, allow_pickle=False)


def test_the_code_that_comes_with_a_qwen_prm_is_not_run(tmp_path):
    """Its configuration names Python files; the weights are read without them."""
    directory = save_qwen_prm(tmp_path / "prm")
    load(directory)
    assert list(directory.glob("*.py"))
    assert not (directory / "ran").exists()


def test_pickles_that_run_code_are_not_run_even_when_pickles_are_allowed(tmp_path):
    """Only tensors are unpickled."""

    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    directory = save_skywork(tmp_path / "prm", "bin")
    torch.save({"model.norm.weight": Evil()}, directory / "pytorch_model.bin")
    with pytest.raises(ModelLoadError, match=r"[Ww]eights.only"):
        load(directory)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("separator", ["\n", "\n\n"])
@pytest.mark.parametrize("by", ["option", "sidecar"])
def test_the_separator_of_skywork_is_a_choice(separator, by, tmp_path):
    """A newline in its model card, a blank line in RSD and Arbitrage; the default is the blank line."""
    directory = save_skywork(tmp_path)
    if by == "sidecar":
        (directory / "arbitrage.json").write_text(json.dumps({"stream": {"separator": separator}}))
    prm = load(directory, **({"prm_separator": separator} if by == "option" else {}))
    with prm.open(PROBLEM) as session:
        session.append(STEPS[0], "draft")
        score = session.score(STEPS[1], "draft")
    wanted, other = (
        skywork(directory, PROBLEM, STEPS[:2], one) for one in (separator, {"\n": "\n\n"}.get(separator, "\n"))
    )
    assert score == pytest.approx(wanted, abs=1e-5)
    assert abs(wanted - other) > 1e-4


def test_a_separator_where_the_format_has_its_own_is_an_error(tmp_path):
    """The user thinks of another model."""
    with pytest.raises(ModelLoadError, match="leave out separator"):
        load(save_qwen_prm(tmp_path), prm_separator="\n")


@pytest.mark.parametrize("prefix", ["", "pretrained_model."])
@pytest.mark.parametrize("bos", [None, "<|endoftext|>"])
def test_skywork_with_and_without_prefix_and_bos(prefix, bos, tmp_path):
    """Both are seen in the wild."""
    directory = save_skywork(tmp_path, prefix=prefix, bos=bos)
    with load(directory).open(PROBLEM) as session:
        assert session.score(STEPS[0], "draft") == pytest.approx(skywork(directory, PROBLEM, STEPS[:1]), abs=1e-5)


@pytest.mark.parametrize("family", ["math-shepherd", "rlhflow"])
def test_white_space_around_steps_is_not_read_where_the_published_scripts_strip_it(family, tmp_path):
    """Of the problem neither; inside a step it is."""
    directory = SAVE[family](tmp_path / NAMES[family])
    scorer = load(directory)
    scores = []
    for problem, step in ((PROBLEM, STEPS[1]), (f"\n {PROBLEM} \n", f"  {STEPS[1]}\n\n"), (PROBLEM, f"x  {STEPS[1]}")):
        with scorer.open(problem) as session:
            session.append(STEPS[0], "draft")
            scores.append(session.score(step, "draft"))
    assert scores[0] == pytest.approx(REFERENCES[family](directory, PROBLEM, STEPS[:2]), abs=1e-5)
    assert scores[1] == scores[0] != pytest.approx(scores[2], abs=1e-7)


def test_all_ids_of_a_separator_are_read_where_trl_put_them(tmp_path):
    """Ours reads the last of them only; both are asked for by name."""
    directory = SAVE["trl"](tmp_path)
    long = "\n\n## Next:\n"
    for family in ("trl", "token-classification"):
        (directory / "arbitrage.json").write_text(json.dumps({"family": family, "stream": {"separator": long}}))
        with load(directory).open(PROBLEM) as session:
            session.append(STEPS[0], "draft")
            wanted = REFERENCES[family](directory, PROBLEM, STEPS[:2], long)
            assert session.score(STEPS[1], "draft") == pytest.approx(wanted, abs=1e-5)


def test_sliding_windows_of_mistral_are_kept(tmp_path):
    """Math-Shepherd has one; steps beyond it are not seen, neither incrementally nor at once."""
    directory = save_shepherd(tmp_path / "math-shepherd-prm", "safetensors", window=24)
    scorer = load(directory)
    assert scorer.describe()["forward"] == "transformers"
    with scorer.open(PROBLEM) as session:
        for number, step in enumerate(STEPS):
            wanted = REFERENCES["math-shepherd"](directory, PROBLEM, STEPS[: number + 1])
            assert session.score(step, "draft") == pytest.approx(wanted, abs=1e-5)
            session.commit()


def _without(directory, name):
    from safetensors.torch import load_file, save_file

    states = load_file(directory / "model.safetensors")
    del states[name]
    save_file(states, directory / "model.safetensors", metadata={"format": "pt"})
    return directory


@pytest.mark.parametrize(
    ("family", "name"),
    [
        ("skywork", "v_head.summary.bias"),
        ("qwen-prm", "score.2.weight"),
        ("token-classification", "score.weight"),
        ("math-shepherd", "model.layers.1.mlp.up_proj.weight"),
    ],
)
def test_missing_weights_are_named_as_the_checkpoint_would(family, name, tmp_path):
    """They would be filled with random numbers."""
    directory = _without(SAVE[family](tmp_path / NAMES[family], "safetensors"), name)
    with pytest.raises(ModelLoadError, match=rf"its weights lack {name}"):
        load(directory)


def test_weights_of_other_shapes_are_an_error(tmp_path):
    """A configuration of another size."""
    directory = save_skywork(tmp_path)
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps({**config, "hidden_size": 64}))
    with pytest.raises(ModelLoadError, match=r"config\.json: model.* has the shape \(.*32.*\), not \(.*64.*; \d+ more"):
        load(directory)


def test_a_checkpoint_that_says_nothing_asks_for_its_family(tmp_path):
    """A language model under a name of its own may be anything."""
    directory = save_language_model(tmp_path / "model")
    with pytest.raises(ModelLoadError, match=r"nothing in it says.*skywork, qwen-prm.*--prm-family"):
        load(directory)


def test_a_checkpoint_that_says_two_things_asks_for_its_family(tmp_path):
    """A value head and a classifier's architecture."""
    directory = save_skywork(tmp_path)
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps({**config, "architectures": ["Qwen2ForTokenClassification"]}))
    with pytest.raises(ModelLoadError, match=r"v_head\.summary\.weight \(skywork\).*do not go together.*family="):
        load(directory)
    assert load(directory, prm_family="skywork").describe()["family"] == "skywork"


def test_a_family_that_the_tokenizer_cannot_serve_is_an_error(tmp_path):
    """Read as Qwen or RLHFlow, a checkpoint without tag or template would score noise."""
    directory = save_shepherd(tmp_path, "safetensors")
    with pytest.raises(ModelLoadError, match="no chat template"):
        load(directory, prm_family="rlhflow")
    with pytest.raises(ModelLoadError, match="not a Qwen2ForProcessRewardModel"):
        load(directory, prm_family="qwen-prm")
    with pytest.raises(ModelLoadError, match="a token <extra_0>; it has not"):
        QwenEncoder(HFCodec(make_tokenizer()), StreamFormat())


def test_signs_that_are_one_token_are_an_error():
    """Plus and minus both unknown: every score would be one half."""
    tokenizer = Tokenizer(WordLevel({"<unk>": 0, "a": 1}, unk_token="<unk>"))
    codec = HFCodec(transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>"))
    with pytest.raises(ModelLoadError, match=r'"\+" and "-"'):
        FAMILIES["math-shepherd"].readout(codec)


def test_loading_is_quiet(tmp_path, capfd):
    """A value head beside a language model's is no reason for a report."""
    load(save_skywork(tmp_path))
    assert "REPORT" not in "".join(capfd.readouterr())


def test_language_models_have_no_family(tmp_path):
    """The option is for scorers; a run gives it to its PRM only."""
    directory = save_language_model(tmp_path)
    with pytest.raises(ModelLoadError, match="prm_family"):
        HFBackend().language_model(str(directory), "cpu", family="skywork")


def test_the_family_of_ones_own_in_the_documentation_works(tmp_path):
    """The page's plugin, word for word; its score is that of the stream it describes."""
    page = (Path(__file__).parents[2] / "docs" / "prms.md").read_text(encoding="utf-8")
    plugin = types.ModuleType("plugin")
    exec(re.search(r"```python\n(.*?)```", page, re.DOTALL)[1], plugin.__dict__)
    known = Registry([("mine", plugin)])
    directory = SAVE["token-classification"](tmp_path)
    scorer = known.scorer("bracketed")(str(directory))
    tokenizer = transformers.AutoTokenizer.from_pretrained(directory)
    ids = [token for text in (f"{PROBLEM}\n", "[one]", "[two]") for token in tokenizer.encode(text)]
    with torch.inference_mode():
        row = scorer.network.module(input_ids=torch.tensor([ids])).logits[0, -1]
    with scorer.open(PROBLEM) as session:
        session.append("one", "draft")
        assert session.score("two", "draft") == pytest.approx(float(row.softmax(-1)[1]), abs=1e-5)


@pytest.mark.parametrize("family", list(FAMILIES))
def test_the_documentation_names_every_family(family):
    """In its table."""
    page = (Path(__file__).parents[2] / "docs" / "prms.md").read_text(encoding="utf-8")
    assert f"| `{family}` |" in page


@pytest.mark.parametrize(
    "name",
    ["RLHFlow/LLaMA3-iterative-DPO-final", "RLHFlow/Llama3.1-8B-ORM-Mistral-Data", "math-shepherd/mistral-7b-sft"],
)
def test_neither_owner_nor_folder_makes_a_model_a_prm(name):
    """A policy or outcome model of the same owner, or in a folder of that name, was taken for a PRM."""
    from arbitrage.backends.hf.families.detection import by_name

    with pytest.raises(ModelLoadError, match="family="):
        by_name(name)
    assert by_name("RLHFlow/Llama3.1-8B-PRM-Mistral-Data") == "rlhflow"
    assert by_name("/models/peiyi9979/math-shepherd-mistral-7b-prm") == "math-shepherd"
