"""Latency of step routing at real sizes on a GPU, and decoding against its memory's bandwidth; nothing is downloaded.

python benchmarks/gpu.py --out runs/gpu            # one GPU of 40 GB or more, at most ten minutes
python benchmarks/gpu.py --tiny --out runs/gpu     # the same on a CPU with toy sizes: does it run?

Models of Llama 3's shape (1B draft, 8B target) and of Qwen2.5's (1.5B router, a token classifier) with random weights,
in bf16. Their text means nothing, so the lengths of steps and which are escalated come from a recorded run
(step_trace.json, made by step_trace.py): the work of a problem, and so its latency, is real at every escalation rate.
Our own step loop, sessions and caches do it. A step of the target that the recorded run did not write is taken to be as
long as the draft's.

The floor of decoding is the time in which the memory can be read: weights that a token needs, keys and values, over
the bandwidth of a large copy. The bundled models, which are bound by overhead on a GPU, solve real problems beside it.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from arbitrage.backends.hf import HFLanguageModel, HFStepScorer, StreamFormat
from arbitrage.backends.loading import load_models
from arbitrage.harness.environment import cpu_model
from arbitrage.harness.runner import run_comparison
from arbitrage.harness.statistics import mean_estimate, ratio
from arbitrage.interfaces import LanguageModel, Models, Settings, Stop, StopReason, Strategy, TextCodec
from arbitrage.sampling import Sampling
from arbitrage.seeding import problem_rng
from arbitrage.strategies import ArbitrageRouter, DraftOnly, TargetOnly
from arbitrage.types import Generation, Problem, Role, StepRecord
from paced import Decided, Paced
from reporting import Report, interval
from step_trace import TRACE

RATES = (0.0, 0.1, 0.3, 0.5, 1.0)
Shape = Mapping[str, Any]

LLAMA_1B: Shape = {
    **{"hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16, "num_attention_heads": 32},
    **{"num_key_value_heads": 8, "vocab_size": 128256, "tie_word_embeddings": True},
}
LLAMA_8B: Shape = {
    **{"hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32},
    **{"num_key_value_heads": 8, "vocab_size": 128256, "tie_word_embeddings": False},
}
QWEN_1_5B: Shape = {
    **{"hidden_size": 1536, "intermediate_size": 8960, "num_hidden_layers": 28, "num_attention_heads": 12},
    **{"num_key_value_heads": 2, "vocab_size": 151936, "tie_word_embeddings": True, "num_labels": 2},
}
_TINY: Shape = {
    **{"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4},
    **{"num_key_value_heads": 2, "vocab_size": 512},
}
_POSITIONS = 8192


class NumberCodec(TextCodec):
    """Spells every id as a number, so that text has as many tokens as were written, whoever reads it."""

    def __init__(self, vocabulary_size: int) -> None:
        self._size = vocabulary_size

    @property
    def eos_ids(self) -> frozenset[int]:
        """None: steps and solutions end where the trace says."""
        return frozenset()

    def encode(self, text: str) -> list[int]:
        """One id for each word; words that are no numbers count by their length, a separator is a token too."""
        words = text.split() or [text]
        return [int(word) if word.isdecimal() else len(word) for word in words]

    def decode(self, ids: Sequence[int]) -> str:
        """Numbers with blanks between them."""
        return "".join(map(self.piece, ids))

    def piece(self, token: int) -> str:
        """The number."""
        return f"{token} "

    def render(self, messages: Sequence[Mapping[str, str]]) -> list[int]:
        """All contents."""
        return [token for message in messages for token in self.encode(message["content"])]

    def vocabulary(self) -> Mapping[str, int]:
        """Every number."""
        return {str(token): token for token in range(self._size)}


@contextmanager
def _made_on(device: str, dtype: torch.dtype) -> Iterator[None]:
    """New modules lie on `device` in `dtype`."""
    usual = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            yield
    finally:
        torch.set_default_dtype(usual)


def module(kind: Any, config: Any, device: str, dtype: torch.dtype) -> Any:
    """A model with random weights."""
    torch.manual_seed(0)
    with _made_on(device, dtype):
        return kind(config).eval()


def random_models(device: str, dtype: torch.dtype, tiny: bool) -> Models:
    """Draft, target and router."""
    draft, target, router = (
        (_TINY, _TINY | {"num_hidden_layers": 4}, _TINY) if tiny else (LLAMA_1B, LLAMA_8B, QWEN_1_5B)
    )
    long = {"max_position_embeddings": _POSITIONS}
    codec: Any = NumberCodec(target["vocab_size"])
    made: dict[str, LanguageModel] = {}
    for name, shape in (("draft", draft), ("target", target)):
        config = transformers.LlamaConfig(**shape, **long)
        weights = module(transformers.LlamaForCausalLM, config, device, dtype)
        made[name] = HFLanguageModel(name, weights, codec, instruction="")
    config = transformers.Qwen2Config(**{**router, **long, "num_labels": 2})
    weights = module(transformers.Qwen2ForTokenClassification, config, device, dtype)
    return Models(**made, router=HFStepScorer("router", weights, codec, StreamFormat(annotated=True)))


@dataclass(frozen=True)
class Traced:
    """A problem of the recorded run."""

    problem: Problem
    steps: Sequence[tuple[int, int | None, float]]
    """Tokens of the draft's version, of the target's, and the number that a rate is compared with."""


def read_trace(path: Path, limit: int) -> tuple[list[Traced], Mapping[str, str]]:
    """Problems, and where they come from."""
    content = json.loads(path.read_text(encoding="utf-8"))
    found = [
        Traced(Problem(one["id"], "5 " * one["prompt_tokens"], ("",)), [tuple(step) for step in one["steps"]])
        for one in content["problems"][:limit]
    ]
    return found, content["source"]


class Replay:
    """Models that do the work of one recorded problem after the other."""

    def __init__(self, models: Models) -> None:
        self._steps: Sequence[tuple[int, int | None, float]] = ()
        self._rate, self._index = 0.0, 0
        self.models = replace(
            models,
            draft=Paced(models.language(Role.DRAFT), self._draft_pace),
            target=Paced(models.language(Role.TARGET), self._target_pace),
            router=Decided(models.scorer(Role.ROUTER), self._verdict),
            settings=Settings(max_tokens=_POSITIONS, max_steps=1000, instruction="", on_step=self._committed),
        )

    def solve(self, strategy: Strategy, traced: Traced, rate: float) -> tuple[Generation, float]:
        """Do the problem's work with this share of its steps escalated; what was written, and the seconds."""
        self._steps, self._rate, self._index = traced.steps, rate, 0
        rng = problem_rng(0, traced.problem.id)
        synchronise()
        started = time.perf_counter()
        generation = strategy.solve(traced.problem, self.models, rng)
        synchronise()
        return generation, time.perf_counter() - started

    def _committed(self, problem: Problem, record: StepRecord) -> None:
        self._index = record.index + 1

    def _verdict(self, index: int) -> float:
        return float(self._steps[index][2] < self._rate)

    def _draft_pace(self) -> tuple[int, StopReason]:
        return self._steps[self._index][0], self._reason()

    def _target_pace(self) -> tuple[int, StopReason]:
        drafted, targeted, _ = self._steps[self._index]
        return targeted or drafted, self._reason()

    def _reason(self) -> StopReason:
        return StopReason.EOS if self._index + 1 == len(self._steps) else StopReason.SEPARATOR


