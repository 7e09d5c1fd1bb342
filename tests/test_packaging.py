"""What is shipped: the wheel, the pins, the links, the commands of the Makefile."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

from arbitrage.cli import doctor

ROOT = Path(__file__).parents[1]
STRATEGIES = (
    "target-only,draft-only,random-route,draft-confidence:rate=0.5,token-sd,rsd,arbitrage-oracle,arbitrage-router"
)


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    """The parsed pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def package_name(requirement: str) -> str:
    """Name of the package that a requirement or pin is about, in its normal form."""
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert found is not None
    return re.sub(r"[-_.]+", "-", found[0]).lower()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Names in a wheel that was built offline from a copy of what the build reads, links at the root included."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT / "arbitrage", source / "arbitrage", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "tests", source / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("strategies", "backends", "harness"):
        (source / name).symlink_to(f"arbitrage/{name}")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir"]
    environment = {**os.environ, "PIP_NO_INDEX": "1"}
    subprocess.run([*command, str(target), str(source)], check=True, capture_output=True, env=environment, timeout=240)
    (built,) = target.glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        return set(archive.namelist())


def test_the_wheel_holds_the_package_once_and_nothing_else(wheel: set[str]) -> None:
    """Neither the links at the root nor tests, training or examples reach a user's site-packages."""
    assert {name.split("/")[0].split("-")[0] for name in wheel} == {"arbitrage", "arbitrage_decoding"}
    assert {name.split("/")[0] for name in wheel if not name.split("/")[0].endswith(".dist-info")} == {"arbitrage"}


def test_the_wheel_holds_every_file_of_the_package(wheel: set[str]) -> None:
    """Modules, type marker, weights and their configuration files are all shipped."""
    files = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "arbitrage").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert "arbitrage/py.typed" in files
    assert files <= wheel


def test_every_direct_dependency_is_pinned(project: dict[str, Any]) -> None:
    """constraints.txt fixes each package that pyproject.toml names, so that a fresh environment is the tested one."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {package_name(line) for line in lines if line and not line.startswith("#")}
    named = [project["project"]["dependencies"], *project["project"]["optional-dependencies"].values()]
    wanted = {package_name(requirement) for group in named for requirement in group} - {"arbitrage-decoding"}
    assert wanted <= pinned


def test_the_doctor_knows_the_extras(project: dict[str, Any]) -> None:
    """`arbitrage doctor` looks for exactly what pyproject.toml declares."""
    declared = project["project"]["optional-dependencies"]
    for extra, packages in doctor.EXTRAS.items():
        wanted = {package_name(requirement) for requirement in declared[extra]} - {"arbitrage-decoding"}
        assert {package_name(package) for package in packages} == wanted
    assert {package_name(name) for name in doctor.CORE} == {
        package_name(requirement) for requirement in project["project"]["dependencies"]
    }
    assert set(declared) == {*doctor.EXTRAS, "all", "dev"}


@pytest.mark.parametrize("name", ["strategies", "backends", "harness"])
def test_the_links_at_the_root_lead_into_the_package(name: str) -> None:
    """Readers find the three rooms at the top of the repository."""
    assert (ROOT / name).is_symlink()
    assert (ROOT / name).resolve() == (ROOT / "arbitrage" / name).resolve()


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_bench_compares_all_strategies_and_make_test_lints_first() -> None:
    """The two targets that the README promises run what it says, from nothing."""

    def plan(*arguments: str) -> str:
        command = ["make", "--dry-run", "VENV=no-such-venv", *arguments]
        return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=60).stdout

    bench = plan("bench", "LIMIT=7", "OUT=runs/x")
    assert f'--strategy "{STRATEGIES}" --backend hf --dataset bundled --limit 7 --threads 1' in bench
    assert bench.index(" torch\n") < bench.index("--editable '.[hf,report]'")
    for backend in ("gguf", "gptq"):
        assert f"--editable '.[hf,report,{backend}]'" in plan("bench", f"BACKEND={backend}")
        assert f"[hf,report,{backend}]" not in bench
    test = plan("test")
    assert (
        test.index("-DGGML_NATIVE=OFF")
        < test.index("--editable '.[all,dev]'")
        < test.index("ruff check")
        < test.index("mypy")
        < test.index("pytest")
    )


def test_continuous_integration_runs_make_test() -> None:
    """CI checks what developers check, and its script can be executed."""
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", str(script)], check=True, timeout=60)
    assert script.read_text().rstrip().endswith("make test")
