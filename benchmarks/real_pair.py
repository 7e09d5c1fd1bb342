"""A PRM and a router for a pair of models that has none, and what they are worth: one command, and again to go on.

python benchmarks/real_pair.py --draft draft.gguf --target target.gguf --train gsm8k.jsonl math.jsonl --work DIR

1. Both models solve the first training problems (`solve`); graded, these are the labels of a PRM on the draft's frozen
   states (`prm`).
2. The oracle under that PRM solves others; what both models wrote at every step are step pairs (`pairs`), for a router
   on the same frozen states (`router`) and a table for the draft's own confidence (`confidence`).
3. The strategies solve the evaluation sets: many problems at once for accuracy (`accuracy`), a few one at a time for
   seconds (`seconds`).

Every step is a command of `arbitrage` that is printed before it runs; results are run folders under DIR.
"""

from __future__ import annotations

import argparse
import itertools
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from arbitrage.errors import ArbitrageError
from arbitrage.harness.datasets import from_file
from arbitrage.harness.router.problems import training_problems, training_row
from arbitrage.harness.router.sampling import unique

STAGES = ("solve", "prm", "pairs", "router", "confidence", "accuracy", "seconds")
STRATEGIES = (
    "target-only,draft-only,random-route:rate={0},rsd:rate={0},arbitrage-oracle,arbitrage-router:rate={0},"
    "draft-confidence:rate={0}"
)


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--draft", type=Path, required=True, help="GGUF file")
    made.add_argument("--target", type=Path, required=True, help="GGUF file")
    made.add_argument("--train", type=Path, nargs="+", required=True, help="JSONL files, taken in turns")
    made.add_argument("--work", type=Path, required=True)
    made.add_argument("--evaluate", nargs="+", default=["gsm8k", "math500"])
    made.add_argument("--solve", type=int, default=400, help="problems that the PRM is learnt from")
    made.add_argument("--pairs", type=int, default=300, help="problems that the router is learnt from")
    made.add_argument("--limit", type=int, default=100, help="evaluation problems of each set")
    made.add_argument("--timed", type=int, default=20, help="of them, solved one at a time")
    made.add_argument("--layers", type=int, nargs="+", default=[12, 16, 20], help="of the draft, the best is kept")
    made.add_argument("--rate", type=float, default=0.3, help="escalation rate of the routing strategies")
    made.add_argument("--max-tokens", type=int, default=512)
    made.add_argument("--concurrency", type=int, default=32)
    made.add_argument("--threads", default="1")
    made.add_argument("--only", choices=STAGES, nargs="+", default=STAGES)
    return made


def commands(told: argparse.Namespace) -> Iterator[tuple[str, list[str]]]:
    """Stage and arguments of each command, in order."""
    work = told.work
    threads = ["--threads", told.threads]
    tokens = ["--max-tokens", str(told.max_tokens), "--context", str(told.max_tokens + 1024), *threads]
    target = ["--target", f"gguf:{work / 'target.gguf'}"]
    pair = ["--draft", f"gguf:{work / 'draft.gguf'}", *target]
    calibrated = work / "calibrated" / "draft.gguf"  # a table makes another model of it: the first stages go on without
    scorers = ["--prm", f"hf:{work / 'prm'}", "--router", f"hf:{work / 'router'}"]
    together = ["--concurrency", str(told.concurrency)]
    head = ["--frozen", *itertools.chain(*(["--layer", str(layer)] for layer in told.layers))]
    head += ["--init", f"gguf:{work / 'draft.gguf'}", *threads]

    def bench(out: Path, dataset: str, strategies: str, models: list[str], *more: str) -> list[str]:
        again = ["--resume"] if (out / "manifest.json").exists() else []
        given = ["--strategy", strategies, "--dataset", dataset, "--out", str(out)]
        return ["bench", *models, *given, *tokens, *again, *more]

    both, unmeasured = "target-only,draft-only", ["--warmup", "0", *together]
    yield "solve", bench(work / "solutions", str(work / "solve.jsonl"), both, pair, *unmeasured)
    yield "prm", ["router", "train", str(work / "solutions"), "--as", "prm", *head, "--out", str(work / "prm")]
    collected = ["--dataset", str(work / "collect.jsonl"), "--out", str(work / "pairs")]
    yield "pairs", ["router", "collect", *pair, *scorers[:2], "--roll-in", "oracle", *collected, *tokens, *together]
    yield "router", ["router", "train", str(work / "pairs"), *head, "--out", str(work / "router")]
    yield "confidence", ["router", "calibrate", str(calibrated), str(work / "pairs"), "--as", "draft"]
    strategies, models = STRATEGIES.format(f"{told.rate:g}"), ["--draft", f"gguf:{calibrated}", *target, *scorers]
    for stage, limit, more in (("accuracy", told.limit, unmeasured), ("seconds", told.timed, [])):
        for name in told.evaluate:
            out = work / f"{stage}-{Path(name).stem}"
            yield stage, bench(out, name, strategies, models, "--limit", str(limit), *more)


