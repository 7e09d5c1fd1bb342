"""Step strategies against the stateless way of doing the same: every prompt encoded anew, every step by both models.

python benchmarks/stateless.py --limit 100 --out runs/stateless

The published scripts ask a server for each step: the whole text so far goes in as a prompt, the PRM or router reads the
whole solution again, and the target writes its version of every step even when the draft's is kept. That is (a). In
(b) the target writes only what is needed, still from a freshly encoded prompt. (c) is ours: sessions that keep what
they have encoded. All three are greedy, use the same backends and take the same decisions; the texts must be the same,
and the script fails if they are not. A server with a prefix cache lies between (b) and (c).

The second case has long solutions: every step is made to end after 16 tokens, none ends the solution, and every fourth
is escalated. Draft, target, PRM and router do the same work as for a real solution of that length.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from arbitrage.backends.loading import load_models
from arbitrage.boundary import step_text
from arbitrage.harness.runner import run_comparison
from arbitrage.harness.statistics import ratio
from arbitrage.interfaces import Continuation, Models, Settings, Stop, StopReason, Strategy
from arbitrage.seeding import step_rng
from arbitrage.strategies import RSD, ArbitrageRouter
from arbitrage.types import Author, EndReason, Generation, Problem, Role, StepRecord
from model_variants import endless, longer
from paced import Decided, Paced
from reporting import Report, interval

METHODS: Mapping[str, tuple[Strategy, Role, float]] = {
    "rsd": (RSD(threshold=0.7), Role.PRM, 0.7),
    "arbitrage-router": (ArbitrageRouter(threshold=0.5), Role.ROUTER, 0.5),
}
"""Ours, whom it asks, and at which score."""
_STEP, _ESCALATED_EVERY = 16, 4


class Stateless(Strategy):
    """RSD or the router without any memory between steps."""

    name = "stateless"

    def __init__(self, judge: Role, threshold: float, *, eager: bool) -> None:
        """Take decisions as RSD (`judge` a PRM) or the router does.

        Args:
            judge: whose score decides.
            threshold: at which the draft's step is kept: from it up for a PRM, up to it for a router.
            eager: whether the target writes its version of every step.
        """
        self.requires = frozenset({Role.DRAFT, Role.TARGET, judge})
        self._judge, self._threshold, self._eager = judge, threshold, eager

    def solve(self, problem: Problem, models: Models, rng: np.random.Generator) -> Generation:
        """Write a solution; the rules are those of the step loop, for greedy decoding and one tokenizer."""
        target, settings = models.language(Role.TARGET), models.settings
        prompt = settings.prompt(problem.problem, target)
        ids: list[int] = []
        steps: list[tuple[str, Author]] = []
        records: list[StepRecord] = []
        empty = 0
        reason: EndReason | None = None
        while reason is None:
            room = min(models.language(role).context_length for role in (Role.DRAFT, Role.TARGET)) - len(prompt)
            left = min(settings.max_tokens, room) - len(ids)
            written: dict[Role, Continuation] = {}

            def write(role: Role, left: int = left, written: dict[Role, Continuation] = written) -> str:
                stream = step_rng(rng, len(records), role)
                with models.language(role).open([*prompt, *ids]) as session:  # type: ignore[arg-type]
                    written[role] = session.generate(Stop(left), settings.sampling, stream)
                return step_text(target.codec.decode(written[role].ids))

            score, author = None, Role.TARGET
            if empty < 2:
                text = write(Role.DRAFT)
                if self._eager:
                    write(Role.TARGET)
                score = self._score(models, problem, steps, text)
                kept = score >= self._threshold if self._judge is Role.PRM else score <= self._threshold
                author = Role.DRAFT if kept else Role.TARGET
            if author is Role.TARGET:
                if Role.TARGET not in written:
                    write(Role.TARGET)
                text = step_text(target.codec.decode(written[Role.TARGET].ids))
            chosen = written[author]
            ids.extend(chosen.ids)
            by: Author = "draft" if author is Role.DRAFT else "target"
            steps.append((text, by))
            records.append(StepRecord(len(records), text, by, len(chosen.ids), score=score))
            empty = 0 if text.strip() else empty + 1
            if chosen.reason is StopReason.EOS:
                reason = EndReason.EOS
            elif left - len(chosen.ids) < 1:
                reason = EndReason.MAX_TOKENS
            elif empty >= 3:
                reason = EndReason.STALLED
            elif len(records) >= settings.max_steps:
                reason = EndReason.MAX_STEPS
        return Generation(target.codec.decode(ids), tuple(ids), tuple(records), reason, len(prompt))

    def _score(self, models: Models, problem: Problem, steps: list[tuple[str, Author]], candidate: str) -> float:
        """Read the problem, all steps and the candidate in a fresh session."""
        with models.scorer(self._judge).open(problem.problem) as session:  # type: ignore[arg-type]
            for text, author in steps:
                session.append(text, author)
            return session.score(candidate, "draft")


def measure(case: str, models: Models, problems: int, report: Report) -> None:
    """All methods in all three ways, interleaved problem by problem."""
    strategies: dict[str, Strategy] = {}
    for name, (mine, judge, threshold) in METHODS.items():
        strategies[f"{name} (a)"] = Stateless(judge, threshold, eager=True)
        strategies[f"{name} (b)"] = Stateless(judge, threshold, eager=False)
        strategies[f"{name} (c)"] = mine
    comparison = run_comparison(
        strategies, models, dataset="bundled", limit=problems, warmup=2, baseline=False, progress=False
    )
    for name in METHODS:
        rows = {way: comparison[f"{name} ({way})"].rows for way in "abc"}
        if failed := [row.reason for ones in rows.values() for row in ones if row.failed]:
            raise SystemExit(f"{name}: {failed[0]}")
        groups = range(len(rows["c"]))
        for way in "ab":
            for row, other in zip(rows[way], rows["c"], strict=True):
                assert row.problem_id == other.problem_id
                if row.text != other.text:
                    raise SystemExit(f"{case}, {name}, {row.problem_id}: the texts of ({way}) and (c) are not the same")
        own = [row.latency_s for row in rows["c"]]
        ahead = {way: ratio([row.latency_s for row in rows[way]], own, groups) for way in "ab"}
        steps = [len(row.steps) for row in rows["c"]]
        tokens = [row.tokens for row in rows["c"]]
        escalated = sum(row.escalated_steps for row in rows["c"]) / sum(steps)
        seconds = {way: float(np.mean([row.latency_s for row in rows[way]])) for way in "abc"}
        report.add(
            [
                case,
                name,
                f"{np.mean(steps):.0f}",
                f"{np.mean(tokens):.0f}",
                f"{100 * escalated:.0f}",
                *(f"{seconds[way]:.2f}" for way in "abc"),
                *(ahead[way].shown(".2f") for way in "ab"),
            ],
            case=case,
            method=name,
            problems=len(own),
            steps=float(np.mean(steps)),
            tokens=float(np.mean(tokens)),
            escalated=escalated,
            seconds=seconds,
            ours_over_eager=interval(ahead["a"]),
            ours_over_lazy=interval(ahead["b"]),
            same_text=len(own),
        )


def long_models(folder: Path, tokens: int, told: dict[str, Any]) -> Models:
    """The bundled models, made to write solutions of so many tokens."""
    copies = {role.value: f"hf:{longer(role.value, folder, 2 * tokens)}" for role in Role}
    models = load_models("hf", **copies, settings=Settings(max_tokens=tokens, max_steps=tokens), **told)

    def pace() -> tuple[int, StopReason]:
        return _STEP, StopReason.SEPARATOR

    return replace(
        models,
        draft=Paced(endless(models.language(Role.DRAFT)), pace),
        target=Paced(endless(models.language(Role.TARGET)), pace),
        prm=Decided(models.scorer(Role.PRM), lambda index: float(index % _ESCALATED_EVERY > 0)),
        router=Decided(models.scorer(Role.ROUTER), lambda index: float(index % _ESCALATED_EVERY == 0)),
    )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit", type=int, default=100)
    parser.add_argument("--long-limit", type=int, default=8, help="problems of the long case")
    parser.add_argument("--long-tokens", type=int, default=1536)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    columns = (
        *("problems", "method", "steps", "tokens", "escalated %"),
        *("(a) s", "(b) s", "(c) s", "(a) / (c)", "(b) / (c)"),
    )
    report = Report("(a) stateless, target every step; (b) stateless; (c) ours", columns, text_columns=2)
    told: dict[str, Any] = {"threads": arguments.threads, "dtype": arguments.dtype}
    measure("bundled", load_models("hf", **told), arguments.limit, report)
    with tempfile.TemporaryDirectory() as folder:
        models = long_models(Path(folder), arguments.long_tokens, told)
        measure("steps of 16 tokens", models, arguments.long_limit, report)
    report.finish(arguments.out, threads=arguments.threads, dtype=arguments.dtype)


if __name__ == "__main__":
    main()
