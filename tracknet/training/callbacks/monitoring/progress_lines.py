"""Lines that tell how training goes."""

from __future__ import annotations

import sys
import time
from math import isnan
from typing import Any

from jsonargparse.typing import PositiveInt
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn

from tracknet.training.lightning_module import HeatmapTracker


class ProgressLines(Callback):
    """Prints how training goes, a line at a time.

    After each validation, one line with its figures, which Lightning's progress bar overwrites; and where
    the output is no terminal (a log file, a cluster job) and the bar shows nothing, a line every so often
    with the rate and the time left.

    Args:
        every_n_seconds: Seconds between the lines in a log file.
    """

    def __init__(self, every_n_seconds: PositiveInt = 30) -> None:
        self.every_n_seconds = every_n_seconds
        self._started = self._last = 0.0
        self._first_step = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._started = self._last = time.monotonic()
        self._first_step = trainer.global_step

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Print the rate and the time left, in a log file."""
        now = time.monotonic()
        if trainer.is_global_zero and not sys.stdout.isatty() and now - self._last >= self.every_n_seconds:
            self._last = now
            loss = trainer.callback_metrics.get("train/loss_step")
            shown = "" if loss is None else f", loss {float(loss):.4g}"
            print(f"{self._place(trainer)}{shown}{self._pace(trainer)}", flush=True)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the figures of the validation."""
        figures = trainer.callback_metrics
        if (
            trainer.sanity_checking
            or not trainer.is_global_zero
            or "val/f1" not in figures
            or trainer.state.fn != TrainerFn.FITTING
        ):
            return
        names = {"f1": "F1", "precision": "P", "recall": "R", "accuracy": "accuracy"}
        shown = "  ".join(f"{name} {float(figures[f'val/{key}']):.4f}" for key, name in names.items())
        label = pl_module.val_metrics.label if isinstance(pl_module, HeatmapTracker) else ""
        error = float(figures["val/rmse"])
        rmse = "rmse none" if isnan(error) else f"rmse {error:.2f} px"
        print(f"{self._place(trainer)}: val {shown}  {rmse} ({label}){self._pace(trainer)}", flush=True)

    def _place(self, trainer: Trainer) -> str:
        total = trainer.estimated_stepping_batches
        of = f"/{total:,}" if total != float("inf") else ""
        return f"epoch {trainer.current_epoch + 1}, step {trainer.global_step:,}{of}"

    def _pace(self, trainer: Trainer) -> str:
        done, seconds = trainer.global_step - self._first_step, time.monotonic() - self._started
        total = trainer.estimated_stepping_batches
        if done <= 0 or total == float("inf"):
            return ""
        left = round(seconds / done * max(0, total - trainer.global_step))
        return f", {done / seconds:.2f} steps/s, {left // 60}:{left % 60:02d} left"
