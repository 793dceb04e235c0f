"""Pictures of heatmaps, with the labelled and the found ball."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jsonargparse.typing import PositiveInt
from lightning.pytorch import Callback, LightningModule, Trainer
from matplotlib.figure import Figure
from torch import Tensor

from tracknet.training.callbacks.monitoring.telling import spread, validation_windows
from tracknet.training.lightning_module import HeatmapTracker
from tracknet.training.logged_media import render
from tracknet.training.loggers import log_image


class HeatmapImages(Callback):
    """Logs a picture of heatmaps over frames, with the labelled and the found ball, at validation.

    Lightning logs numbers only. The same windows are drawn each time, so that progress can be watched; they
    are spread over the validation set. The picture goes to every logger that takes pictures, as
    ``val/heatmaps``.

    Args:
        windows: Number of windows, one row each.
        every_n_epochs: Epochs between pictures.
    """

    def __init__(self, windows: PositiveInt = 4, every_n_epochs: PositiveInt = 1) -> None:
        self.windows = windows
        self.every_n_epochs = every_n_epochs
        self._next = 0  # epoch from which the next picture is due; not every epoch has a validation

    def on_validation_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Draw and log the picture before the first batch.

        Averaged weights are in place then, whichever callback comes first; when validation has ended they may
        be gone.
        """
        if batch_idx or dataloader_idx:
            return
        due = trainer.sanity_checking is False and trainer.current_epoch >= self._next
        if due:
            self._next = trainer.current_epoch + self.every_n_epochs
        if not (due and trainer.is_global_zero and trainer.loggers and isinstance(pl_module, HeatmapTracker)):
            return
        dataset = validation_windows(trainer)
        if dataset is None:
            return
        samples = [dataset[place] for place in spread(self.windows, len(dataset))]
        batch = {key: torch.stack([s[key] for s in samples]).to(pl_module.device) for key in samples[0]}
        with torch.inference_mode():
            heatmaps = pl_module.heatmaps(batch["frames"], batch.get("background"))
            found = pl_module.decoder(heatmaps.flatten(0, 1), pl_module.input_size)
        names = [clip.name for clip in getattr(dataset, "clips", [])]
        picture = draw_heatmaps(
            {key: value.cpu() for key, value in batch.items()},
            heatmaps.cpu(),
            found.xy.unflatten(0, heatmaps.shape[:2]).cpu(),
            found.confidence.unflatten(0, heatmaps.shape[:2]).cpu(),
            pl_module.threshold,
            names,
        )
        log_image(trainer.loggers, "val/heatmaps", picture, trainer.global_step)


def draw_heatmaps(
    batch: dict[str, Tensor],
    heatmaps: Tensor,
    xy: Tensor,
    confidence: Tensor,
    threshold: float,
    names: list[str],
) -> np.ndarray:
    """Draw one row a window: frame with both balls, heatmap, and a close view of both.

    Args:
        batch: A batch of `WindowDataset`, on the CPU; its middle frame is drawn.
        heatmaps: Probabilities, ``[B, L_out, h, w]``.
        xy: Positions found, in input pixels, ``[B, L_out, 2]``.
        confidence: Their confidences, ``[B, L_out]``.
        threshold: Confidence from which a ball counts as found.
        names: Names of the clips.

    Returns:
        RGB picture, uint8, ``[H, W, 3]``.
    """
    rows, outputs = heatmaps.shape[:2]
    height, width = batch["frames"].shape[-2:]
    figure = Figure(figsize=(13, 2.75 * rows), layout="constrained")
    axes = figure.subplots(rows, 3, squeeze=False, width_ratios=(16, 16, 9))
    offset = batch["frames"].shape[1] - outputs
    at = outputs // 2
    for row in range(rows):
        frame = batch["frames"][row, offset + at].permute(1, 2, 0).numpy()
        truth, visible = batch["xy"][row, offset + at], bool(batch["visible"][row, offset + at])
        score = float(confidence[row, at])
        clip = int(batch["clip"][row])
        label = f"{names[clip] if clip < len(names) else clip}, frame {int(batch['frame'][row, offset + at])}"
        for axis in axes[row]:
            axis.set_axis_off()
        axes[row, 0].imshow(frame)
        axes[row, 0].set_title(label, fontsize=9, parse_math=False)
        heat = heatmaps[row, at].numpy()
        axes[row, 1].imshow(
            heat, vmin=0, vmax=1, cmap="inferno", extent=(-0.5, width - 0.5, height - 0.5, -0.5)
        )
        axes[row, 1].set_title(f"heatmap, peak {heat.max():.2f}, confidence {score:.2f}", fontsize=9)
        centre = truth if visible else xy[row, at]
        axes[row, 2].imshow(frame)
        axes[row, 2].set_xlim(float(centre[0]) - 24, float(centre[0]) + 24)
        axes[row, 2].set_ylim(float(centre[1]) + 24, float(centre[1]) - 24)
        axes[row, 2].set_title(_verdict(truth, visible, xy[row, at], score >= threshold), fontsize=9)
        for axis in (axes[row, 0], axes[row, 2]):
            if visible:
                axis.plot(*truth, "o", mfc="none", mec="lime", ms=12, mew=1.5)
            if score >= threshold:
                axis.plot(*xy[row, at], "x", color="red", ms=8, mew=1.5)
    return render(figure)


def _verdict(truth: Tensor, visible: bool, xy: Tensor, found: bool) -> str:
    if visible and found:
        return f"off by {float(torch.dist(truth, xy)):.1f} px"
    if visible:
        return "missed (circle: label)"
    return "no ball, but one found (cross)" if found else "no ball, none found"
