"""Motion attention of TrackNetV4 and V5: frame differences, weighed by a learnt sigmoid."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tracknet.models.network import BackgroundMode

LUMA = (0.299, 0.587, 0.114)
"""Shares of red, green and blue in the light of a pixel (ITU-R BT.601)."""


def light(x: Tensor, frames: int, background: BackgroundMode) -> Tensor:
    """Give the light of each frame of a stacked window.

    Args:
        x: Stacked frames in 0..1, ``[B, C_in, H, W]``, see `stack_frames`.
        frames: Frames per window, L.
        background: Background mode; with ``subtract`` the difference from the background is the light.

    Returns:
        Light in 0..1, ``[B, L, H, W]``.
    """
    if background == "subtract":
        return x
    by_frame = by_frames(x, frames, background)[:, :, :3]
    return (by_frame * x.new_tensor(LUMA)[:, None, None]).sum(dim=2)


def by_frames(x: Tensor, frames: int, background: BackgroundMode) -> Tensor:
    """Give each frame its own channels, without those of the background before them.

    Args:
        x: Stacked frames, ``[B, C_in, H, W]``.
        frames: Frames per window, L.
        background: Background mode.

    Returns:
        ``[B, L, C, H, W]``: RGB (C = 3), the difference (``subtract``, 1) or both (``subtract_concat``, 4).
    """
    if background == "concat":
        x = x[:, 3:]
    return x.reshape(x.shape[0], frames, -1, *x.shape[-2:])


class PowerNormalisation(nn.Module):
    """Attention from differences of light: a sigmoid whose slope and threshold are learnt.

    ``A = sigmoid(5 / (0.45 |tanh a| + 1e-6) * (|d| - 0.6 tanh b))`` (Chen et al., "Motion meets Attention:
    Video Motion Prompts", 2024; TrackNetV4 and V5 use it).

    Args:
        a: First value of a; the smaller, the steeper.
        b: First value of b; the threshold is 0.6 tanh b.
    """

    def __init__(self, a: float, b: float) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.tensor(a))
        self.b = nn.Parameter(torch.tensor(b))

    def forward(self, difference: Tensor) -> Tensor:
        """Give attention in 0..1 of the shape of the differences."""
        slope = 5.0 / (0.45 * self.a.tanh().abs() + 1e-6)
        return torch.sigmoid(slope * (difference.abs() - 0.6 * self.b.tanh()))
