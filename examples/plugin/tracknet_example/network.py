"""A network of another package."""

from __future__ import annotations

from jsonargparse.typing import PositiveInt
from torch import Tensor, nn

from tracknet.models import BackgroundMode, HeatmapNetwork
from tracknet.models.network import expect_no_ball


class DepthwiseTrackNet(HeatmapNetwork):
    """Depthwise separable convolutions at half the resolution: the smallest network that runs.

    Args:
        frames: Frames per window, L; also the number of heatmaps.
        background: What the network sees of the median background.
        width: Channels inside.
        depth: Depthwise separable blocks.
    """

    stride = 2

    def __init__(
        self,
        frames: PositiveInt = 3,
        background: BackgroundMode = "none",
        width: PositiveInt = 16,
        depth: PositiveInt = 2,
    ) -> None:
        super().__init__(frames, background, outputs=frames)
        self.width = width
        self.depth = depth
        blocks = [nn.Conv2d(self.in_channels, width, kernel_size=3, stride=2, padding=1), nn.ReLU()]
        for _ in range(depth):
            blocks += [
                nn.Conv2d(width, width, kernel_size=5, padding=2, groups=width),
                nn.Conv2d(width, width, kernel_size=1),
                nn.ReLU(),
            ]
        self.blocks = nn.Sequential(*blocks)  # [B, width, H/2, W/2]
        self.predictor = nn.Conv2d(width, frames, kernel_size=1)
        expect_no_ball(self.predictor)

    def forward(self, x: Tensor) -> Tensor:
        """Give one heatmap a frame: ``[B, C_in, H, W] -> [B, L, H/2, W/2]``."""
        logits: Tensor = self.predictor(self.blocks(x))
        return logits
