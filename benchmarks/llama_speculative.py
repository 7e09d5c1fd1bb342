"""token-sd over GGUF files against llama.cpp's own speculative example: same files, prompts and tokens, greedy.

python benchmarks/llama_speculative.py --binary build/bin/llama-speculative-simple --out runs/llama-speculative
python benchmarks/llama_speculative.py --binary ... --pair DRAFT.gguf TARGET.gguf --limit 8 --max-tokens 128

How to build the example: README.md, beside this file.

Its process is started anew for each text, but its own clock is read: loading is not in it, and the draft's share of the
prompt counts as encoding. On our side that share counts as decoding. It runs with several draft lengths, with flash
attention as it chooses and without; the fastest over all prompts is what ours is divided by. Without --binary the other
side is `llama_cpp.Llama` with its prompt lookup, in this process.
"""

from __future__ import annotations

import argparse
import itertools
import re
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import llama_cpp
import numpy as np
from llama_cpp.llama_speculative import LlamaPromptLookupDecoding

from arbitrage import load_dataset
from arbitrage.backends.bundled import bundled_gguf, bundled_path
from arbitrage.backends.gguf.export import export_gguf
from arbitrage.backends.loading import load_models
from arbitrage.harness.statistics import ratio
from arbitrage.interfaces import Models, Settings, Stop
from arbitrage.sampling import Sampling
from arbitrage.strategies import speculate
from arbitrage.types import Problem, Role
from reporting import Report, interval

_ENCODED = re.compile(r"encoded\s+(\d+) tokens in\s+([\d.]+) seconds")
_DECODED = re.compile(r"decoded\s+(\d+) tokens in\s+([\d.]+) seconds")
_LONGEST_RUN_S = 1200
_ATTEMPTS = 5
"""The example sometimes ends before its log is written out."""


@dataclass(frozen=True)
class Run:
    """One text."""

    encode_s: float
    """For the prompt."""
    decode_s: float
    """For the text."""
    tokens: int
    """Of the text, its end of sequence included."""
    text: bytes
    """Without the end of sequence."""

    @property
    def per_token(self) -> float:
        """Seconds of decoding for each token."""
        return self.decode_s / self.tokens


@dataclass(frozen=True)
class Prompt:
    """The same prompt for both sides."""

    ids: tuple[int, ...]
    text: bytes
    """Becomes `ids` in llama.cpp's tokenizer."""


Contender = Callable[[Prompt], Run]


class Spelling:
    """Token ids of a GGUF file as bytes, special tokens included."""

    def __init__(self, path: Path) -> None:
        self._vocabulary = llama_cpp.Llama(str(path), vocab_only=True, verbose=False)

    def text(self, ids: Sequence[int]) -> bytes:
        """The bytes of `ids`."""
        spelled: bytes = self._vocabulary.detokenize(list(ids), special=True)
        return spelled

    def prompt(self, ids: Sequence[int]) -> Prompt:
        """The prompt, if its text says the same to llama.cpp.

        Raises:
            ValueError: the text becomes other tokens.
        """
        text = self.text(ids)
        if self._vocabulary.tokenize(text, add_bos=True, special=True) != list(ids):
            raise ValueError("the text of the prompt becomes other tokens in llama.cpp's tokenizer")
        return Prompt(tuple(ids), text)


def ours(models: Models, draft: bool, max_tokens: int, spelling: Spelling) -> Contender:
    """Our sessions: the target alone, or with the draft."""
    target = models.language(Role.TARGET)
    model = speculate(target, models.language(Role.DRAFT)) if draft else target

    def run(prompt: Prompt) -> Run:
        with model.open(prompt.ids) as session:
            started = time.perf_counter()
            session.extend((), logits=1)
            encoded = time.perf_counter()
            written = session.generate(Stop(max_tokens, at_separator=False), Sampling(), np.random.default_rng(0)).ids
            decoded = time.perf_counter()
        shown = [token for token in written if token not in target.codec.eos_ids]
        return Run(encoded - started, decoded - encoded, len(written), spelling.text(shown))

    return run


