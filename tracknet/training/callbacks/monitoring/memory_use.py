"""How much memory training takes."""

from __future__ import annotations

import resource
import sys
from pathlib import Path
from typing import Any

import torch
from jsonargparse.typing import PositiveInt
from lightning.pytorch import Callback, LightningModule, Trainer

from tracknet.training.callbacks.monitoring.telling import due, log_figures

_MIB = 2**20


class MemoryUse(Callback):
    """Logs the memory of the first process and of its device, in MiB.

    ``memory/host`` (resident) and ``memory/host_peak``; on a GPU also ``memory/device`` (allocated by
    tensors), ``memory/device_reserved`` and ``memory/device_peak``, and their peaks since the start of the
    training. Processes that read windows are not counted. Lightning's ``DeviceStatsMonitor`` logs some
    hundred figures of the allocator, tells nothing of the process itself and needs psutil for the CPU.

    Args:
        every_n_steps: Optimizer steps between figures; None whenever Lightning logs.
    """

    def __init__(self, every_n_steps: PositiveInt | None = None) -> None:
        self.every_n_steps = every_n_steps

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget earlier peaks of the device."""
        if pl_module.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(pl_module.device)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Log."""
        if trainer.is_global_zero and due(trainer, self.every_n_steps, trainer.global_step):
            figures = host_memory() | device_memory(pl_module.device)
            log_figures(trainer, {f"memory/{name}": value for name, value in figures.items()})


def host_memory() -> dict[str, float]:
    """Give the resident memory of this process and its peak, in MiB; without /proc the peak alone."""
    # The system counts the peak in KiB, that of Apple in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    figures = {"host_peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / _MIB}
    table = Path("/proc/self/statm")
    if table.is_file():
        figures["host"] = int(table.read_text().split()[1]) * resource.getpagesize() / _MIB
    return figures


def device_memory(device: torch.device) -> dict[str, float]:
    """Give the memory of a CUDA device that this process has allocated, reserved and had at most, in MiB."""
    if device.type != "cuda":
        return {}
    bytes_of = {
        "device": torch.cuda.memory_allocated(device),
        "device_reserved": torch.cuda.memory_reserved(device),
        "device_peak": torch.cuda.max_memory_allocated(device),
    }
    return {name: value / _MIB for name, value in bytes_of.items()}
