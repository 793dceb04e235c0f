"""Checkpoints that are saved while a validation runs, or right before it."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from lightning.pytorch.utilities import rank_zero_info

_BEGUN = {"ready": 1, "started": 1, "processed": 0, "completed": 0}
"""Batches of a validation that Lightning begins anew on resuming, from its first batch on."""


class CheckpointsInValidation(Callback):
    """Lets a run that was stopped within a validation, or right before it, go on as if it had not been.

    While averaged weights are validated, Lightning has them and those that are trained change places, and a
    checkpoint saved then (by Ctrl-C, an error, a cluster that takes the machine back) holds them the wrong
    way round: training would go on from the average. Here they are told apart. A resumed run also takes up
    the validation again, from its beginning: Lightning leaves it out, or counts only its last batches, and
    the epoch had no figures and could not be the best one. So it is with a checkpoint behind the batch that a
    validation follows, as ``every_n_train_steps`` of Lightning's ``ModelCheckpoint`` may save it.
    Such a run ends its epoch with the figures of the training, which are kept; where it validates no more, it
    does not train on a batch beyond the last one. ``tracknet fit`` has it always, right behind what averages
    weights.
    """

    def __init__(self) -> None:
        self._swapped = False
        self._validating = False  # or about to
        self._figures: dict[str, tuple[float, bool]] = {}  # of the training, and whether loggers have it
        self._resumed = False

    def state_dict(self) -> dict[str, Any]:
        """Give the figures of the training in an epoch that is trained, to be saved."""
        return {"figures": self._figures} if self._figures else {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up what was saved."""
        self._figures = state_dict["figures"]
        self._resumed = True

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget a validation of before."""
        self._swapped = self._validating = False

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Note that there are figures to come where a validation follows this batch, also in a resumed run.

        Args:
            trainer: The trainer.
            pl_module: The module.
            outputs: What the training step gave.
            batch: The batch.
            batch_idx: Its number in the epoch, from 0.
        """
        # One that is told to stop validates at a moment that the run which goes on may not have.
        self._validating = not trainer.should_stop and is_validated_next(trainer)
        self._figures, self._resumed = {}, False
        if self._validating and trainer.is_last_batch:
            told = trainer.fit_loop.epoch_loop._results.metrics(on_step=False)
            self._figures = {
                name: (float(one), name in told["log"]) for name, one in told["callback"].items()
            }

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Tell the figures of an epoch all of whose training was before the run was resumed."""
        for name, (figure, logged) in self._figures.items() if self._resumed else ():
            pl_module.log(name, figure, logger=logged)
        self._figures, self._resumed = {}, False
        self._validating = False  # there may have been nothing to validate with

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
        _end_epoch_without_validation(trainer, checkpoint)
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
            weights, averaged = checkpoint["state_dict"], checkpoint["current_model_state"]
            checkpoint["state_dict"], checkpoint["current_model_state"] = averaged, weights
        if self._validating:
            loops = checkpoint["loops"]["fit_loop"]
            progress = loops["epoch_loop.val_loop.batch_progress"]
            progress |= {"total": dict(_BEGUN), "current": dict(_BEGUN), "is_last_batch": False}
            # Lightning counts a batch as completed once all callbacks were told of it.
            trained = loops["epoch_loop.batch_progress"]
            for part in ("total", "current"):
                trained[part] |= {"completed": trained[part]["processed"]}


def _end_epoch_without_validation(trainer: Trainer, checkpoint: dict[str, Any]) -> None:
    """Let a last batch before a validation that is none in this run count as any last batch of an epoch."""
    loops = checkpoint.get("loops", {}).get("fit_loop", {})
    trained = loops.get("epoch_loop.batch_progress", {})
    validated = loops.get("epoch_loop.val_loop.batch_progress", {})
    if not trained.get("is_last_batch") or validated.get("current") != _BEGUN:
        return
    if not validates_in(trainer, loops["epoch_progress"]["current"]["processed"]):
        for part in ("total", "current"):
            trained[part]["completed"] = trained[part]["processed"] - 1
            validated[part] = dict.fromkeys(_BEGUN, 0)


def validates_in(trainer: Trainer, epoch: int) -> bool:
    """Say whether validations of a run may fall into an epoch.

    Args:
        trainer: The trainer.
        epoch: Number of the epoch, from 0.

    Returns:
        Whether they may.
    """
    every = trainer.check_val_every_n_epoch
    return trainer.enable_validation and (every is None or (epoch + 1) % every == 0)


def is_validated_next(trainer: Trainer) -> bool:
    """Say whether a validation is to follow the batch that was trained on last.

    It is Lightning's own rule, without what nobody can tell beforehand: validations by the clock, and the one
    of a run that is told to stop.

    Args:
        trainer: The trainer, right behind a batch.

    Returns:
        Whether one is to follow.
    """
    every, loop = trainer.val_check_batch, trainer.fit_loop.epoch_loop
    if every is None or not validates_in(trainer, trainer.current_epoch):
        return False
    if every == float("inf"):  # samples without a number
        return trainer.is_last_batch or loop.batch_idx + 1 == trainer.num_training_batches
    number = loop.total_batch_idx if trainer.check_val_every_n_epoch is None else loop.batch_idx
    return (number + 1) % every == 0


def place_for(callbacks: list[Callback]) -> int:
    """Find the place right behind what averages weights, where nothing can fail in between.

    Args:
        callbacks: The callbacks in their order.

    Returns:
        Where a `CheckpointsInValidation` is to be inserted.
    """
    last = (number for number, one in enumerate(callbacks, 1) if isinstance(one, WeightAveraging))
    return max(last, default=0)
