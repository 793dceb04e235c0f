"""The callback that removes older checkpoints while training goes on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jsonargparse.typing import NonNegativeInt
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

from tracknet.errors import UsageError
from tracknet.training.checkpoint_files import checkpoint_folders, checkpoints_in
from tracknet.training.retention import Removable, Retention, removable_of


class CheckpointRetention(Callback):
    """Removes checkpoints of the run by age, by room on disk or but for the newest, after each that is saved.

    Lightning's `ModelCheckpoint` keeps the best ``save_top_k``, every n-th and the last one; it knows no age,
    no budget of the disk and no number of newest ones beside the best. This adds them to any number of
    `ModelCheckpoint` together. Never removed are what one of them counts as its best or last (with
    ``save_top_k=-1``, which keeps all, the best alone), the newest whole file of a folder, the newest whole
    one whose name begins with ``best``, what a link leads to, and files that were there before the run,
    unless it goes on from one of that folder.

    With ``keep_last`` alone, all others go. With an age or a budget, the number says how many newest ones of
    a folder stay in any case. In a run of several processes the first one removes. Folders at remote
    addresses (``s3://...``) are left alone.

    Args:
        keep_last: How many of the newest checkpoints of a folder stay.
        older_than: Age beyond which the others go, such as ``30d``, ``12h`` or ``2w``.
        max_size: Room that all checkpoints of the run together may take, such as ``5GB`` or ``500MB``; the
            oldest go until they fit, or until none may go.

    Raises:
        UsageError: Nothing of it is set, or an age or a size is none.

    Example:
        In a configuration file, to save after each epoch and to keep what fits into 5 GB::

            trainer:
              callbacks+:
                - class_path: ModelCheckpoint
                  init_args: {filename: "{epoch}", monitor: val/loss, save_top_k: -1}
                - class_path: CheckpointRetention
                  init_args: {max_size: 5GB}
    """

    def __init__(
        self,
        keep_last: NonNegativeInt | None = None,
        older_than: str | None = None,
        max_size: str | None = None,
    ) -> None:
        if keep_last is None and older_than is None and max_size is None:
            raise UsageError("CheckpointRetention: set keep_last, older_than (30d) or max_size (5GB)")
        self.retention = Retention.of(keep_last, older_than, max_size, "CheckpointRetention: ")
        self._others: set[Path] = set()
        self._has_saved = False

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note which checkpoints are not of this run.

        Args:
            trainer: The trainer.
            pl_module: The module.
        """
        origin = Path(trainer.ckpt_path).resolve().parent if trainer.ckpt_path else None
        own = {path.resolve() for path in _counted(trainer)}  # `BestSoFar` has taken them along
        self._others = {path for path in _checkpoints(trainer) if path.parent != origin} - own
        self._has_saved = False

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Note that a checkpoint is being saved; it is not there yet.

        Args:
            trainer: The trainer.
            pl_module: The module.
            checkpoint: What is saved.
        """
        self._has_saved = True

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Remove what may go, where a checkpoint was saved since the last step.

        Args:
            trainer: The trainer.
            pl_module: The module.
            batch: The batch.
            batch_idx: Its number in the epoch, from 0.
        """
        self._tidy(trainer)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remove what may go after the last checkpoint.

        Args:
            trainer: The trainer.
            pl_module: The module.
        """
        self._tidy(trainer)

    def _tidy(self, trainer: Trainer) -> None:
        if not self._has_saved:
            return
        self._has_saved = False
        if not trainer.is_global_zero:
            return
        try:
            own = [path for path in _checkpoints(trainer) if path not in self._others]
            for one in removable_of(own, self.retention, list(_counted(trainer))):
                _remove(trainer, one)
        except OSError as error:
            rank_zero_warn(f"CheckpointRetention: {error.filename}: {error.strerror}; the rest is kept")


def _remove(trainer: Trainer, one: Removable) -> None:
    # Through the plugin, which does not remove the only one that is whole either.
    trainer.strategy.remove_checkpoint(str(one.path))
    if not one.path.exists():
        rank_zero_info(f"note: removed {one.path}: {one.reason}, {one.size / 1e6:.1f} MB")


def _checkpoints(trainer: Trainer) -> Iterator[Path]:
    """Give the checkpoints in the folders of the run."""
    for folder in {one.resolve() for one in checkpoint_folders(trainer)}:
        yield from checkpoints_in(folder)


def _counted(trainer: Trainer) -> Iterator[Path]:
    """Give what the callbacks that save count as their best or last."""
    for one in trainer.checkpoint_callbacks:
        if not isinstance(one, ModelCheckpoint):
            continue
        best = {} if one.save_top_k == -1 else one.best_k_models
        yield from (Path(path) for path in (one.best_model_path, one.last_model_path, *best) if path)
