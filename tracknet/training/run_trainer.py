"""A trainer for which each run has a folder of its own."""

from __future__ import annotations

import os

from lightning.pytorch import Trainer
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from typing_extensions import override


class RunTrainer(Trainer):
    """Lightning's trainer, whose folder of a run is the one that its checkpoints go to by default.

    Lightning gives the folder of all runs for loggers such as W&B's, where each run would write over the
    pictures, tables and the configuration of the one before.
    """

    @property
    @override
    def log_dir(self) -> str | None:
        """Folder of the run, to be asked for in all processes; None where the logger has none."""
        logger = self.logger
        own_folder = isinstance(logger, (TensorBoardLogger, CSVLogger))
        if logger is None or own_folder or not logger.name or logger.version is None:
            return super().log_dir
        version = logger.version if isinstance(logger.version, str) else f"version_{logger.version}"
        folder = os.path.join(logger.save_dir or self.default_root_dir, logger.name, version)
        shared: str = self.strategy.broadcast(folder)
        return shared
