"""The gptq backend: bundled and fresh checkpoints, the layout of auto-gptq, and what is not GPTQ."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("gptqmodel")

from arbitrage.backends.bundled import bundled_path  # noqa: E402
from arbitrage.backends.gptq import GPTQBackend  # noqa: E402
from arbitrage.backends.gptq.checkpoint import as_hub_checkpoint  # noqa: E402
from arbitrage.backends.gptq.quantize import quantize  # noqa: E402
from arbitrage.backends.hf import HFBackend  # noqa: E402
from arbitrage.backends.hf.loading import Source  # noqa: E402
from arbitrage.errors import ModelLoadError  # noqa: E402
from arbitrage.harness.synthetic import Split, benchmark_split, generate  # noqa: E402
from arbitrage.interfaces import Settings  # noqa: E402

PROBLEMS = benchmark_split()


def load(path):
    return GPTQBackend().language_model(str(path), "cpu", dtype="float32", threads=1)


def logits(model, problem=PROBLEMS[0]):
    prompt = Settings(instruction="").prompt(problem.problem, model)
    solution = model.codec.encode(problem.solution)
    with model.open(prompt) as session:
        return session.extend(solution, logits=len(solution))


@pytest.fixture(scope="module")
def bundled():
    """The bundled target in 4 bits."""
    return load(bundled_path("target-gptq4"))


def test_the_bundled_target_in_4_bits_is_close_to_the_target(bundled):
    """Most next tokens of worked solutions are the same, though the weights are a quarter of the size."""
    plain = HFBackend().language_model(str(bundled_path("target")), "cpu", dtype="float32")
    agreed = [logits(bundled, p).argmax(-1) == logits(plain, p).argmax(-1) for p in PROBLEMS[:10]]
    assert np.concatenate(agreed).mean() > 0.95
    weights = [sum(f.stat().st_size for f in bundled_path(n).glob("*.safetensors")) for n in ("target-gptq4", "target")]
    assert weights[0] < 0.45 * weights[1]


def test_the_manifest_names_bits_group_and_kernel(bundled):
    """What a result depends on."""
    facts = bundled.describe()
    assert (facts["backend"], facts["bits"], facts["group_size"], facts["act_order"]) == ("gptq", 4, 128, False)
    assert "Linear" in facts["kernel"]
    plain = HFBackend().language_model(str(bundled_path("target")), "cpu")
    assert facts["parameters"] == pytest.approx(plain.describe()["parameters"], rel=0.01)
    assert json.loads(json.dumps(facts))


def test_the_layout_of_auto_gptq_is_read(bundled, tmp_path):
    """Settings in quantize_config.json only, weights under a name of their own; nothing is written into the folder."""
    folder = tmp_path / "old"
    shutil.copytree(bundled_path("target-gptq4"), folder)
    config = json.loads((folder / "config.json").read_text())
    settings = config.pop("quantization_config")
    (folder / "config.json").write_text(json.dumps(config))
    old = {key: settings[key] for key in ("bits", "group_size", "desc_act", "sym")}
    old |= {"damp_percent": 0.01, "static_groups": False, "true_sequential": True, "model_name_or_path": None}
    (folder / "quantize_config.json").write_text(json.dumps(old))
    (folder / "model.safetensors").rename(folder / "gptq_model-4bit-128g.safetensors")
    before = sorted(f.name for f in folder.iterdir())
    model = load(folder)
    assert model.name == "old"
    np.testing.assert_array_equal(logits(model), logits(bundled))
    assert sorted(f.name for f in folder.iterdir()) == before


def test_pickled_weights_are_refused(tmp_path):
    """auto-gptq could also write .bin files."""
    folder = tmp_path / "pickled"
    shutil.copytree(bundled_path("target-gptq4"), folder)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelLoadError):
        load(folder)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (None, "no GPTQ settings"),
        ({"quant_method": "awq", "bits": 4}, "awq"),
        ({"quant_method": "gptq"}, "no GPTQ settings"),
        ("four bits", "no GPTQ settings"),
    ],
)
def test_what_is_not_gptq_is_told_apart(tmp_path, settings, message):
    """With what to do instead."""
    folder = tmp_path / "other"
    shutil.copytree(bundled_path("draft"), folder)
    config = json.loads((folder / "config.json").read_text())
    if settings is not None:
        config["quantization_config"] = settings
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelLoadError, match=message):
        load(folder)


def test_the_standard_layout_is_read_in_place():
    """No temporary folder where none is needed."""
    source = Source(str(bundled_path("target-gptq4")))
    with as_hub_checkpoint(source) as (readable, settings):
        assert readable is source
        assert settings["bits"] == 4


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("bits", "group", "act_order"), [(4, 32, True), (4, 64, False), (3, 128, False)])
def test_checkpoints_made_here_load_and_still_know_something(tmp_path, bits, group, act_order):
    """The draft in other bits and groups, with and without act-order: near the draft, and repeatable."""
    problems = [p for p, _ in zip(generate(Split.TRAIN, 9), range(48), strict=False)]
    out = tmp_path / "quantised"
    quantize(bundled_path("draft"), out, problems, bits=bits, group_size=group, act_order=act_order)
    assert not list(tmp_path.glob("*.partial"))
    assert "/" not in json.dumps(json.loads((out / "config.json").read_text())["quantization_config"]["meta"])
    model = load(out)
    facts = model.describe()
    assert (facts["bits"], facts["group_size"], facts["act_order"]) == (bits, group, act_order)
    assert model.instruction == ""
    plain = HFBackend().language_model(str(bundled_path("draft")), "cpu", dtype="float32")
    agreed = [logits(model, p).argmax(-1) == logits(plain, p).argmax(-1) for p in PROBLEMS[:10]]
    assert np.concatenate(agreed).mean() > (0.9 if bits == 4 else 0.75)
    with pytest.raises(ModelLoadError, match="exists"):
        quantize(bundled_path("draft"), out, problems)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"bits": 5}, "bits"), ({"group_size": 48}, "group_size"), ({"problems": []}, "calibrate")],
)
def test_settings_that_make_no_checkpoint_are_refused(tmp_path, arguments, message):
    """Before anything is loaded."""
    with pytest.raises(ModelLoadError, match=message):
        quantize(bundled_path("draft"), tmp_path / "x", **{"problems": PROBLEMS[:2], **arguments})


def test_without_the_extra_the_message_names_it():
    """In a process where gptqmodel cannot be imported."""
    code = (
        "import sys; sys.modules['gptqmodel'] = None\n"
        "from arbitrage.errors import MissingExtraError\n"
        "try:\n    import arbitrage.backends.gptq\n"
        "except MissingExtraError as e:\n    print(e)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "arbitrage-decoding[gptq]" in done.stdout
