"""Hard-frame mining of WASB: frames whose ball is found in the wrong place get another target."""

from __future__ import annotations

from typing import Any

import torch
from jsonargparse.typing import NonNegativeInt, PositiveFloat
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from tracknet.data.datamodules import RallyDataModule
from tracknet.errors import UsageError
from tracknet.training.lightning_module import HeatmapTracker
from tracknet.training.targets import DiscTarget, HeatmapTarget, PeakTarget


class HardFrameTarget(HeatmapTarget):
    """Draws frames that have been found hard in another way than the rest (WASB).

    A binary disc says that there is a ball, a real-valued peak also where its middle is. In the public code
    of WASB frames begin with the disc, and those of `HardFrameMining` go over to the peak.

    Args:
        easy: Target of most frames; default `DiscTarget`.
        hard: Target of hard frames; default `PeakTarget`.

    Attributes:
        mask: Which frames of the batch to come are hard, bool ``[B, L]``; None when none is.
    """

    def __init__(self, easy: HeatmapTarget | None = None, hard: HeatmapTarget | None = None) -> None:
        super().__init__()
        self.easy = easy or DiscTarget()
        self.hard = hard or PeakTarget()
        self.mask: Tensor | None = None

    def forward(
        self, xy: Tensor, visible: Tensor, input_size: tuple[int, int], heatmap_size: tuple[int, int]
    ) -> Tensor:
        """Draw the heatmaps of a batch of windows; arguments as in `HeatmapTarget.forward`."""
        easy: Tensor = self.easy(xy, visible, input_size, heatmap_size)
        if self.mask is None or not self.mask.any():
            return easy
        hard: Tensor = self.hard(xy, visible, input_size, heatmap_size)
        return torch.where(self.mask[..., None, None], hard, easy)

    def draw(self, square_x: Tensor, square_y: Tensor, inside: Tensor) -> Tensor:
        """Draw as the easy target does; arguments as in `HeatmapTarget.draw`."""
        return self.easy.draw(square_x, square_y, inside)


class HardFrameMining(Callback):
    """Looks for hard training frames before some epochs; they then get the hard part of `HardFrameTarget`.

    A frame is hard when a ball is found in it, but too far from where it is. Each search begins anew, over
    all training windows without crops and augmentation, which costs about a third of an epoch. A run that
    is resumed keeps what was found.

    Args:
        epochs: Epochs, from 0, before which to search.
        distance: Distance in input pixels above which a ball that is found is in the wrong place.

    Raises:
        UsageError: The target of the model is not a `HardFrameTarget`.
    """

    def __init__(self, epochs: list[NonNegativeInt], distance: PositiveFloat = 4.0) -> None:
        self.epochs = sorted(set(epochs))
        self.distance: float = distance
        self.hard: dict[str, list[int]] = {}
        self._masks: list[Tensor] = []

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse a model that makes no difference between frames."""
        if stage == "fit" and not isinstance(getattr(pl_module, "target", None), HardFrameTarget):
            raise UsageError("HardFrameMining: model.target must be a HardFrameTarget")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Mark what a checkpoint told, in a run that is resumed within an epoch, whose start has been."""
        self._mark(trainer.datamodule)  # type: ignore[attr-defined]

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Search, before the epochs that were asked for."""
        assert isinstance(pl_module, HeatmapTracker)
        data: RallyDataModule = trainer.datamodule  # type: ignore[attr-defined]
        if trainer.current_epoch in self.epochs:
            found = self._search(trainer, pl_module, data)
            names = data.clip_names("train")
            self.hard = {names[clip]: sorted(frames) for clip, frames in sorted(found.items())}
            total = sum(map(len, self.hard.values()))
            rank_zero_info(f"epoch {trainer.current_epoch}: {total:,} hard frames")
        self._mark(data)

    def _mark(self, data: RallyDataModule) -> None:
        self._masks = []
        for clip in data.parts["train"]:
            mask = torch.zeros(len(clip.labels.labelled), dtype=torch.bool)
            mask[self.hard.get(clip.name, [])] = True
            self._masks.append(mask)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: dict[str, Tensor], batch_idx: int
    ) -> None:
        """Tell the target which frames of the batch are hard."""
        assert isinstance(pl_module, HeatmapTracker)
        rows = zip(batch["clip"].tolist(), batch["frame"].cpu(), strict=True)
        mask = torch.stack([self._masks[clip][frames] for clip, frames in rows])
        _target_of(pl_module).mask = mask[:, -pl_module.outputs :].to(batch["frames"].device)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Forget the frames of the batch: validation draws all alike."""
        _target_of(pl_module).mask = None

    def state_dict(self) -> dict[str, Any]:
        """Keep what was found in the checkpoint."""
        return {"hard": self.hard}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take what was found from a checkpoint."""
        self.hard = state_dict["hard"]

    def _search(self, trainer: Trainer, module: HeatmapTracker, data: RallyDataModule) -> dict[int, set[int]]:
        """Find the hard frames of each training clip, by its number, in all processes together."""
        pairs: list[tuple[int, int]] = []
        for batch in data.mining_dataloader():
            moved = trainer.strategy.batch_to_device(batch)
            with torch.no_grad(), trainer.precision_plugin.forward_context():
                found = module.detect(moved["frames"], moved.get("background"))
            parts = (moved[key][:, -module.outputs :] for key in ("xy", "visible", "labelled", "counted"))
            xy, visible, labelled, counted = parts
            off = (found.xy - xy).norm(dim=-1) > self.distance
            hard = off & (found.confidence >= module.threshold) & visible & labelled & counted
            frames = batch["frame"][:, -module.outputs :]
            pairs += [
                (int(batch["clip"][row]), int(frames[row, place])) for row, place in hard.nonzero().tolist()
            ]
        if trainer.world_size > 1:
            gathered: list[Any] = [None] * trainer.world_size
            torch.distributed.all_gather_object(gathered, pairs)
            pairs = [pair for part in gathered for pair in part]
        clips: dict[int, set[int]] = {}
        for clip, frame in pairs:
            clips.setdefault(clip, set()).add(frame)
        return clips


def _target_of(module: LightningModule) -> HardFrameTarget:
    target = module.target
    assert isinstance(target, HardFrameTarget)
    return target
