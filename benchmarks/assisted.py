"""token-sd against transformers' assisted generation and prompt lookup: same weights, dtype, prompts and tokens.

python benchmarks/assisted.py --limit 100 --out runs/assisted
python benchmarks/assisted.py --smollm2 SmolLM2-135M-Instruct.Q4_1.gguf --limit 20 --out runs/assisted

Greedy, batch 1, from prompt to last token, all contenders in turn on each problem. Their side runs with its defaults
and with each of the settings below; the fastest of them over all problems is what ours is divided by. A time per
token is what is compared, so that a text which ends elsewhere costs nobody anything.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, GgufConfig

from arbitrage import load_dataset
from arbitrage.backends.bundled import bundled_path
from arbitrage.backends.loading import load_models
from arbitrage.harness.statistics import ratio
from arbitrage.interfaces import LanguageModel, Models, Settings, Strategy
from arbitrage.seeding import problem_rng
from arbitrage.strategies import TargetOnly, TokenSD
from arbitrage.types import Problem, Role
from near_ties import first_difference, margin
from reporting import Report, interval

ASSISTED: Mapping[str, Mapping[str, object]] = {
    "defaults": {},
    "constant 3": {"num_assistant_tokens": 3, "assistant_confidence_threshold": 0.0},
    "constant 5": {"num_assistant_tokens": 5, "assistant_confidence_threshold": 0.0},
    "constant 8": {"num_assistant_tokens": 8, "assistant_confidence_threshold": 0.0},
    "heuristic": {
        "num_assistant_tokens": 5,
        "num_assistant_tokens_schedule": "heuristic",
        "assistant_confidence_threshold": 0.0,
    },
    "confidence 0.4, up to 8": {"num_assistant_tokens": 8, "assistant_confidence_threshold": 0.4},
}
"""What the assistant's generation config is told; the defaults are 20 tokens, ended by a confidence below 0.4."""
LOOKUP = (3, 5, 10)
"""Values of `prompt_lookup_num_tokens`."""

REPEATED = (
    "Copy the following sentence exactly three times, each on a line of its own: The quick brown fox jumps over the "
    "lazy dog while the old farmer counts his sheep behind the wooden fence.",
    "Correct the spelling and repeat the whole text: The comittee will meet on Thursday in the large hall. The "
    "comittee will discuss the new budget for the library, the budget for the school, and the plan for the road. All "
    "members of the comittee are asked to read the plan for the road before the meeting on Thursday.",
    "Rewrite this list with every price raised by one dollar: apples cost 2 dollars a pound, pears cost 3 dollars a "
    "pound, plums cost 4 dollars a pound, grapes cost 5 dollars a pound, cherries cost 6 dollars a pound.",
    "Summarise in the words of the text: A process reward model reads a solution step by step and gives each step a "
    "reward. A router reads a solution step by step and says whether the target model would write a better step. The "
    "draft model writes each step first, and the target model writes it again when the router says so.",
    "Continue the pattern up to 20. 1 times 7 is 7. 2 times 7 is 14. 3 times 7 is 21. 4 times 7 is 28. 5 times 7 "
    "is 35.",
    "Write the function again and rename total to amount: def total_price(items):\n    total = 0\n"
    "    for item in items:\n"
    "        total = total + item.price * item.count\n    return total",
    "Answer in the same form. Q: What is the capital of France? A: The capital of France is Paris. Q: What is the "
    "capital of Italy? A: The capital of Italy is Rome. Q: What is the capital of Spain? A: The capital of Spain is "
    "Madrid. Q: What is the capital of Germany?",
    "Repeat the story and change the name Anna to Maria: Anna had a small garden. Every morning Anna watered the "
    "roses, and every evening Anna sat under the apple tree and read a book. One day Anna found a bird in the garden.",
)
"""Requests whose answers repeat their text: where looking tokens up pays."""


@dataclass(frozen=True)
class Run:
    """One text of one contender."""

    seconds: float
    """From prompt to last token."""
    ids: tuple[int, ...]

    @property
    def per_token(self) -> float:
        """Seconds for each token."""
        return self.seconds / max(1, len(self.ids))


Contender = Callable[[Problem], Run]


@dataclass(frozen=True)
class Line:
    """One line of the table: one of our contenders and the settings of theirs that it is compared with."""

    name: str
    ours: str
    theirs: Sequence[str]


