"""Throughput with several problems in work at once against one at a time: what batching the backends' work gives.

python benchmarks/throughput.py --limit 384 --out runs/throughput

Block by block of problems, all numbers of problems at once come in a changing order. What counts is the time that the
machine was busy with a row (`Row.machine_s`); intervals resample blocks, whose rows were in work together. Texts
are compared with those of one at a time; where they part, the margin of the model that wrote the token tells whether
it was a near-tie.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch

from arbitrage import load_dataset
from arbitrage.backends.loading import load_models
from arbitrage.harness.rows import Row
from arbitrage.harness.runner import run_comparison
from arbitrage.harness.statistics import ratio
from arbitrage.interfaces import Models
from arbitrage.types import Problem, Role
from near_ties import first_difference, margin
from reporting import Report, interval

STRATEGIES = ("target-only", "token-sd", "arbitrage-router")
_CONTEXT = 768
"""Tokens a session in llama.cpp: the bundled problems with their solutions have fewer."""


def models_by_level(backend: str, levels: Sequence[int], threads: int) -> Mapping[int, Models]:
    """Models for each number of problems at once; llama.cpp wants to know it beforehand."""
    if backend == "hf":
        models = load_models(backend, threads=threads, dtype="float32")
        return dict.fromkeys(levels, models)
    return {level: load_models(backend, threads=threads, context=_CONTEXT, sessions=level) for level in levels}


Rows = dict[tuple[str, int], list[Row]]
"""By strategy and number of problems at once, in the order of the problems."""


def solve(models: Mapping[int, Models], blocks: Sequence[Sequence[Problem]]) -> Rows:
    """All strategies on all blocks at every level, in a changing order."""
    levels = list(models)
    rows: Rows = {}
    for number, block in enumerate(blocks):
        turn = number % len(levels)
        for level in levels[turn:] + levels[:turn]:
            comparison = run_comparison(
                STRATEGIES,
                models[level],
                dataset=block,
                concurrency=level,
                warmup=0 if number else 2,
                progress=False,
            )
            for name, result in zip(STRATEGIES, comparison.values(), strict=True):
                rows.setdefault((name, level), []).extend(result.rows)
    return rows


def partings(
    models: Models, problems: Mapping[str, Problem], pairs: Iterable[tuple[Row, Row]]
) -> list[dict[str, object]]:
    """Where rows part from those of one at a time, and how near the choice was there."""
    found = []
    for row, alone in pairs:
        part = first_difference(row.token_ids, alone.token_ids)
        if row.token_ids == alone.token_ids:
            continue
        where: dict[str, object] = {"problem": row.problem_id, "token": part, "of": alone.tokens}
        found.append(where)
        if part is None:
            continue
        author, author_alone = _author(row, part), _author(alone, part)
        where["authors"] = [author, author_alone]
        if author == author_alone:
            writer = models.language(Role.DRAFT if author == "draft" else Role.TARGET)
            prompt = models.settings.prompt(problems[row.problem_id].problem, models.language(Role.TARGET))
            seen = margin(writer, prompt, alone.token_ids[:part], row.token_ids[part], alone.token_ids[part])
            where["margin"] = seen.token_by_token
            where["largest_move_by_chunking"] = seen.largest_move
    return found


def _author(row: Row, position: int) -> str:
    """Who wrote the token at this position."""
    for step in row.steps:
        position -= step.tokens
        if position < 0:
            return step.author
    raise ValueError("the text has no such token")


def add_lines(
    report: Report, backend: str, models: Models, problems: Sequence[Problem], rows: Rows, block: int
) -> None:
    """One line for each strategy and number of problems at once."""
    by_id = {problem.id: problem for problem in problems}
    for (name, level), solved in sorted(rows.items(), key=lambda item: (STRATEGIES.index(item[0][0]), item[0][1])):
        alone = rows[name, 1]
        if failed := [row.reason for row in (*solved, *alone) if row.failed]:
            raise SystemExit(f"{name}, {level} at once: {failed[0]}")
        busy, busy_alone = [row.machine_s for row in solved], [row.machine_s for row in alone]
        gain = ratio(busy_alone, busy, [at // block for at in range(len(busy))])
        parted = partings(models, by_id, zip(solved, alone, strict=True))
        same = len(solved) - len(parted)
        margins = [abs(float(str(one["margin"]))) for one in parted if "margin" in one]
        report.add(
            [
                backend,
                name,
                str(level),
                f"{len(solved) / sum(busy):.2f}",
                f"{sum(row.tokens for row in solved) / sum(busy):.0f}",
                "1" if level == 1 else gain.shown(".2f"),
                f"{sum(row.latency_s for row in solved) / len(solved):.2f}",
                f"{100 * same / len(solved):.1f}",
                f"{max(margins):.4f}" if margins else "—",
            ],
            backend=backend,
            strategy=name,
            at_once=level,
            problems=len(solved),
            problems_per_s=len(solved) / sum(busy),
            tokens_per_s=sum(row.tokens for row in solved) / sum(busy),
            over_one_at_a_time=interval(gain),
            mean_latency_s=sum(row.latency_s for row in solved) / len(solved),
            correct=sum(row.correct for row in solved),
            same_text=same,
            divergences=parted,
        )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit", type=int, default=384)
    parser.add_argument("--at-once", type=int, nargs="+", default=[4, 16, 64], help="beside 1")
    parser.add_argument("--backends", nargs="+", choices=("hf", "gguf"), default=["hf", "gguf"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    problems = load_dataset("bundled")[: arguments.limit]
    levels = sorted({1, *arguments.at_once})
    blocks = [problems[start : start + levels[-1]] for start in range(0, len(problems), levels[-1])]
    columns = (
        *("backend", "strategy", "at once", "problems/s", "tokens/s", "over one at a time"),
        *("latency, s", "same text %", "largest margin"),
    )
    report = Report(f"{len(problems)} bundled problems, several at once", columns, text_columns=2)
    for backend in arguments.backends:
        models = models_by_level(backend, levels, arguments.threads)
        add_lines(report, backend, models[1], problems, solve(models, blocks), levels[-1])
    report.finish(arguments.out, threads=arguments.threads, levels=levels)


if __name__ == "__main__":
    main()
