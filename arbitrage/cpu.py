"""Cores of this machine, and the CPU threads that models run on. Light to import; knows no models."""

from __future__ import annotations

import math
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from arbitrage.types import Role


class CpuThreads(ABC):
    """The CPU threads that the passes of one model, or of all models of one kind, run on."""

    name: str
    """Whose they are, for messages and manifests."""

    @abstractmethod
    def use(self, count: int) -> None:
        """Run on `count` threads from now on, at least 1."""


@dataclass(frozen=True, slots=True)
class ThreadChoice:
    """A number of CPU threads that was chosen by measuring."""

    name: str
    """Whose threads they are: `torch`, or a model with threads of its own."""
    roles: tuple[Role, ...]
    """Whose passes were measured and run on them."""
    threads: int
    """The choice."""
    seconds: Mapping[int, float]
    """What was made small, for each number of threads that was tried: the sum of the mean seconds of the passes."""


def available_cores() -> int:
    """Cores that this process may use; systems that cannot tell count them all."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def granted_cores(quota: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """Cores that this process may use, no more than its share of their time fills (a container's quota, cgroup v2)."""
    cores = available_cores()
    try:
        allowed, period = quota.read_text().split()
        return cores if allowed == "max" else max(1, min(cores, math.ceil(int(allowed) / int(period))))
    except (OSError, ValueError, ZeroDivisionError):
        return cores