@dataclass(frozen=True)
class Case:
    """Models, what they are asked, and who takes part."""

    name: str
    models: Models
    problems: Sequence[Problem]
    contenders: Mapping[str, Contender]
    lines: Sequence[Line]


def ours(strategy: Strategy, models: Models) -> Contender:
    """One of our strategies."""

    def run(problem: Problem) -> Run:
        started = time.perf_counter()
        generation = strategy.solve(problem, models, problem_rng(0, problem.id))
        return Run(time.perf_counter() - started, generation.token_ids)

    return run


class Theirs:
    """transformers' own generate, on weights of its own."""

    def __init__(self, source: Path, dtype: str, models: Models) -> None:
        """Load `source`, a directory or a GGUF file; tokenizer and budget are those of `models`."""
        self._module = _load(source, dtype)
        self._models = models

    def contender(self, **arguments: object) -> Contender:
        """`generate` with these arguments."""
        model, settings = self._models.language(Role.TARGET), self._models.settings

        def run(problem: Problem) -> Run:
            started = time.perf_counter()
            prompt = settings.prompt(problem.problem, model)
            ids = torch.tensor([prompt])
            with torch.inference_mode():
                out = self._module.generate(
                    ids,
                    attention_mask=torch.ones_like(ids),
                    max_new_tokens=settings.max_tokens,
                    do_sample=False,
                    eos_token_id=sorted(model.codec.eos_ids),
                    pad_token_id=0,
                    **arguments,
                )
            return Run(time.perf_counter() - started, tuple(out[0, len(prompt) :].tolist()))

        return run

    def lookups(self) -> dict[str, Contender]:
        """Prompt lookup with each number of tokens."""
        return {f"lookup {count}": self.contender(prompt_lookup_num_tokens=count) for count in LOOKUP}

    def assisted(self, draft: Path, dtype: str) -> dict[str, Contender]:
        """Assisted generation with each of the settings; each has an assistant of its own, which may adapt itself."""
        made = {}
        for name, told in ASSISTED.items():
            assistant = _load(draft, dtype)
            assistant.generation_config.update(**told)
            made[f"assisted, {name}"] = self.contender(assistant_model=assistant)
        return made


def _load(source: Path, dtype: str) -> Any:
    if source.suffix == ".gguf":
        place, more = source.parent, {"gguf_file": source.name, "quantization_config": GgufConfig(dequantize=True)}
    else:
        place, more = source, {}
    return AutoModelForCausalLM.from_pretrained(place, dtype=getattr(torch, dtype), **more).eval()


def bundled_case(arguments: argparse.Namespace) -> Case:
    """The bundled pair on the bundled problems."""
    settings = Settings(max_tokens=arguments.max_tokens)
    models = load_models(
        "hf", roles=[Role.DRAFT, Role.TARGET], dtype=arguments.dtype, threads=arguments.threads, settings=settings
    )
    runtime = Theirs(bundled_path("target"), arguments.dtype, models)
    assisted, lookups = runtime.assisted(bundled_path("draft"), arguments.dtype), runtime.lookups()
    contenders = {
        "target-only": ours(TargetOnly(), models),
        "token-sd": ours(TokenSD(), models),
        "token-sd (ngram)": ours(TokenSD(proposer="ngram"), models),
        "generate": runtime.contender(),
        **assisted,
        **lookups,
    }
    lines = [
        Line("alone", "target-only", ["generate"]),
        Line("assisted by the draft", "token-sd", list(assisted)),
        Line("prompt lookup", "token-sd (ngram)", list(lookups)),
    ]
    return Case("bundled pair", models, load_dataset("bundled")[: arguments.limit], contenders, lines)


def smollm2_cases(path: Path, arguments: argparse.Namespace) -> Iterator[Case]:
    """A real model without a draft: requests that repeat their text, and problems that do not."""
    settings = Settings(max_tokens=arguments.max_tokens, max_steps=arguments.max_tokens)
    models = load_models(
        "hf",
        roles=[Role.TARGET],
        target=f"hf:{path}",
        dtype=arguments.dtype,
        threads=arguments.threads,
        settings=settings,
    )
    repeated = [Problem(f"repeat-{i}", text, ("",)) for i, text in enumerate(REPEATED)]
    problems = load_dataset(arguments.dataset)[: arguments.limit]
    for name, asked, instruction in (("text that repeats", repeated, ""), (arguments.dataset, problems, None)):
        told = models.with_settings(Settings(settings.max_tokens, settings.max_steps, instruction=instruction))
        runtime = Theirs(path, arguments.dtype, told)
        lookups = runtime.lookups()
        contenders = {
            "target-only": ours(TargetOnly(), told),
            "token-sd (ngram)": ours(TokenSD(proposer="ngram"), told),
            "generate": runtime.contender(),
            **lookups,
        }
        lines = [
            Line("alone", "target-only", ["generate"]),
            Line("prompt lookup", "token-sd (ngram)", list(lookups)),
        ]
        yield Case(f"SmolLM2-135M, {name}", told, asked[: arguments.limit], contenders, lines)


