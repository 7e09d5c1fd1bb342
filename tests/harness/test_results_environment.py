"""What a run says about where it was made."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from arbitrage.harness import environment


@pytest.mark.parametrize(("load", "cores", "busy"), [(0.4, 2, False), (0.6, 2, True), (1.9, 8, False), (2.1, 8, True)])
def test_a_busy_machine_is_told_from_an_idle_one(load: float, cores: int, busy: bool) -> None:
    """More than a quarter of the cores in use before the run is worth a warning."""
    assert (environment.load_warning((load, 0.0, 0.0), cores) is not None) is busy
    assert environment.load_warning(None, cores) is None


def test_the_machine_is_described_in_numbers() -> None:
    """Cores and memory are positive, and nothing heavy is imported to find out."""
    machine = environment.describe_machine()
    assert isinstance(machine["available_cores"], int)
    assert machine["available_cores"] >= 1
    assert machine["cpu"]


def test_describing_does_not_import_torch() -> None:
    """A fresh interpreter that describes the machine has no torch in it."""
    code = (
        "import sys; from arbitrage.harness import environment as e; e.describe_machine(); e.package_versions(); "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_processor_is_read_from_the_system(tmp_path: Path) -> None:
    """The first model name counts; without the file there is still some name."""
    file = tmp_path / "cpuinfo"
    file.write_text("processor\t: 0\nmodel name\t: Fast One\nmodel name\t: Other\n")
    assert environment.cpu_model(file) == "Fast One"
    assert isinstance(environment.cpu_model(tmp_path / "none"), str)


def test_versions_name_this_package_and_skip_absent_ones() -> None:
    """What is not installed has no version."""
    versions = environment.package_versions(["numpy", "no-such-distribution"])
    assert set(versions) == {"arbitrage", "numpy"}


def test_secrets_never_reach_the_manifest() -> None:
    """Values of options that look secret are masked, in either way of writing them; max_tokens is no secret."""
    arguments = ["bench", "--api-key", "abc", "--api_key=def", "--max-tokens", "5", "--hf-token", "ghi", "x"]
    shown = environment.redacted_arguments(arguments)
    assert shown == ["bench", "--api-key", "***", "--api_key=***", "--max-tokens", "5", "--hf-token", "***", "x"]
    options = environment.redacted_options({"api_key": "abc", "dtype": "float32", "max_tokens": 3})
    assert options == {"api_key": "***", "dtype": "float32", "max_tokens": 3}


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_the_commit_is_that_of_the_checkout(tmp_path: Path) -> None:
    """A package in a checkout has a commit and knows about edits; an installed one has none."""
    package = tmp_path / "package"
    package.mkdir()
    assert environment.commit(package) is None
    (package / "code.py").write_text("1")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "first")
    head = git(tmp_path, "rev-parse", "HEAD")
    assert environment.commit(package) == {"commit": head, "changed_files": False}
    (package / "code.py").write_text("2")
    assert environment.commit(package) == {"commit": head, "changed_files": True}
