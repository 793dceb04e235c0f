"""The time of a training step, phase by phase."""

from __future__ import annotations

import re
import time
from collections import defaultdict
from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.profilers import Profiler
from torch import nn
from torch.utils.hooks import RemovableHandle
from typing_extensions import override

from tracknet.training.targets import HeatmapTarget

PHASES = {
    "data_wait": "waiting for the loader",
    "transfer": "to the device",
    "augmentation": "crops and augmentation",
    "targets": "target heatmaps",
    "forward": "forward and loss",
    "backward": "backward",
    "optimizer": "clipping, optimizer, schedule",
    "callbacks": "callbacks and hooks",
    "loop": "loggers and Lightning's loop",
}
"""Phase -> what it is, in the order of a step."""

_PHASE_OF_ACTION = (
    (re.compile(r"dataloader_next$"), "data_wait"),
    (re.compile(r"\.(batch_to_device|transfer_batch_to_device)$"), "transfer"),
    (re.compile(r"\.on_(before|after)_batch_transfer$"), "augmentation"),
    (re.compile(r"\.training_step$"), "forward"),
    (re.compile(r"\.backward$"), "backward"),
    (re.compile(r"optimizer_(step|zero_grad)$|\.configure_gradient_clipping$"), "optimizer"),
    (re.compile(r"\.lr_scheduler_step$"), "optimizer"),
    (re.compile(r"^run_training_batch$"), "loop"),
    (re.compile(r"^\[Callback\]|\.on_\w+$"), "callbacks"),
)


class PhaseClock(Profiler):
    """Adds up the seconds of each phase, each second in one phase only.

    Lightning tells its profiler when the parts of a step begin and end, some inside others. `SimpleProfiler`
    counts what lies inside twice, does not wait for the device, and cannot begin in mid-training; this one
    stands in front of the trainer's own profiler for as long as it is wanted, and hands everything on.

    Args:
        inner: The trainer's own profiler.
        device: The device to wait for at the end of each phase.
    """

    def __init__(self, inner: Profiler, device: torch.device) -> None:
        super().__init__()
        self.inner = inner
        self.device = device
        self._open: list[tuple[str, str]] = []
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._since = 0.0

    @override
    def start(self, action_name: str) -> None:
        """Begin a part of a step."""
        self.inner.start(action_name)
        self.enter(action_name, phase_of(action_name) or self._phase())

    @override
    def stop(self, action_name: str) -> None:
        """End a part of a step; one that began before the clock is passed over."""
        self.leave(action_name)
        self.inner.stop(action_name)

    def enter(self, name: str, phase: str) -> None:
        """Begin a part of a step that belongs to a phase.

        Args:
            name: Name of the part.
            phase: One of `PHASES`.
        """
        self._charge()
        self._open.append((name, phase))

    def leave(self, name: str) -> None:
        """End the part that was begun last, if this is its name."""
        if self._open and self._open[-1][0] == name:
            self._charge()
            self._open.pop()

    def begin(self) -> None:
        """Start the first lap."""
        synchronize(self.device)
        self._seconds.clear()
        self._since = time.perf_counter()

    def lap(self) -> dict[str, float]:
        """Give the seconds of each phase since the last lap, and start the next one."""
        self._charge()
        lap = {phase: self._seconds[phase] for phase in PHASES}
        self._seconds.clear()
        return lap

    def watch_targets(self, module: LightningModule) -> list[RemovableHandle]:
        """Tell the drawing of target heatmaps from the network's forward, which Lightning does not.

        Args:
            module: The module that is trained.

        Returns:
            Handles of the hooks, to be removed.
        """
        handles = []
        for target in (one for one in module.modules() if isinstance(one, HeatmapTarget)):
            handles.append(target.register_forward_pre_hook(self._before_target))
            handles.append(target.register_forward_hook(self._after_target, always_call=True))
        return handles

    def _before_target(self, module: nn.Module, args: Any) -> None:
        self.enter("target", "targets")

    def _after_target(self, module: nn.Module, args: Any, output: Any) -> None:
        self.leave("target")

    def _phase(self) -> str:
        return self._open[-1][1] if self._open else "loop"

    def _charge(self) -> None:
        synchronize(self.device)
        now = time.perf_counter()
        self._seconds[self._phase()] += now - self._since
        self._since = now


def phase_of(action: str) -> str | None:
    """Say which phase a part of Lightning's loop belongs to.

    Args:
        action: Name as Lightning gives it to its profilers.

    Returns:
        One of `PHASES`, or None for a part that belongs to the phase it lies in.

    Example:
        >>> phase_of("[Strategy]SingleDeviceStrategy.backward")
        'backward'
        >>> phase_of("[LightningDataModule]FlatVideoDataModule.on_after_batch_transfer")
        'augmentation'
    """
    return next((phase for pattern, phase in _PHASE_OF_ACTION if pattern.search(action)), None)


def synchronize(device: torch.device) -> None:
    """Wait until a device has done what it was given; the CPU always has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
