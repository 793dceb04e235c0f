"""A callback of another package."""

from __future__ import annotations

from jsonargparse.typing import PositiveInt
from lightning.pytorch import Callback, LightningModule, Trainer

from tracknet.training.loggers import log_histogram


class WeightHistograms(Callback):
    """Logs histograms of all weights after each epoch, to whatever loggers there are.

    Args:
        every_n_epochs: Epochs between histograms.
    """

    def __init__(self, every_n_epochs: PositiveInt = 1) -> None:
        self.every_n_epochs = every_n_epochs

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log them."""
        if trainer.current_epoch % self.every_n_epochs == 0:
            for name, weight in pl_module.named_parameters():
                log_histogram(trainer, f"weights/{name}", weight, trainer.global_step)
