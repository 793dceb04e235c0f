"""How good trajectories of a test set are before and after their gaps are filled."""

from __future__ import annotations

from collections import defaultdict
from copy import deepcopy
from typing import Any, NamedTuple

import numpy as np
import torch
from jsonargparse.typing import PositiveInt
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from tracknet.data.faults import plural
from tracknet.errors import TrackNetError
from tracknet.evaluation.gaps import MAX_GAP
from tracknet.evaluation.metrics import BallMetrics
from tracknet.tracking.processes import frames_of_all_processes
from tracknet.tracking.rectification import GapFill, fill_known

SHOWN = ("f1", "precision", "recall", "accuracy")
"""Figures that are logged again, as ``test/rectified_f1`` and so on."""


class _Frame(NamedTuple):
    """What was found in a frame, in input pixels, and what its label says."""

    xy: tuple[float, float]
    visible: bool
    target: tuple[float, float]
    target_visible: bool
    labelled: bool
    source_size: tuple[int, int]


class RectifiedFigures(Callback):
    """Fills the gaps of the trajectories of ``test`` and logs their figures beside those without.

    Logged are ``test/rectified_f1``, ``_precision``, ``_recall`` and ``_accuracy``, by the metrics of the
    tracker, and the number of frames filled, ``test/rectified_filled``.

    Args:
        method: How a gap is filled.
        max_gap: Longest gap that is filled, in frames.

    Attributes:
        filled: Positions of the frames filled, in pixels of the network's input, by clip and frame; for
            `ErrorAnalysis`.
    """

    def __init__(self, method: GapFill, max_gap: PositiveInt = MAX_GAP) -> None:
        self.method = method
        self.max_gap = max_gap
        self.filled: dict[tuple[int, int], tuple[float, float]] = {}
        self._clips: dict[int, dict[int, _Frame]] = defaultdict(dict)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin anew, whatever an interrupted run has left."""
        if not isinstance(getattr(pl_module, "test_metrics", None), BallMetrics):
            raise TrackNetError("--rectifier fills the gaps of a tracker's trajectories; this is no tracker")
        self._clips.clear()
        self.filled = {}

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep the frames that this batch speaks for."""
        threshold = float(pl_module.threshold)  # type: ignore[arg-type]
        spoken = outputs["xy"].shape[1]

        def last(values: Tensor) -> list[Any]:
            kept: list[Any] = values[:, -spoken:].tolist()
            return kept

        sizes = batch["source_size"].tolist()
        for n, clip in enumerate(batch["clip"].tolist()):
            for frame, counted, xy, confidence, target, visible, labelled in zip(
                last(batch["frame"])[n],
                last(batch["counted"])[n],
                outputs["xy"][n].tolist(),
                outputs["confidence"][n].tolist(),
                last(batch["xy"])[n],
                last(batch["visible"])[n],
                last(batch["labelled"])[n],
                strict=True,
            ):
                if counted:
                    self._clips[clip][frame] = _Frame(
                        tuple(xy), confidence >= threshold, tuple(target), visible, labelled, tuple(sizes[n])
                    )

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Fill, judge and log."""
        clips = frames_of_all_processes(trainer, self._clips)
        self._clips.clear()
        size: tuple[int, int] = pl_module.input_size  # type: ignore[assignment]
        metrics: BallMetrics = pl_module.test_metrics  # type: ignore[assignment]
        before = deepcopy(metrics).cpu()
        # Every process holds all frames; adding up over them would count each several times.
        before.sync_on_compute = False
        before.reset()
        after = deepcopy(before)
        for clip, frames in sorted(clips.items()):
            positions = self._judge(frames, size, before, after)
            self.filled |= {(clip, frame): xy for frame, xy in positions.items()}
        old, new = before.compute(), after.compute()
        for name in SHOWN:
            pl_module.log(f"test/rectified_{name}", new[name].float(), sync_dist=True)
        pl_module.log("test/rectified_filled", float(len(self.filled)), sync_dist=True)
        if trainer.is_global_zero:
            told = ", ".join(f"{name} {float(old[name]):.4f} -> {float(new[name]):.4f}" for name in SHOWN)
            print(f"\nrectified: {plural(len(self.filled), 'frame')} filled; {told} ({after.label})")

    def _judge(
        self, frames: dict[int, _Frame], size: tuple[int, int], before: BallMetrics, after: BallMetrics
    ) -> dict[int, tuple[float, float]]:
        """Count the frames of one clip as they are and as filled; give the positions of those filled."""
        numbers = sorted(frames)
        judged = [frames[number] for number in numbers]
        visible = np.array([one.visible for one in judged])
        xy = np.where(visible[:, None], np.array([one.xy for one in judged]), 0.0)
        positions, filled = fill_known(numbers, xy, visible, self.method, size, self.max_gap)
        target = (
            torch.tensor([[one.target for one in judged]]),
            torch.tensor([[one.target_visible for one in judged]]),
            torch.tensor([[one.labelled for one in judged]]),
            size,
            torch.tensor([judged[0].source_size]),
        )
        for metrics, found, seen in ((before, xy, visible), (after, positions, visible | filled)):
            metrics.update(torch.from_numpy(found).float()[None], torch.from_numpy(seen)[None], *target)
        return {numbers[k]: (float(x), float(y)) for k, (x, y) in enumerate(positions) if filled[k]}