def problems(files: Sequence[Path], evaluated: Sequence[str]) -> list[bytes]:
    """Lines of the files in turns: no text twice, and none that stands in an evaluation set.

    Raises:
        ArbitrageError: a file or an evaluation set is absent or malformed.
    """
    parts = []
    for file in files:
        kept = {problem.id for problem in training_problems(file, against=evaluated).dataset}
        rows = from_file(file.stem, file, training_row)
        lines = [line for line in file.read_bytes().splitlines() if line.strip()]
        parts.append([one for one in zip(rows, lines, strict=True) if one[0].id in kept])
    taken = [one for row in itertools.zip_longest(*parts) for one in row if one is not None]
    return [taken[place][1] for place in unique([("", problem.problem, problem.id) for problem, _ in taken])]


def prepare(told: argparse.Namespace) -> None:
    """Put problems and models into the folder; models as links, so that what is written beside them stays there.

    Raises:
        ValueError: a file is missing, there are too few problems, or the folder is that of other models.
        ArbitrageError: problems cannot be read.
    """
    for file in (told.draft, told.target, *told.train):
        if not file.is_file():
            raise ValueError(f"{file} is no file")
    lines = problems(told.train, told.evaluate)
    if len(lines) < told.solve + told.pairs:
        raise ValueError(
            f"--train has {len(lines)} problems that are not in --evaluate, too few for --solve {told.solve} and "
            f"--pairs {told.pairs}"
        )
    (told.work / "calibrated").mkdir(parents=True, exist_ok=True)
    for link, model in (
        (told.work / "draft.gguf", told.draft),
        (told.work / "target.gguf", told.target),
        (told.work / "calibrated" / "draft.gguf", told.draft),
    ):
        if not link.is_symlink():
            link.symlink_to(model.resolve())
        elif link.resolve() != model.resolve():
            raise ValueError(f"{told.work} was begun with {link.resolve()}; take another --work for {model}")
    for name, part in (("solve", lines[: told.solve]), ("collect", lines[told.solve : told.solve + told.pairs])):
        (told.work / f"{name}.jsonl").write_bytes(b"\n".join(part) + b"\n")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is asked for; stop at the first command that fails."""
    options = parser()
    told = options.parse_args(arguments)
    try:
        prepare(told)
    except (ValueError, ArbitrageError) as error:
        options.error(str(error))
    for stage, words in commands(told):
        if stage not in told.only:
            continue
        print(f"{stage}: arbitrage {' '.join(words)}", flush=True)
        try:
            done = subprocess.run([sys.executable, "-m", "arbitrage", *words], check=False)
        except KeyboardInterrupt:  # the command was interrupted too, and has said how to go on
            sys.exit(130)
        if done.returncode:
            sys.exit(done.returncode)


if __name__ == "__main__":
    main()
