"""What a training says when it ends: where its run lies, and what to do with it."""

from __future__ import annotations

from pathlib import Path

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning_utilities.core.rank_zero import rank_zero_info

from tracknet.training.callbacks.run_record import stopped_by
from tracknet.training.checkpoint_files import checkpoint_folders, checkpoints_in
from tracknet.training.lightning_module import HeatmapTracker
from tracknet.training.rectifier import TrajectoryRectifier


def tell_end(trainer: Trainer, model: LightningModule, folder: Path, first_step: int | None) -> None:
    """Print where a finished run lies, what ended it early, its best checkpoint and what to do with it.

    Args:
        trainer: The trainer.
        model: What was trained.
        folder: Folder of the run.
        first_step: Step at which a resumed training went on; None for others.
    """
    if first_step is not None and first_step >= trainer.global_step:
        rank_zero_info(
            f"note: nothing was left to train: the checkpoint has {first_step} steps already; to train "
            "longer, raise --trainer.max_epochs or --trainer.max_steps"
        )
    elif not trainer.global_step:
        rank_zero_info("note: nothing was trained; see trainer.limit_train_batches and trainer.max_steps")
    callback = trainer.checkpoint_callback
    monitor, best = (getattr(callback, name, None) for name in ("monitor", "best_model_path"))
    chosen = best or newest_checkpoint(trainer)
    shown = [f"run:        {folder}"]
    if by := stopped_by(trainer):
        shown.append(f"stopped:    {by}")
    if chosen:
        kind = "best" if best and monitor is not None else "newest"
        told = _figure(trainer, model) if best else ""
        if monitor is not None and monitor not in trainer.callback_metrics:
            told += f"  (this training ended before a validation that measures {monitor})"
        shown.append(f"{kind + ':':<12}{chosen}{told}")
    else:
        shown.append("checkpoint: none; no callback among trainer.callbacks has saved one")
    events = (one.log_dir for one in trainer.loggers if isinstance(one, TensorBoardLogger))
    tables = (one.log_dir for one in trainer.loggers if isinstance(one, CSVLogger))
    if logged := next(events, None):
        shown.append(f"curves:     tensorboard --logdir {logged}")
    elif logged := next(tables, None):
        shown.append(f"curves:     {Path(logged) / 'metrics.csv'}")
    if chosen:
        rectifies = isinstance(model, TrajectoryRectifier)
        track = f"--ckpt TRACKER --rectifier {chosen}" if rectifies else f"--ckpt {chosen}"
        shown.append(f"test:       tracknet test --ckpt_path {chosen}")
        shown.append(f"track:      tracknet track VIDEO {track}")
    shown.append(f"repeat:     tracknet fit --config {folder / 'config.yaml'}")
    print("\n" + "\n".join(shown))


def newest_checkpoint(trainer: Trainer) -> Path | None:
    """Find the newest checkpoint in the folders that the callbacks of a run save to."""
    files = [path for folder in checkpoint_folders(trainer) for path in checkpoints_in(folder)]
    return max(files, key=lambda path: path.stat().st_mtime_ns, default=None)


def _figure(trainer: Trainer, model: LightningModule) -> str:
    """Give the figure of the best checkpoint, and what it is measured by."""
    score = getattr(trainer.checkpoint_callback, "best_model_score", None)
    if score is None:
        return ""
    figure, metric = str(getattr(trainer.checkpoint_callback, "monitor", None)), ""
    if isinstance(model, HeatmapTracker) and figure == "val/f1":
        figure, metric = "F1", f"; {model.val_metrics.label}"
    elif isinstance(model, TrajectoryRectifier):
        figure, metric = "error", "; mean distance in px at 288x512"
    return f"  ({figure} {float(score):.4f}{metric})"
