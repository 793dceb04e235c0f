"""Networks whose first layers see each frame by itself, so that windows which overlap can share them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from torch import Tensor, nn

from tracknet.models.folding import hooked
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

    @property
    def in_parts(self) -> bool:
        """Whether both parts give what the network does: a subclass may have a `forward` of its own."""
        return parts_speak_for(self, ("forward", "stack"), ("frame_features", "window_logits"))

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


def parts_speak_for(module: nn.Module, whole: Sequence[str], parts: Sequence[str]) -> bool:
    """Say whether the parts of what a module does can be called in the place of the whole.

    Args:
        module: The module.
        whole: Methods that do everything.
        parts: Methods that do the same, one after the other.

    Returns:
        Whether no subclass, and nobody who set a method or a hook, changed the whole behind the parts' back.
    """
    places = [vars(module), *map(vars, type(module).__mro__)]
    of_whole, of_parts = (
        next((n for n, place in enumerate(places) if any(name in place for name in names)), len(places))
        for names in (whole, parts)
    )
    return of_parts <= of_whole and not hooked(module)
