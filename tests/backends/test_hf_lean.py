"""The lean forward pass is the module's own function, for one sequence and for many of any lengths at once."""

from __future__ import annotations

import threading

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from arbitrage.backends.hf import lean as lean_module  # noqa: E402
from arbitrage.backends.hf.engine import Network  # noqa: E402
from arbitrage.backends.hf.graphs import GraphedDecoder  # noqa: E402
from arbitrage.backends.hf.key_values import KeyValues  # noqa: E402
from arbitrage.backends.hf.lean import LeanDecoder, Pass, fits  # noqa: E402
from arbitrage.backends.hf.linear import Opaque, Packed, Plain, join  # noqa: E402
from tests.backends.checkpoints import SIZES  # noqa: E402

LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 4.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
KINDS = {
    "llama": lambda: transformers.LlamaConfig(**SIZES),
    "llama with biases": lambda: transformers.LlamaConfig(**SIZES, attention_bias=True, mlp_bias=True),
    "llama, wide heads, tied": lambda: transformers.LlamaConfig(**SIZES, head_dim=16, tie_word_embeddings=True),
    "llama 3 rotation": lambda: transformers.LlamaConfig(**SIZES, rope_parameters=LLAMA3),
    "qwen2": lambda: transformers.Qwen2Config(**SIZES),
    "mistral": lambda: transformers.MistralConfig(**SIZES, sliding_window=None),
    "every head its own": lambda: transformers.LlamaConfig(**{**SIZES, "num_key_value_heads": 4}),
}


def make(config, classifier=False, seed=0):
    """A random model with distinct norms and biases, in evaluation mode."""
    auto = transformers.AutoModelForTokenClassification if classifier else transformers.AutoModelForCausalLM
    torch.manual_seed(seed)
    module = auto.from_config(config).eval()
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.add_(torch.randn_like(parameter) * (0.3 if "norm" in name or "bias" in name else 0.1))
    return module


def wanted(module, ids):
    """All rows by one plain pass of the module."""
    with torch.inference_mode():
        return module(input_ids=torch.tensor([ids]), use_cache=False).logits[0].float()


def some_ids(count, seed=0):
    return np.random.default_rng(seed).integers(0, SIZES["vocab_size"], count).tolist()


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_it_is_the_module_s_function(monkeypatch, kind, packed):
    """One pass, single tokens and uneven pieces give the rows of one plain pass, in both weight layouts."""
    if not packed:
        monkeypatch.setattr(lean_module, "_PACKED_UP_TO", 0)
    module = make(KINDS[kind]())
    ids = some_ids(90)
    before = wanted(module, ids)
    lean = LeanDecoder.of(module)
    assert lean is not None
    assert lean.packed is packed
    cache, rows, at = lean.new_cache(), [], 0
    for size in (40, 1, 1, 7, 2, 1, 38):
        rows.append(lean.run([Pass(ids[at : at + size], cache, size)])[0])
        at += size
    torch.testing.assert_close(torch.cat(rows), before, atol=3e-4, rtol=1e-3)
    torch.testing.assert_close(wanted(module, ids), before, atol=1e-5, rtol=1e-5)  # the module itself still works


def test_classifiers_are_read_with_their_bias():
    """A token classifier's two labels at every position."""
    module = make(transformers.Qwen2Config(**SIZES, num_labels=2), classifier=True)
    lean = LeanDecoder.of(module)
    assert lean is not None
    rows = lean.run([Pass(some_ids(30), lean.new_cache(), 30)])[0]
    torch.testing.assert_close(rows, wanted(module, some_ids(30)), atol=3e-4, rtol=1e-3)


@pytest.mark.parametrize("packed", [True, False])
def test_sequences_of_any_lengths_go_together(monkeypatch, packed):
    """Ragged passes, some with one token and some with many, give what each sequence gets alone."""
    if not packed:
        monkeypatch.setattr(lean_module, "_PACKED_UP_TO", 0)
    module = make(KINDS["qwen2"]())
    lean = LeanDecoder.of(module)
    rng = np.random.default_rng(3)
    texts = [some_ids(120, seed) for seed in range(7)]
    caches, at = [lean.new_cache() for _ in texts], [0] * len(texts)
    for _ in range(9):
        taking = [i for i in range(len(texts)) if rng.random() < 0.8] or [0]
        sizes = [int(rng.choice([1, 1, 1, 2, 5, 12])) for _ in taking]
        passes = [
            Pass(texts[i][at[i] : at[i] + n], caches[i], int(rng.integers(1, n + 1)))
            for i, n in zip(taking, sizes, strict=True)
        ]
        for i, n, one, rows in zip(taking, sizes, passes, lean.run(passes), strict=True):
            at[i] += n
            assert caches[i].length == at[i]
            expected = wanted(module, texts[i][: at[i]])[-one.keep :]
            torch.testing.assert_close(rows, expected, atol=3e-4, rtol=1e-3)
        back = int(rng.integers(len(texts)))
        at[back] = min(at[back], max(1, at[back] - 4))
        caches[back].truncate(at[back])


