"""A recurrent GGUF model (a small random Mamba) writes alone; whatever would take tokens back is refused."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("llama_cpp")

import gguf
from transformers import AutoTokenizer

from arbitrage.backends.bundled import bundled_path
from arbitrage.backends.gguf import GGUFBackend
from arbitrage.backends.gguf.export import _write_tokenizer
from arbitrage.errors import CapabilityError
from arbitrage.interfaces import Capability, Models, Settings
from arbitrage.requirements import check_requirements
from arbitrage.seeding import problem_rng
from arbitrage.strategies import RandomRoute, TargetOnly, TokenSD
from arbitrage.testing.backend_conformance import BackendConformance
from arbitrage.types import Problem

WIDTH, INNER, STATE, CONVOLUTION, RANK, VOCABULARY = 64, 128, 8, 4, 4, 512


def save_mamba(path):
    """Two random layers, the bundled tokenizer."""
    rng = np.random.default_rng(0)
    writer = gguf.GGUFWriter(path, "mamba")
    writer.add_context_length(256)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(0)
    writer.add_head_count(0)
    writer.add_block_count(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_ssm_conv_kernel(CONVOLUTION)
    writer.add_ssm_inner_size(INNER)
    writer.add_ssm_state_size(STATE)
    writer.add_ssm_time_step_rank(RANK)
    tokenizer = AutoTokenizer.from_pretrained(bundled_path("draft"))
    _write_tokenizer(writer, tokenizer, VOCABULARY, path)

    def add(name, *shape, scale=0.5):
        writer.add_tensor(name, (rng.normal(size=shape) * scale).astype(np.float32))

    add("token_embd.weight", VOCABULARY, WIDTH)
    add("output_norm.weight", WIDTH)
    for i in range(2):
        block = f"blk.{i}."
        add(block + "attn_norm.weight", WIDTH)
        add(block + "ssm_in.weight", 2 * INNER, WIDTH, scale=0.2)
        add(block + "ssm_conv1d.weight", INNER, CONVOLUTION)
        add(block + "ssm_conv1d.bias", INNER)
        add(block + "ssm_x.weight", RANK + 2 * STATE, INNER, scale=0.2)
        add(block + "ssm_dt.weight", INNER, RANK)
        add(block + "ssm_dt.bias", INNER)
        writer.add_tensor(block + "ssm_a", -np.abs(rng.normal(size=(INNER, STATE))).astype(np.float32))
        add(block + "ssm_d", INNER)
        add(block + "ssm_out.weight", WIDTH, INNER, scale=0.2)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def load(path):
    return GGUFBackend().language_model(str(path), "cpu", threads=1)


@pytest.fixture(scope="module")
def mamba(tmp_path_factory):
    """The loaded model."""
    path = tmp_path_factory.mktemp("mamba") / "mamba.gguf"
    save_mamba(path)
    return load(path)


def test_it_offers_logits_and_no_rewind(mamba):
    """Strategies that need it are refused before the first token, by name."""
    assert mamba.capabilities == {Capability.LOGITS}
    models = Models(mamba, mamba, settings=Settings(max_tokens=20))
    for strategy in (RandomRoute(rate=0.5), TokenSD(), TokenSD(proposer="ngram")):
        with pytest.raises(CapabilityError, match="rewind"):
            check_requirements(strategy, models)


def test_it_writes_alone(mamba):
    """Target-only runs over several steps, repeatably."""
    models = Models(target=mamba, settings=Settings(max_tokens=40))
    check_requirements(TargetOnly(), models)
    problem = Problem("p", "What is 2+2?", ("4",))
    texts = {TargetOnly().solve(problem, models, problem_rng(0, "p")).token_ids for _ in range(3)}
    assert len(texts) == 1
    assert len(texts.pop()) > 0


class TestMamba(BackendConformance):
    """It passes the suite; what needs a rewind is skipped."""

    tolerance = 1e-3

    @pytest.fixture(scope="class")
    @classmethod
    def model(cls, tmp_path_factory):
        path = tmp_path_factory.mktemp("mamba") / "mamba.gguf"
        save_mamba(path)
        return load(path)
