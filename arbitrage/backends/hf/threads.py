"""The CPU threads of torch: one number for all models of the process."""

from __future__ import annotations

from typing import final

import torch

from arbitrage.cpu import CpuThreads


@final
class _TorchThreads(CpuThreads):
    name = "torch"

    def use(self, count: int) -> None:
        """See `CpuThreads.use`."""
        torch.set_num_threads(count)


TORCH = _TorchThreads()


def threads_on(device: torch.device) -> CpuThreads | None:
    """The threads that passes on `device` run on; None for accelerators."""
    return TORCH if device.type == "cpu" else None
