"""A against A: how often a comparison claims a difference between two labels of the same thing; at most 5 % may.

python benchmarks/aa.py --out runs/aa

First made-up runs, then real ones of the bundled models, interleaved as every comparison is. Claimed is a difference
when the 95 % interval of a latency ratio excludes 1, when that of the accuracy difference excludes 0, or when McNemar
has p < 0.05. `sampled` cases run at temperature 1, each label with random numbers of its own, so that texts differ.

Where real runs claim too much, the last columns tell why. `dealt` takes the same rows with labels dealt by a coin for
each problem, as if chance had decided who goes first: where that brings the share back to 5 %, the order of turns and
the rhythm of the machine's load are to blame. `neighbours` correlates log(b/a) of successive problems of a run: far
from 0, one label was slower for a stretch, so what it carries from problem to problem differs.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from arbitrage import load_models
from arbitrage.harness import environment, statistics
from arbitrage.harness.comparison import Versus
from arbitrage.harness.datasets import Dataset, load_dataset
from arbitrage.harness.rows import Row
from arbitrage.harness.runner import run_comparison
from arbitrage.harness.statistics import Centre, Estimate
from arbitrage.interfaces import Models, Strategy
from arbitrage.registry import registry
from arbitrage.strategy_specs import parse_strategy
from arbitrage.types import Generation, Problem, Role

CENTRES: tuple[Centre, ...] = ("mean", "median", "geometric")
SIMULATED = (5, 10, 20, 50, 200)
"""Problems of a made-up comparison."""
DEALS = 50
BLOCKS = (10, 20, 50)
"""Problems of a real comparison: the rows of all runs in their order, cut into blocks of each size."""

Floats = NDArray[np.float64]
Draw = Callable[[np.random.Generator, tuple[int, ...]], Floats]

NOISE: dict[str, Draw] = {
    "calm": lambda rng, shape: np.exp(rng.normal(0, 0.05, shape)),
    "stalls": lambda rng, shape: (
        np.exp(rng.normal(0, 0.05, shape)) * np.where(rng.random(shape) < 0.05, 1 + 2 * rng.pareto(1.2, shape), 1)
    ),
    "no variance": lambda rng, shape: 1 + rng.pareto(1.1, shape),
}
"""Factors on a latency: a quiet machine, one that stalls in 5 % of the runs, and Pareto tails of index 1.1."""
ANSWERS = {"1 % discordant": (0.01, 1), "20 % discordant": (0.2, 1), "sampled, 3 repeats": (None, 3)}
"""Share of problems on which the two part, and repeats; None draws every answer with the problem's own chance."""


@dataclass(frozen=True)
class Case:
    """Two labels of one strategy."""

    strategy: str
    sampled: bool
    share: float
    """Runs, as a share of `--comparisons`."""

    @property
    def name(self) -> str:
        """Name in the table."""
        return f"{self.strategy}, {'sampled' if self.sampled else 'greedy'}"


CASES = (
    Case("draft-only", False, 1.0),
    Case("draft-only", True, 0.5),
    Case("token-sd", False, 0.25),
    Case("token-sd:gamma=4", False, 0.25),
    Case("arbitrage-router", False, 0.1),
)
"""Slow strategies get fewer runs, so that each case takes about as long."""


class OwnChance(Strategy):
    """A strategy with random numbers that no other label has."""

    def __init__(self, inner: Strategy, stream: int) -> None:
        self._inner, self._stream = inner, stream
        self.name, self.requires = inner.name, inner.requires  # type: ignore[misc]

    def solve(self, problem: Problem, models: Models, rng: np.random.Generator) -> Generation:
        """As the inner strategy."""
        parent = rng.bit_generator.seed_seq
        assert isinstance(parent, np.random.SeedSequence)
        own = np.random.SeedSequence(parent.entropy, spawn_key=(*parent.spawn_key, self._stream))
        return self._inner.solve(problem, models, np.random.default_rng(own))


def made_up_latencies(rng: np.random.Generator, noise: Draw, problems: int) -> tuple[Floats, Floats]:
    """Seconds of two labels: problems differ by a factor of two either way, both labels meet the same noise."""
    size = rng.lognormal(0, 0.8, problems)
    return size * noise(rng, (problems,)), size * noise(rng, (problems,))


def made_up_answers(rng: np.random.Generator, discordant: float | None, problems: int, repeats: int) -> list[Any]:
    """Right or wrong of two labels, and the problem of each row."""
    if discordant is None:
        chance = rng.beta(0.6, 0.6, problems)[:, None]
        ours, theirs = (rng.random((problems, repeats)) < chance for _ in "ab")
    else:
        parted, ours = (rng.random((problems, repeats)) < share for share in (discordant, 0.5))
        theirs = ours ^ parted
    return [ours.ravel(), theirs.ravel(), np.repeat(np.arange(problems), repeats)]


