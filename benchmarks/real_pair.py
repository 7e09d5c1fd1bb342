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
    pair = ["--draft", f"gguf:{work / 'draft.gguf'}", "--target", f"gguf:{work / 'target.gguf'}"]
    scorers = ["--prm", f"hf:{work / 'prm'}", "--router", f"hf:{work / 'router'}"]
    together = ["--concurrency", str(told.concurrency)]
    head = ["--frozen", *itertools.chain(*(["--layer", str(layer)] for layer in told.layers))]
    head += ["--init", f"gguf:{work / 'draft.gguf'}", *threads]

    def bench(out: Path, dataset: str, strategies: str, *more: str) -> list[str]:
        again = ["--resume"] if (out / "manifest.json").exists() else []
        given = ["--strategy", strategies, "--dataset", dataset, "--out", str(out)]
        return ["bench", *pair, *given, *tokens, *again, *more]

    yield (
        "solve",
        bench(work / "solutions", str(work / "solve.jsonl"), "target-only,draft-only", "--warmup", "0", *together),
    )
    yield "prm", ["router", "train", str(work / "solutions"), "--as", "prm", *head, "--out", str(work / "prm")]
    collected = ["--dataset", str(work / "collect.jsonl"), "--out", str(work / "pairs")]
    yield "pairs", ["router", "collect", *pair, *scorers[:2], "--roll-in", "oracle", *collected, *tokens, *together]
    yield "router", ["router", "train", str(work / "pairs"), *head, "--out", str(work / "router")]
    yield "confidence", ["router", "calibrate", str(work / "draft.gguf"), str(work / "pairs"), "--as", "draft"]
    strategies = STRATEGIES.format(f"{told.rate:g}")
    for stage, limit, more in (("accuracy", told.limit, ["--warmup", "0", *together]), ("seconds", told.timed, [])):
        for name in told.evaluate:
            out = work / f"{stage}-{Path(name).stem}"
            yield stage, [*bench(out, name, strategies, "--limit", str(limit), *more), *scorers]


def prepare(told: argparse.Namespace) -> None:
    """Put problems and models into the folder; models as links, so that what is written beside them stays there."""
    told.work.mkdir(parents=True, exist_ok=True)
    for role in ("draft", "target"):
        link, model = told.work / f"{role}.gguf", getattr(told, role).resolve(strict=True)
        if not link.exists():
            link.symlink_to(model)
    taken = itertools.zip_longest(*(file.read_bytes().splitlines() for file in told.train))
    lines = [line for row in taken for line in row if line]
    for name, part in (("solve", lines[: told.solve]), ("collect", lines[told.solve : told.solve + told.pairs])):
        (told.work / f"{name}.jsonl").write_bytes(b"\n".join(part) + b"\n")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is asked for; stop at the first command that fails."""
    told = parser().parse_args(arguments)
    prepare(told)
    for stage, words in commands(told):
        if stage not in told.only:
            continue
        print(f"{stage}: arbitrage {' '.join(words)}", flush=True)
        done = subprocess.run([sys.executable, "-m", "arbitrage", *words], check=False)
        if done.returncode:
            sys.exit(done.returncode)


if __name__ == "__main__":
    main()
