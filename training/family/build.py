"""Rebuild the whole bundled family, from nothing to the files that ship with the package. Resumes where it was stopped.

python -m training.family.build --work work/family

Learning curves, with the seconds that the shipped language models took, and reports are kept in training/family/curves.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

from arbitrage.backends import bundled
from arbitrage.backends.sidecar import SIDECAR
from training.family.cards import write_cards

SHIPPED = Path(bundled.__file__).parent / "bundled_models"
CURVES = Path(__file__).parent / "curves"


def run(module: str, *arguments: str) -> None:
    """One stage, in a process of its own."""
    subprocess.run([sys.executable, "-m", f"training.family.{module}", *arguments], check=True)


def train_all(work: Path) -> None:
    """Every stage whose result is not there yet; the independent ones side by side, one thread each."""
    languages = [name for name in ("draft", "target") if not (work / name / "model").exists()]
    # The tokenizer is made first: both trainings share it.
    subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, pathlib; from training.family.tokenizer import load_or_train; "
            "load_or_train(pathlib.Path(sys.argv[1]))",
            str(work / "tokenizer"),
        ],
        check=True,
    )
    started = [
        subprocess.Popen([sys.executable, "-m", "training.family.pretrain", name, "--work", str(work)])
        for name in languages
    ]
    if any([process.wait() for process in started]):
        raise SystemExit("pretraining stopped; start the same command again to go on from the last checkpoint")
    if not (work / "reader/model").exists():
        run("pretrain", "reader", "--work", str(work), "--threads", "2")
    for stage in ("prm", "router"):
        if not (work / stage / "report.json").exists():
            run(stage, "--work", str(work))


def ship(work: Path) -> None:
    """Copy weights, sidecars, curves and model cards to where the package keeps them."""
    CURVES.mkdir(exist_ok=True)
    fitted = json.loads((work / "prm/report.json").read_text())["held_out"]
    sidecars: dict[str, dict[str, object]] = {
        "draft": {"instruction": "", "thresholds": json.loads((work / "draft/thresholds.json").read_text())},
        "target": {"instruction": ""},
        "prm": {
            "stream": {"annotated": False, "chat": True},
            "likelihood": {key: fitted[key] for key in ("offset", "slope")},
            "thresholds": json.loads((work / "prm/thresholds.json").read_text()),
        },
        "router": {
            "stream": {"annotated": False, "chat": True},
            "likelihood": json.loads((work / "router/head.json").read_text()),
            "thresholds": json.loads((work / "router/thresholds.json").read_text()),
        },
    }
    for name, sidecar in sidecars.items():
        target = SHIPPED / name
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(work / (name if name in ("draft", "target") else "reader") / "model", target)
        (target / SIDECAR).write_text(json.dumps(sidecar, indent=1) + "\n")
        for file in target.iterdir():
            file.chmod(0o644)
    for name in ("draft", "target", "reader"):
        shutil.copy(work / name / "curve.jsonl", CURVES / f"{name}.jsonl")
    for name in ("prm", "router"):
        shutil.copy(work / name / "report.json", CURVES / f"{name}.json")
    write_cards(SHIPPED, CURVES)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("work/family"))
    arguments = parser.parse_args()
    train_all(arguments.work)
    ship(arguments.work)


if __name__ == "__main__":
    main()
