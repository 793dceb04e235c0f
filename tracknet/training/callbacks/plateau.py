"""``ReduceLROnPlateau`` in a run that is resumed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.types import LRSchedulerConfig
from torch.optim.lr_scheduler import ReduceLROnPlateau


class PlateauAfterResuming(Callback):
    """Tells a ``ReduceLROnPlateau`` the figure of the epoch that a run is resumed in or behind.

    Lightning saves a checkpoint at the end of an epoch before it tells the schedule, and leaves that out
    in a run that goes on: the schedule would not learn of one epoch, at each resume. ``tracknet fit`` has it
    always, before those who save.
    """

    def __init__(self) -> None:
        self._waiting: tuple[int, float] | None = None  # steps that were taken before, and the figure

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


def _plateaus(trainer: Trainer) -> Iterator[tuple[ReduceLROnPlateau, LRSchedulerConfig]]:
    """Give the schedules that look at the figure of an epoch, and how each is to be called."""
    for one in trainer.lr_scheduler_configs:
        if isinstance(one.scheduler, ReduceLROnPlateau) and one.interval == "epoch":
            yield one.scheduler, one