def measure(case: Case, report: Report) -> None:
    """Run everybody on every problem in a changing order; add the lines."""
    runs: dict[str, list[Run]] = {name: [] for name in case.contenders}
    names = list(case.contenders)
    for name in names:  # a full text each: warms up, and lets those that learn begin to
        case.contenders[name](case.problems[0])
    for number, problem in enumerate(case.problems):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            runs[name].append(case.contenders[name](problem))
    groups = range(len(case.problems))
    reference = runs["generate"]
    for line in case.lines:
        times = {name: sum(run.per_token for run in runs[name]) for name in line.theirs}
        best = min(times, key=times.__getitem__)
        ahead = {
            name: ratio([run.per_token for run in runs[name]], [run.per_token for run in runs[line.ours]], groups)
            for name in line.theirs
        }
        parted = [found for at in groups if (found := _parted(case, at, runs[line.ours][at], reference[at]))]
        same = len(case.problems) - len(parted)
        speed = {name: _speed(runs[name]) for name in (line.ours, best)}
        report.add(
            [
                case.name,
                line.name,
                f"{speed[line.ours]:.0f}",
                f"{speed[best]:.0f}",
                best,
                ahead[best].shown(".2f"),
                f"{same}/{len(case.problems)}",
            ],
            models=case.name,
            line=line.name,
            ours=line.ours,
            ours_tokens_per_s=speed[line.ours],
            best_of_theirs=best,
            best_tokens_per_s=speed[best],
            ours_over_theirs={name: interval(estimate) for name, estimate in ahead.items()},
            ours_over_generate=interval(
                ratio([run.per_token for run in reference], [run.per_token for run in runs[line.ours]], groups)
            ),
            theirs_same_as_generate={
                name: sum(run.ids == other.ids for run, other in zip(runs[name], reference, strict=True))
                for name in line.theirs
            },
            same_text=same,
            problems=len(case.problems),
            divergences=parted,
        )


def _speed(runs: Sequence[Run]) -> float:
    return sum(len(run.ids) for run in runs) / sum(run.seconds for run in runs)


def _parted(case: Case, at: int, run: Run, reference: Run) -> dict[str, object] | None:
    """Where our text leaves the one that plain `generate` writes, and how near the choice was; None if it does not."""
    if run.ids == reference.ids:
        return None
    problem, part = case.problems[at], first_difference(run.ids, reference.ids)
    found: dict[str, object] = {"problem": problem.id, "token": part, "lengths": [len(run.ids), len(reference.ids)]}
    if part is None:
        return found
    model: LanguageModel = case.models.language(Role.TARGET)
    prompt = case.models.settings.prompt(problem.problem, model)
    seen = margin(model, prompt, reference.ids[:part], run.ids[part], reference.ids[part])
    return {**found, "margin_token_by_token": seen.token_by_token, "margin_all_at_once": seen.all_at_once}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smollm2", type=Path, help="GGUF file; adds a real model with prompt lookup")
    parser.add_argument("--dataset", default="bundled", help="problems for that model, besides text that repeats")
    parser.add_argument("--limit", type=int, default=100)
    parser.add_argument("--max-tokens", type=int, default=192)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    columns = ("models", "what", "ours tok/s", "theirs tok/s", "their best setting", "ours / theirs", "same text")
    report = Report(f"against transformers, greedy, {arguments.dtype}", columns, text_columns=2)
    measure(bundled_case(arguments), report)
    if arguments.smollm2 is not None:
        for case in smollm2_cases(arguments.smollm2, arguments):
            measure(case, report)
    # Without it the confidence bound of the assistant stays what it is told.
    adapts = importlib.util.find_spec("sklearn") is not None
    report.finish(arguments.out, threads=arguments.threads, dtype=arguments.dtype, scikit_learn=adapts)


if __name__ == "__main__":
    main()
