"""PyTorch's learning-rate schedules in a run that is resumed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.types import LRSchedulerConfig
from torch.optim.lr_scheduler import CosineAnnealingLR, ReduceLROnPlateau


class ResumedSchedules(Callback):
    """Lets two of PyTorch's schedules go on in a resumed run as they would have without the stop.

    A ``CosineAnnealingLR`` goes on with the ``T_max`` of the run that goes on. PyTorch takes the length from
    the checkpoint, and computes each rate from the one before, which is that of the old length.

    A ``ReduceLROnPlateau`` is told the figure of the epoch that a run is resumed in or behind. Lightning
    saves a checkpoint at the end of an epoch before it tells the schedule, and leaves that out in a run that
    goes on: the schedule would not learn of one epoch, at each resume.

    ``tracknet fit`` has it always, before those who save.
    """

    state_key = "PlateauAfterResuming"  # under which checkpoints hold it, since it was of one schedule

    def __init__(self) -> None:
        self._lengths: list[tuple[CosineAnnealingLR, int]] = []
        self._waiting: tuple[int, float] | None = None  # steps that were taken before, and the figure

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note the lengths as they are set, before Lightning takes up what was saved."""
        self._lengths = [(one, one.T_max) for one in _cosines(trainer)]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the lengths back, and the rates to where the schedules would be."""
        # Others may have been put in their place since, as StochasticWeightAveraging does on resuming.
        kept = _cosines(trainer)
        for schedule, length in self._lengths:
            if schedule in kept and schedule.T_max != length:
                schedule.T_max = length
                schedule._last_lr = schedule._get_closed_form_lr()
                # Groups that a finetuning callback has added behind those of the schedule keep their rates.
                for group, rate in zip(schedule.optimizer.param_groups, schedule._last_lr, strict=False):
                    group["lr"] = rate

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note the figure, should it be that of a whole epoch."""
        if trainer.is_last_batch and not trainer.sanity_checking:
            self._note(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note the figure."""
        self._note(trainer)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Tell the schedule, unless Lightning has done so."""
        for plateau, _ in _plateaus(trainer):
            if self._waiting is not None and plateau.last_epoch == self._waiting[0]:
                plateau.step(self._waiting[1])
        self._waiting = None

    def state_dict(self) -> dict[str, Any]:
        """Give what waits, to be saved."""
        return {} if self._waiting is None else {"waiting": self._waiting}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up what was saved."""
        self._waiting = state_dict["waiting"]

    def _note(self, trainer: Trainer) -> None:
        for plateau, looks in _plateaus(trainer):
            figure = trainer.callback_metrics.get(str(looks.monitor))
            if figure is not None and (trainer.current_epoch + 1) % looks.frequency == 0:
                self._waiting = plateau.last_epoch, float(figure)


def _cosines(trainer: Trainer) -> list[CosineAnnealingLR]:
    found = (one.scheduler for one in trainer.lr_scheduler_configs)
    return [one for one in found if type(one) is CosineAnnealingLR]


def _plateaus(trainer: Trainer) -> Iterator[tuple[ReduceLROnPlateau, LRSchedulerConfig]]:
    """Give the schedules that look at the figure of an epoch, and how each is to be called."""
    for one in trainer.lr_scheduler_configs:
        if isinstance(one.scheduler, ReduceLROnPlateau) and one.interval == "epoch":
            yield one.scheduler, one