def simulate(times: int, progress: Progress) -> list[dict[str, Any]]:
    """Share of made-up comparisons that claim a difference, by quantity, kind of data and number of problems."""
    found = []
    tasks = [(of, noise) for of in CENTRES for noise in NOISE]
    bar = progress.add_task("made-up comparisons", total=times * len(SIMULATED) * (len(tasks) + len(ANSWERS)))
    for of, noise in tasks:
        for problems in SIMULATED:
            rng = np.random.default_rng([problems, CENTRES.index(of), *noise.encode()])
            claimed = 0
            for _ in range(times):
                ours, theirs = made_up_latencies(rng, NOISE[noise], problems)
                claimed += not statistics.ratio(ours, theirs, range(problems), of=of).covers(1.0)
                progress.advance(bar)
            found.append({"quantity": f"latency, {of}", "data": noise, "problems": problems, "claimed": claimed})
        if not progress.console.is_terminal:
            progress.console.print(f"made-up latencies, {of}, {noise}: done")
    for name, (discordant, repeats) in ANSWERS.items():
        for problems in SIMULATED:
            rng = np.random.default_rng([problems, *name.encode()])
            by_interval = by_test = 0
            for _ in range(times):
                answers = made_up_answers(rng, discordant, problems, repeats)
                by_interval += not statistics.accuracy_difference(*answers).covers(0.0)
                by_test += statistics.mcnemar(*answers) < 0.05
                progress.advance(bar)
            found.append({"quantity": "accuracy", "data": name, "problems": problems, "claimed": by_interval})
            found.append({"quantity": "McNemar", "data": name, "problems": problems, "claimed": by_test})
    return [row | {"comparisons": times} for row in found]


def measure(
    case: Case, models: Models, data: Dataset, runs: int, problems: int, progress: Progress
) -> list[tuple[Row, Row]]:
    """Rows of both labels, problem by problem, from `runs` runs of `problems` each; the data set goes round."""
    known = registry()
    pairs: list[tuple[Row, Row]] = []
    bar = progress.add_task(f"{case.name}, {runs} runs", total=runs)
    for number in range(runs):
        chosen = [data[(number * problems + place) % len(data)] for place in range(problems)]
        made = {label: parse_strategy(case.strategy, known) for label in "ab"}
        strategies = {
            label: OwnChance(made[label], stream) if case.sampled else made[label] for stream, label in enumerate("ab")
        }
        comparison = run_comparison(
            strategies,
            models,
            dataset=Dataset(data.name, tuple(chosen), data.source, spare=data.spare),
            seed=number,
            baseline=False,
            temperature=1.0 if case.sampled else None,
            progress=False,
        )
        pairs += zip(comparison["a"].rows, comparison["b"].rows, strict=True)
        progress.advance(bar)
        if not progress.console.is_terminal:
            progress.console.print(f"{case.name}: {number + 1} of {runs} runs")
    return pairs


def claims(pairs: Sequence[tuple[Row, Row]], problems: int) -> dict[str, int]:
    """How many of the comparisons of `problems` problems each claim a difference."""
    counted = dict.fromkeys((*(f"latency, {of}" for of in CENTRES), "accuracy", "McNemar"), 0)
    for start in range(0, len(pairs) - problems + 1, problems):
        block = pairs[start : start + problems]
        versus = Versus.of([b for _, b in block], [a for a, _ in block])
        assert versus is not None
        ratios = (versus.speed_up, versus.median_speed_up, versus.geometric_speed_up)
        for of, found in zip(CENTRES, ratios, strict=True):
            counted[f"latency, {of}"] += found is not None and not found.covers(1.0)
        counted["accuracy"] += not versus.accuracy_difference.covers(0.0)
        counted["McNemar"] += versus.mcnemar_p < 0.05
    return counted


def dealt(pairs: Sequence[tuple[Row, Row]], problems: int) -> float:
    """Share of comparisons that claim a ratio of mean latencies when labels are dealt by a coin, over many deals."""
    seconds = np.array([[row.latency_s for row in pair] for pair in pairs])
    rng = np.random.default_rng(0)
    claimed = []
    for _ in range(DEALS):
        one, other = np.where(rng.random((len(seconds), 1)) < 0.5, seconds, seconds[:, ::-1]).T
        for start in range(0, len(seconds) - problems + 1, problems):
            block = slice(start, start + problems)
            claimed.append(not statistics.ratio(one[block], other[block], range(problems)).covers(1.0))
    return float(np.mean(claimed))


