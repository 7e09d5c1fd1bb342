"""Time against length of the solution, and memory against the cache that the model itself needs.

python benchmarks/scaling.py --out runs/scaling                    # 4096 tokens, 200 steps, both backends
python benchmarks/scaling.py --tokens 512 --steps 40 --repeats 6   # a few minutes

Decoding: 64 tokens at a time, on and on; seconds a token at each position, fitted by a + b p + c p². Attention over p
positions costs a multiple of p, which is b; c is what must not be there. "Attention alone" is what the same attention
takes outside any model at the last position, less that at the first: b should not be much more. Scoring: a step of some
20 tokens and its commit, fitted likewise over the index of the step. Beside both the stateless way, which encodes
everything anew: how many times as long its stretch of 64 tokens or its step takes at the end.

Memory: what a session adds to the process while it holds so many tokens, over the bytes of their keys and values.
Tensors of torch are counted one by one; of llama.cpp, which allocates for the whole context at once, the memory of the
process. Texts mean nothing here, so the models are taken beyond the length they were trained for.
"""

from __future__ import annotations

import argparse
import gc
import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from arbitrage.backends.bundled import bundled_gguf, bundled_path
from arbitrage.backends.loading import load_models
from arbitrage.harness.statistics import Estimate, mean_estimate, ratio
from arbitrage.interfaces import LanguageModel, StepScorer, Stop
from arbitrage.sampling import Sampling
from arbitrage.types import Role
from model_variants import endless, longer
from reporting import Report, interval

_PROMPT, _STRETCH = 32, 64
_STEP = "so we add the two numbers and get $12+30=42$"
_SESSIONS = 8


@dataclass(frozen=True)
class Curve:
    """Seconds of one unit of work at each position, by repeat; and of the stateless way at the last position."""

    positions: Sequence[float]
    ours: list[list[float]]
    """Shape (repeats, positions)."""
    stateless: list[float]
    """One a repeat."""


def decoding(model: LanguageModel, tokens: int, repeats: int) -> Curve:
    """Seconds a token, in stretches of 64 behind a random prompt."""
    rng = np.random.default_rng(0)
    stop, starts = Stop(_STRETCH, at_separator=False), range(0, tokens, _STRETCH)
    ours, stateless = [], []
    for repeat in range(repeats + 1):  # the first warms up
        prompt = rng.integers(4, 500, _PROMPT).tolist()
        seconds = []
        with model.open(prompt) as session:
            session.extend((), logits=1)
            for _ in starts:
                started = time.perf_counter()
                session.generate(stop, Sampling(), rng)
                seconds.append((time.perf_counter() - started) / _STRETCH)
            held = list(session.ids[:-_STRETCH])
        started = time.perf_counter()
        with model.open(held) as session:
            session.generate(stop, Sampling(), rng)
        if repeat:
            ours.append(seconds)
            stateless.append((time.perf_counter() - started) / _STRETCH)
    return Curve([_PROMPT + start + _STRETCH / 2 for start in starts], ours, stateless)


def attention_seconds(role: str, position: float) -> float:
    """What attention alone takes for one token of a bundled model at this position, in torch, in float32."""
    config = json.loads((bundled_path(role) / "config.json").read_text(encoding="utf-8"))
    heads, groups = config["num_attention_heads"], config["num_key_value_heads"]
    width = config["hidden_size"] // heads
    query = torch.randn(1, heads, 1, width)
    keys, values = torch.randn(2, 1, groups, int(position), width)
    seconds = []
    with torch.inference_mode():
        for _ in range(200):
            started = time.perf_counter()
            torch.nn.functional.scaled_dot_product_attention(query, keys, values, enable_gqa=True)
            seconds.append(time.perf_counter() - started)
    return float(config["num_hidden_layers"] * np.median(seconds))


def scoring(scorer: StepScorer, steps: int, repeats: int) -> Curve:
    """Seconds a step, its commit included."""
    ours, stateless = [], []
    for repeat in range(repeats + 1):
        statement = f"What is ${repeat}+{steps}$?"
        seconds = []
        with scorer.open(statement) as session:
            for _ in range(steps):
                started = time.perf_counter()
                session.score(_STEP, "draft")
                session.commit()
                seconds.append(time.perf_counter() - started)
        started = time.perf_counter()
        with scorer.open(statement) as session:
            for _ in range(steps - 1):
                session.append(_STEP, "draft")
            session.score(_STEP, "draft")
        if repeat:
            ours.append(seconds)
            stateless.append(time.perf_counter() - started)
    return Curve(list(range(steps)), ours, stateless)


