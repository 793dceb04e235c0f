"""From the frames of a video to one row a frame: windows, batches and a decoder thread."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

import numpy as np
import torch
from jsonargparse.typing import PositiveInt
from torch import Tensor

from tracknet.data.geometry import resize_xy
from tracknet.data.progress import track_progress
from tracknet.data.video import FrameSource, median_background
from tracknet.errors import TrackNetError
from tracknet.evaluation.decoding import Detections
from tracknet.tracking.trajectory import TrajectoryRow

BATCHES_AHEAD = 2
"""Batches decoded while the network works on one; the bound keeps memory the same for any length of video."""


class BallDetector(Protocol):
    """What finds the ball in windows of frames; a trained tracker is one."""

    @property
    def frames(self) -> int:
        """Frames per window, L."""

    @property
    def outputs(self) -> int:
        """Positions per window, L_out, of its last L_out frames: L, or 1 for the last frame only."""

    @property
    def needs_background(self) -> bool:
        """Whether `detect` wants the median background."""

    @property
    def input_size(self) -> tuple[int, int]:
        """Height and width of the frames it takes."""

    @property
    def threshold(self) -> float:
        """Confidence from which a ball counts as visible."""

    def detect(self, frames: Tensor, background: Tensor | None = None) -> Detections:
        """Find the ball, without gradients.

        Args:
            frames: RGB frames, uint8, ``[B, L, 3, H, W]``, oldest first.
            background: Median background, uint8, ``[B, 3, H, W]``, where it is wanted.

        Returns:
            Positions in input pixels, ``[B, L_out, 2]``, and confidences in 0..1, ``[B, L_out]``.
        """


def track(
    source: FrameSource,
    detector: BallDetector,
    *,
    batch_size: PositiveInt = 4,
    device: torch.device | str = "cpu",
    progress: bool = True,
) -> Generator[TrajectoryRow, None, None]:
    """Find the ball in every frame of a video, in constant memory.

    Windows do not overlap, and the last one is moved back so that it is full; a network with one output
    slides by one frame. Frames are decoded in a thread of their own while the network works on those before.

    Args:
        source: The video.
        detector: Finds the ball in windows of frames.
        batch_size: Windows given to the detector at once.
        device: Where the detector lies.
        progress: Show frames per second and the time left.

    Yields:
        Exactly one row for each frame, in order, positions in pixels of the source. Close the generator to
        stop early.

    Raises:
        TrackNetError: The video has no frames, or cannot be decoded.
    """
    size = (source.info.height, source.info.width)
    background = None
    if detector.needs_background:
        background = _channels_first(median_background(source, detector.input_size)[None], device)
    windows = _windows(source.frames(detector.input_size), detector.frames, detector.outputs)
    frame = 0
    with (
        track_progress(source.info.frames, "frames", "tracking", shown=progress) as bar,
        closing(_decoded_ahead(_batches(windows, batch_size))) as batches,
    ):
        for batch in batches:
            shared = None if background is None else background.expand(len(batch.new), -1, -1, -1)
            found = detector.detect(_channels_first(batch.frames, device), shared)
            xy, confidence = _new(found.xy.cpu(), batch), _new(found.confidence.cpu(), batch)
            visible = confidence >= detector.threshold
            xy = resize_xy(xy.double(), detector.input_size, size).where(visible[:, None], 0.0)
            for (x, y), seen, value in zip(xy.tolist(), visible.tolist(), confidence.tolist(), strict=True):
                yield TrajectoryRow(frame, seen, x, y, value)
                frame += 1
            bar.advance(len(visible))
    if frame == 0:
        raise TrackNetError(f"{source.path}: no frame can be decoded; is it a video?")


@dataclass(frozen=True)
class _Window:
    """L frames, and which of the L_out positions are of frames not spoken of before."""

    frames: list[np.ndarray]
    new: slice


@dataclass(frozen=True)
class _Batch:
    """Windows, uint8 ``[B, L, H, W, 3]``, and what is new in each."""

    frames: np.ndarray
    new: list[slice]


def _windows(frames: Iterable[np.ndarray], length: int, outputs: int) -> Iterator[_Window]:
    """Cut a stream into windows so that each frame gets one position.

    With fewer outputs than frames, the first frame is repeated before the video, so that it too is spoken of.
    The last window is moved back to be full; a video shorter than a window is filled up with its last frame.
    """
    recent: deque[np.ndarray] = deque(maxlen=length)
    fresh = 0
    for frame in frames:
        if not recent:
            recent.extend([frame] * (length - outputs))
        recent.append(frame)
        fresh += 1
        if fresh == outputs:
            yield _Window(list(recent), slice(0, outputs))
            fresh = 0
    if fresh:
        missing = length - len(recent)
        recent.extend([recent[-1]] * missing)
        end = outputs - missing
        yield _Window(list(recent), slice(end - fresh, end))


def _batches(windows: Iterator[_Window], size: int) -> Iterator[_Batch]:
    while batch := list(islice(windows, size)):
        yield _Batch(np.stack([window.frames for window in batch]), [window.new for window in batch])


def _decoded_ahead(batches: Iterator[_Batch]) -> Generator[_Batch, None, None]:
    """Take batches from a thread that is a bounded number of them ahead; its errors are raised here."""
    pool = ThreadPoolExecutor(1, thread_name_prefix="decode")
    ahead: deque[Future[_Batch | None]] = deque()
    try:
        for _ in range(BATCHES_AHEAD):
            ahead.append(pool.submit(next, batches, None))
        while (batch := ahead.popleft().result()) is not None:
            ahead.append(pool.submit(next, batches, None))
            yield batch
    finally:
        pool.shutdown(cancel_futures=True)


def _channels_first(images: np.ndarray, device: torch.device | str) -> Tensor:
    return torch.from_numpy(images).to(device).movedim(-1, -3).contiguous()


def _new(values: Tensor, batch: _Batch) -> Tensor:
    """Give what was found in frames not spoken of before, ``[B, L_out, ...]`` -> ``[N, ...]``."""
    return torch.cat([window[new] for window, new in zip(values, batch.new, strict=True)])
