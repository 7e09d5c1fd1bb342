"""The example plugin, and plugins that go wrong, as installed packages in a process of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python with the packages in `place` installed."""
    environment = {**os.environ, "PYTHONPATH": f"{place}{os.pathsep}{ROOT}", "COLUMNS": "160", "NO_COLOR": "1"}
    command = [sys.executable, *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=place, timeout=120)


def install(place: Path, distribution: str, module: str, code: str) -> None:
    """Lay a package with one entry point out as an installer would."""
    (place / f"{module}.py").write_text(code)
    info = place / f"{module}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[arbitrage]\nmain = {module}\n")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the example plugin, built and installed offline by pip."""
    source, target = tmp_path_factory.mktemp("plugin") / "source", tmp_path_factory.mktemp("site")
    shutil.copytree(ROOT / "examples" / "plugin", source)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--target"]
    environment = {**os.environ, "PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    subprocess.run([*command, str(target), str(source)], check=True, capture_output=True, env=environment, timeout=240)
    return target


def test_an_installed_plugin_is_listed_with_its_distribution(installed: Path) -> None:
    """Installing the package is all it takes to see its strategy, summary and origin."""
    done = run(installed, "-m", "arbitrage", "ls", "strategies")
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if "coin-flip" in line]
    assert "keep the draft's step" in line
    assert line.rstrip().endswith("arbitrage-coin-flip")


def test_a_plugins_strategy_solves_with_scripted_models(installed: Path) -> None:
    """heads=1 keeps every step of the draft, heads=0 takes every step from the target."""
    script = """
from arbitrage import Models, Problem
from arbitrage.strategy_specs import parse_strategy
from arbitrage.registry import registry
from arbitrage.seeding import problem_rng
from arbitrage.testing import ScriptedModel

problem = Problem("1", "1 + 1?", ("2",))
for heads, author in ((1, "draft"), (0, "target")):
    models = Models(
        draft=ScriptedModel(["one", "so \\\\boxed{3}"], name="draft"),
        target=ScriptedModel(["two", "so \\\\boxed{2}"], name="target"),
    )
    strategy = parse_strategy(f"coin-flip:heads={heads}", registry())
    assert strategy.label == f"coin-flip (heads={heads})"
    solution = strategy.solve(problem, models, problem_rng(0, problem.id))
    assert {step.author for step in solution.steps} == {author}, solution
    assert len(solution.steps) == 2
print("solved")
"""
    done = run(installed, "-W", "error", "-c", script)
    assert done.stdout == "solved\n", done.stderr


def test_a_wrong_parameter_of_a_plugins_strategy_is_answered_like_a_builtins(installed: Path) -> None:
    """Parameters are read by the constructor's signature, wherever the class is from."""
    done = run(installed, "-m", "arbitrage", "solve", "1 + 1?", "--strategy", "coin-flip:head=0.5")
    assert done.returncode == 2
    assert "no parameter 'head'. Did you mean 'heads'?" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_broken_package_is_one_warning_and_everything_else_works(tmp_path: Path) -> None:
    """A plugin that cannot be imported is named by its distribution on one line; the command does its work."""
    install(tmp_path, "broken-plugin", "broken_plugin", "import no_such_module\n")
    done = run(tmp_path, "-m", "arbitrage", "ls", "strategies")
    assert done.returncode == 0
    assert "arbitrage-router" in done.stdout
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("warning: plugin 'broken-plugin' cannot be imported")


def test_two_packages_that_claim_one_name_end_the_command_with_both_names(tmp_path: Path) -> None:
    """A clash is one red line and exit code 2, never a silent choice."""
    code = "import arbitrage\n@arbitrage.hookimpl\ndef register_strategies(register):\n    register('same', 'a:B')\n"
    install(tmp_path, "first-package", "first_package", code)
    install(tmp_path, "second-package", "second_package", code)
    done = run(tmp_path, "-m", "arbitrage", "ls")
    assert done.returncode == 2
    assert done.stderr.startswith("error: strategy 'same' is claimed by two plugins: 'first-package' and 'second-")
    assert done.stderr.count("\n") == 1


def test_a_misspelt_hook_of_an_installed_package_ends_the_command(tmp_path: Path) -> None:
    """A typo in a hook's name is an error with the right name, not a plugin without effect."""
    code = "import arbitrage\n@arbitrage.hookimpl\ndef register_strategy(register):\n    pass\n"
    install(tmp_path, "typo-package", "typo_package", code)
    done = run(tmp_path, "-m", "arbitrage", "ls")
    assert done.returncode == 2
    assert "'typo-package'" in done.stderr
    assert "Did you mean 'register_strategies'?" in done.stderr