@dataclass(frozen=True)
class Fit:
    """Seconds at position p as a + b p + c p², each term as a share of the time at the last position."""

    constant: Estimate
    linear: Estimate
    quadratic: Estimate


def fit(curve: Curve) -> Fit:
    """Least squares for each repeat; intervals over repeats."""
    last = float(curve.positions[-1])
    x = np.asarray(curve.positions) / last
    terms = []
    for seconds in curve.ours:
        smooth = np.minimum(seconds, 3 * np.median(seconds))  # hiccups of the machine
        c, b, a = np.polyfit(x, smooth, 2)
        terms.append(np.array([a, b, c]) / (a + b + c))
    groups = range(len(terms))
    return Fit(*(mean_estimate([term[i] for term in terms], groups) for i in range(3)))


def add_curve(report: Report, name: str, unit: str, curve: Curve, attention_s: float | None = None) -> None:
    """One line of the table of times; `attention_s` is what the position costs attention at the end."""
    shares, groups = fit(curve), range(len(curve.ours))
    tenth = max(1, len(curve.positions) // 10)
    first = [float(np.median(seconds[:tenth])) for seconds in curve.ours]
    last = [float(np.median(seconds[-tenth:])) for seconds in curve.ours]
    growth, anew = ratio(last, first, groups), ratio(curve.stateless, last, groups)
    report.add(
        [
            name,
            f"{curve.positions[-1]:.0f}",
            f"{1e3 * np.median(first):.2f}",
            f"{1e3 * np.median(last):.2f}",
            growth.shown(".2f"),
            *(term.shown(".2f") for term in (shares.constant, shares.linear, shares.quadratic)),
            "—" if attention_s is None else f"{attention_s / np.median(last):.2f}",
            anew.shown(".1f"),
        ],
        what=name,
        unit=unit,
        positions=list(curve.positions),
        median_seconds=np.median(curve.ours, axis=0).tolist(),
        growth=interval(growth),
        shares_at_the_end={term: interval(getattr(shares, term)) for term in ("constant", "linear", "quadratic")},
        attention_alone_s=attention_s,
        stateless_over_ours_at_the_end=interval(anew),
    )


def allocated() -> int:
    """Bytes of torch's memory that are in use, on whatever device."""
    gc.collect()
    tensors = (thing for thing in gc.get_objects() if issubclass(type(thing), torch.Tensor))
    storages = (tensor.untyped_storage() for tensor in tensors if not tensor.is_mkldnn)  # those are packed weights
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())


