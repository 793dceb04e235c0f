"""How fast training goes, and how much of the time it waits for data."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

from jsonargparse.typing import PositiveInt
from lightning.pytorch import Callback, LightningModule, Trainer

from tracknet.training.callbacks.monitoring.telling import due, is_windows, log_figures


class Throughput(Callback):
    """Logs windows and frames a second, and the share of time in which training waits for data.

    ``throughput/windows_per_s``, ``throughput/frames_per_s`` and ``throughput/data_wait`` (0..1) over the
    last steps, of all processes together; validation and the first step of an epoch, which starts the
    loader, are left out. Waiting is the time between two steps: it holds the loader, the way to the device,
    augmentation, and what other callbacks do after a step.

    Lightning's ``ThroughputMonitor`` stops for the device in every step, knows no waiting, is silent until
    its window is full, and cannot be configured in YAML (it takes functions). A device that runs behind the
    host is not waited for here: over some steps it comes to the same.

    Args:
        window: Number of last steps that the figures are of.
        every_n_steps: Steps between figures; None whenever Lightning logs.
    """

    def __init__(self, window: PositiveInt = 50, every_n_steps: PositiveInt | None = None) -> None:
        self.window: int = window
        self.every_n_steps = every_n_steps
        self._begin()

    def _begin(self) -> None:
        # Of each step: seconds, seconds of waiting, windows, frames.
        self._steps: deque[tuple[float, float, int, int]] = deque(maxlen=self.window)
        self._ended: float | None = None
        self._started = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin anew."""
        self._begin()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave out the first step of the epoch."""
        self._ended = None

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave out validation, and the step after it."""
        self._ended = None

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Take the time at which the data are there."""
        self._started = time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Take the time at which the step is done, and log."""
        now = time.perf_counter()
        before, self._ended = self._ended, now
        if before is None or not is_windows(batch):
            return
        windows, frames = batch["frames"].shape[:2]
        self._steps.append((now - before, self._started - before, windows, windows * frames))
        if due(trainer, self.every_n_steps, trainer.global_step):
            seconds, waited, windows, frames = (sum(column) for column in zip(*self._steps, strict=True))
            rate = trainer.world_size / max(seconds, 1e-9)
            figures = {"windows_per_s": windows * rate, "frames_per_s": frames * rate}
            figures["data_wait"] = waited / max(seconds, 1e-9)
            log_figures(trainer, {f"throughput/{name}": value for name, value in figures.items()})
