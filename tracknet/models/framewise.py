"""Networks whose first layers see each frame by itself, so that windows which overlap can share them."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor

from tracknet.models.network import HeatmapNetwork

Features = tuple[Tensor, ...]
"""What the first layers make of pictures: maps ``[N, C_i, h_i, w_i]``, as many as the network has sizes."""


class FramewiseNetwork(HeatmapNetwork):
    """A network that looks at each frame alone before it looks at the window.

    Where windows overlap, in ensembles and in live streams, what it sees in a frame alone is the same in all
    of them and is worked out once. `forward` gives the same as both parts, one after the other.

    Attributes:
        images: Pictures a window whose features the second part takes: L, or L + 1 where the median
            background is one more of them, the first.
    """

    images: int

    @abstractmethod
    def frame_features(self, frames: Tensor, background: Tensor | None = None) -> Features:
        """Give what the first part sees in pictures, each by itself.

        Args:
            frames: RGB pictures, uint8 in 0..255 or float in 0..1, ``[N, 3, H, W]``.
            background: Median background of all of them, of the same type, ``[3, H, W]``, where the network
                wants it.

        Returns:
            Features of each picture, ``[N, C_i, h_i, w_i]``.
        """

    @abstractmethod
    def window_logits(self, features: Features, newest: int | None = None) -> Tensor:
        """Give the heatmap logits of windows.

        Args:
            features: Features of the pictures of B windows, oldest first, ``[B, images, C_i, h_i, w_i]``.
            newest: Give those of so many of the newest frames alone, 1..L.

        Returns:
            Logits, ``[B, L, h, w]``, or ``[B, newest, h, w]``.
        """
