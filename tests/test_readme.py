"""Every command and every block of code in the README does what it says, in a fresh directory."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

pytest.importorskip("torch")

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """Fenced blocks of one language."""
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def commands() -> list[str]:
    """Indented `arbitrage …` lines, continuation lines joined."""
    text = README.replace("\\\n", " ")
    return [line.strip() for line in text.splitlines() if re.match(r"    arbitrage \w", line)]


def run(arguments: list[str], directory: Path) -> str:
    """Run one command as a user would; its output."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    done = subprocess.run(
        arguments, cwd=directory, env=environment, capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def arbitrage(command: str, directory: Path) -> str:
    """Run an `arbitrage` command line, by shell quoting rules."""
    spoken = re.sub(r"\\\$", "$", command)
    return run([sys.executable, "-m", *shlex.split(spoken)], directory)


def test_the_readme_has_the_commands_that_are_tested_below():
    """A command that is added to the README needs a test of its own."""
    assert [shlex.split(c)[1] for c in commands()] == [
        *("bench", "solve", "ls", "doctor", "sweep", "report", "compare", "bench"),
        *("bench", "models", "router", "router", "router", "router", "bench"),
    ]
    assert len(blocks("python")) == 3


@pytest.mark.slow
def test_the_first_run_ends_in_a_table_and_a_picture(tmp_path):
    """`arbitrage bench` on the bundled models, and resuming it when nothing is missing."""
    command = commands()[0]
    out = arbitrage(command, tmp_path)
    assert "target-only" in out
    assert "arbitrage-router" in out
    folder = tmp_path / "runs/first"
    assert {"rows.jsonl", "manifest.json", "table.md", "results.json", "accuracy_latency.png"} <= {
        p.name for p in folder.iterdir()
    }
    before = (folder / "rows.jsonl").read_text()
    assert len(before.splitlines()) == 60
    arbitrage(f"{command} --resume", tmp_path)
    assert (folder / "rows.jsonl").read_text() == before


@pytest.mark.slow
def test_solve_ls_and_doctor_answer(tmp_path):
    """One problem with its steps, the list of what is registered, and the state of the installation."""
    solve, listing, doctor = commands()[1:4]
    assert "boxed" in arbitrage(solve, tmp_path)
    assert "arbitrage-oracle" in arbitrage(listing, tmp_path)
    assert "torch" in arbitrage(doctor, tmp_path)


@pytest.mark.slow
def test_a_sweep_ends_in_curves_and_its_page_figures_and_tables_are_written(tmp_path):
    """The sweep and the report as shown, on fewer problems and rates; then its strategies compared."""
    sweep, report, compare = commands()[4:7]
    out = arbitrage(sweep.replace("0,0.1,...,1", "0,0.5,...,1").replace("--limit 200", "--limit 3"), tmp_path)
    assert "speed-up at matched accuracy" in out
    arbitrage(report, tmp_path)
    assert {"sweep.html", "figures", "table.csv", "table.tex"} <= {path.name for path in tmp_path.iterdir()}
    arbitrage(compare.replace("runs/first", "runs/sweep"), tmp_path)


@pytest.mark.slow
def test_the_python_example_prints_three_numbers_and_a_solution(tmp_path):
    """`run_benchmark` from Python, as shown."""
    out = run([sys.executable, "-c", blocks("python")[0]], tmp_path)
    numbers = out.splitlines()[0].split()
    assert len([float(n) for n in numbers]) == 3
    assert "boxed" in out


@pytest.mark.slow
def test_the_comparisons_in_a_test_suite_run(tmp_path):
    """The file for pytest, on fewer problems; a machine under load need not show a speed-up."""
    example = blocks("python")[2].replace("limit=20", "limit=6, threads=1").replace("ratio=1.05", "ratio=50")
    assert "assert_faster(result, result.baseline)" in example
    gentle = example.replace("assert_faster(result, result.baseline)", "assert_not_slower(result, result.baseline, 50)")
    (tmp_path / "test_methods.py").write_text(gentle)
    installed = any(e.value == "arbitrage.harness.pytest_plugin" for e in metadata.entry_points(group="pytest11"))
    plugin = [] if installed else ["-p", "arbitrage.harness.pytest_plugin"]
    out = run([sys.executable, "-m", "pytest", *plugin, "--benchmark", "-p", "no:cacheprovider"], tmp_path)
    assert "3 passed" in out
    assert "decoding strategies" in out
    assert "test_each_method[token-sd-hf]" in out


