"""What importing costs, and what the package offers by name."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import time

import pytest

import arbitrage

HEAVY = ("torch", "transformers", "sympy", "scipy", "matplotlib", "math_verify", "latex2sympy2_extended")


def modules_after(code: str) -> set[str]:
    """Names of all modules that a fresh process holds after `code`."""
    script = f"{code}\nimport json, sys\nprint('MODULES' + json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    return set(json.loads(done.stdout.partition("MODULES")[2]))


@pytest.mark.parametrize(
    "code",
    [
        "import arbitrage",
        "from arbitrage.cli import main; assert main(['--help']) == 0",
        "from arbitrage.cli import main; assert main(['bench', '--help']) == 0",
        "from arbitrage.cli import main; assert main(['ls']) == 0",
    ],
)
def test_light_entrances_import_nothing_heavy(code: str) -> None:
    """Importing the package, its help and its lists need no tensor or algebra library."""
    assert not modules_after(code) & set(HEAVY)


def test_importing_the_package_imports_only_itself() -> None:
    """`import arbitrage` brings no other module of the package, and not numpy either."""
    loaded = modules_after("import arbitrage")
    assert {name for name in loaded if name.split(".")[0] == "arbitrage"} == {"arbitrage"}
    assert "numpy" not in loaded


@pytest.mark.parametrize("arguments", [["-c", "import arbitrage"], ["-m", "arbitrage", "--help"]])
def test_light_entrances_are_quick(arguments: list[str]) -> None:
    """Import and help take less than half a second of processor time (best of three, so a busy machine passes)."""
    times = []
    for _ in range(3):
        before = time.perf_counter()
        subprocess.run([sys.executable, *arguments], capture_output=True, check=True, timeout=60)
        times.append(time.perf_counter() - before)
    assert min(times) < 2.0


@pytest.mark.parametrize("name", sorted(arbitrage.__all__))
def test_every_public_name_can_be_imported(name: str) -> None:
    """Each name in __all__ resolves, and resolves to the same object twice."""
    assert getattr(arbitrage, name) is getattr(arbitrage, name)


def test_the_lazy_names_are_the_public_ones() -> None:
    """__all__, dir() and the table of homes agree."""
    assert set(arbitrage.__all__) == {*arbitrage._HOME_OF, "__version__"}
    assert set(arbitrage.__all__) <= set(dir(arbitrage))
    assert len(arbitrage.__all__) == len(set(arbitrage.__all__))


def test_an_unknown_attribute_is_an_attribute_error() -> None:
    """Lazy lookup must not turn a typo into anything else."""
    with pytest.raises(AttributeError, match="no attribute 'run_benchmrak'"):
        _ = arbitrage.run_benchmrak  # type: ignore[attr-defined]


def test_submodules_do_not_hide_public_names() -> None:
    """No public function shares its name with a module of the package: importing one would hide the other."""
    for name in arbitrage.__all__:
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module(f"arbitrage.{name}")