def example(binary: Path, draft: Path, target: Path, arguments: argparse.Namespace, told: Sequence[str]) -> Contender:
    """llama.cpp's speculative example, asked for one text."""

    def run(prompt: Prompt) -> Run:
        with tempfile.NamedTemporaryFile(suffix=".txt") as file:
            file.write(prompt.text)
            file.flush()
            command = [
                *(str(binary), "--model", str(target), "--spec-draft-model", str(draft)),
                *("--spec-type", "draft-simple", "--binary-file", file.name, "--predict", str(arguments.max_tokens)),
                *("--sampling-seq", "k", "--top-k", "1", "--no-escape", "--no-perf", "--log-verbosity", "3"),
                *("--threads", str(arguments.threads), "--spec-draft-threads", str(arguments.threads)),
                *("--ctx-size", str(len(prompt.ids) + arguments.max_tokens + 64), *told),
            ]
            for _ in range(_ATTEMPTS):
                done = subprocess.run(command, capture_output=True, timeout=_LONGEST_RUN_S)
                said = done.stderr.decode(errors="replace")
                encoded, decoded = _ENCODED.search(said), _DECODED.search(said)
                if done.returncode or (encoded and decoded):
                    break
        if done.returncode or not encoded or not decoded:
            raise SystemExit(f"{' '.join(command)}\nended with code {done.returncode}:\n{said[-2000:]}")
        if int(encoded[1]) != len(prompt.ids):
            raise SystemExit(f"the example read {encoded[1]} tokens as prompt, not {len(prompt.ids)}")
        text = done.stdout.partition(prompt.text)[2]
        return Run(float(encoded[2]), float(decoded[2]), int(decoded[1]), text.strip(b"\n"))

    return run


def lookup(
    target: Path, arguments: argparse.Namespace, count: int, eos: frozenset[int], spelling: Spelling
) -> Contender:
    """llama_cpp.Llama with prompt lookup."""
    model = llama_cpp.Llama(
        str(target),
        n_ctx=1024,
        n_threads=arguments.threads,
        n_threads_batch=arguments.threads,
        verbose=False,
        draft_model=LlamaPromptLookupDecoding(num_pred_tokens=count),
    )

    def run(prompt: Prompt) -> Run:
        model.reset()
        started = time.perf_counter()
        tokens = model.generate(list(prompt.ids), top_k=1, temp=0.0, repeat_penalty=1.0)
        written = [next(tokens)]
        encoded = time.perf_counter()
        while written[-1] not in eos and len(written) < arguments.max_tokens:
            written.append(next(tokens))
        decoded = time.perf_counter()
        shown = [token for token in written if token not in eos]
        return Run(encoded - started, decoded - encoded, len(written), spelling.text(shown))

    return run


def settings_of_theirs(
    draft: Path, target: Path, models: Models, arguments: argparse.Namespace, spelling: Spelling
) -> Mapping[str, Contender]:
    """The other side in every setting."""
    if arguments.binary is None:
        eos = models.language(Role.TARGET).codec.eos_ids
        return {f"lookup {count}": lookup(target, arguments, count, eos, spelling) for count in arguments.lengths}
    return {
        f"{length} tokens, fa {flash}": example(
            arguments.binary, draft, target, arguments, ["--spec-draft-n-max", str(length), "--flash-attn", flash]
        )
        for length, flash in itertools.product(arguments.lengths, ("auto", "off"))
    }


