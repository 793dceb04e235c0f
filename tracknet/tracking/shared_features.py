"""What a network sees in each frame alone, worked out once for all windows that share the frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeGuard

import torch
from torch import Tensor

from tracknet.models.framewise import Features


class FramewiseDetector(Protocol):
    """A detector that may look at each frame alone before it looks at the window, as `HeatmapTracker`."""

    @property
    def framewise(self) -> bool:
        """Whether its network does so."""

    @property
    def images(self) -> int:
        """Pictures a window: L, or L + 1 where the background is the first of them."""

    def frame_features(self, frames: Tensor, background: Tensor | None = None) -> Features:
        """Give what is seen in pictures, see `FramewiseNetwork.frame_features`."""

    def window_heatmaps(self, features: Features, newest: int | None = None) -> Tensor:
        """Give probabilities of the ball, see `FramewiseNetwork.window_logits`."""


def is_framewise(detector: object) -> TypeGuard[FramewiseDetector]:
    """Say whether windows can share what a detector sees in each frame alone."""
    return bool(getattr(detector, "framewise", False))


class SharedFeatures:
    """Gives the heatmaps of windows that overlap, and looks at each frame alone only once.

    The features of the frames of the last windows are held, until the background changes.

    Args:
        detector: Finds the ball.
        mirrored: Look at mirrored frames, and mirror the heatmaps back.
    """

    def __init__(self, detector: FramewiseDetector, mirrored: bool = False) -> None:
        self._detector = detector
        self._mirrored = mirrored
        self._background: Tensor | None = None
        self._seen: dict[int, tuple[Tensor, Features]] = {}  # by id, beside what has it

    def heatmaps(
        self, windows: Sequence[Sequence[Tensor]], background: Tensor | None, newest: int | None = None
    ) -> Tensor:
        """Give the heatmaps of windows.

        Args:
            windows: B windows of L frames, uint8 ``[3, H, W]``; the same frame is the same tensor in each.
            background: Median background, uint8 ``[3, H, W]``, where it is wanted.
            newest: Give those of so many of the newest frames alone.

        Returns:
            Probabilities, ``[B, L, h, w]``, or ``[B, newest, h, w]``.
        """
        if background is not self._background:
            self._background, self._seen = background, {}
        first = [] if background is None or self._detector.images == len(windows[0]) else [background]
        shown = [[*first, *window] for window in windows]
        held = {id(frame): frame for window in shown for frame in window}
        new = [frame for key, frame in held.items() if key not in self._seen]
        self._seen = {key: seen for key, seen in self._seen.items() if key in held}
        if new:
            for frame, *seen in zip(new, *self._look(new, background), strict=True):
                self._seen[id(frame)] = frame, tuple(seen)
        each = zip(*(self._seen[id(frame)][1] for window in shown for frame in window), strict=True)
        features = (stacked(maps) for maps in each)  # [B * images, C, h, w]
        windowed = tuple(maps.reshape(len(shown), -1, *maps.shape[1:]) for maps in features)
        heatmaps = self._detector.window_heatmaps(windowed, newest)
        return heatmaps.flip(-1) if self._mirrored else heatmaps

    def _look(self, frames: list[Tensor], background: Tensor | None) -> Features:
        pictures = stacked(frames)
        if self._mirrored:
            pictures, background = pictures.flip(-1), None if background is None else background.flip(-1)
        return self._detector.frame_features(pictures, background)


def stacked(maps: Sequence[Tensor]) -> Tensor:
    """Put pictures or maps behind each other, the channels innermost in memory, as networks want them.

    Args:
        maps: N of them, ``[C, h, w]``.

    Returns:
        ``[N, C, h, w]``.
    """
    return torch.stack([one.movedim(0, -1) for one in maps]).movedim(-1, 1)