@pytest.mark.parametrize("keep", [1, 5, 40, 130])
def test_long_prompts_are_encoded_in_pieces(monkeypatch, keep):
    """More tokens than go in one piece, beside a short sequence: the rows asked for, whatever piece they are in."""
    monkeypatch.setattr(lean_module, "_LONGEST", 32)
    module = make(KINDS["llama"]())
    lean = LeanDecoder.of(module)
    long, short = some_ids(130, 1), some_ids(5, 2)
    rows = lean.run([Pass(long, lean.new_cache(), keep), Pass(short, lean.new_cache(), 5)])
    torch.testing.assert_close(rows[0], wanted(module, long)[-keep:], atol=3e-4, rtol=1e-3)
    torch.testing.assert_close(rows[1], wanted(module, short), atol=3e-4, rtol=1e-3)


@pytest.mark.parametrize(
    "config",
    [
        transformers.MistralConfig(**SIZES, sliding_window=16),
        transformers.LlamaConfig(**SIZES, hidden_act="gelu"),
        transformers.LlamaConfig(**SIZES, rope_parameters={"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}),
        transformers.GPT2Config(vocab_size=261, n_embd=32, n_layer=2, n_head=4, n_positions=512),
    ],
    ids=["sliding window", "other activation", "rotation that depends on the length", "other architecture"],
)
def test_what_it_does_not_know_runs_in_the_module(config):
    """Other functions are left to transformers, with the same rows."""
    module = make(config)
    assert not fits(module)
    network = Network(module, "some")
    assert network.lean is None
    cache, ids = network.new_cache(), some_ids(60)
    cache.forward(ids[:50], 1)
    rows = cache.forward(ids[50:], 10)
    np.testing.assert_allclose(rows, wanted(module, ids)[-10:].numpy(), atol=3e-4, rtol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_module_that_computes_something_else_is_found_out(dtype):
    """Same configuration, other arithmetic (here: a doubled layer output): the comparison at loading notices."""
    module = make(KINDS["llama"]()).to(dtype)
    mlp = module.model.layers[1].mlp
    mlp.__class__ = type("Doubled", (type(mlp),), {"forward": lambda self, x: 2 * super(type(self), self).forward(x)})
    assert fits(module)
    assert LeanDecoder.of(module) is None


@pytest.mark.parametrize(("noise", "same"), [(0.02, True), (0.1, False)])
def test_rounding_in_half_precision_is_not_taken_for_another_function(monkeypatch, noise, same):
    """Of a million outputs some are far off by rounding alone: Qwen2.5 0.5B in bfloat16 ran without batches for it."""
    module = make(transformers.Qwen2Config(**{**SIZES, "vocab_size": 100_000})).to(torch.bfloat16)
    scale = float(wanted(module, some_ids(12)).std())
    exact = LeanDecoder.run

    def rounded(lean, passes):
        torch.manual_seed(0)
        return [rows + noise * scale * torch.randn(rows.shape) for rows in exact(lean, passes)]

    assert noise * torch.randn(12 * 100_000, generator=torch.Generator().manual_seed(0)).abs().max() > 0.09
    monkeypatch.setattr(LeanDecoder, "run", rounded)
    assert (LeanDecoder.of(module) is not None) is same


def test_a_module_that_somebody_changed_is_left_alone():
    """Hooks and methods put in by other libraries are not seen in weights."""
    hooked, patched = make(KINDS["llama"]()), make(KINDS["llama"]())
    hooked.model.layers[0].mlp.register_forward_hook(lambda part, given, out: out)
    plain = patched.model.layers[1].mlp.forward
    patched.model.layers[1].mlp.forward = lambda x: plain(x)
    assert not fits(hooked)
    assert not fits(patched)


def test_layers_of_other_kinds_are_asked_and_not_read():
    """A quantised layer has no plain weights; it is called as it is."""

    class Wrapped(torch.nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, x):
            return self.inner(x)

    module = make(KINDS["llama"]())
    before = wanted(module, some_ids(20))
    for layer in module.model.layers:
        layer.self_attn.k_proj = Wrapped(layer.self_attn.k_proj)
        layer.mlp.down_proj = Wrapped(layer.mlp.down_proj)
    lean = LeanDecoder.of(module)
    assert lean is not None
    assert not lean.packed
    rows = lean.run([Pass(some_ids(20), lean.new_cache(), 20)])[0]
    torch.testing.assert_close(rows, before, atol=3e-4, rtol=1e-3)


@pytest.mark.parametrize("rows", [1, 2, 9])
@pytest.mark.parametrize("bias", [None, torch.randn(24)])
def test_all_layouts_of_a_product_agree(rows, bias):
    """Packed, plain and opaque products, with and without something to add them to."""
    weight, x, residual = torch.randn(24, 16), torch.randn(rows, 16), torch.randn(rows, 24)
    expected = x @ weight.t() + (0 if bias is None else bias)
    plain = Plain(weight, bias)
    for product in (Packed(weight, bias), plain, Opaque([plain])):
        torch.testing.assert_close(product(x), expected, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(product.onto(x, residual), expected + residual, atol=1e-5, rtol=1e-5)


def test_joined_layers_share_their_memory():
    """Joining copies nothing that stays: the layers look into the joined weights; a missing bias counts as zero."""
    layers = [torch.nn.Linear(8, 4), torch.nn.Linear(8, 6, bias=False)]
    x = torch.randn(3, 8)
    expected = torch.cat([layer(x) for layer in layers], -1)
    joined = join(layers)
    torch.testing.assert_close(joined(x), expected)
    start = joined.weight.untyped_storage().data_ptr()
    assert all(layer.weight.untyped_storage().data_ptr() == start for layer in layers)


def test_the_buffer_keeps_its_content_when_it_grows_and_is_little_larger_than_what_it_holds():
    """Whatever was written stays when room is made; at most an eighth (or 32 positions) is spare."""
    held = KeyValues(2, 3, 4, torch.float32, torch.device("cpu"))
    reference, most = torch.empty(2, 6, 0, 4), 0
    for size, cut in ((5, 0), (300, 120), (1, 0), (700, 1), (3, 3), (2000, 0)):
        states = torch.randn(2, 6, size, 4)
        held.reserve(held.length + size)
        for index, layer in enumerate(held.layers):
            layer[:, held.length : held.length + size] = states[index]
        held.length += size
        most = max(most, held.length)
        assert held.capacity <= most + max(32, most // 8)
        assert held.bytes == 2 * 6 * held.capacity * 4 * 4
        reference = torch.cat([reference, states], 2)
        assert torch.equal(torch.stack([layer[:, : held.length] for layer in held.layers]), reference)
        held.truncate(held.length - cut)
        reference = reference[:, :, : held.length]


def test_a_pass_that_fails_does_not_spoil_the_others():
    """Together with a token outside of the vocabulary, two sequences get their rows; the third gets the error."""
    module = make(KINDS["llama"]())
    network = Network(module, "some")
    held = [network.lean.new_cache() for _ in range(3)]
    texts = [some_ids(12, 1), [10**6], some_ids(7, 2)]
    answers = network._forward([Pass(ids, cache, 1) for ids, cache in zip(texts, held, strict=True)])
    assert isinstance(answers[1], Exception)
    assert [cache.length for cache in held] == [12, 0, 7]
    for place in (0, 2):
        np.testing.assert_allclose(answers[place], wanted(module, texts[place])[-1:].numpy(), atol=3e-4, rtol=1e-3)


def test_what_cannot_be_recorded_runs_unrecorded():
    """A refused recording costs a warning, once, and no row."""

    def refuse(run):
        raise RuntimeError("operation not permitted when stream is capturing")

    module = make(KINDS["llama"]())
    lean = LeanDecoder.of(module)
    graphed = GraphedDecoder(lean, torch.device("cpu"), refuse)
    cache, ids = graphed.new_cache(), some_ids(20)
    with pytest.warns(UserWarning, match="not recorded"):
        first = graphed.run(Pass(ids[:1], cache, 1))
    second = graphed.run(Pass(ids[1:2], cache, 1))
    torch.testing.assert_close(torch.cat([first, second]), wanted(module, ids[:2]), atol=3e-4, rtol=1e-3)


def test_sessions_in_threads_share_passes_and_write_what_they_write_alone(monkeypatch):
    """Eight threads, one model: the same greedy tokens as one after the other, in fewer passes."""
    module = make(KINDS["llama"](), seed=5)
    network = Network(module, "some")
    sizes = []
    run = network.lean.run
    monkeypatch.setattr(network.lean, "run", lambda passes: sizes.append(len(passes)) or run(passes))
    start = threading.Barrier(8)

    def write(seed, count=40, wait=False):
        ids, cache = some_ids(20 + seed, seed), network.new_cache()
        rows = cache.forward(ids, 1)
        if wait:
            start.wait()
        written = []
        for _ in range(count):
            written.append(int(rows[-1].argmax()))
            rows = cache.forward(written[-1:], 1)
        return written

    alone = [write(seed) for seed in range(8)]
    sizes.clear()
    found = {}
    threads = [threading.Thread(target=lambda s=s: found.update({s: write(s, wait=True)})) for s in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[seed] for seed in range(8)] == alone
    assert sum(sizes) == 8 * 41
    assert len(sizes) < 8 * 41


class Recorder:
    """Stands in for CUDA graphs: replays by calling again, and counts what it recorded."""

    def __init__(self):
        self.recorded = self.replayed = 0

    def __call__(self, run):
        self.recorded += 1
        output = run().clone()

        def replay():
            self.replayed += 1
            output.copy_(run())
            return output

        return replay


@pytest.mark.parametrize("packed", [True, False])
def test_recorded_passes_give_the_rows_of_plain_ones(monkeypatch, packed):
    """Passes over fixed tensors, replayed at other places and in a buffer that another solution left behind."""
    if not packed:
        monkeypatch.setattr(lean_module, "_PACKED_UP_TO", 0)
    monkeypatch.setattr(torch, "empty", torch.zeros)  # as the buffers of a CUDA device are made
    module = make(KINDS["qwen2"]())
    recorder = Recorder()
    graphed = GraphedDecoder(LeanDecoder.of(module), torch.device("cpu"), recorder)
    for seed in range(3):
        ids, cache, at = some_ids(150, seed), graphed.new_cache(), 0
        for size in (60, 1, 1, 3, 1, 3, 3, 3, 3, 1, 20, 1, 3, 1, 1, 30, 1, 3):
            rows = graphed.run(Pass(ids[at : at + size], cache, min(size, 2)))
            at += size
            assert cache.length == at
            expected = wanted(module, ids[:at])[-min(size, 2) :]
            torch.testing.assert_close(rows, expected, atol=3e-4, rtol=1e-3)
            if size == 20:
                at -= 7
                cache.truncate(at)
        graphed.give_back(cache)
    # Recorded anew only where a buffer grew, and never for the next solution in it.
    assert recorder.recorded <= 2 * 3
    assert recorder.replayed > 3 * 10


def test_a_larger_buffer_is_recorded_anew():
    """A recording reads and writes the buffer that it was made over, and goes with it."""
    module, recorder = make(KINDS["llama"]()), Recorder()
    lean = LeanDecoder.of(module)
    graphed = GraphedDecoder(lean, torch.device("cpu"), recorder)
    cache, ids = graphed.new_cache(), some_ids(100)
    cache.reserve(40)
    cache._buffer.zero_()
    graphed.run(Pass(ids[:39], cache, 1))
    graphed.run(Pass(ids[39:40], cache, 1))
    assert recorder.recorded == 1
    cache.reserve(200)
    cache._buffer[:, :, 40:] = 0
    rows = graphed.run(Pass(ids[40:41], cache, 1))
    assert recorder.recorded == 2
    torch.testing.assert_close(rows, wanted(module, ids[:41])[-1:], atol=3e-4, rtol=1e-3)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_graphs_give_the_rows_of_the_module():
    """On the device itself: prompts, single tokens and short passes of two solutions, one after the other."""
    module = make(KINDS["qwen2"]()).to("cuda")
    network = Network(module, "some")
    assert network.graphs is not None
    for seed in range(2):
        ids, cache, at = some_ids(120, seed), network.new_cache(), 0
        for size in (60, 1, 1, 3, 3, 3, 3, 1, 3, 1, 30, 1):
            rows = cache.forward(ids[at : at + size], size)
            at += size
            with torch.inference_mode():
                expected = module(input_ids=torch.tensor([ids[:at]], device="cuda"), use_cache=False).logits[0]
            np.testing.assert_allclose(rows, expected[-size:].float().cpu().numpy(), atol=2e-3, rtol=2e-3)
        cache.close()
