"""A network that needs no training: its heatmap is the light of the frame."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tracknet.models.network import BackgroundMode, HeatmapNetwork


class BrightNetwork(HeatmapNetwork):
    """Says where a frame is bright, at full resolution, moved by a number of pixels.

    With one output it sees the last frame only. ``contrast`` is its only weight.
    """

    def __init__(
        self,
        frames: int = 3,
        background: BackgroundMode = "none",
        outputs: int = 3,
        right: int = 0,
        down: int = 0,
    ) -> None:
        super().__init__(frames, background, outputs)
        self.right, self.down = right, down
        self.contrast = nn.Parameter(torch.tensor(20.0))

    def forward(self, x: Tensor) -> Tensor:
        frames = x[:, -3 * self.frames :].unflatten(1, (self.frames, 3))
        light = frames[:, -self.outputs :].mean(dim=2)
        return self.contrast * (light.roll((self.down, self.right), dims=(-2, -1)) - 0.53)
