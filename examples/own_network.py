"""A network of your own, named in YAML and trained like any other.

Usage: PYTHONPATH=examples tracknet fit --config examples/own_network.yaml --data.root ROOT

It sees a wide part of the picture through dilated convolutions at a quarter of the resolution. A network
needs no more than this: frames, background mode and number of heatmaps handed to `HeatmapNetwork`, and a
`forward` from stacked frames to logits, which may be smaller than the picture.
"""

from __future__ import annotations

import torch
from jsonargparse.typing import PositiveInt
from torch import Tensor, nn

from tracknet.models import BackgroundMode, HeatmapNetwork
from tracknet.models.network import expect_no_ball


class DilatedTrackNet(HeatmapNetwork):
    """Dilated convolutions at 1/4 of the resolution, and a sub-pixel step back to 1/2.

    Args:
        frames: Frames per window, L; also the number of heatmaps.
        background: What the network sees of the median background.
        width: Channels inside.
        dilations: Distance between the cells that each convolution looks at.
    """

    stride = 4

    def __init__(
        self,
        frames: PositiveInt = 5,
        background: BackgroundMode = "subtract_concat",
        width: PositiveInt = 48,
        dilations: tuple[PositiveInt, ...] = (1, 2, 4, 1),
    ) -> None:
        super().__init__(frames, background, outputs=frames)
        self.width, self.dilations = width, dilations
        layers = [nn.Conv2d(self.in_channels, width, 3, 2, 1), nn.ReLU(), nn.Conv2d(width, width, 3, 2, 1)]
        for step in dilations:
            layers += [nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, width, 3, 1, step, step)]
        self.body = nn.Sequential(*layers, nn.ReLU())  # [B, width, H/4, W/4]
        self.predictor = nn.Conv2d(width, 4 * frames, kernel_size=1)  # 2x2 cells of each frame
        expect_no_ball(self.predictor)

    def forward(self, x: Tensor) -> Tensor:
        """Give one heatmap a frame: ``[B, C_in, H, W] -> [B, L, H/2, W/2]``."""
        logits: Tensor = torch.pixel_shuffle(self.predictor(self.body(x)), 2)
        return logits