def noise(pairs: Sequence[tuple[Row, Row]], problems: int) -> dict[str, Any]:
    """What the machine does: scatter of the pairs, second place against first, likeness of neighbours in a run."""
    seconds = np.array([[row.latency_s for row in pair] for pair in pairs])
    turned = np.array([a.started_at > b.started_at for a, b in pairs])
    first, second = np.where(turned[:, None], seconds[:, ::-1], seconds).T
    logs = np.log(seconds[:, 1] / seconds[:, 0])
    runs = logs.reshape(-1, problems)
    return {
        "log_ratio_sd": float(logs.std()),
        "log_ratio_iqr": float(np.subtract(*np.quantile(logs, [0.75, 0.25]))),
        "second_over_first": ends(statistics.ratio(second, first, range(len(pairs)), of="geometric")),
        "neighbours_correlate": float((runs[:, :-1] * runs[:, 1:]).mean() / (runs**2).mean()),
        "same_text": float(np.mean([a.token_ids == b.token_ids for a, b in pairs])),
        "discordant": float(np.mean([a.correct != b.correct for a, b in pairs])),
        "b_over_a": ends(statistics.ratio(seconds[:, 1], seconds[:, 0], range(len(pairs)))),
        "b_first": turned.tolist(),
        "seconds": seconds.round(6).tolist(),
    }


def ends(found: Estimate) -> list[float | None]:
    """Value, low, high."""
    return [found.value, found.low, found.high]


def simulated_table(rows: Sequence[dict[str, Any]], times: int) -> Table:
    """Shares by number of problems."""
    table = Table(title=f"made-up A/A: differences claimed, % of {times} comparisons", title_justify="left")
    for column in ("quantity", "data", *(f"n = {problems}" for problems in SIMULATED)):
        table.add_column(column, justify="right" if column.startswith("n") else "left")
    for quantity, data in dict.fromkeys((row["quantity"], row["data"]) for row in rows):
        shares = [row["claimed"] / times for row in rows if (row["quantity"], row["data"]) == (quantity, data)]
        table.add_row(quantity, data, *(f"{100 * share:.1f}" for share in shares))
    return table


def real_table(rows: Sequence[dict[str, Any]]) -> Table:
    """Shares with their intervals."""
    table = Table(title="real A/A: differences claimed, % [95 %] of the comparisons", title_justify="left")
    quantities = list(rows[0]["claimed"])
    for column in ("strategy", "problems", "comparisons", *quantities, "mean, dealt"):
        table.add_column(column, justify="left" if column == "strategy" else "right")
    for row in rows:
        shares = [
            statistics.wilson(row["claimed"][name] / row["comparisons"], row["comparisons"]) for name in quantities
        ]
        cells = [f"{100 * s.value:.1f} [{100 * (s.low or 0):.1f}, {100 * (s.high or 0):.1f}]" for s in shares]
        numbers = (str(row["problems"]), str(row["comparisons"]))
        table.add_row(row["case"], *numbers, *cells, f"{100 * row['dealt']:.1f}")
    return table


def noise_table(rows: dict[str, dict[str, Any]]) -> Table:
    """The machine by case."""
    table = Table(title="the pairs", title_justify="left")
    columns = (
        "strategy",
        "pairs",
        "sd of log(b/a)",
        "b / a",
        "second / first",
        "neighbours",
        "same text %",
        "discordant %",
    )
    for column in columns:
        table.add_column(column, justify="left" if column == "strategy" else "right")
    for name, row in rows.items():
        ratios = ["{:.3f} [{:.3f}, {:.3f}]".format(*row[key]) for key in ("b_over_a", "second_over_first")]
        shares = [f"{100 * row[key]:.0f}" for key in ("same_text", "discordant")]
        correlation = f"{row['neighbours_correlate']:+.2f}"
        table.add_row(name, str(row["pairs"]), f"{row['log_ratio_sd']:.3f}", *ratios, correlation, *shares)
    return table


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--comparisons", type=int, default=60, help="real runs of the quickest case")
    parser.add_argument("--problems", type=int, default=20, help="of a real run")
    parser.add_argument("--simulations", type=int, default=2000, help="made-up comparisons of each setting")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    models, data = load_models("hf", roles=list(Role), threads=arguments.threads), load_dataset("bundled")
    about = {"threads": arguments.threads, **environment.surroundings()}
    real, machine = [], {}
    with Progress(console=Console(stderr=True)) as progress:
        simulated = simulate(arguments.simulations, progress)
        for case in CASES:
            runs = max(1, round(case.share * arguments.comparisons))
            pairs = measure(case, models, data, runs, arguments.problems, progress)
            machine[case.name] = {"pairs": len(pairs), **noise(pairs, arguments.problems)}
            for problems in BLOCKS:
                if blocks := len(pairs) // problems:
                    claimed = claims(pairs, problems)
                    counted = {"comparisons": blocks, "claimed": claimed, "dealt": dealt(pairs, problems)}
                    real.append({"case": case.name, "problems": problems, **counted})
    shown = [simulated_table(simulated, arguments.simulations), real_table(real), noise_table(machine)]
    for table in shown:
        Console(width=160).print(table)
    if arguments.out:
        arguments.out.mkdir(parents=True, exist_ok=True)
        result = {"simulated": simulated, "real": real, "pairs": machine, **about}
        (arguments.out / "results.json").write_text(json.dumps(result) + "\n")
        with (arguments.out / "table.txt").open("w") as file:
            for table in shown:
                Console(file=file, width=160).print(table)


if __name__ == "__main__":
    main()