@pytest.mark.slow
def test_own_models_and_data_run_through_the_same_command(tmp_path):
    """The command for own models, with local checkpoints in the hub's format in place of the downloads."""
    from tests.backends.checkpoints import save_language_model

    save_language_model(tmp_path / "draft", seed=1)
    save_language_model(tmp_path / "target", seed=2)
    rows = [{"problem": f"{i}+1", "answer": str(i + 1), "unique_id": f"t/{i}", "level": 1} for i in range(2)]
    (tmp_path / "math500.jsonl").write_text("\n".join(json.dumps({**r, "subject": "Algebra"}) for r in rows))
    command = commands()[7]
    for hub, local in (
        ("hf:Qwen/Qwen2.5-0.5B-Instruct", "hf:./draft"),
        ("hf:Qwen/Qwen2.5-7B-Instruct@cuda:0", "hf:./target@cpu"),
        ("--limit 50", "--limit 2 --max-tokens 20 --warmup 0 --out here"),
    ):
        assert hub in command
        command = command.replace(hub, local)
    assert "token-sd" in arbitrage(command, tmp_path)


@pytest.mark.slow
def test_a_quantised_copy_drafts_for_its_own_target(tmp_path):
    """The self-draft recipe, on fewer problems, and the quantiser on a file of that name."""
    pytest.importorskip("llama_cpp")
    from arbitrage.backends.bundled import bundled_path

    recipe, quantize = commands()[8:10]
    out = arbitrage(recipe.replace("--limit 10", "--limit 2 --warmup 0"), tmp_path)
    assert "token-sd" in out
    arbitrage(f"arbitrage models export {bundled_path('draft')} --to F16 --out model-F16.gguf", tmp_path)
    arbitrage(quantize, tmp_path)
    assert {p.name for p in tmp_path.glob("*.gguf")} == {"model-F16.gguf", "model-Q4_0.gguf", "model-Q3_K_S.gguf"}


@pytest.mark.slow
def test_a_router_is_collected_trained_evaluated_calibrated_and_used(tmp_path):
    """The commands for a router, on fewer problems and for one pass over the pairs."""
    collect, train, evaluate, calibrate, bench = commands()[10:15]
    assert "label 1" in arbitrage(collect.replace("--limit 150", "--limit 80 --threads 1"), tmp_path)
    arbitrage(f"{train.replace('--batch 64', '--batch 32')} --epochs 1 --threads 1", tmp_path)
    assert "bundled:router" in arbitrage(f"{evaluate} --threads 1", tmp_path)
    assert (tmp_path / "report/captured.png").is_file()
    assert "realised" in arbitrage(f"{calibrate} --threads 1", tmp_path)
    out = arbitrage(bench.replace("--limit 20", "--limit 2 --warmup 0 --threads 1"), tmp_path)
    assert "arbitrage-router (rate=0.3)" in out


def test_the_strategy_example_is_complete(tmp_path, monkeypatch):
    """The plugin file of the README solves a problem with scripted models, and its entry point is well-formed."""
    import tomllib

    from arbitrage import Models, Problem
    from arbitrage.seeding import problem_rng
    from arbitrage.testing import ScriptedModel

    (tmp_path / "my_package.py").write_text(blocks("python")[1])
    monkeypatch.syspath_prepend(tmp_path)
    import my_package

    seen = {}
    my_package.register_strategies(lambda name, target, summary: seen.update({name: target}))
    assert seen == {"coin-flip": "my_package:CoinFlip"}
    models = Models(draft=ScriptedModel(["a"] * 8), target=ScriptedModel(["b"] * 8))
    problem = Problem("p", "x", ("1",))
    solution = my_package.CoinFlip().solve(problem, models, problem_rng(0, "p"))
    assert {step.author for step in solution.steps} == {"draft", "target"}
    assert tomllib.loads(blocks("toml")[0])["project"]["entry-points"]["arbitrage"]
