"""On what a run was made: machine, threads, versions, commit. Reads the surroundings; changes and judges little.

Only torch that is already imported is asked anything, so describing the machine costs no import.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from arbitrage.cpu import available_cores

PACKAGES = (
    "numpy",
    "torch",
    "transformers",
    "tokenizers",
    "safetensors",
    "llama-cpp-python",
    "gptqmodel",
    "optimum",
    "scipy",
    "sympy",
    "latex2sympy2_extended",
)
"""Other distributions whose version can change a row."""

BUSY = 0.25
"""Load per core, before the run's own work, above which latencies are suspect."""

_SECRET = re.compile(r"api[-_]?key|secret|passw|auth|(?:hf|access|bearer)[-_]?token", re.IGNORECASE)
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "CUDA_VISIBLE_DEVICES")


def load_average() -> tuple[float, float, float] | None:
    """Load over 1, 5 and 15 minutes; None where the system does not tell."""
    try:
        return os.getloadavg()
    except (AttributeError, OSError):
        return None


def load_warning(load: tuple[float, float, float] | None, cores: int) -> str | None:
    """What to say when others were using the machine before the run started."""
    if load is None or load[0] <= BUSY * cores:
        return None
    return (
        f"the machine was busy before the run (load {load[0]:.1f} on {cores} cores): latencies are upper bounds; "
        "repeat on an idle machine before quoting them"
    )


def describe_machine() -> dict[str, object]:
    """CPU, cores, memory, threads and accelerators, as far as they can be told without importing anything."""
    return {
        "platform": platform.platform(),
        "python": platform.python_version(),
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "available_cores": available_cores(),
        "memory_bytes": _memory_bytes(),
        "threads": {name: os.environ[name] for name in _THREADS if name in os.environ} | _torch_threads(),
        "accelerators": _accelerators(),
    }


def cpu_model(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Name of the processor as the system tells it."""
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", cpuinfo.read_text(errors="replace"), re.MULTILINE)
    except OSError:
        found = None
    if found:
        return found[1].strip()
    if sys.platform == "darwin":
        return _output("sysctl", "-n", "machdep.cpu.brand_string") or platform.processor()
    return platform.processor() or platform.machine()


def package_versions(names: Sequence[str] = PACKAGES) -> dict[str, str]:
    """Version of this package, and of the installed ones among `names`."""
    import arbitrage

    versions = {"arbitrage": arbitrage.__version__}
    for name in names:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def distribution_version(name: str) -> str | None:
    """Version of an installed distribution; this package's own also where it runs from its source."""
    import arbitrage

    if name == "arbitrage":
        return arbitrage.__version__
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def commit(package: Path | None = None) -> dict[str, object] | None:
    """Commit of the package's source, and whether files were changed since; None unless it runs from a checkout."""
    root = (package or Path(__file__).resolve().parents[1]).parent
    if not (root / ".git").exists():
        return None
    found = _output("git", "-C", str(root), "rev-parse", "HEAD")
    if not found:
        return None
    changed = _output("git", "-C", str(root), "status", "--porcelain", "--untracked-files=no")
    return {"commit": found, "changed_files": bool(changed)}


def redacted_arguments(argv: Sequence[str]) -> list[str]:
    """The command line with the values of secret options masked."""
    shown, hide = [], False
    for argument in argv:
        name, equals, _ = argument.partition("=")
        if hide:
            shown.append("***")
        elif equals and _SECRET.search(name):
            shown.append(f"{name}=***")
        else:
            shown.append(argument)
        hide = not hide and not equals and argument.startswith("-") and bool(_SECRET.search(argument))
    return shown


def surroundings() -> dict[str, object]:
    """Machine with its load, versions and commit: what stands beside figures that are no run."""
    return {
        "machine": describe_machine() | {"load_average": load_average()},
        "versions": package_versions(),
        "commit": commit(),
    }


def redacted_options(options: Mapping[str, object]) -> dict[str, object]:
    """The options with the values of secret ones masked."""
    return {name: "***" if _SECRET.search(name) else value for name, value in options.items()}


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None


def _torch_threads() -> dict[str, str]:
    torch: Any = sys.modules.get("torch")
    return {} if torch is None else {"torch": str(torch.get_num_threads())}


def _accelerators() -> list[str]:
    torch: Any = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return []
    return [torch.cuda.get_device_name(device) for device in range(torch.cuda.device_count())]


def _output(*command: str) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
