"""What finds the ball in windows of frames, and one row of a trajectory out of what it found."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Protocol, TypeGuard

import numpy as np
import torch
from torch import Tensor

from tracknet.data.geometry import resize_xy
from tracknet.errors import UsageError
from tracknet.evaluation.decoding import Detections, HeatmapDecoder
from tracknet.models.evaluating import evaluating
from tracknet.tracking.flight import FlightTracker
from tracknet.tracking.online import OnlineTracker
from tracknet.tracking.shared_features import SharedFeatures, is_framewise, stacked
from tracknet.tracking.sightings import CandidateTracker, Sighting, no_ball, row_of
from tracknet.tracking.trajectory import TrajectoryRow


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


class HeatmapDetector(BallDetector, Protocol):
    """A detector that also gives its heatmaps, which ensembles, flips and candidates are made of."""

    @property
    def decoder(self) -> HeatmapDecoder:
        """From heatmap to ball position."""

    def heatmaps(self, frames: Tensor, background: Tensor | None = None) -> Tensor:
        """Give ball probabilities.

        Args:
            frames: RGB frames, float in 0..1, ``[B, L, 3, H, W]``, oldest first; uint8 for a detector with
                an attribute ``takes_bytes`` that is true.
            background: Median background, of the same type, ``[B, 3, H, W]``, where it is wanted.

        Returns:
            Probabilities, ``[B, L_out, h, w]``.
        """


def gives_heatmaps(detector: BallDetector) -> TypeGuard[HeatmapDetector]:
    """Say whether a detector gives heatmaps, and not positions alone as exported engines do."""
    return hasattr(detector, "heatmaps") and hasattr(detector, "decoder")


class BallFinder(ABC):
    """Looks at windows of frames, and makes rows of what it saw in each frame (its sights).

    Args:
        detector: Finds the ball.
        size: Height and width of the source.
        device: Where the detector lies.
    """

    def __init__(self, detector: BallDetector, size: tuple[int, int], device: torch.device | str) -> None:
        self.size = size
        self.device = device
        self.input_size = detector.input_size

    def load(self, frames: Sequence[np.ndarray]) -> list[Tensor]:
        """Bring frames to the device, in the form in which the detector wants them.

        Args:
            frames: RGB, uint8 ``[H, W, 3]``.

        Returns:
            One tensor ``[3, H, W]`` for each.
        """
        return list(channels_first(frames, self.device).unbind())

    @abstractmethod
    def look(
        self, windows: Sequence[Sequence[Tensor]], background: Tensor | None, newest: int | None = None
    ) -> Tensor:
        """Look at windows.

        Args:
            windows: B windows of L loaded frames, oldest first.
            background: The loaded median background, where it is wanted.
            newest: Only the sights of so many of the newest frames are wanted; others may be left out.

        Returns:
            Sights, ``[B, L_out, ...]``, or fewer, that of the newest frame the last.
        """

    @abstractmethod
    def rows(self, numbers: Sequence[int], sights: Tensor) -> list[TrajectoryRow]:
        """Make rows.

        Args:
            numbers: Numbers of the frames, rising.
            sights: Sights of these frames, ``[N, ...]``.

        Returns:
            One row for each frame, in pixels of the source.
        """


class PositionFinder(BallFinder):
    """Asks a detector for positions; works with every detector.

    Args:
        detector: Finds the ball.
        size: Height and width of the source.
        device: Where the detector lies.
    """

    def __init__(self, detector: BallDetector, size: tuple[int, int], device: torch.device | str) -> None:
        super().__init__(detector, size, device)
        self._detector = detector

    def look(
        self, windows: Sequence[Sequence[Tensor]], background: Tensor | None, newest: int | None = None
    ) -> Tensor:
        """Find the positions; sights are ``(x, y, confidence)``, ``[B, L_out, 3]``."""
        found = self._detector.detect(*_batch(windows, background))
        return torch.cat([found.xy, found.confidence[..., None]], dim=-1)

    def rows(self, numbers: Sequence[int], sights: Tensor) -> list[TrajectoryRow]:
        """Make rows, see `BallFinder.rows`."""
        values = sights.cpu()
        confidence = values[:, 2]
        visible = confidence >= self._detector.threshold
        xy = resize_xy(values[:, :2].double(), self.input_size, self.size).where(visible[:, None], 0.0)
        columns = (numbers, visible.tolist(), xy.tolist(), confidence.tolist())
        return [TrajectoryRow(n, seen, x, y, value) for n, seen, (x, y), value in zip(*columns, strict=True)]


class HeatmapFinder(BallFinder):
    """Asks a detector for heatmaps; sights are heatmaps ``[B, L_out, h, w]``, which can be averaged.

    Frames are converted to float when they are loaded, once, however many windows see them; for a detector
    that takes bytes they stay as they are. A network that looks at each frame alone first does so once.

    Args:
        detector: Finds the ball.
        size: Height and width of the source.
        device: Where the detector lies.
        flip: Average each heatmap with that of the mirrored frames, mirrored back (test-time flip).
        online: Chooses among the candidates of each frame; None leaves it to the decoder.
    """

    def __init__(
        self,
        detector: HeatmapDetector,
        size: tuple[int, int],
        device: torch.device | str,
        flip: bool = False,
        online: OnlineTracker | None = None,
    ) -> None:
        super().__init__(detector, size, device)
        self._detector = detector
        self._flip = flip
        self._online = online
        self._shared: list[SharedFeatures] = []
        if is_framewise(detector):
            self._shared = [SharedFeatures(detector, mirrored) for mirrored in (False, True)[: 1 + flip]]

    def load(self, frames: Sequence[np.ndarray]) -> list[Tensor]:
        """Bring frames to the device as float in 0..1, or as bytes, see `BallFinder.load`."""
        if self._shared or getattr(self._detector, "takes_bytes", False):
            return super().load(frames)
        return list(channels_first(frames, self.device).float().div_(255.0).unbind())

    @torch.inference_mode()
    def look(
        self, windows: Sequence[Sequence[Tensor]], background: Tensor | None, newest: int | None = None
    ) -> Tensor:
        """Give the heatmaps, see `BallFinder.look`."""
        with evaluating(self._detector):
            if self._shared:
                ways = [shared.heatmaps(windows, background, newest) for shared in self._shared]
            else:
                frames, still = _batch(windows, background)
                ways = [self._detector.heatmaps(frames, still)]
                if self._flip:
                    mirrored = None if still is None else still.flip(-1)
                    ways.append(self._detector.heatmaps(frames.flip(-1), mirrored).flip(-1))
        return (ways[0] + ways[1]) / 2 if self._flip else ways[0]

    @torch.inference_mode()
    def rows(self, numbers: Sequence[int], sights: Tensor) -> list[TrajectoryRow]:
        """Make rows, see `BallFinder.rows`.

        Where the online tracker is asked, the confidence is that of the candidate it chose, or 0 where no
        candidate was within its reach; without any candidate it is that of the highest cell.
        """
        decoder = self._detector.decoder
        if self._online is None:
            found = decoder(sights, self.input_size)
            xy, confidence = self._in_source(found.xy), found.confidence.tolist()
            visible = [value >= self._detector.threshold for value in confidence]
            return [
                TrajectoryRow(number, True, x, y, value) if seen else no_ball(number, value)
                for number, seen, (x, y), value in zip(numbers, visible, xy.tolist(), confidence, strict=True)
            ]
        judged = (self._online.judge(seen, self.size[0]) for seen in self.sightings(numbers, sights))
        return [row_of(seen, choice) for seen, choice in judged]

    @torch.inference_mode()
    def sightings(self, numbers: Sequence[int], sights: Tensor, least: float | None = None) -> list[Sighting]:
        """Give all that may be a ball, for a tracker to choose from.

        Args:
            numbers: Numbers of the frames, rising.
            sights: Sights of these frames, ``[N, ...]``.
            least: Confidence from which something is a candidate; default the decoder's threshold.

        Returns:
            One sighting for each frame.
        """
        highest = sights.flatten(1).amax(dim=1).float().nan_to_num(0.0).clamp(0.0, 1.0).tolist()
        many = self._detector.decoder.candidates(sights, self.input_size, least)
        return [
            Sighting(number, self._in_source(found.xy), found.confidence.cpu().double().numpy(), value)
            for number, found, value in zip(numbers, many, highest, strict=True)
        ]

    def _in_source(self, xy: Tensor) -> np.ndarray:
        moved: np.ndarray = resize_xy(xy.cpu().double(), self.input_size, self.size).numpy()
        return moved


def choose_finder(
    detector: BallDetector,
    size: tuple[int, int],
    device: torch.device | str,
    *,
    flip: bool = False,
    tracker: CandidateTracker | None = None,
    averages: bool = False,
    overlaps: bool = False,
) -> BallFinder:
    """Take the way of looking that a mode needs.

    Args:
        detector: Finds the ball.
        size: Height and width of the source.
        device: Where the detector lies.
        flip: See `HeatmapFinder`.
        tracker: Chooses among the candidates of each frame.
        averages: Heatmaps of several windows are averaged.
        overlaps: Several windows see the same frame, so that converting it once is worth it.

    Returns:
        A `HeatmapFinder` where heatmaps are needed or frames are shared, else a `PositionFinder`.

    Raises:
        UsageError: Heatmaps are needed, and the detector gives positions only.
    """
    online = tracker if isinstance(tracker, OnlineTracker) else None
    wants = {
        "an ensemble": averages,
        "flip": flip,
        "the online tracker": online is not None,
        "the flight tracker": isinstance(tracker, FlightTracker),
        "a tracker": tracker is not None,
    }
    if gives_heatmaps(detector):
        if overlaps or any(wants.values()):
            return HeatmapFinder(detector, size, device, flip, online)
    elif any(wants.values()):
        first = next(name for name, wanted in wants.items() if wanted)
        raise UsageError(
            f"{first} needs heatmaps, and this detector gives positions only; use the checkpoint, a "
            "graph exported without --positions, or the modes single or causal without flip and tracker"
        )
    return PositionFinder(detector, size, device)


def _batch(windows: Sequence[Sequence[Tensor]], background: Tensor | None) -> tuple[Tensor, Tensor | None]:
    frames = stacked([frame for window in windows for frame in window])
    frames = frames.view(len(windows), -1, *frames.shape[1:])
    return frames, None if background is None else background.expand(len(frames), -1, -1, -1)


def channels_first(images: Sequence[np.ndarray], device: torch.device | str) -> Tensor:
    """Bring pictures to a device, as a view with the channels first.

    Args:
        images: RGB, uint8 ``[H, W, 3]``.
        device: Where to.

    Returns:
        uint8 ``[n, 3, H, W]``, in memory still as it was.
    """
    # From pinned memory, the copy to a GPU goes on while the next frames are decoded.
    pinned = torch.device(device).type == "cuda"
    pixels = torch.empty((len(images), *images[0].shape), dtype=torch.uint8, pin_memory=pinned)
    np.stack(images, out=pixels.numpy())
    return pixels.to(device, non_blocking=pinned).movedim(-1, -3)
