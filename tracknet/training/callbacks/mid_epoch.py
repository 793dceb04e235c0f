"""Checkpoints inside an epoch, from which a run goes on as if it had not been stopped."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint


class MidEpochCheckpoint(ModelCheckpoint):
    """Saves every so many steps, or minutes, at moments from which a run can be resumed exactly.

    Lightning's `ModelCheckpoint` may save between batches whose gradients are still being added up, which no
    checkpoint holds, and after the last batch of an epoch but before its validation, which a resumed run then
    leaves out. Here the next better moment is waited for. Set ``every_n_train_steps`` or
    ``train_time_interval``; all options are those of `ModelCheckpoint`.
    """

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save when it is time.

        Args:
            trainer: The trainer.
            pl_module: The module.
            outputs: What the training step gave.
            batch: The batch.
            batch_idx: Its number in the epoch, from 0.
        """
        if not trainer.is_last_batch and (batch_idx + 1) % trainer.accumulate_grad_batches == 0:
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