def synchronise() -> None:
    """Wait for the device."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def bandwidth(device: str, tiny: bool) -> float:
    """Bytes a second that a large copy reads and writes."""
    source = torch.empty(1 << (26 if tiny else 31), dtype=torch.uint8, device=device)
    sink = torch.empty_like(source)
    seconds = []
    for _ in range(10):
        synchronise()
        started = time.perf_counter()
        sink.copy_(source)
        synchronise()
        seconds.append(time.perf_counter() - started)
    return 2 * source.nbytes / min(seconds)


def bytes_read(model: HFLanguageModel, position: float) -> float:
    """What a token at this position makes the device read: all weights but the table of embeddings, keys and values."""
    weights, config = model.network.module, model.network.module.config
    table = weights.get_input_embeddings().weight
    tied = weights.get_output_embeddings().weight is table
    width = config.hidden_size // config.num_attention_heads * config.num_key_value_heads
    cache = 2 * config.num_hidden_layers * width * position * table.element_size()
    return sum(one.nbytes for one in weights.parameters()) - (0 if tied else table.nbytes) + cache


def floors(report: Report, models: Models, device: str, arguments: argparse.Namespace) -> None:
    """Decoding of both language models against the bandwidth."""
    prompt, tokens = 256, 32 if arguments.tiny else 128
    speed = bandwidth(device, arguments.tiny)
    for role in (Role.DRAFT, Role.TARGET):
        model = models.language(role)
        assert isinstance(model, HFLanguageModel)
        rng, seconds = np.random.default_rng(0), []
        for _ in range(arguments.repeats + 1):
            with model.open(rng.integers(4, 500, prompt).tolist()) as session:
                session.extend((), logits=1)
                synchronise()
                started = time.perf_counter()
                session.generate(Stop(tokens, at_separator=False), Sampling(), rng)
                synchronise()
                seconds.append((time.perf_counter() - started) / tokens)
        needed = bytes_read(model, prompt + tokens / 2)
        each = mean_estimate(seconds[1:], range(arguments.repeats))  # the first warms up
        floor = needed / speed
        report.add(
            [
                role,
                f"{needed / 1e9:.3g}",
                f"{speed / 1e9:.0f}",
                f"{1e3 * floor:.3g}",
                each.shown(".3g", 1e3),
                each.shown(".2f", 1 / floor),
            ],
            model=role,
            bytes_per_token=needed,
            bandwidth_bytes_per_s=speed,
            floor_s=floor,
            decode_s=interval(each),
            over_floor=each.value / floor,
        )


def latencies(report: Report, models: Models, traces: Sequence[Traced], arguments: argparse.Namespace) -> None:
    """The recorded problems by every strategy, interleaved, until the time is over."""
    replay = Replay(models)
    contenders: dict[str, tuple[Strategy, float]] = {
        "target-only": (TargetOnly(), 0.0),
        "draft-only": (DraftOnly(), 0.0),
    }
    contenders |= {f"arbitrage-router, rate {rate:g}": (ArbitrageRouter(threshold=0.5), rate) for rate in RATES}
    runs: dict[str, list[tuple[Generation, float]]] = {name: [] for name in contenders}
    names, until = list(contenders), time.monotonic() + 60 * arguments.minutes
    shortest = min(traces, key=lambda one: sum(step[0] for step in one.steps))
    for strategy, rate in contenders.values():
        replay.solve(strategy, shortest, rate)
    for number, traced in enumerate(traces):
        if number and time.monotonic() > until:
            break
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            runs[name].append(replay.solve(contenders[name][0], traced, contenders[name][1]))
    groups = range(len(runs["target-only"]))
    for name, solved in runs.items():
        seconds = [taken for _, taken in solved]
        steps = sum(len(generation.steps) for generation, _ in solved)
        escalated = sum(generation.escalated_steps for generation, _ in solved) / steps
        ahead = ratio([taken for _, taken in runs["target-only"]], seconds, groups)
        each = mean_estimate(seconds, groups)
        inside: dict[str, float] = {}
        for generation, _ in solved:
            for role, taken in generation.time_s.items():
                inside[role] = inside.get(role, 0.0) + taken
        shares = {role: taken / sum(seconds) for role, taken in inside.items()}
        report.add(
            [
                name,
                f"{100 * escalated:.0f}",
                each.shown(".3g"),
                ahead.shown(".2f"),
                *(f"{100 * shares.get(role, 0.0):.0f}" for role in ("draft", "target", "router")),
                f"{100 * (1 - sum(shares.values())):.0f}",
            ],
            strategy=name,
            problems=len(solved),
            tokens=sum(generation.tokens for generation, _ in solved),
            escalated=escalated,
            seconds=interval(each),
            target_only_over_ours=interval(ahead),
            shares_of_time=shares,
        )


def bundled(report: Report, device: str, limit: int) -> None:
    """The bundled models on real problems."""
    models = load_models("hf", **{role.value: f"bundled:{role}@{device}" for role in Role}, dtype="float32")  # type: ignore[arg-type]
    strategies = ("target-only", "token-sd", "rsd", "arbitrage-router")
    comparison = run_comparison(strategies, models, dataset="bundled", limit=limit, warmup=2, progress=False)
    for name, result in comparison.items():
        versus = comparison.versus(name)
        assert versus is not None
        assert versus.speed_up is not None
        each = sum(row.latency_s for row in result.rows) / sum(row.tokens for row in result.rows)
        report.add(
            [name, f"{1e3 * each:.2f}", versus.speed_up.shown(".2f"), f"{100 * (versus.identical_share or 0):.0f}"],
            strategy=name,
            problems=limit,
            seconds_per_token=each,
            speed_up=interval(versus.speed_up),
            same_text=versus.identical_share,
        )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="toy sizes, for a CPU")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--trace", type=Path, default=TRACE)
    parser.add_argument("--problems", type=int, default=16, help="of the trace, at most")
    parser.add_argument("--minutes", type=float, default=6, help="for the problems of the trace")
    parser.add_argument("--repeats", type=int, default=6, help="of the decoding that is compared with the floor")
    parser.add_argument("--limit", type=int, default=24, help="bundled problems")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    on_gpu = arguments.device.startswith("cuda")
    device_name = torch.cuda.get_device_name(arguments.device) if on_gpu else cpu_model()
    if not on_gpu and not arguments.tiny:
        parser.error("there is no GPU here; --tiny runs toy sizes on a CPU")
    slug = re.sub(r"[^a-z0-9]+", "-", device_name.lower()).strip("-") + ("-tiny-" if arguments.tiny else "-")
    traces, source = read_trace(arguments.trace, arguments.problems)
    about = {"device": device_name, "tiny": arguments.tiny}
    models = random_models(arguments.device, torch.bfloat16 if on_gpu else torch.float32, arguments.tiny)

    columns: Sequence[str] = ("model", "GB a token", "GB/s", "floor, ms", "decode, ms a token", "decode / floor")
    report = Report(f"decoding against the memory's bandwidth, {device_name}", columns)
    floors(report, models, arguments.device, arguments)
    report.finish(arguments.out, f"{slug}floor-", **about)

    shares = [f"{role} %" for role in ("draft", "target", "router", "other")]
    columns = ("strategy", "escalated %", "s a problem", "target-only / ours", *shares)
    report = Report(f"latency by escalation rate, steps of a recorded run, {device_name}", columns)
    latencies(report, models, traces, arguments)
    report.finish(arguments.out, f"{slug}latency-", trace=source, **about)

    del models
    columns = ("strategy", "ms a token", "against target-only", "same text %")
    report = Report(f"the bundled models on {arguments.limit} bundled problems, {device_name}", columns)
    bundled(report, arguments.device, arguments.limit)
    report.finish(arguments.out, f"{slug}bundled-", **about)


if __name__ == "__main__":
    main()
