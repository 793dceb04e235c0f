"""Checkpoints inside an epoch, from which a run goes on as if it had not been stopped."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from tracknet.training.callbacks.validation_checkpoints import is_validated_next, validates_in


class MidEpochCheckpoint(ModelCheckpoint):
    """Saves every so many steps, or minutes, at moments from which a run can be resumed exactly.

    Lightning's `ModelCheckpoint` may save between batches whose gradients are still being added up, which no
    checkpoint holds, and after a batch but before the validation that follows it, which Lightning leaves
    out when it resumes. Here the next better moment is waited for. Set ``every_n_train_steps`` or
    ``train_time_interval``; all options are those of `ModelCheckpoint`.

    The end of a training is saved, too, where no other checkpoint holds it: one that ends by ``max_steps`` or
    by its time is seldom behind a validation, which the others wait for.
    """

    _waiting = False

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
        steps = self._every_n_train_steps
        whole = (batch_idx + 1) % trainer.accumulate_grad_batches == 0
        stepped = whole or trainer.is_last_batch
        due = stepped and steps >= 1 and trainer.global_step % steps == 0
        if not whole or trainer.is_last_batch or is_validated_next(trainer):
            self._waiting |= due
            return
        waited, self._waiting = self._waiting or _ends_here(trainer), False
        if waited and not due:
            self._save(trainer)
        else:
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the end of a training behind its last epoch or validation, unless that was a reason to.

        Args:
            trainer: The trainer.
            pl_module: The module.
        """
        super().on_train_epoch_end(trainer, pl_module)
        saved = [getattr(one, "_last_global_step_saved", None) for one in trainer.checkpoint_callbacks]
        if _ends_here(trainer, epochs=int(trainer.is_last_batch)) and trainer.global_step not in saved:
            self._save(trainer)

    def _save(self, trainer: Trainer) -> None:
        if not self._should_skip_saving_checkpoint(trainer):
            candidates = self._monitor_candidates(trainer)
            self._save_topk_checkpoint(trainer, candidates)
            self._save_last_checkpoint(trainer, candidates)


def _ends_here(trainer: Trainer, epochs: int = 0) -> bool:
    """Say whether a training ends with this batch, and no validation behind it.

    Args:
        trainer: The trainer.
        epochs: 1 behind a whole epoch, which the trainer does not count yet.
    """
    done = trainer.current_epoch + epochs
    if 0 <= trainer.max_steps <= trainer.global_step or done == trainer.max_epochs:
        return True
    early = done >= (trainer.min_epochs or 0) and trainer.global_step >= (trainer.min_steps or 0)
    return trainer.should_stop and early and not validates_in(trainer, trainer.current_epoch)
