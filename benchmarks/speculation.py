"""token-sd against target-only: pairs where it should win, and a draft that knows nothing, where it must not lose.

python benchmarks/speculation.py --limit 100 --out runs/speculation
python benchmarks/speculation.py --pair DRAFT.gguf TARGET.gguf --dataset gsm8k --limit 20
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from rich.console import Console
from rich.table import Table

from arbitrage.backends.bundled import bundled_path
from arbitrage.backends.gguf.export import export_gguf
from arbitrage.backends.loading import load_models
from arbitrage.harness import environment
from arbitrage.harness.runner import run_comparison
from arbitrage.harness.statistics import Estimate
from arbitrage.interfaces import Strategy
from arbitrage.strategies import TargetOnly, TokenSD
from arbitrage.types import Role


@dataclass(frozen=True)
class Case:
    """A pair of models."""

    name: str
    backend: str
    draft: str
    target: str = "bundled:target"


def useless_draft(folder: Path) -> Path:
    """The bundled draft's shape and tokenizer with random weights."""
    source, directory = bundled_path("draft"), folder / "useless"
    shutil.copytree(source, directory)
    torch.manual_seed(0)
    config = transformers.AutoConfig.from_pretrained(source)
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(directory)
    export_gguf(directory, folder / "useless-F16.gguf", "F16")
    return directory


def cases(folder: Path) -> Iterator[Case]:
    """What runs without a download."""
    useless = useless_draft(folder)
    yield Case("bundled pair", "hf", "bundled:draft")
    yield Case("bundled pair", "gguf", "bundled:draft")
    yield Case("target Q2_K drafts for Q8_0", "gguf", "bundled:target@q2_k")
    yield Case("useless draft", "hf", f"hf:{useless}")
    yield Case("useless draft", "gguf", f"gguf:{folder / 'useless-F16.gguf'}")


def measure(case: Case, arguments: argparse.Namespace, out: Path) -> dict[str, Any]:
    """One run of both strategies, interleaved."""
    models = load_models(
        case.backend,
        roles=[Role.DRAFT, Role.TARGET],
        draft=case.draft,
        target=case.target,
        threads=arguments.threads,
        dtype="float32" if case.backend == "hf" else None,
    )
    strategies: dict[str, Strategy] = {"target-only": TargetOnly(), "token-sd": TokenSD()}
    comparison = run_comparison(
        strategies,
        models,
        dataset=arguments.dataset,
        limit=arguments.limit,
        max_tokens=arguments.max_tokens,
        warmup=arguments.warmup,
        out=out,
        resume=out.exists(),
    )
    ours, base = comparison["token-sd"], comparison["target-only"]
    versus = comparison.versus("token-sd")
    assert versus is not None
    assert versus.speed_up is not None
    written = sum(row.tokens for row in ours.rows)
    drafted = sum(step.drafted for row in ours.rows for step in row.steps)
    return {
        "pair": case.name,
        "backend": case.backend,
        "draft": models.draft.describe() if models.draft else None,
        "target": models.target.describe() if models.target else None,
        "speed_up": [versus.speed_up.value, versus.speed_up.low, versus.speed_up.high],
        "target_tokens_per_s": sum(row.tokens for row in base.rows) / sum(row.latency_s for row in base.rows),
        "token_sd_tokens_per_s": written / sum(row.latency_s for row in ours.rows),
        "drafted_per_token": drafted / written,
        "kept": ours.draft_token_acceptance,
        "same_text": versus.identical_share,
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--pair", nargs=2, metavar=("DRAFT", "TARGET"), help="GGUF files, instead of the built-in cases"
    )
    parser.add_argument("--dataset", default="bundled")
    parser.add_argument("--limit", type=int, default=100)
    parser.add_argument("--max-tokens", type=int, default=256)
    parser.add_argument("--warmup", type=int, default=4, help="problems before the measured ones")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    table = Table(title=f"token-sd against target-only, {arguments.limit} problems", title_justify="left")
    for column in ("pair", "backend", "speed-up", "target tok/s", "drafted per token", "kept %", "same text %"):
        table.add_column(column, justify="left" if column in ("pair", "backend") else "right")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        given = arguments.pair and [Case("given pair", "gguf", *(f"gguf:{path}" for path in arguments.pair))]
        for number, case in enumerate(given or cases(Path(folder))):
            row = measure(case, arguments, arguments.out / f"run{number}")
            rows.append(row)
            table.add_row(
                case.name,
                case.backend,
                Estimate(*row["speed_up"]).shown(".2f"),
                f"{row['target_tokens_per_s']:.0f}",
                f"{row['drafted_per_token']:.2f}",
                "—" if row["kept"] is None else f"{100 * row['kept']:.0f}",
                f"{100 * row['same_text']:.0f}",
            )
    Console(width=120).print(table)
    about = {"threads": arguments.threads, **environment.surroundings()}
    (arguments.out / "results.json").write_text(json.dumps({"rows": rows, **about}, indent=1) + "\n")
    with (arguments.out / "table.txt").open("w") as file:
        Console(file=file, width=120).print(table)


if __name__ == "__main__":
    main()
