"""Says in words when training goes wrong slowly."""

from __future__ import annotations

from typing import Any

from jsonargparse.typing import NonNegativeFloat, PositiveInt
from lightning.pytorch import Callback, LightningModule, Trainer

from tracknet.training.callbacks.monitoring.telling import tell

_LEAST_CHANGE = 0.01


class TrainingNotices(Callback):
    """Says once when training overfits and once when it gets no better, and what to try.

    Overfitting: for ``epochs`` validations the validation loss has been above its best while the training
    loss went on falling, both by more than 1 %. Plateau: for ``epochs`` validations F1 has not risen by more
    than ``min_delta`` above its best. Both go on counting in a run that is resumed. Lightning's
    ``EarlyStopping`` ends a run on such signs but gives no reason and no advice, and looks at one figure.

    Args:
        epochs: Epochs with validation that a sign must last.
        min_delta: Rise of F1 that counts as better.
    """

    def __init__(self, epochs: PositiveInt = 5, min_delta: NonNegativeFloat = 0.002) -> None:
        self.epochs: int = epochs
        self.min_delta: float = min_delta
        self._history: list[tuple[int, float, float, float]] = []
        self._told: set[str] = set()
        self._validated = False

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note that there are figures to look at; those of training come at the end of the epoch."""
        self._validated = not trainer.sanity_checking

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at the figures of the epoch."""
        figures = trainer.callback_metrics
        names = ("train/loss_epoch", "val/loss", "val/f1")
        if not self._validated or not all(name in figures for name in names):
            return
        self._validated = False
        train, val, f1 = (float(figures[name]) for name in names)
        self._history.append((trainer.current_epoch + 1, train, val, f1))
        for kind, words in (("overfitting", self._overfitting()), ("plateau", self._plateau())):
            if words and kind not in self._told:
                self._told.add(kind)
                tell(trainer, words)

    def state_dict(self) -> dict[str, Any]:
        """Keep the figures of the epochs in the checkpoint."""
        return {"history": [list(row) for row in self._history], "told": sorted(self._told)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the figures of the epochs from a checkpoint."""
        self._history = [(int(row[0]), *row[1:]) for row in state_dict["history"]]
        self._told = set(state_dict["told"])

    def _overfitting(self) -> str:
        best = min(self._history, key=lambda row: row[2])
        since = self._history[self._history.index(best) + 1 :]
        _, train, val, _ = self._history[-1]
        risen = val > best[2] * (1 + _LEAST_CHANGE)
        if len(since) < self.epochs or not risen or not train < best[1] * (1 - _LEAST_CHANGE):
            return ""
        return (
            f"overfitting since epoch {best[0]}: the training loss went on falling, {best[1]:.4g} to "
            f"{train:.4g}, while the validation loss rose, {best[2]:.4g} to {val:.4g}; try more or more "
            "varied "
            "clips, stronger augmentation (data.init_args.augmentation), mixup (model.init_args.mixup=0.5), "
            "more weight decay or a smaller network; best.ckpt keeps the best state"
        )

    def _plateau(self) -> str:
        best = self._history[0]
        for row in self._history[1:]:
            if row[3] > best[3] + self.min_delta:
                best = row
        since = self._history[self._history.index(best) + 1 :]
        if len(since) < self.epochs or best[3] == 0:
            return ""
        return (
            f"plateau: F1 has not risen above the {best[3]:.4f} of epoch {best[0]} for {len(since)} "
            "validations; try a lower learning rate or a schedule that lowers it (lr_scheduler: "
            "WarmupCosine), "
            "look at the errors of the validation clips (tracknet test), or stop by the callback "
            "EarlyStopping"
        )
