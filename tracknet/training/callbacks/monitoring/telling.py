"""What the monitoring callbacks share: figures for the loggers and words for the person."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch import Trainer

from tracknet.data.clips import Part
from tracknet.data.datamodules import RallyDataModule


def due(trainer: Trainer, every_n_steps: int | None, steps: int) -> bool:
    """Say whether it is time for figures: once a step, at its last batch where several are accumulated.

    Args:
        trainer: The trainer.
        every_n_steps: Steps between figures; None whenever Lightning logs (``trainer.log_every_n_steps``).
        steps: Optimizer steps up to and with this one.
    """
    if trainer.fit_loop._should_accumulate():
        return False
    if every_n_steps is None:
        return bool(trainer._logger_connector.should_update_logs)
    return steps % every_n_steps == 0


def log_figures(trainer: Trainer, figures: dict[str, float]) -> None:
    """Give figures to every logger at the step where Lightning logs its own.

    Unlike ``LightningModule.log`` it does not wait for a step at which Lightning logs.

    Args:
        trainer: The trainer.
        figures: Names and numbers.
    """
    step = trainer.fit_loop.epoch_loop._batches_that_stepped
    for logger in trainer.loggers:
        logger.log_metrics(figures, step)


def tell(trainer: Trainer, words: str) -> None:
    """Print a notice, from the first process only."""
    if trainer.is_global_zero:
        print(f"notice, epoch {trainer.current_epoch + 1}: {words}", flush=True)


def run_folder(trainer: Trainer) -> Path:
    """Give the folder of the run; to be asked for in all processes alike.

    Lightning tells it from the first process to the others, which must listen.
    """
    return Path(trainer.log_dir or trainer.default_root_dir)


def validation_windows(trainer: Trainer) -> Any:
    """Give the data set of the validation windows; None where there is none, or it is empty."""
    dataset = getattr(trainer.val_dataloaders, "dataset", None)
    return dataset if dataset is not None and len(dataset) else None


def spread(count: int, total: int) -> list[int]:
    """Give places that are spread over a range, away from its ends.

    Args:
        count: How many; fewer where the range has fewer.
        total: Length of the range.

    Example:
        >>> spread(2, 10)
        [3, 6]
    """
    places = np.linspace(0, total - 1, min(count, total) + 2)[1:-1].round().astype(int)
    return list(dict.fromkeys(places.tolist()))


def is_windows(batch: Any) -> bool:
    """Say whether a batch holds windows of frames, as of `WindowDataset`, and not something else."""
    return (
        isinstance(batch, dict) and {"frames", "xy", "visible", "labelled", "clip", "frame"} <= batch.keys()
    )


def clip_names(trainer: Trainer, part: Part) -> list[str]:
    """Give the names of the clips of a part; empty where nobody knows them."""
    data = getattr(trainer, "datamodule", None)
    if isinstance(data, RallyDataModule) and part in data.parts:
        return data.clip_names(part)
    return []