def measure(name: str, draft: Path, target: Path, arguments: argparse.Namespace, report: Report) -> None:
    """Everybody on every prompt in a changing order; one line."""
    models = load_models(
        "gguf",
        roles=[Role.DRAFT, Role.TARGET],
        draft=f"gguf:{draft}",
        target=f"gguf:{target}",
        threads=arguments.threads,
        context=1024,
        settings=Settings(max_tokens=arguments.max_tokens),
    )
    spelling = Spelling(target)
    theirs = settings_of_theirs(draft, target, models, arguments, spelling)
    contenders = {
        "token-sd": ours(models, True, arguments.max_tokens, spelling),
        "target alone": ours(models, False, arguments.max_tokens, spelling),
        **theirs,
    }
    problems: Sequence[Problem] = load_dataset(arguments.dataset)[: arguments.limit]
    prompts = [spelling.prompt(models.settings.prompt(one.problem, models.language(Role.TARGET))) for one in problems]
    names = list(contenders)
    for contender in contenders.values():
        contender(prompts[0])
    runs: dict[str, list[Run]] = {one: [] for one in names}
    for number, prompt in enumerate(prompts):
        for one in names[number % len(names) :] + names[: number % len(names)]:
            runs[one].append(contenders[one](prompt))
    groups = range(len(prompts))
    best = min(theirs, key=lambda one: sum(run.per_token for run in runs[one]))
    mine = runs["token-sd"]
    ahead = {
        one: ratio([run.per_token for run in runs[one]], [run.per_token for run in mine], groups)
        for one in (*theirs, "target alone")
    }
    whole = ratio(
        [(run.encode_s + run.decode_s) / run.tokens for run in runs[best]],
        [(run.encode_s + run.decode_s) / run.tokens for run in mine],
        groups,
    )
    same = sum(_same(run.text, other.text) for run, other in zip(mine, runs[best], strict=True))
    speeds = {one: sum(run.tokens for run in runs[one]) / sum(run.decode_s for run in runs[one]) for one in names}
    report.add(
        [
            name,
            *(f"{speeds[one]:.{0 if speeds[one] >= 100 else 1}f}" for one in ("target alone", "token-sd", best)),
            best,
            ahead[best].shown(".2f"),
            whole.shown(".2f"),
            f"{same}/{len(prompts)}",
        ],
        pair=name,
        draft=draft.name,
        target=target.name,
        best_of_theirs=best,
        decode_ours_over_theirs={one: interval(estimate) for one, estimate in ahead.items()},
        with_prompt_ours_over_theirs=interval(whole),
        tokens_per_s=speeds,
        same_text=same,
        prompts=len(prompts),
    )


def _same(ours: bytes, theirs: bytes) -> bool:
    """Whether one text is the other or its beginning: the example may write some tokens more than it is asked for."""
    ours = ours.strip(b"\n")
    return ours.startswith(theirs) or theirs.startswith(ours)


def bundled_pairs(folder: Path) -> list[tuple[str, Path, Path]]:
    """The bundled pair in two precisions."""
    pair = [folder / f"{model}-F16.gguf" for model in ("draft", "target")]
    for path, model in zip(pair, ("draft", "target"), strict=True):
        export_gguf(bundled_path(model), path, "F16")
    return [
        ("bundled pair, F16", *pair),
        ("bundled pair, Q8_0", bundled_gguf("draft", "q8_0"), bundled_gguf("target", "q8_0")),
    ]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=Path, help="llama-speculative-simple; see above")
    parser.add_argument("--pair", nargs=2, type=Path, metavar=("DRAFT", "TARGET"), help="instead of the bundled ones")
    parser.add_argument("--dataset", default="bundled")
    parser.add_argument("--limit", type=int, default=40)
    parser.add_argument("--max-tokens", type=int, default=256)
    parser.add_argument("--lengths", type=int, nargs="+", default=[2, 4, 8, 16], help="draft lengths of theirs")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    columns = (
        *("pair", "target tok/s", "token-sd tok/s", "theirs tok/s", "their best setting"),
        *("decode: ours / theirs", "with prompt: ours / theirs", "same text"),
    )
    other = "llama.cpp's speculative example" if arguments.binary else "llama_cpp.Llama with prompt lookup"
    report = Report(f"token-sd against {other}, greedy, {arguments.threads} thread(s)", columns, width=160)
    with tempfile.TemporaryDirectory() as folder:
        given = arguments.pair and [(arguments.pair[1].stem, *arguments.pair)]
        for name, draft, target in given or bundled_pairs(Path(folder)):
            measure(name, draft, target, arguments, report)
    report.finish(arguments.out, against=other, threads=arguments.threads, max_tokens=arguments.max_tokens)


if __name__ == "__main__":
    main()
