"""Short videos in which progress can be watched."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jsonargparse.typing import PositiveFloat, PositiveInt
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from tracknet.data.video_writer import VideoWriter
from tracknet.evaluation.errors import FrameResult, frame_results
from tracknet.evaluation.frame_pictures import drawn_frame
from tracknet.training.callbacks.monitoring.telling import run_folder, spread, validation_windows
from tracknet.training.lightning_module import HeatmapTracker
from tracknet.training.loggers import log_video

_AT_ONCE = 8


class ClipVideos(Callback):
    """Renders the same stretches of the validation clips each epoch: ``RUN/progress/epoch_N.mp4``.

    The labelled ball has a green ring, the found one another in magenta, and each frame says what it is
    (found, missed, wrong place). The stretches are spread over the validation set and follow each other in
    the video, which goes to every logger that takes videos, too, as ``val/clips``. Lightning logs numbers
    only.

    Args:
        clips: Number of stretches.
        frames: Frames of a stretch; fewer where its clip is shorter.
        fps: Frames a second of the video.
        every_n_epochs: Epochs between videos.
    """

    def __init__(
        self,
        clips: PositiveInt = 2,
        frames: PositiveInt = 45,
        fps: PositiveFloat = 15.0,
        every_n_epochs: PositiveInt = 1,
    ) -> None:
        self.clips: int = clips
        self.frames: int = frames
        self.fps: float = fps
        self.every_n_epochs: int = every_n_epochs
        self._next = 0  # epoch from which the next video is due; not every epoch has a validation

    def on_validation_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Render before the first batch, when averaged weights are in place."""
        if batch_idx or dataloader_idx or trainer.sanity_checking:
            return
        if trainer.current_epoch < self._next or not isinstance(pl_module, HeatmapTracker):
            return
        self._next = trainer.current_epoch + self.every_n_epochs
        folder = run_folder(trainer)
        dataset = validation_windows(trainer)
        if dataset is None or not trainer.is_global_zero:
            return
        pictures: list[np.ndarray] = []
        for place in spread(self.clips, len(dataset)):
            windows = _stretch(dataset, place, self.frames)
            drawn: list[np.ndarray] = []
            for start in range(windows.start, windows.stop, _AT_ONCE):
                samples = [dataset[n] for n in windows[start - windows.start :][:_AT_ONCE]]
                drawn += _drawn(trainer, pl_module, samples)
            pictures += drawn[: self.frames]
        path = folder / "progress" / f"epoch_{trainer.current_epoch + 1}.mp4"
        with VideoWriter(path, pictures[0].shape[:2], self.fps) as video:
            for picture in pictures:
                video.write(picture)
        log_video(trainer, "val/clips", np.stack(pictures), self.fps, trainer.global_step)


def _stretch(dataset: Any, place: int, frames: int) -> range:
    """Give windows of one clip from a place on, and before it where the clip ends, with that many frames."""
    middle = dataset[place]
    total, windows = int(middle["counted"].sum()), range(place, place + 1)
    for step in (1, -1):
        following = windows[-1] + 1 if step == 1 else windows[0] - 1
        while total < frames and 0 <= following < len(dataset):
            sample = dataset[following]
            if sample["clip"] != middle["clip"]:
                break
            total += int(sample["counted"].sum())
            windows = range(min(windows[0], following), max(windows[-1], following) + 1)
            following += step
    return windows


def _drawn(trainer: Trainer, module: HeatmapTracker, samples: list[dict[str, Tensor]]) -> list[np.ndarray]:
    """Draw the frames that windows speak for, in order."""
    batch = {key: torch.stack([one[key] for one in samples]) for key in samples[0]}
    moved = trainer.strategy.batch_to_device(batch)
    with torch.inference_mode(), trainer.precision_plugin.forward_context():
        found = module.detect(moved["frames"], moved.get("background"))
    xy, confidence = found.xy.cpu(), found.confidence.cpu()
    results: dict[int, FrameResult] = {
        result.frame: result
        for result in frame_results(
            batch, xy, confidence, module.threshold, module.val_metrics, batch["labelled"]
        )
    }
    outputs = module.outputs
    counted = batch["counted"][:, -outputs:]
    frames, numbers = batch["frames"][:, -outputs:][counted], batch["frame"][:, -outputs:][counted]
    order = numbers.argsort().tolist()
    return [drawn_frame(frames[place].numpy(), results.get(int(numbers[place]))) for place in order]
