"""Checkpoints that are saved while a validation runs, which is where something stopped it."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from lightning.pytorch.utilities import rank_zero_info

_BEGUN = {"ready": 1, "started": 1, "processed": 0, "completed": 0}
"""Batches of a validation that Lightning begins anew on resuming, from its first batch on."""


class CheckpointsInValidation(Callback):
    """Lets a run that was stopped within a validation go on as if it had not been.

    While averaged weights are validated, Lightning has them and those that are trained change places, and a
    checkpoint saved then (by Ctrl-C, an error, a cluster that takes the machine back) holds them the wrong
    way round: training would go on from the average. Here they are told apart. A resumed run also takes up
    the validation again, from its beginning: Lightning leaves it out, or counts only its last batches, and
    the epoch had no figures and could not be the best one. ``tracknet fit`` has it always, right behind
    what averages weights.
    """

    def __init__(self) -> None:
        self._swapped = False
        self._validating = False

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget a validation of before."""
        self._swapped = self._validating = False

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note that averaged weights, should there be any, have changed places with the trained ones."""
        self._swapped = True

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note that all weights are where they belong."""
        self._swapped = False

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note that there are figures to come."""
        self._validating = True

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note that the figures are there."""
        self._validating = False

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Go on from the trained weights where the run that saved them averaged and this one does not.

        Args:
            trainer: The trainer.
            pl_module: The module, into which the averaged weights have been loaded.
            checkpoint: What was saved.
        """
        averages = any(isinstance(one, WeightAveraging) for one in trainer.callbacks)  # type: ignore[attr-defined]
        if "current_model_state" in checkpoint and not averages:
            rank_zero_info(
                "note: the checkpoint's run averaged weights, and this one does not: it goes on from those "
                "that were trained"
            )
            pl_module.load_state_dict(checkpoint["current_model_state"])

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Give each weight its name, and note that the validation is to be begun anew.

        Args:
            trainer: The trainer.
            pl_module: The module.
            checkpoint: What is saved; changed in place.
        """
        if self._swapped and "current_model_state" in checkpoint:
            trained, averaged = checkpoint["state_dict"], checkpoint["current_model_state"]
            checkpoint["state_dict"], checkpoint["current_model_state"] = averaged, trained
        if self._validating:
            progress = checkpoint["loops"]["fit_loop"]["epoch_loop.val_loop.batch_progress"]
            progress |= {"total": dict(_BEGUN), "current": dict(_BEGUN), "is_last_batch": False}


def place_for(callbacks: list[Callback]) -> int:
    """Find the place right behind what averages weights, where nothing can fail in between.

    Args:
        callbacks: The callbacks in their order.

    Returns:
        Where a `CheckpointsInValidation` is to be inserted.
    """
    last = (number for number, one in enumerate(callbacks, 1) if isinstance(one, WeightAveraging))
    return max(last, default=0)