def resident() -> int:
    """Bytes of the process that lie in memory."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def session_bytes(model: LanguageModel, held: int, measure: Callable[[], int]) -> float:
    """Bytes that one of several sessions adds while each holds `held` tokens, a prompt and then steps."""
    ids = np.random.default_rng(0).integers(4, 500, held).tolist()
    before = measure()
    with ExitStack() as stack:
        for _ in range(_SESSIONS):
            session = stack.enter_context(model.open(ids[:_STRETCH]))
            for start in range(_STRETCH, held, _STRETCH):
                session.extend(ids[start : start + _STRETCH], logits=1)
        return (measure() - before) / _SESSIONS


def cache_bytes(held: int, width: int) -> int:
    """Keys and values of `held` tokens in the bundled target, `width` bytes a number."""
    config = json.loads((bundled_path("target") / "config.json").read_text(encoding="utf-8"))
    head = config["hidden_size"] // config["num_attention_heads"]
    return int(2 * config["num_hidden_layers"] * config["num_key_value_heads"] * head * held * width)


def models_of(backend: str, folder: Path, tokens: int, threads: int) -> Iterator[tuple[str, LanguageModel]]:
    """Draft and target that take so many tokens."""
    for role in ("draft", "target"):
        if backend == "hf":
            source, told = f"hf:{longer(role, folder, tokens)}", {"dtype": "float32"}
        else:
            source, told = f"gguf:{bundled_gguf(role, 'q8_0')}", {"context": tokens}
        models = load_models(backend, roles=[Role(role)], **{role: source}, threads=threads, **told)
        yield role, endless(models.language(Role(role)))


def times(arguments: argparse.Namespace, folder: Path) -> None:
    """The table of times."""
    columns = (
        *("what", "up to", "first, ms", "last, ms", "last / first"),
        *("constant", "linear", "quadratic", "attention alone", "stateless / ours, last"),
    )
    report = Report(
        "seconds a token or a step against the position; terms as shares of the time at the end", columns, width=170
    )
    for backend in arguments.backends:
        for role, model in models_of(backend, folder, arguments.tokens + 2 * _STRETCH + _PROMPT, arguments.threads):
            curve = decoding(model, arguments.tokens, arguments.repeats)
            first, last = curve.positions[0], curve.positions[-1]
            attention = attention_seconds(role, last) - attention_seconds(role, first) if backend == "hf" else None
            add_curve(report, f"decode, {role}, {backend}", "token", curve, attention)
    for role in (Role.PRM, Role.ROUTER):
        path = longer(role.value, folder, 64 + 64 * arguments.steps)
        models = load_models("hf", roles=[role], **{role.value: f"hf:{path}"}, threads=arguments.threads)
        add_curve(
            report, f"score, {role}, hf", "step", scoring(models.scorer(role), arguments.steps, arguments.repeats)
        )
    report.finish(arguments.out, "time-", threads=arguments.threads, repeats=arguments.repeats)


@dataclass(frozen=True)
class Holding:
    """One line of the table of memory."""

    name: str
    source: str
    options: dict[str, object]
    held: int
    """Tokens of each session."""
    width: int
    """Bytes of one number of a key or a value."""

    def measured(self) -> float | None:
        """Bytes a session; None where the model holds fewer tokens. For a process of its own, which frees nothing."""
        torch.set_num_threads(1)
        model = load_models("hf", roles=[Role.TARGET], target=self.source, **self.options).language(Role.TARGET)  # type: ignore[arg-type]
        if self.held >= model.context_length:
            return None
        return session_bytes(model, self.held, resident if self.source.startswith("gguf") else allocated)


def holdings(arguments: argparse.Namespace, folder: Path) -> Iterator[Holding]:
    """What is measured. llama.cpp wants to know beforehand how long a text may become."""
    hf, gguf = f"hf:{longer('target', folder, 2 * max(arguments.held))}", f"gguf:{bundled_gguf('target', 'q8_0')}"
    for held in arguments.held:
        if "hf" in arguments.backends:
            yield Holding("hf", hf, {"dtype": "float32"}, held, 4)
        if "gguf" in arguments.backends:
            needed: dict[str, object] = {"sessions": _SESSIONS, "context": held + 1}
            yield Holding("gguf, context as needed", gguf, needed, held, 2)
            yield Holding("gguf, context by default", gguf, {"sessions": _SESSIONS}, held, 2)


def memory(arguments: argparse.Namespace, folder: Path) -> None:
    """The table of memory."""
    columns = ("sessions", "tokens held", "KiB a session", "KiB of keys and values", "ratio")
    report = Report(f"the target's memory for each of {_SESSIONS} sessions", columns)
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn, max_tasks_per_child=1) as processes:
        for one in holdings(arguments, folder):
            used, needed = processes.submit(one.measured).result(), cache_bytes(one.held, one.width)
            if used is None:
                continue
            report.add(
                [one.name, str(one.held), f"{used / 1024:.0f}", f"{needed / 1024:.0f}", f"{used / needed:.2f}"],
                sessions=one.name,
                tokens=one.held,
                open_at_once=_SESSIONS,
                session_bytes=used,
                cache_bytes=needed,
                ratio=used / needed,
            )
    report.finish(arguments.out, "memory-")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=4096)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--held", type=int, nargs="+", default=[200, 500, 1000, 2000, 4000], help="tokens, for memory")
    parser.add_argument("--repeats", type=int, default=6)
    parser.add_argument("--backends", nargs="+", choices=("hf", "gguf"), default=["hf", "gguf"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    if arguments.tokens < 4 * _STRETCH or arguments.steps < 4:
        parser.error(f"a curve needs at least {4 * _STRETCH} tokens and 4 steps")
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as folder:
        memory(arguments, Path(folder))
        times(arguments, Path(folder))


if __name__ == "__main__":
    main()
