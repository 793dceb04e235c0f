"""``CosineAnnealingLR`` in a run that is resumed with another length."""

from __future__ import annotations

from lightning.pytorch import Callback, LightningModule, Trainer
from torch.optim.lr_scheduler import CosineAnnealingLR


class CosineAfterResuming(Callback):
    """Lets a ``CosineAnnealingLR`` go on with the ``T_max`` of the run that goes on.

    PyTorch takes the length from the checkpoint, and computes each rate from the one before, which is that of
    the old length. ``tracknet fit`` has it always.
    """

    def __init__(self) -> None:
        self._lengths: list[int] = []

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note the lengths as they are set, before Lightning takes up what was saved."""
        self._lengths = [one.T_max for one in _cosines(trainer)]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the lengths back, and the rates to where the schedules would be."""
        for schedule, length in zip(_cosines(trainer), self._lengths, strict=True):
            if schedule.T_max != length:
                schedule.T_max = length
                schedule._last_lr = schedule._get_closed_form_lr()
                # Groups that a finetuning callback has added behind those of the schedule keep their rates.
                for group, rate in zip(schedule.optimizer.param_groups, schedule._last_lr, strict=False):
                    group["lr"] = rate


def _cosines(trainer: Trainer) -> list[CosineAnnealingLR]:
    found = (one.scheduler for one in trainer.lr_scheduler_configs)
    return [one for one in found if type(one) is CosineAnnealingLR]
